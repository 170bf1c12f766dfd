"""One route as an ASGI application: admit, read, ask the door, answer."""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.http import guard
from serving.http.answers import Reply, error_reply, problem, reply
from serving.http.door import Call, Door, StoredAnswer
from serving.http.messages import DueContactsQuery, Message, RecallsQuery, WorklistQuery
from serving.http.messages.reading import read_body, read_id, read_query
from serving.http.metrics import Metrics
from serving.http.routes import Route, RouteError
from serving.http.waiting import Aside, done_within
from serving.ledger.keys import Principal, Role

READERS = 3
HEAVY_READS_MAX = 2  # each is seconds of Python: more of them would take it from the decisions
KEEPERS = 2


class Hall:
    """What all endpoints of one application share. Keys, probes, reads and heavy reads have threads of their own."""

    def __init__(self, door: Door, in_flight_max: int, answer_seconds_max: float) -> None:
        self.door = door
        self.reads = Aside("reader", READERS)
        self.heavy_reads = Aside("heavy-reader", HEAVY_READS_MAX, begun_max=HEAVY_READS_MAX)
        self.probes = Aside("prober", 1)
        self.keyring = guard.Keyring(door.who, ThreadPoolExecutor(KEEPERS, thread_name_prefix="nbo-keeper"))
        self.turnstile = guard.Turnstile(in_flight_max)
        self.metrics = Metrics()
        self.answer_seconds_max = answer_seconds_max

    async def no_such_route(self, request: Request, error: Exception) -> Response:
        """404 and 405 in the shape of every other error."""
        assert isinstance(error, HTTPException)
        code, what = ("no_such_route", "there is no such route")
        if error.status_code == 405:
            code, what = ("method_not_allowed", "the route does not take this method")
        answer = problem(error.status_code, code, f"{what}; see /v1/openapi.json")
        self.metrics.answered("other", error.status_code, 0.0)
        response = Response(answer.body, answer.status)
        allowed = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
        response.raw_headers = [*answer.headers, *allowed]
        return response


class Endpoint(ABC):
    """One route as an ASGI application; roles null: open to everyone."""

    def __init__(self, hall: Hall, name: str, roles: frozenset[Role] | None) -> None:
        if roles is not None and not roles:
            raise RouteError(f"route `{name}` has no role; say whose keys may use it")
        self.hall, self.name, self.roles = hall, name, roles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every exception ends here, as an error body."""
        began = time.perf_counter()
        try:
            answer = await self._admitted(scope, receive)
        except Exception as error:  # noqa: BLE001  # an error nobody expected is a 500 with one line
            answer = error_reply(self.name, error)
        self.hall.metrics.answered(self.name, answer.status, time.perf_counter() - began)
        await answer.send(send)

    async def _admitted(self, scope: Scope, receive: Receive) -> Reply:
        headers, seconds = guard.headers_of(scope), self.hall.answer_seconds_max
        if self.roles is None:
            return await self.answer(None, headers, scope, receive, seconds)
        seconds, began = guard.deadline_after_seconds(headers, seconds), time.monotonic()
        principal = await self.hall.keyring.principal(headers, seconds)
        guard.check_role(principal, self.roles)
        return await self.answer(principal, headers, scope, receive, seconds - (time.monotonic() - began))

    @abstractmethod
    async def answer(
        self, principal: Principal | None, headers: guard.Headers, scope: Scope, receive: Receive, seconds: float
    ) -> Reply:
        """The reply to an admitted request, within `seconds`; principal null: the route is open."""


class TableEndpoint(Endpoint):
    """A route of the table: read the message, call the door, send what it answers."""

    def __init__(self, hall: Hall, route: Route) -> None:
        super().__init__(hall, route.name, route.roles)
        self._route = route
        self._method: Callable[..., Any] = getattr(hall.door, route.door)
        self._reads = hall.heavy_reads if route.heavy else hall.reads

    async def answer(
        self, principal: Principal | None, headers: guard.Headers, scope: Scope, receive: Receive, seconds: float
    ) -> Reply:
        """The door's answer."""
        assert principal is not None  # every route of the table has roles
        route = self._route
        given: list[Any] = [read_id(scope["path_params"][route.id_name])] if route.id_name else []
        if route.writes:
            return await self._write(principal, headers, scope, receive, given, seconds)
        if route.request is not None:
            given.append(_own(read_query(route.request, scope["query_string"]), principal))
        call = Call(principal, route.name, deadline=time.monotonic() + seconds)
        with self.hall.turnstile.entered():
            return reply(await self._reads.run(seconds, self._method, *given, call))

    async def _write(
        self, principal: Principal, headers: guard.Headers, scope: Scope, receive: Receive,
        given: list[Any], seconds: float,
    ) -> Reply:  # fmt: skip
        route = self._route
        assert route.request is not None
        key = guard.idempotency_key(headers)
        guard.check_media(headers)
        body = await guard.read_limited(headers, receive, route.body_bytes_max)
        given.append(read_body(route.request, body or b"{}"))
        # The path is hashed too: the same key for another contact is another request.
        digest = hashlib.sha256(scope["path"].encode() + b"\n" + body).hexdigest()
        call = Call(principal, route.name, key, digest, time.monotonic() + seconds)
        with self.hall.turnstile.entered():
            done: Future[StoredAnswer] | StoredAnswer = self._method(*given, call)
            if isinstance(done, Future):
                done = await done_within(seconds, done)
            return reply(done)


class PlainEndpoint(Endpoint):
    """A route beside the table, whose reply depends on nothing in the request."""

    def __init__(
        self, hall: Hall, name: str, roles: frozenset[Role] | None,
        replying: Callable[[], Awaitable[Reply]],
    ) -> None:  # fmt: skip
        super().__init__(hall, name, roles)
        self._replying = replying

    async def answer(
        self, principal: Principal | None, headers: guard.Headers, scope: Scope, receive: Receive, seconds: float
    ) -> Reply:
        """The one reply there is."""
        return await self._replying()


def _own(query: Message, principal: Principal) -> Message:
    """The query, for a channel key narrowed to its own channel; Forbidden for another one."""
    if isinstance(query, DueContactsQuery | WorklistQuery):
        guard.check_channel(principal, query.channel)
    if isinstance(query, RecallsQuery) and (own := guard.channel_of(principal)) is not None:
        guard.check_channel(principal, query.channel or own)
        return query.model_copy(update={"channel": own})
    return query
