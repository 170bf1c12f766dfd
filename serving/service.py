"""The BentoML service `serving.service:NextBestOffer`; the only file that imports bentoml.

BentoML hosts: processes, sockets, packaging. Every request goes straight to our own application
(serving/http/api.py), so that none of BentoML's pages, schemas or metrics can be reached.

The environment says what to serve: NBO_HOME, the bank's home (`./bank` where it is not set);
NBO_WORKERS, how many processes serve it (one on SQLite); NBO_COMPLAINT, a file for the one line that says why it cannot be opened (else stderr); and, for
tests only, NBO_DOOR, `module:function` of another door than serving.office:open_office.
"""

import gc
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import ClassVar, NoReturn

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read while bentoml is imported

import bentoml
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.console.app import console
from serving.console.house import House
from serving.http.answers import problem
from serving.http.api import build_app
from serving.http.door import Door
from serving.logs import log_in_lines
from serving.office import Office

DOOR = "serving.office:open_office"
SWITCH_SECONDS = 0.0005  # writer and event loop hand over ten times as often: a quarter faster
# BentoML's heap is large and lives for ever: without this a full collection stops all for 100 ms.
GC_THRESHOLDS = (50_000, 50, 100)


def open_door() -> Door:
    """The door of the home in NBO_HOME; a ValueError of one line where it cannot be opened."""
    home = Path(os.environ.get("NBO_HOME", "bank"))
    module, _, function = os.environ.get("NBO_DOOR", DOOR).partition(":")
    door: Door = getattr(importlib.import_module(module), function)(home, serving=True)
    return door


class Front:
    """Every request to our application; BentoML sees start and stop only.

    `app` is null until the service has opened its door, and again once it has closed it.
    """

    app: ClassVar[ASGIApp | None] = None

    def __init__(self, app: ASGIApp) -> None:
        self._host = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on what is not a request."""
        if scope["type"] == "lifespan":
            # BentoML puts its tracing and its time-out before every middleware of a service: a task, a future and a
            # timer with each request. It starts before the first one comes; from then on they come to us first.
            scope["app"].middleware_stack = self
            await self._host(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif Front.app is not None:
            await Front.app(scope, receive, send)
        else:
            await problem(503, "unavailable", "the service is starting or stopping").send(send)


@bentoml.service(
    workers=int(os.environ.get("NBO_WORKERS", "1")),  # SQLite has one serving process; the ledger refuses a second one
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    monitoring={"enabled": False},
)
class NextBestOffer:
    """For each customer the one next offer and channel, or silence, over HTTP."""

    def __init__(self) -> None:
        self._door: Door | None = None  # null before the start and after the end
        self._house: House | None = None  # null where the door is no office: the tests'

    @bentoml.on_startup
    def open(self) -> None:
        """Open the door, then take requests. A home that cannot be opened ends the process."""
        logging.getLogger("uvicorn.access").disabled = True
        log_in_lines()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            self._door = open_door()
        except ValueError as error:
            _end(str(error))
        pages: list[Route] = []
        if isinstance(self._door, Office):
            self._house, pages = console(self._door)
        Front.app = build_app(self._door, pages=pages)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Take no more requests, finish what was begun, release the ledger."""
        Front.app = None
        if self._house is not None:
            self._house.close()
        if self._door is not None:
            self._door.close()


def _end(line: str) -> NoReturn:
    """End this worker with one line. An exception would be logged as two long tracebacks."""
    if complaint := os.environ.get("NBO_COMPLAINT"):
        Path(complaint).write_text(line, encoding="utf-8")
    else:
        print(f"error: {line}", file=sys.stderr, flush=True)
    os._exit(2)


NextBestOffer.add_asgi_middleware(Front)  # pyright: ignore[reportArgumentType]  # its protocol describes the instance
