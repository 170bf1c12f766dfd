"""What all pages share: the office, a few threads of their own, the templates, the jobs, and how people sign in."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.responses import HTMLResponse

from serving.claims import instant
from serving.console.jobs import Jobs
from serving.console.strings import TONGUES, Saying, Tongue, saying
from serving.console.telling import tellers
from serving.console.throttle import Throttle
from serving.http.guard import Turnstile
from serving.office import Office

THREADS = 3  # pages wait for each other rather than for decisions
CROWD_MAX = 64
# Nothing is fetched from outside, no script or style stands in a page, nobody frames it.
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class House:
    """Made once per process; `close` it before the office."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="nbo-console")
        self.turnstile = Turnstile(CROWD_MAX)
        self.throttle = Throttle()
        home = office.engine.home
        self.jobs = Jobs(home.path)
        self.settings = home.settings
        self._environment = Environment(
            loader=PackageLoader("serving.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )  # fmt: skip
        self._environment.globals["instant"] = instant  # pyright: ignore[reportArgumentType]  # its stubs know the built-in ones
        self._tongues: dict[Tongue, tuple[Environment, Saying]] = {tongue: self._of(tongue) for tongue in TONGUES}

    def close(self) -> None:
        """End what runs aside, answer nobody any more."""
        self.jobs.close()
        self.pool.shutdown(cancel_futures=True)

    @property
    def secret(self) -> bytes:
        """The home's secret."""
        return self.office.ledger.secret

    def t(self, tongue: Tongue) -> Saying:
        """`t` of a language."""
        return self._tongues[tongue][1]

    def page(self, tongue: Tongue, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A template as an answer; every text is escaped."""
        environment, t = self._tongues[tongue]
        found: Template = environment.get_template(template)
        text = found.render(t=t, tongue=tongue, bank=self.settings.name, **values)
        return HTMLResponse(text, status, headers=SECURITY_HEADERS)

    def _of(self, tongue: Tongue) -> tuple[Environment, Saying]:
        environment = self._environment.overlay()
        environment.filters = {**self._environment.filters, **tellers(tongue, self.settings.tz, self.settings.currency)}  # pyright: ignore[reportAttributeAccessIssue]  # likewise
        return environment, saying(tongue)
