"""The service over real HTTP, on a clock the test moves."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from examples.client import Client
from serving.ledger.keys import Role, add
from serving.office import Office
from tests.home import Clock, copied, office_at, rows
from tests.wire import listening


class Ticking(Clock):
    """A clock that goes on by itself: whoever reads it twice reads two instants, as in the bank."""

    def __call__(self) -> datetime:
        return self.forward(milliseconds=1)


@dataclass
class Served:
    """A running service: its clock, its office, and a client per key."""

    clock: Clock
    office: Office
    client: Callable[[str], Client]


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    clock = Ticking()
    office = office_at(copied(tmp_path / "bank"), clock)
    secret = office.engine.home.secret()
    with listening(office) as port:

        def client(name: str) -> Client:
            now = office.ledger.now_micros()
            key = office.ledger.write(lambda c: add(c, name, Role.CHANNEL, secret=secret, now=now))
            return Client(f"http://127.0.0.1:{port}", key.result(10))

        yield Served(clock, office, client)
    office.close()


def due_texts(served: Served, n: int) -> list[str]:
    """So many customers' contacts reserved for SMS, whoever of the bank may get one."""
    asker, found = served.client("sms-decider"), list[str]()
    customers = [c for (c,) in rows(served.office, "SELECT customer_id FROM units ORDER BY customer_id LIMIT 300")]
    for customer in customers:
        answer = asker.post("/v1/decisions", f"ask-{customer}", {"customer_id": customer, "channels": ["sms"]})
        if answer["choices"]:
            after = answer["choices"][0]["send_after"]
            assert after is not None
            found.append(answer["choices"][0]["contact_id"])
        if len(found) == n:
            return found
    raise AssertionError(f"not {n} of 300 may get a text")


def due_text(served: Served) -> str:
    """One of them."""
    [contact] = due_texts(served, 1)
    return contact
