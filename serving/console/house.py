"""What all pages share: the office, a few threads of their own, the templates, the jobs, and how people sign in."""

from concurrent.futures import ThreadPoolExecutor
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
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


class _Compiled(BytecodeCache):
    """Templates compiled once per process, in memory: both languages run the same code."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """The code of the same name and the same source, if there is."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        assert bucket.code is not None
        self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _Compiled()


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
            loader=PackageLoader("serving.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            bytecode_cache=_COMPILED,
        )  # fmt: skip
        self._environment.globals["instant"] = instant  # pyright: ignore[reportArgumentType]  # its stubs know the built-in ones
        self._tongues: dict[Tongue, tuple[Environment, Saying]] = {tongue: self._of(tongue) for tongue in TONGUES}
        self.pool.submit(self._compile)

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

    def _compile(self) -> None:
        """All pages, so that the first who opens one does not wait for it: a second of a slow core."""
        for environment, _ in self._tongues.values():
            for template in environment.list_templates(extensions=["html"]):
                environment.get_template(template)

    def _of(self, tongue: Tongue) -> tuple[Environment, Saying]:
        environment = self._environment.overlay()
        environment.filters = {**self._environment.filters, **tellers(tongue, self.settings.tz, self.settings.currency)}  # pyright: ignore[reportAttributeAccessIssue]  # likewise
        return environment, saying(tongue)
