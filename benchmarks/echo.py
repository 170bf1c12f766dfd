"""What a server can do that decides nothing: an echo mounted as our application is, and BentoML's own."""

import gc
import json
import logging
import os
import sys
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read while bentoml is imported

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.service import GC_THRESHOLDS, SWITCH_SECONDS, Front

# The time-out is for BentoML's own echo: it keeps a timer of each request for so long.
SETTINGS: Any = {"traffic": {"timeout": 15}, "metrics": {"enabled": False}, "logging": {"access": {"enabled": False}},
            "tracing": {"excluded_urls": ".*"}, "monitoring": {"enabled": False}, "workers": 1}  # fmt: skip


async def echo(request: Request) -> Response:
    """The body, read as JSON and written again."""
    return Response(json.dumps(json.loads(await request.body())), media_type="application/json")


async def live(_: Request) -> Response:
    """It is up."""
    return Response("{}")


app = Starlette(routes=[Route("/v1/echo", echo, methods=["POST"]), Route("/livez", live)])


def _calm() -> None:
    logging.getLogger("uvicorn.access").disabled = True
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@bentoml.service(**SETTINGS)
class Mounted:
    """The echo where the service has its own application."""

    @bentoml.on_startup
    def open(self) -> None:
        """Mount it."""
        Front.app = app
        _calm()


Mounted.add_asgi_middleware(Front)  # pyright: ignore[reportArgumentType]  # as serving/service.py


@bentoml.service(**SETTINGS)
class Own:
    """BentoML's own way to answer."""

    @bentoml.on_startup
    def open(self) -> None:
        """The same calm."""
        _calm()

    @bentoml.api
    async def echo(self, customer_id: str, direction: str) -> dict[str, str]:
        """What was sent."""
        return {"customer_id": customer_id, "direction": direction}
