"""The table of pages, and how a request becomes an answer: who, may he, whose form, then the page.

A page runs in one of a few threads of the console's own, never on the event loop and never among the API's readers.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rules.errors import RulesError
from serving.campaign import CampaignError
from serving.console import (
    campaigns,
    changes,
    customer,
    decision,
    desk,
    joblook,
    lists,
    models,
    rules,
    signing_in,
    today,
    worklist,
)
from serving.console.cookies import LANGUAGE, SESSION, YEAR_SECONDS, inside, is_ours, set_cookie
from serving.console.forms import NO_FORM, Form, read_form
from serving.console.house import SECURITY_HEADERS, House
from serving.console.jobs import JobError
from serving.console.strings import TONGUES, Tongue, preferred
from serving.console.visit import Visit
from serving.engine import EngineError
from serving.http import guard
from serving.http.answers import error_reply
from serving.http.errors import DoorError, Forbidden, NotFound, Unprocessable, as_door_error
from serving.http.messages.reading import MessageError
from serving.ledger.keys import Role
from serving.ledger.sessions import find
from serving.lists.files import ListError
from serving.office import Office

logger = logging.getLogger("nbo.http")
_C, _M, _L, _D, _A = Role.CHANNEL, Role.MARKETING, Role.COMPLIANCE, Role.DATA_SCIENCE, Role.ADMIN
OFFICE_ROLES, REVIEW, OFFERS = (_M, _L, _D, _A), (_M, _L, _A), (_M, _A)
TOLD = (RulesError, CampaignError, ListError, EngineError, JobError)  # one line for people, without a customer's data


@dataclass(frozen=True)
class Page:
    """One page. section: its name in the menu; empty: it is not there."""

    method: Literal["GET", "POST"]
    path: str
    answer: Callable[[Visit], Response]
    roles: frozenset[Role]
    section: str = ""

    def __post_init__(self) -> None:
        if not self.roles:
            raise ValueError(f"page `{self.method} {self.path}` has no role; say who may see it")


def _get(path: str, answer: Callable[[Visit], Response], *roles: Role, section: str = "") -> Page:
    return Page("GET", path, answer, frozenset(roles), section)


def _post(path: str, answer: Callable[[Visit], Response], *roles: Role) -> Page:
    return Page("POST", path, answer, frozenset(roles))


PAGES: tuple[Page, ...] = (
    _get("/console/today", today.today, *OFFICE_ROLES, section="Today"),
    _post("/console/switches", today.switch, *REVIEW),
    _get("/console/campaigns", campaigns.campaigns, *REVIEW, section="Campaigns"),
    _get("/console/campaigns/new", campaigns.new, *OFFERS),
    _post("/console/campaigns/new", campaigns.propose, *OFFERS),
    _get("/console/campaigns/{campaign}", campaigns.campaign, *REVIEW),
    _get("/console/campaigns/{campaign}/edit", campaigns.edit, *OFFERS),
    _post("/console/campaigns/{campaign}/try", campaigns.dry_run, *REVIEW),
    _post("/console/campaigns/{campaign}/results", campaigns.measure, *REVIEW),
    _post("/console/campaigns/{campaign}/recall", campaigns.recall, *OFFERS),
    _post("/console/campaigns/{campaign}/list", campaigns.make_list, *OFFERS),
    _get("/console/lists/{run}", lists.run, *REVIEW),
    _get("/console/lists/{run}/{file}", lists.download, *REVIEW),
    _get("/console/rules", rules.rules, *OFFICE_ROLES, section="Rules"),
    _post("/console/rules/prove", rules.prove, *OFFICE_ROLES),
    _get("/console/rules/{rule}", rules.rule, *OFFICE_ROLES),
    _get("/console/changes", changes.changes, *REVIEW, section="Changes"),
    _get("/console/changes/new", changes.new, *REVIEW),
    _post("/console/changes/new", changes.propose, *REVIEW),
    _get("/console/changes/{change}", changes.change, *REVIEW),
    _post("/console/changes/{change}", changes.judge, *REVIEW),
    _get("/console/customers", customer.search, _L, _A, section="Customer"),
    _get("/console/customers/{customer}", customer.customer, _L, _A),
    _get("/console/decisions", decision.search, _L, _A, section="Decision"),
    _post("/console/decisions/verify", decision.verify, _L, _A),
    _get("/console/decisions/{decision}", decision.decision, _L, _A),
    _get("/console/desk", desk.desk, _C, _A, section="Desk"),
    _post("/console/desk", desk.ask, _C, _A),
    _get("/console/desk/{decision}", desk.offers, _C, _A),
    _post("/console/desk/{decision}", desk.tell, _C, _A),
    _get("/console/worklist", worklist.worklist, _C, _M, _A, section="Worklist"),
    _post("/console/worklist/moves", worklist.move, _C, _M, _A),
    _get("/console/worklist/{contact}", worklist.task, _C, _M, _A),
    _post("/console/worklist/{contact}", worklist.act, _C, _A),
    _get("/console/models", models.models, *OFFICE_ROLES, section="Models"),
    _post("/console/models/measure", models.measure, *OFFICE_ROLES),
    _get("/console/jobs/{job}", joblook.job, *OFFICE_ROLES),
    _get("/console/jobs/{job}/{picture}", joblook.picture, *OFFICE_ROLES),
)


def console(office: Office) -> tuple[House, list[Route]]:
    """The console over an office, and its routes; close the house before the office."""
    house = House(office)
    found = [Route(page.path, Screen(house, page), methods=[page.method]) for page in PAGES]
    found += [
        Route("/console", Screen(house, Page("GET", "/console", _first, frozenset(Role))), methods=["GET"]),
        Route("/console/sign-out", Screen(house, Page("POST", "/console/sign-out", signing_in.sign_out, frozenset(Role))), methods=["POST"]),
        Route("/console/language", _language, methods=["GET"]),
        Route("/console/static/{file}", _static, methods=["GET"]),
        *signing_in.routes(house, tongue_of),
        Route("/console/{rest:path}", Screen(house, Page("GET", "/console/{rest}", _nowhere, frozenset(Role))), methods=["GET", "POST"]),
    ]  # fmt: skip
    house.pool.submit(rules.warm, house)
    return house, found


class Screen:
    """A page as an ASGI application."""

    def __init__(self, house: House, page: Page) -> None:
        self._house, self._page = house, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every exception ends here, as a page."""
        request = Request(scope)
        try:
            with self._house.turnstile.entered():
                form = await read_form(scope, receive) if scope["method"] == "POST" else NO_FORM
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._house.pool, self._answer, request, form)
        except Exception as error:  # noqa: BLE001  # an error nobody expected is a page with one line
            answer = problem_page(self._house, request, f"{self._page.method} {self._page.path}", error)
        await answer(scope, receive, send)

    def _answer(self, request: Request, form: Form) -> Response:
        house, page, token = self._house, self._page, request.cookies.get(SESSION, "")
        with house.office.ledger.read() as connection:
            session = find(connection, token) if token else None
        if session is None or not signing_in.still_holds(house, request, session):
            return _to_sign_in(request)
        if request.method == "POST" and not is_ours(request, house.secret, session.digest, form.one("csrf")):
            raise Forbidden("this form is not of your session any more; go back, reload the page and send it again")
        sections = tuple(
            (one.path, one.section) for one in PAGES if one.section and session.principal.role in one.roles
        )
        visit = Visit(house, request, session, tongue_of(request), form, sections)
        try:
            guard.check_role(session.principal, page.roles)
            with _plainly():
                return page.answer(visit)
        except Exception as error:  # noqa: BLE001  # likewise a page, with his menu
            return problem_page(house, request, f"{page.method} {page.path}", error, visit)


@contextmanager
def _plainly() -> Generator[None]:
    """What people typed and our rooms refuse in one line, as an answer."""
    try:
        yield
    except TOLD as error:
        raise Unprocessable(" ".join(str(error).split())) from error


def problem_page(house: House, request: Request, route: str, error: Exception, visit: Visit | None = None) -> Response:
    """The page of an error: what, where, remedy; nothing of what nobody expected. visit: null where nobody is signed in."""
    known: DoorError | None = Unprocessable(str(error)) if isinstance(error, MessageError) else as_door_error(error)
    if known is None:
        error_reply(route, error)  # logs its kind and place
        known = DoorError("something failed on our side; go back and try again")
    tongue = tongue_of(request)
    said: dict[str, Any] = {"message": house.t(tongue)(known.message), "code": known.code, "number": known.status}
    said["spoken"] = "en" if said["message"] == known.message else tongue
    return house.page(tongue, "problem.html", known.status, **said) if visit is None else visit.page("problem.html", known.status, **said)  # fmt: skip


def tongue_of(request: Request) -> Tongue:
    """The language of the cookie, else the one the browser prefers."""
    kept = request.cookies.get(LANGUAGE)
    if kept == "zh" or kept == "en":  # noqa: PLR1714  # so that its type is narrowed
        return kept
    return preferred(request.headers.get("accept-language", ""))


def _first(visit: Visit) -> Response:
    return visit.go(visit.sections[0][0])


def _nowhere(visit: Visit) -> Response:
    raise NotFound("there is no such page; the menu above has what there is")


def _to_sign_in(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = urlencode({"next": inside(wanted)}) if request.method == "GET" else ""
    return RedirectResponse("/console/sign-in" + (f"?{query}" if query else ""), 303, headers=SECURITY_HEADERS)


async def _language(request: Request) -> Response:
    wanted = request.query_params.get("to", "")
    answer = RedirectResponse(inside(request.query_params.get("next", "")), 303, headers=SECURITY_HEADERS)
    if wanted in TONGUES:
        set_cookie(request, answer, LANGUAGE, wanted, YEAR_SECONDS)
    return answer


_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = {path.name: path.read_bytes() for path in (resources.files("serving.console") / "static").iterdir()}


async def _static(request: Request) -> Response:
    body = _FILES.get(request.path_params["file"])
    if body is None:
        return HTMLResponse("", 404, headers=SECURITY_HEADERS)
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = SECURITY_HEADERS | {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type=_MEDIA[request.path_params["file"].rpartition(".")[2]])
