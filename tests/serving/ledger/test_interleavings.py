"""Every order in which the steps of two requests may run on two PostgreSQL workers; and of three on one writer.

A scheduler lets one thread take one step at a time. A thread that waits for a lock is passed over
and goes on when it is let: so every order is walked that the locks allow, and no other.
"""

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger, contacts_of_units, micros, reserve
from serving.ledger.contact import COUNTING, ContactRow
from serving.ledger.locks import NOTHING, Touches, hold
from tests.postgres import plain

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
BLOCKED_SECONDS = 0.05
STEPS = 4  # begin and hold, count, reserve, commit


class Turns:
    """Lets one of several threads take its next step; a step is over when the thread waits for the next, or ends."""

    def __init__(self, n: int) -> None:
        self._go = [threading.Semaphore(0) for _ in range(n)]
        self._there = [threading.Event() for _ in range(n)]

    def step(self, who: int) -> None:
        """Called by a thread between its steps."""
        self._there[who].set()
        self._go[who].acquire()

    def ended(self, who: int) -> None:
        self._there[who].set()

    def run(self, who: int) -> None:
        """Called by the scheduler; returns when the step is over, or the thread is seen to wait for a lock."""
        self._there[who].clear()
        self._go[who].release()
        self._there[who].wait(BLOCKED_SECONDS)


def _request(ledger: Ledger, turns: Turns, who: int, holds: bool) -> None:
    """Count, then reserve, cap 1, with a stop before each step."""
    touches = Touches(customers=("C1",)) if holds else NOTHING
    with ledger._writing.connect() as connection:
        turns.step(who)
        with connection.begin():
            hold(connection, touches)
            turns.step(who)
            n = sum(row.state in COUNTING for row in contacts_of_units(connection, ["C1"], 0))
            turns.step(who)
            if n < 1:
                reserve(connection, _contact(f"k{who}"))
            turns.step(who)
    turns.ended(who)


def _contact(name: str) -> ContactRow:
    return ContactRow(
        contact_id=name, customer_id="C1", unit_id="C1", channel="sms", decided_at=AT, send_after=AT, send_before=AT + 1
    )


def _worst(server: str, holds: bool) -> tuple[int, int]:
    """(most contacts any order left behind, orders walked)."""
    orders = sorted(set(itertools.permutations([0] * STEPS + [1] * STEPS)))
    worst = 0
    with Ledger.open(server, lambda: NOW, b"s") as ledger, psycopg.connect(plain(server), autocommit=True) as raw:
        for order in orders:
            raw.execute("DELETE FROM contacts")
            turns = Turns(2)
            threads = [
                threading.Thread(target=_request, args=(ledger, turns, who, holds), daemon=True) for who in (0, 1)
            ]
            for thread in threads:
                thread.start()
            for who in (0, 1):
                assert turns._there[who].wait(30)
            for who in order:
                turns.run(who)
            for thread in threads:  # whoever was passed over has the rest of his steps granted already
                thread.join(30)
                assert not thread.is_alive()
            counted = raw.execute("SELECT count(*) FROM contacts").fetchone()
            assert counted is not None
            worst = max(worst, counted[0])
    return worst, len(orders)


def test_p01_every_interleaving_of_two_workers_steps_gives_one_contact(server: str) -> None:
    assert _worst(server, holds=True) == (1, 70)


def test_p01_the_enumeration_catches_workers_that_do_not_hold_the_unit(server: str) -> None:
    """The mutant: count and reserve in one transaction, but without the unit's lock."""
    assert _worst(server, holds=False) == (2, 70)


Move = Callable[[Connection], object]


@pytest.mark.parametrize("n", [2, 3])
def test_p01_every_order_of_claims_cancels_and_recounts_on_one_writer(tmp_path: pytest.TempPathFactory, n: int) -> None:
    """One unit, cap 1: whatever the order of reserve, claim and cancel of n requests, never two that count."""
    from serving.ledger.book import Action, LifecycleError, claim, close

    def once(name: str) -> Move:
        def task(connection: Connection) -> None:
            if not any(row.state in COUNTING for row in contacts_of_units(connection, ["C1"], 0)):
                reserve(connection, _contact(name))

        return task

    requests = [
        [once(f"k{k}"), lambda c, k=k: claim(c, f"k{k}", AT), lambda c, k=k: close(c, f"k{k}", Action.CANCEL, AT)]
        for k in range(n)
    ]
    if n == 3:  # 90 orders instead of 1,680: without the claims
        requests = [[steps[0], steps[2]] for steps in requests]
    with Ledger.open(f"sqlite:///{tmp_path}/nbo.db", lambda: NOW, b"s") as ledger:
        for order in sorted(set(itertools.permutations([k for k, steps in enumerate(requests) for _ in steps]))):
            ledger.write(lambda c: c.exec_driver_sql("DELETE FROM contacts"))
            waiting = [iter(steps) for steps in requests]
            futures = []
            for k in order:
                task = next(waiting[k])
                futures += [(ledger.write(task)), ledger.write(_counting)]
            for place, future in enumerate(futures):
                error = future.exception(30)
                assert error is None or isinstance(error, LifecycleError)
                assert place % 2 == 0 or future.result() <= 1, order


def _counting(connection: Connection) -> int:
    return sum(row.state in COUNTING for row in contacts_of_units(connection, ["C1"], 0))
