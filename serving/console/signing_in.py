"""Signing in and out: with a password, as the bank's proxy says, or through its OpenID provider (oidc.py).

Whatever the way, what follows is a session of ours. With a proxy it ends as soon as the proxy names somebody else.
"""

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.console.cookies import SESSION, VISIT, drop_cookie, form_token, inside, is_ours, new_visit, set_cookie
from serving.console.forms import Form, read_form
from serving.console.house import SECURITY_HEADERS, House
from serving.console.strings import Tongue
from serving.console.visit import Visit
from serving.http.errors import DoorError, Forbidden
from serving.ledger.book import NOTHING
from serving.ledger.keys import Principal, Role
from serving.ledger.sessions import Session, begin, end
from serving.ledger.users import matches, stored

ANSWER_SECONDS_MAX = 8.0
WRONG = "That name and password do not go together."
WAIT = "Too many tries. Wait a quarter of an hour."
OUTSIDE = "You are signed in at the bank, but in no group that may use this console. Ask your administrator."
STALE = "The page was open for too long. Try again."
logger = logging.getLogger("nbo.http")
TongueOf = Callable[[Request], Tongue]


def routes(house: House, tongue_of: TongueOf) -> list[Route]:
    """The routes that need no session."""
    door = _Door(house, tongue_of)
    found = [
        Route("/console/sign-in", door.shown, methods=["GET"]),
        Route("/console/sign-in", door.sent, methods=["POST"]),
    ]
    if house.settings.sign_in.way == "oidc":
        from serving.console.oidc import oidc_routes  # its libraries are loaded where somebody needs them

        found += oidc_routes(house, granted, OUTSIDE, open_session, door.refused, door.welcome)
    return found


def granted(groups: Mapping[str, str], name: str, member_of: Iterable[str]) -> Principal | None:
    """Whom a bank's sign-on means: the first of `groups` he is in says his role; null: he is in none.

    `channel:call` makes li of a group `call-li`: the name of a channel's principal begins with its channel.
    """
    member = set(member_of)
    role = next((role for group, role in groups.items() if group in member), None)
    if role is None or not 0 < len(name) <= 48 or not name.isprintable() or name != name.strip():
        return None
    kind, _, channel = role.partition(":")
    return Principal(f"{channel}-{name}" if channel else name, Role(kind))


def of_proxy(house: House, request: Request) -> Principal | None:
    """Whom the proxy in front names; null where it names nobody known, or does not prove to be the proxy."""
    sign_in, proxy = house.settings.sign_in, house.settings.sign_in.proxy
    file = house.office.engine.home.path / proxy.secret_file
    secret = file.read_text("utf-8").strip() if file.is_file() else ""
    presented = request.headers.get(proxy.secret_header, "")
    if not secret or not hmac.compare_digest(secret.encode(), presented.encode()):
        return None
    groups = re.split(r"\s*,\s*", request.headers.get(proxy.groups_header, ""))
    return granted(sign_in.groups, request.headers.get(proxy.name_header, ""), groups)


def still_holds(house: House, request: Request, session: Session) -> bool:
    """Whether the session is of the way in force, and the proxy still names the same person in the same role."""
    way = house.settings.sign_in.way
    return session.way == way and (way != "proxy" or of_proxy(house, request) == session.principal)


def open_session(house: House, principal: Principal, way: str, password: str | None = None) -> str | None:
    """The token of a new session, once it is on disk; null where the password was changed meanwhile."""
    work = house.office.ledger.write(lambda connection: begin(connection, principal, way, password), touches=NOTHING)
    return work.result(ANSWER_SECONDS_MAX)


def sign_out(visit: Visit) -> Response:
    """End the session."""
    ledger = visit.house.office.ledger
    ledger.write(lambda connection: end(connection, visit.session.digest), touches=NOTHING).result(ANSWER_SECONDS_MAX)
    answer = visit.go("/console/sign-in")
    drop_cookie(answer, SESSION)
    return answer


class _Door:
    """The sign-in page."""

    def __init__(self, house: House, tongue_of: TongueOf) -> None:
        self._house, self._tongue_of = house, tongue_of

    async def shown(self, request: Request) -> Response:
        """The page, before anything was typed."""
        return self._page(request, "", request.query_params.get("next", ""))

    async def sent(self, request: Request) -> Response:
        """A session, or the page once more with what was wrong."""
        try:
            form = await read_form(request.scope, request.receive)
        except DoorError as error:
            return self._page(request, error.message, "", error.status)
        if not is_ours(request, self._house.secret, request.cookies.get(VISIT, ""), form.one("csrf")):
            return self._page(request, STALE, form.one("next"), 403)
        with self._house.turnstile.entered():
            return await asyncio.get_running_loop().run_in_executor(self._house.pool, self._checked, request, form)

    def refused(self, request: Request, message: str) -> Response:
        """The page with what was wrong at the provider."""
        return self._page(request, message, "", 403)

    def welcome(self, request: Request, token: str, wanted: str) -> Response:
        """On into the console."""
        answer = RedirectResponse(inside(wanted), 303, headers=SECURITY_HEADERS)
        set_cookie(request, answer, SESSION, token)
        drop_cookie(answer, VISIT)
        return answer

    def _checked(self, request: Request, form: Form) -> Response:
        wanted, way = form.one("next"), self._house.settings.sign_in.way
        if way == "proxy":
            found = of_proxy(self._house, request)
            token = open_session(self._house, found, way) if found else None
            return self._page(request, OUTSIDE, wanted, 403) if token is None else self.welcome(request, token, wanted)
        if way == "oidc":
            raise Forbidden("passwords are not taken here; sign in at the bank")
        name, throttle = form.one("name"), self._house.throttle
        if throttle.is_shut(name):
            return self._page(request, WAIT, wanted, 429)
        with self._house.office.ledger.read() as connection:
            kept = stored(connection, name)
        fits = matches(kept, form.fields.get("password", [""])[0])
        token = (
            open_session(self._house, Principal(name, kept.role), way, kept.password) if fits and kept.role else None
        )
        if token is None:
            throttle.failed(name)
            logger.warning("a sign-in to the console failed")
            return self._page(request, WRONG, wanted, 403)
        throttle.passed(name)
        return self.welcome(request, token, wanted)

    def _page(self, request: Request, problem: str, wanted: str, status: int = 200) -> Response:
        house, tongue = self._house, self._tongue_of(request)
        kept = request.cookies.get(VISIT, "")
        visit, way = kept or new_visit(), house.settings.sign_in.way
        named: Any = of_proxy(house, request) if way == "proxy" else None
        answer = house.page(tongue, "sign_in.html", status, way=way, named=named, problem=house.t(tongue)(problem) if problem else "",
                            next=inside(wanted), csrf=form_token(house.secret, visit), outside=way == "proxy" and named is None)  # fmt: skip
        if not kept:
            set_cookie(request, answer, VISIT, visit)
        return answer
