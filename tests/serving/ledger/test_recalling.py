"""Operators' commands and background jobs take what they touch, and never wait for busy workers."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import Connection

from serving.ledger import locks, recalling
from serving.ledger.book import NOTHING, Ledger, Touches, claim, reserve
from serving.ledger.contact import ContactRow, State
from serving.ledger.expiry import close_expired
from serving.ledger.keyring import Keyring
from serving.ledger.lifecycle import expire, find
from serving.ledger.locks import ALL
from serving.ledger.recall import recall
from serving.ledger.recalling import recall_campaign, recall_superseded
from serving.ledger.switches import TURNING
from serving.sealer import seal_all
from tests.postgres import database, plain
from tests.serving.ledger.test_book import AT, NOW

SECONDS = 20


@pytest.fixture
def url() -> Generator[str]:
    with database() as found:
        yield found


def contact(name: str, campaign: str = "spring", **more: object) -> ContactRow:
    return ContactRow(contact_id=name, customer_id=f"C{name}", unit_id=f"C{name}", channel="sms", decided_at=AT, send_after=AT,
                      send_before=AT + 3_600_000_000, offer_id="card_gold", family="card", campaign_id=campaign, **more)  # fmt: skip


def commands(ledger: Ledger, keyring: Keyring) -> dict[str, Callable[[], object]]:
    """Everything that runs beside the workers, as the commands and jobs write it."""
    return {
        "switch": lambda: ledger.write(lambda _: None, touches=TURNING).result(),
        "recall a campaign": lambda: recall_campaign(ledger, "spring"),
        "take back a run": lambda: recall_superseded(ledger, "run"),
        "expiry": lambda: close_expired(ledger),
        "seal": lambda: seal_all(ledger, keyring),
        "one customer": lambda: ledger.write(lambda _: None, touches=Touches(customers=("C9",))).result(),
    }


@pytest.mark.parametrize(
    "name", ["switch", "recall a campaign", "take back a run", "expiry", "seal", "one customer", "mutant"]
)
def test_commands_and_jobs_do_not_wait_for_workers(url: str, tmp_path: Path, name: str) -> None:
    """A worker's transaction stays open. The mutant says nothing of what it touches, and waits."""
    with Ledger.open(url, lambda: NOW, b"secret") as ledger, psycopg.connect(plain(url)) as worker:
        ledger.write(lambda c: reserve(c, contact("1", decision_id="run")), touches=NOTHING).result(SECONDS)
        worker.execute("SELECT pg_advisory_xact_lock_shared(%s)", (ALL,))
        todo = {
            **commands(ledger, Keyring(tmp_path / "keyring.json", b"secret")),
            "mutant": lambda: ledger.write(lambda _: None).result(),
        }
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(todo[name])
            if name == "mutant":
                with pytest.raises(TooLong):
                    running.result(1)
                worker.rollback()
            running.result(SECONDS)


def test_a_recalled_campaign_goes_some_at_a_time_and_leaves_claimed_what_is_claimed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that another worker holds in this moment: it is asked again when that one is done."""
    monkeypatch.setattr(recalling, "CHUNK", 4)
    with Ledger.open(url, lambda: NOW, b"secret") as ledger, psycopg.connect(plain(url)) as worker:
        for n in range(10):
            ledger.write(lambda c, n=n: reserve(c, contact(str(n)))).result(SECONDS)
        ledger.write(lambda c: reserve(c, contact("other", "autumn"))).result(SECONDS)
        ledger.write(lambda c: claim(c, "3", AT)).result(SECONDS)
        worker.execute("SELECT 1 FROM contacts WHERE contact_id = '5' FOR UPDATE")
        waited = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(
                recall_campaign, ledger, "spring", "operator", lambda _: (waited.set(), worker.rollback())
            )
            assert running.result(SECONDS) == 10 and waited.is_set()
        with ledger.read() as connection:
            states = {name: find(connection, name) for name in ("3", "5", "other")}
        assert {name: row and (row.state, row.recall_reason) for name, row in states.items()} == {
            "3": (State.CLAIMED, "operator"), "5": (State.CLOSED, "operator"), "other": (State.RESERVED, None)}  # fmt: skip


def test_what_a_run_reserved_is_taken_back_some_at_a_time_but_what_is_kept_and_what_was_claimed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that another worker holds in this moment. A second call finds nothing more, and other runs keep theirs."""
    monkeypatch.setattr(recalling, "CHUNK", 4)
    with Ledger.open(url, lambda: NOW, b"secret") as ledger, psycopg.connect(plain(url)) as worker:
        for n in range(12):
            ledger.write(lambda c, n=n: reserve(c, contact(str(n), decision_id="run"))).result(SECONDS)
        ledger.write(lambda c: reserve(c, contact("other", decision_id="another run"))).result(SECONDS)
        ledger.write(lambda c: claim(c, "3", AT)).result(SECONDS)
        worker.execute("SELECT 1 FROM contacts WHERE contact_id = '5' FOR UPDATE")
        waited = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(
                recall_superseded, ledger, "run", {"7", "8"}, lambda _: (waited.set(), worker.rollback())
            )
            assert running.result(SECONDS) == 9 and waited.is_set()
        assert recall_superseded(ledger, "run", {"7", "8"}) == 0
        with ledger.read() as connection:
            rows = [find(connection, name) for name in (*map(str, range(12)), "other")]
        kept = {row.contact_id: row.state for row in rows if row and row.state != State.CLOSED}
        assert kept == {
            "3": State.CLAIMED,
            "7": State.RESERVED,
            "8": State.RESERVED,
            "other": State.RESERVED,
        }
        assert {row.recall_reason for row in rows if row and row.state == State.CLOSED} == {"superseded"}


@pytest.mark.parametrize("in_order", [True, False])
def test_expiry_and_an_opt_out_of_two_workers_never_wait_in_a_circle(
    url: str, in_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group closes what is over, of any unit, and then recalls; another worker recalls one of those meanwhile.

    The mutant holds rows before the recalls' lock: the other has the lock and waits for a row, this one for the lock.
    """
    if not in_order:
        monkeypatch.setattr(locks, "hold_recalls", lambda _: None)
    over = AT + 3_600_000_000
    with Ledger.open(url, lambda: NOW, b"secret") as one, Ledger.open(url, lambda: NOW, b"secret") as other:
        for name in ("1", "2"):
            one.write(lambda c, name=name: reserve(c, contact(name))).result(SECONDS)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        begun, free, theirs = threading.Event(), threading.Event(), list[Future[int]]()

        def meanwhile(_: Connection) -> None:
            if not theirs:  # a group may be tried again
                theirs.append(other.write(lambda c: recall(c, AT, customer_id="C1"), units=("C1",)))
                with psycopg.connect(plain(url), autocommit=True) as raw:
                    while raw.execute(waiting).fetchone() is None:
                        pass

        one.write(lambda _: begun.set() or free.wait(SECONDS), touches=NOTHING)
        assert begun.wait(SECONDS)  # or the first of ours would form a group with it
        ours = [one.write(lambda c: expire(c, over), touches=NOTHING), one.write(meanwhile, touches=NOTHING),
                one.write(lambda c: recall(c, AT, customer_id="C2"), units=("C2",))]  # fmt: skip
        free.set()
        errors = [future.exception(SECONDS) for future in ours]
        errors += [future.exception(SECONDS) for future in theirs]
    assert any(errors) == (not in_order)
