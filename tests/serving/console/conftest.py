"""A console over a small home, asked without a browser: a client that signs in, reads forms and sends them."""

import re
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from features.home import Home
from features.signin import SignIn
from serving.console.app import console
from serving.console.cookies import PATH, SESSION
from serving.console.house import House
from serving.http.api import build_app
from serving.ledger import users
from serving.ledger.keys import Principal, Role
from serving.ledger.sessions import begin
from serving.office import Office

PASSWORD = "correct horse battery"
HASH = users._HASHER.hash(PASSWORD)  # once: it takes its time on purpose
USERS = {"mei": Role.MARKETING, "lin": Role.COMPLIANCE, "wang": Role.COMPLIANCE, "call-li": Role.CHANNEL,
         "ana": Role.DATA_SCIENCE, "boss": Role.ADMIN}  # fmt: skip


class Browser:
    """One person's browser: cookies, no script."""

    def __init__(self, app: Any, address: str = "http://127.0.0.1") -> None:
        self.client = TestClient(app, base_url=address, follow_redirects=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def token(self, page: httpx.Response) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
        assert found, page.text[:2000]
        return found.group(1)

    def post(self, path: str, shown_on: str | None = None, **fields: Any) -> httpx.Response:
        """Send a form that stands on a page, with its token and a key of its own."""
        page = self.get(shown_on or path)
        assert page.status_code == 200, (page.status_code, page.text[-600:])
        key = re.search(r'name="key" value="([^"]+)"', page.text)
        return self.client.post(path, data={"csrf": self.token(page), "key": key.group(1) if key else ""} | fields)

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        page = self.get("/console/sign-in")
        return self.client.post(
            "/console/sign-in", data={"csrf": self.token(page), "name": name, "password": password, "next": "/console"}
        )


def add_users(office: Office) -> None:
    """Everybody, with the same password."""
    for name, role in USERS.items():
        office.ledger.write(
            lambda c, name=name, role=role: users.add(c, name, HASH, role, office.ledger.now_micros())
        ).result()


def session_of(office: Office, name: str) -> str:
    """The token of a new session of that user."""
    token = office.ledger.write(lambda c: begin(c, Principal(name, USERS[name]), "password", HASH)).result()
    assert token is not None
    return token


def other_way(office: Office, sign_in: SignIn) -> tuple[House, Any]:
    """The console and application of the same home with another way to sign in."""
    home = office.engine.home
    settings = home.settings.model_copy(update={"sign_in": sign_in})
    office.engine = replace(office.engine, home=Home(home.path, settings))
    house, pages = console(office)
    return house, build_app(office, pages=pages)


@pytest.fixture
def app(office: Office) -> Generator[Any]:
    """The application with its console, and everybody a user."""
    add_users(office)
    house, pages = console(office)
    yield build_app(office, pages=pages)
    house.close()


@pytest.fixture
def person(app: Any, office: Office) -> Callable[[str], Browser]:
    """A browser in which that user is signed in; how one signs in is test_signing_in's."""

    def make(name: str) -> Browser:
        browser = Browser(app)
        browser.client.cookies.set(SESSION, session_of(office, name), path=PATH)
        return browser

    return make


@pytest.fixture
def stranger(app: Any) -> Browser:
    """A browser in which nobody is."""
    return Browser(app)


@pytest.fixture(scope="session")
def bank_served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    """A console with a list, for all walks of this process; skips where there is no browser."""
    from tests.serving.console import walking

    if walking.CHROMIUM is None:
        pytest.skip(walking.NO_CHROMIUM)
    with walking.serving(tmp_path_factory.mktemp("walks") / "bank") as bank:
        yield bank


@pytest.fixture(scope="module")
def chromium(bank_served: Any) -> Generator[Any]:
    """A browser for one file: while it is open its event loop stands in this thread, and no other can run there."""
    from tests.serving.console import walking

    with walking.browsing() as browser:
        yield browser


@pytest.fixture
def someone(chromium: Any, bank_served: Any) -> Generator[Callable[..., Any]]:
    """Somebody signed in, by name and look; at the end nobody's browser may have complained."""
    from tests.serving.console import walking

    people: list[Any] = []

    def make(name: str, look: str = "en-1280") -> Any:
        people.append(walking.Person(chromium, bank_served, name, look))
        return people[-1]

    yield make
    for one in people:
        one.leave()
