"""A bank with a list, its console on a port, and people in a real browser: Debian's chromium, driven by Playwright."""

import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page

from features.home import Home
from rules.review import Actor
from serving.changes.desk import examine
from serving.commands.lists import make_list
from serving.console.app import console
from serving.console.cookies import PATH, SESSION
from serving.http.api import build_app
from serving.office import Office
from tests.home import NOW, Clock, copied, office_at
from tests.serving.console.conftest import add_users, session_of

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
NO_CHROMIUM = "no chromium here to walk the console with; apt-get install chromium fonts-noto-cjk"
SHOTS = Path(__file__).parents[3] / "screenshots"  # git leaves it alone
LOOKS = {"en-1280": ("en", 1280), "zh-1280": ("zh", 1280), "en-390": ("en", 390), "zh-390": ("zh", 390)}


@dataclass
class Bank:
    """A running console: where, over which office, on a clock the test moves; run: its list."""

    address: str
    office: Office
    clock: Clock
    run: str


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """The signals are the test's."""


@contextmanager
def serving(folder: Path) -> Generator[Bank]:
    """The console of a bank that has made a list."""
    copied(folder)
    made = make_list(Home.open(folder), ["all_year"], NOW)
    clock = Clock()
    office = office_at(folder, clock)
    office.checker = lambda _, change: examine(office.engine, office.ledger, change, Actor("checker", "admin"))
    add_users(office)
    house, pages = console(office)
    server = _Server(uvicorn.Config(build_app(office, pages=pages), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Bank(f"http://127.0.0.1:{port}", office, clock, made.run)
    server.should_exit = True
    thread.join(10)
    house.close()
    office.close()


@contextmanager
def browsing() -> Generator[Browser]:
    """A browser; nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield made
        made.close()


class Person:
    """Somebody at a screen. Whatever the browser would fetch from elsewhere, or complains of, is kept for the test."""

    def __init__(self, browser: Browser, bank: Bank, name: str, look: str = "en-1280") -> None:
        self.tongue, self.width = LOOKS[look]
        self.bank, self.name, self.look = bank, name, look
        locale = "zh-CN" if self.tongue == "zh" else "en-GB"
        self.context = browser.new_context(
            base_url=bank.address, locale=locale, viewport={"width": self.width, "height": 900}
        )
        self.page: Page = self.context.new_page()
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        self.page.on(
            "request",
            lambda request: None if request.url.startswith(bank.address) else self.foreign.append(request.url),
        )
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        cookie = {"name": SESSION, "value": session_of(bank.office, name), "url": f"{bank.address}{PATH}"}
        self.context.add_cookies([cookie])

    def _heard(self, said: Any) -> None:
        if said.type == "error" and "status of 422" not in said.text:  # a form that does not hold comes once more
            self.complaints.append(said.text)

    def go(self, path: str) -> Page:
        """Look at a page."""
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.ok, (path, answer.status, self.page.inner_text("main")[:300])
        return self.page

    def says(self, en: str, zh: str) -> str:
        """What stands there in his language."""
        return en if self.tongue == "en" else zh

    def text(self) -> str:
        """All that the page says."""
        return self.page.inner_text("main")

    def press(self, en: str, zh: str) -> None:
        """Press a button, and wait for what follows."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=self.says(en, zh), exact=True).first.click()

    def shot(self, name: str) -> None:
        """A picture for people to look at."""
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{name}-{self.look}.png"), full_page=True)

    def leave(self) -> None:
        """Close the window; nothing was fetched from elsewhere, and the browser had nothing to complain of."""
        self.context.close()
        assert self.foreign == []
        assert self.complaints == []


def overflow(page: Page) -> Any:
    """Pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
