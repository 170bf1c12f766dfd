"""An office behind real HTTP in this process: sockets, routes, keys and roles as in the service, on a clock the test moves."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from serving.http.api import build_app
from serving.office import Office


class _Server(uvicorn.Server):
    """Leaves the signals to the test."""

    def install_signal_handlers(self) -> None:
        """Nothing."""


@contextmanager
def listening(office: Office, answer_seconds_max: float = 4.0) -> Generator[int]:
    """The port on which the office answers inside the block."""
    app = build_app(office, answer_seconds_max=answer_seconds_max)
    server = _Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it answered"
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
