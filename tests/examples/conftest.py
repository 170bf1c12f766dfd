"""The service over real HTTP, on a clock the test moves."""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from examples.client import Client
from serving.http.api import build_app
from serving.ledger.keys import Role, add
from serving.office import Office
from tests.home import Clock, copied, office_at


@dataclass
class Served:
    """A running service: its clock, its office, and a client per key."""

    clock: Clock
    office: Office
    client: Callable[[str], Client]


class Server(uvicorn.Server):
    """Leaves the signals to the test."""

    def install_signal_handlers(self) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    clock = Clock()
    office = office_at(copied(tmp_path / "bank"), clock)
    server = Server(uvicorn.Config(build_app(office), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    secret = office.engine.home.secret()

    def client(name: str) -> Client:
        now = office.ledger.now_micros()
        key = office.ledger.write(lambda c: add(c, name, Role.CHANNEL, secret=secret, now=now))
        return Client(f"http://127.0.0.1:{port}", key.result(10))

    yield Served(clock, office, client)
    server.should_exit = True
    thread.join(10)
    office.close()
