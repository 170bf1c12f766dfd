"""One request of somebody who is signed in: who, in which language, with which form - and how he acts.

What a page changes it changes through a route of the HTTP API: the same roles, the same message, the same method of the
door, an idempotency key that stood in the form. Twice pressed is once done.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.console.cookies import form_token
from serving.console.forms import Form
from serving.console.house import SECURITY_HEADERS, House
from serving.console.strings import Tongue
from serving.engine import Engine
from serving.http import guard
from serving.http.door import Call, StoredAnswer
from serving.http.errors import DoorError, TooLate
from serving.http.messages import ErrorResponse, Message
from serving.http.messages.reading import read_body
from serving.http.routes import ROUTES
from serving.ledger.keys import Principal, Role
from serving.ledger.sessions import Session

ANSWER_SECONDS_MAX = 8.0
ROWS = 50  # of a table on one page
# What a page may be told was done, on the page it goes on to.
DONE = ("switch_paused", "switch_resuming", "switch_running", "proposed", "recalled", "approve", "reject", "withdraw", "activate",
        "rollback", "told", "claimed", "cancelled", "moved")  # fmt: skip
_ROUTES = {route.name: route for route in ROUTES}

T = TypeVar("T")


class Refused(DoorError):
    """What the door answered, told once more."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, code=code)
        self.status = status  # pyright: ignore[reportAttributeAccessIssue]  # a class variable of the others


@dataclass(frozen=True)
class Paged:
    """Where in a long table a page stands. n: rows in all."""

    number: int
    n: int

    @property
    def last(self) -> int:
        """Number of the last page, from 1."""
        return max(-(-self.n // ROWS), 1)

    @property
    def start(self) -> int:
        """Place of the first row, from 0."""
        return (self.number - 1) * ROWS


@dataclass(frozen=True)
class Visit:
    """A request, admitted. Runs in a thread of the console's own and may block."""

    house: House
    request: Request
    session: Session
    tongue: Tongue
    form: Form
    sections: tuple[tuple[str, str], ...]  # (path, name) of the menu

    @property
    def principal(self) -> Principal:
        """Who."""
        return self.session.principal

    @property
    def role(self) -> Role:
        """His role."""
        return self.session.principal.role

    @property
    def now(self) -> int:
        """The ledger's time, microseconds."""
        return self.house.office.ledger.now_micros()

    def t(self, text: str, **values: object) -> str:
        """The text in his language."""
        return self.house.t(self.tongue)(text, **values)

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str:
        """A field of the query; empty where it is not there."""
        return self.request.query_params.get(name, "").strip()

    def read(self, work: Callable[[Engine, Connection], T]) -> T:
        """What a reader finds in one view of the ledger, by the engine in force. Nothing can be written in there."""
        office = self.house.office
        with office.ledger.read() as connection:
            return work(office.in_force(connection, self.now), connection)

    def call(self, route: str, body: bytes | None = None, key: str | None = None) -> Call:
        """A request of his, as the HTTP layer would hand it on."""
        path = self.request.url.path.encode()
        digest = None if body is None else hashlib.sha256(path + b"\n" + body).hexdigest()
        return Call(self.principal, route, key, digest, time.monotonic() + ANSWER_SECONDS_MAX)

    def ask(self, route: str, *given: Any) -> Any:
        """The door's answer to a GET of the API; Forbidden where his role may not."""
        found = _ROUTES[route]
        guard.check_role(self.principal, found.roles)
        return getattr(self.house.office, found.door)(*given, self.call(route))

    def act(self, route: str, fields: Mapping[str, Any], *ids: str) -> Any:
        """The door's answer to a POST of the API, after its commit.

        Forbidden where his role may not; MessageError where the fields do not fit; any DoorError of the door.
        """
        found = _ROUTES[route]
        guard.check_role(self.principal, found.roles)
        assert found.request is not None
        body = json.dumps(dict(fields), sort_keys=True).encode()
        message = read_body(found.request, body)
        key = self.form.one("key")[:100] or secrets.token_urlsafe(16)
        done = getattr(self.house.office, found.door)(*ids, message, self.call(route, body, f"console-{key}"))
        return _answered(found.response, done)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """One of our pages, with menu and tokens."""
        return self.house.page(
            self.tongue, template, status, visit=self, sections=self.sections, here=self.request.url.path, role=str(self.role),
            csrf=form_token(self.house.secret, self.session.digest), key=secrets.token_urlsafe(12), done=self.asked("done") if self.asked("done") in DONE else "", **values,
        )  # fmt: skip

    def go(self, path: str, **query: str) -> Response:
        """On to another page, after something was done: reloading does not do it twice."""
        return RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303, headers=SECURITY_HEADERS)

    def paged(self, n: int) -> Paged:
        """Which page of a table of n rows is asked for."""
        wanted = self.asked("page")
        last = Paged(1, n).last
        return Paged(min(max(int(wanted), 1), last) if wanted.isdigit() and len(wanted) < 9 else 1, n)

    def link(self, **changed: str | int) -> str:
        """The page with some fields of the query changed; an empty one goes."""
        query = {k: v for k, v in {**self.request.query_params, **changed}.items() if str(v) and k != "done"}
        return self.request.url.path + (f"?{urlencode(query)}" if query else "")


def _answered(response: type[Message], done: Future[StoredAnswer] | StoredAnswer) -> Message:
    if isinstance(done, Future):
        try:
            done = done.result(ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise TooLate("no answer in time, and whether it was done is not known yet; look, and send it again", code="outcome_unknown") from None  # fmt: skip
    if done.status >= 400:
        problem = ErrorResponse.model_validate_json(done.body).error
        raise Refused(done.status, problem.code, problem.message)
    return response.model_validate_json(done.body)
