"""What can no longer be claimed counts no more, at once; and it is closed soon after."""

import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.ledger.book import Ledger, contacts_of_units, micros, reserve
from serving.ledger.clock import SIMULATED
from serving.ledger.contact import ContactRow, LifecycleError, State
from serving.ledger.expiry import Expiry, close_expired
from serving.ledger.lifecycle import claim, contacts_table, expire_unit, find

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT, HOUR = micros(NOW), 3_600_000_000


class Now:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def ledger(tmp_path: Path, now: Now) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", now, b"s", bounds=SIMULATED) as opened:
        yield opened


def contact(name: str, before: int, state: str = "reserved") -> ContactRow:
    return ContactRow(contact_id=name, customer_id="C", unit_id="U", channel="sms", decided_at=AT, send_after=AT, send_before=before,
                      state=state)  # fmt: skip


@pytest.mark.parametrize("state", list(State))
def test_p10_a_reservation_counts_up_to_the_instant_it_can_no_longer_be_claimed(state: State) -> None:
    row = contact("k", AT + HOUR, state)
    assert row.counts(AT + HOUR - 1) == (state != State.CLOSED)
    assert row.counts(AT + HOUR) == (state in (State.CLAIMED, State.SENT)), "what may have gone out counts"


def test_p01_no_instant_both_claims_a_reservation_and_leaves_it_uncounted(ledger: Ledger) -> None:
    for n, at in enumerate((AT + HOUR - 1, AT + HOUR, AT + HOUR + 1)):
        ledger.write(lambda c, n=n: reserve(c, contact(f"k{n}", AT + HOUR))).result(10)
        claimed = ledger.write(lambda c, n=n, at=at: claim(c, f"k{n}", at)).exception(10) is None
        assert claimed == contact("k", AT + HOUR).counts(at)


def test_p01_whoever_reserves_closes_what_he_did_not_count(ledger: Ledger) -> None:
    """A clock that is behind elsewhere can then not claim it any more."""
    ledger.write(lambda c: reserve(c, contact("old", AT + HOUR))).result(10)
    assert ledger.write(lambda c: expire_unit(c, "U", AT + HOUR)).result(10) == 1
    with pytest.raises(LifecycleError):
        ledger.write(lambda c: claim(c, "old", AT + HOUR - 1)).result(10)


def test_the_table_of_the_batch_shows_the_same_standing(ledger: Ledger) -> None:
    ledger.write(lambda c: reserve(c, contact("old", AT + HOUR))).result(10)
    ledger.write(lambda c: reserve(c, contact("new", AT + 3 * HOUR))).result(10)
    with ledger.read() as connection:
        rows = contacts_of_units(connection, ["U"], 0)
        for at in (AT, AT + HOUR - 1, AT + HOUR, AT + 4 * HOUR):
            table = contacts_table(connection, 0, at).to_pylist()
            assert {r["contact_id"]: r["state"] for r in table} == {r.contact_id: r.standing(at) for r in rows}
        assert set(contacts_table(connection, 0).column("state").to_pylist()) == {"reserved"}


def test_the_dead_are_closed_in_chunks_and_the_living_are_not(ledger: Ledger, now: Now) -> None:
    for n in range(7):
        ledger.write(lambda c, n=n: reserve(c, contact(f"k{n}", AT + n * HOUR))).result(10)
    now.now += timedelta(hours=4)
    assert close_expired(ledger, chunk=2) == 5
    assert close_expired(ledger, chunk=2) == 0
    with ledger.read() as connection:
        closed = {
            row.contact_id: row.close_reason for row in contacts_of_units(connection, ["U"], 0) if row.state == "closed"
        }
    assert closed == {f"k{n}": "expired" for n in range(5)}


def test_the_thread_closes_them_soon_survives_a_clock_that_is_refused_and_stops(ledger: Ledger, now: Now) -> None:
    ledger.write(lambda c: reserve(c, contact("k", AT + HOUR))).result(10)
    expiry = Expiry(ledger, seconds=0.02)
    now.now -= timedelta(days=1)
    time.sleep(0.1)
    now.now += timedelta(days=2)
    until = time.monotonic() + 10
    while time.monotonic() < until and _state(ledger) != "closed":
        time.sleep(0.02)
    expiry.stop()
    assert _state(ledger) == "closed" and not expiry._thread.is_alive()


def _state(ledger: Ledger) -> str:
    with ledger.read() as connection:
        row = find(connection, "k")
    return "" if row is None else row.state
