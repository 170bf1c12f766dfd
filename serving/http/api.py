"""The HTTP service as a Starlette application: build_app(door).

A request meets, in this order: its route (404, 405), its deadline (400), its key (401), the route's
roles (403), its headers (400, 415), the size and pace of its body (413, 408), JSON (400), the request
model (422), the crowd inside (429), and then the door. Every error is {"error": {"code", "message"}}.
"""

import json
from collections.abc import Iterable
from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from serving.http.answers import Reply, reply
from serving.http.door import Door
from serving.http.endpoints import Endpoint, Hall, PlainEndpoint, TableEndpoint
from serving.http.errors import TooLate
from serving.http.guard import Turnstile
from serving.http.messages import LiveResponse, ReadyResponse
from serving.http.openapi import document
from serving.http.routes import PLAIN_ROUTES, ROUTES, Route

ANSWER_SECONDS_MAX = 4.0
IN_FLIGHT_MAX = 256
PROBES_MAX = 8


def build_app(
    door: Door,
    *,
    routes: Iterable[Route] = ROUTES,
    in_flight_max: int = IN_FLIGHT_MAX,
    answer_seconds_max: float = ANSWER_SECONDS_MAX,
    pages: Iterable[StarletteRoute] = (),
) -> "Direct":
    """The application over a door. The caller closes the door; the application only uses it.

    Args:
        door: The engine.
        routes: The contract; RouteError was raised already where a route has no role.
        in_flight_max: Requests inside at once, in this process; the next one gets 429.
        answer_seconds_max: The deadline of requests that name none, and the longest one.
        pages: Routes of the console, which admit for themselves.
    """
    routes = tuple(routes)
    hall = Hall(door, in_flight_max, answer_seconds_max)
    openapi = _openapi(routes)
    endpoints: dict[str, Endpoint] = {route.name: TableEndpoint(hall, route) for route in routes}
    endpoints |= _plain_endpoints(hall, openapi)
    rest = Starlette(
        routes=[
            StarletteRoute(name.partition(" ")[2], endpoint, methods=[name.partition(" ")[0]])
            for name, endpoint in endpoints.items()
        ]
        + list(pages),
        exception_handlers={HTTPException: hall.no_such_route},
    )
    rest.router.redirect_slashes = False  # it would lead to whatever host the request names, and ask for no key
    return Direct(endpoints, rest)


class Direct:
    """Requests to a path that stands in the table go straight to their endpoint; the rest through Starlette's router.

    An endpoint answers its own errors, so that nothing of Starlette's is needed around it.
    """

    def __init__(self, endpoints: dict[str, Endpoint], rest: Starlette) -> None:
        self._exact = {tuple(name.split(" ")): endpoint for name, endpoint in endpoints.items() if "{" not in name}
        self._rest, self.routes = rest, rest.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        endpoint = self._exact.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (endpoint or self._rest)(scope, receive, send)


@cache
def _openapi(routes: tuple[Route, ...]) -> bytes:
    return json.dumps(document(routes), separators=(",", ":")).encode()


def _plain_endpoints(hall: Hall, openapi: bytes) -> dict[str, Endpoint]:
    probes = Turnstile(PROBES_MAX)  # whoever asks about health without a key cannot crowd it out

    async def state_of_door() -> ReadyResponse:
        with probes.entered():
            try:
                return await hall.probes.run_shared(hall.answer_seconds_max, lambda: _readiness(hall.door))
            except TooLate:
                return _not_ready("the state could not be read in time")

    async def live() -> Reply:
        return reply(LiveResponse())

    async def ready() -> Reply:
        state = await state_of_door()
        answer = reply(state)
        return answer if state.ready else Reply(503, answer.body)

    async def metrics() -> Reply:
        state = await state_of_door()
        media = b"text/plain; version=0.0.4; charset=utf-8"
        return Reply(200, hall.metrics.render(state), media)

    async def contract() -> Reply:
        return Reply(200, openapi)

    replying = {
        "GET /livez": live,
        "GET /readyz": ready,
        "GET /metrics": metrics,
        "GET /v1/openapi.json": contract,
    }
    return {name: PlainEndpoint(hall, name, roles, replying[name]) for name, roles in PLAIN_ROUTES.items()}


def _readiness(door: Door) -> ReadyResponse:
    try:
        return door.ready()
    except Exception as error:  # noqa: BLE001  # whatever it is, the answer is: not ready
        return _not_ready(f"the state cannot be read: {type(error).__name__}")


def _not_ready(problem: str) -> ReadyResponse:
    return ReadyResponse(ready=False, degraded=True, problems=(problem,), snapshot_as_of=None)
