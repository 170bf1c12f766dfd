"""P03: same key, same bytes; other body refused; twins in flight do the work once."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from serving.ledger.book import ContactRow, Ledger, contacts_of_units, reserve
from serving.ledger.idempotency import Answer, ConflictError, forget, remember, remembered

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROUTE = "POST /v1/decisions"
WAIT = 10


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def _decide(key: str, body: str, attempt: int) -> Callable[[Connection], Answer]:
    def task(connection: Connection) -> Answer:
        known = remembered(connection, "sms-gateway", ROUTE, key, body)
        if known is not None:
            return known
        name = f"{key}-{attempt}"
        row = ContactRow(contact_id=name, customer_id="C1", unit_id="H1", channel="sms",
                         decided_at=1, send_after=1, send_before=2)  # fmt: skip
        reserve(connection, row)
        answer = Answer(200, name.encode() + b"\0\xff")
        remember(connection, "sms-gateway", ROUTE, key, body, answer, 1)
        return answer

    return task


def test_p03_twins_in_flight_get_the_same_bytes_and_one_contact(ledger: Ledger) -> None:
    def twin(attempt: int) -> list[Answer]:
        tasks = [_decide(f"key{n}", "sha", attempt) for n in range(10)]
        return [ledger.write(task).result(WAIT) for task in tasks]

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(twin, range(6)))
    assert all(answer == answers[0] for answer in answers)
    with ledger.read() as connection:
        assert len(contacts_of_units(connection, ["H1"], 0)) == 10


def test_p03_same_key_with_another_body_is_refused_and_keeps_nothing(ledger: Ledger) -> None:
    first = ledger.write(_decide("key", "sha", 0)).result(WAIT)
    with pytest.raises(ConflictError, match="another body"):
        ledger.write(_decide("key", "other", 1)).result(WAIT)
    assert ledger.write(_decide("key", "sha", 2)).result(WAIT) == first


def test_p03_failed_work_leaves_its_key_free(ledger: Ledger) -> None:
    def fails(connection: Connection) -> Answer:
        _decide("key", "sha", 0)(connection)
        raise OSError("the model is gone")

    with pytest.raises(OSError, match="model is gone"):
        ledger.write(fails).result(WAIT)
    assert ledger.write(_decide("key", "sha", 1)).result(WAIT).body.startswith(b"key-1")


@pytest.mark.parametrize(("principal", "route"), [("call-centre", ROUTE), ("sms-gateway", "POST /x")])
def test_key_belongs_to_its_principal_and_route(ledger: Ledger, principal: str, route: str) -> None:
    ledger.write(_decide("key", "sha", 0)).result(WAIT)
    with ledger.read() as connection:
        assert remembered(connection, principal, route, "key", "other") is None


def test_old_keys_are_forgotten(ledger: Ledger) -> None:
    ledger.write(_decide("key", "sha", 0)).result(WAIT)
    assert ledger.write(lambda c: forget(c, before=1)).result(WAIT) == 0
    assert ledger.write(lambda c: forget(c, before=2)).result(WAIT) == 1
