"""Two workers on PostgreSQL: units and names are held in one order, so nobody waits in a circle."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.engine import Connection

from serving.ledger import locks
from serving.ledger.book import Ledger, LedgerError, contacts_of_units, micros, reserve
from serving.ledger.contact import COUNTING, ContactRow, State
from serving.ledger.locks import NOTHING, Touches, hold, lock_numbers, together
from serving.ledger.seed import assign_units
from tests.postgres import plain

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
WAIT = 60
Hold = Callable[[Connection, Touches | None], None]


def opened(url: str, holding: Hold | None = None) -> Ledger:
    ledger = Ledger.open(url, lambda: NOW, b"secret", serving=True)
    if holding is not None:
        ledger._writer._lock = holding
    return ledger


def contact(name: str, customer: str, unit: str) -> ContactRow:
    return ContactRow(contact_id=name, customer_id=customer, unit_id=unit, channel="sms", decided_at=AT,
                      send_after=AT, send_before=AT + 1)  # fmt: skip


def once(name: str, customer: str) -> Callable[[Connection], bool]:
    """Cap 1 a unit: count, then reserve."""

    def task(connection: Connection) -> bool:
        unit = locks.unit_of(connection, [customer])[customer]
        if any(row.state in COUNTING for row in contacts_of_units(connection, [unit], 0)):
            return False
        reserve(connection, contact(name, customer, unit))
        return True

    return task


def one_by_one(in_order: bool) -> Hold:
    """Holds a lock, then another after a while: a circle, where there can be one, closes for certain."""

    def holding(connection: Connection, touches: Touches | None) -> None:
        assert touches is not None
        hold(connection, NOTHING)
        asked = [lock_numbers([unit])[0] for unit in touches.units]
        for number in sorted(asked) if in_order else asked:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (number,))
            time.sleep(0.3)

    return holding


def _crossing(server: str, holding: Hold | None, rounds: int) -> list[BaseException]:
    """Errors of two workers that hold the same two units, named the other way round."""
    with opened(server, holding) as one, opened(server, holding) as other:
        one.write(lambda _: None, touches=NOTHING).result(WAIT)
        futures: list[Future[None]] = []
        for n in range(rounds):
            futures.append(one.write(lambda _: None, touches=Touches(units=[f"A{n}", f"B{n}"])))
            futures.append(other.write(lambda _: None, touches=Touches(units=[f"B{n}", f"A{n}"])))
        errors = [future.exception(WAIT) for future in futures]
        return [error for error in errors if error is not None]


def test_p01_crossing_pairs_never_wait_in_a_circle(server: str) -> None:
    assert _crossing(server, one_by_one(in_order=True), 1) == []
    assert _crossing(server, None, 200) == []


def test_p01_the_crossing_catches_locks_taken_in_the_order_they_are_named(server: str) -> None:
    """The mutant: unsorted. The server breaks the circle, and says so; it is nobody's bad row."""
    errors = _crossing(server, one_by_one(in_order=False), 1)
    assert [type(error) for error in errors] == [LedgerError] and "DeadlockDetected" in str(errors[0])
    assert str(errors[0]).endswith("ask again") and "see to" not in str(errors[0]), "no disk and no server is at fault"


def test_p01_p11_crossing_households_in_batches_get_one_contact_each(server: str) -> None:
    """Households of two; both workers ask for both members, in pairs of households that cross."""
    households = {f"C{n}{side}": f"H{n}" for n in range(12) for side in "ab"}
    with opened(server) as one, opened(server) as other:
        one.write(lambda c: assign_units(c, households)).result(WAIT)
        futures: list[Future[int]] = []
        for turn in range(240):
            first, second = f"C{turn % 12}{'ab'[turn % 2]}", f"C{-turn % 12}{'ba'[turn % 2]}"
            tasks = once(f"{turn}x", first), once(f"{turn}y", second)
            worker = (one, other)[turn // 2 % 2]
            futures.append(worker.write(lambda c, tasks=tasks: tasks[0](c) + tasks[1](c),
                                        touches=Touches(customers=(first, second))))  # fmt: skip
        assert sum(future.result(WAIT) for future in futures) == 12
    with psycopg.connect(plain(server)) as raw:
        assert raw.execute("SELECT max(n) FROM (SELECT count(*) AS n FROM contacts GROUP BY unit_id) x").fetchone() == (
            1,
        )


def test_p13_a_merge_waits_for_those_who_count_and_they_for_it(server: str) -> None:
    """A customer's unit is asked under the lock of all, so it cannot change before it is counted."""
    with opened(server) as one, opened(server) as other:
        one.write(lambda c: assign_units(c, {"C1": "C1", "C2": "H"})).result(WAIT)
        futures: list[Future[bool]] = []
        for n in range(60):
            futures.append(one.write(once(f"{n}a", "C1"), touches=Touches(customers=("C1",))))
            futures.append(other.write(once(f"{n}b", "C2"), touches=Touches(customers=("C2",))))
            if n == 5:
                other.write(lambda c: bool(assign_units(c, {"C1": "H"})))
        for future in futures:
            future.result(WAIT)
        with one.read() as connection:
            assert {row.unit_id for row in contacts_of_units(connection, ["H", "C1"], 0)} == {"H"}


def test_the_units_of_customers_and_contacts_are_held(server: str) -> None:
    with opened(server) as one:
        one.write(lambda c: assign_units(c, {"C1": "H1"})).result(WAIT)
        one.write(lambda c: reserve(c, contact("k1", "C1", "H1"))).result(WAIT)
        for touches in (Touches(customers=("C1",)), Touches(contacts=("k1", "unknown")), Touches(units=("H1",))):
            held = one.write(_advisory, touches=touches).result(WAIT)
            assert lock_numbers(["H1"])[0] in held
        assert lock_numbers(["C9"])[0] in one.write(_advisory, touches=Touches(customers=("C9",))).result(WAIT)
        assert lock_numbers([], ["n"])[0] in one.write(_advisory, touches=Touches(names=("n",))).result(WAIT)


def _advisory(connection: Connection) -> set[int]:
    listed = "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted"
    return {row[0] for row in connection.exec_driver_sql(listed)}


def test_numbers_ascend_and_a_group_touches_what_its_requests_touch() -> None:
    names = [f"U{n}" for n in range(500)]
    assert lock_numbers(names) == sorted(lock_numbers(reversed(names))) and len(lock_numbers(names)) == 500
    assert lock_numbers(["a"]) != lock_numbers([], ["a"])
    both = together([Touches(units=["a"]), Touches(customers=["b"], contacts=["c"], names=["d"], shared=["e"])])
    assert both == Touches(["a"], ["b"], ["c"], ["d"], ["e"])
    assert together([Touches(units=["a"]), None]) is None and together([]) == Touches([], [], [], [], [])


def test_a_shared_name_makes_those_wait_who_hold_it_alone_and_nobody_else(server: str) -> None:
    alone, shared = Touches(names=("s",)), Touches(shared=("s",))
    with opened(server) as one, opened(server) as other:
        one.write(lambda _: None, touches=NOTHING).result(WAIT)
        for first, second, waits in ((shared, shared, False), (shared, alone, True), (alone, shared, True)):
            held, go = threading.Event(), threading.Event()
            begun = one.write(lambda _, held=held, go=go: held.set() or go.wait(WAIT), touches=first)
            assert held.wait(WAIT)
            then = other.write(lambda _: None, touches=second)
            assert _is_blocked(server, then) == waits
            go.set()
            assert begun.result(WAIT) and then.result(WAIT) is None


def _is_blocked(server: str, future: Future[None]) -> bool:
    """Once it is answered: no; once the server says that it waits for an advisory lock: yes."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(plain(server), autocommit=True) as raw:
        while not future.done():
            if raw.execute(waiting).fetchone() is not None:
                return True
    return False


def test_who_shares_a_name_and_holds_it_alone_never_waits_in_a_circle(server: str) -> None:
    """Mutant: a group of a claim and a pause shares the switches before it holds them alone."""
    both = Touches(names=("s",), shared=("s", "t"))
    with opened(server) as one, opened(server) as other:
        one.write(lambda _: None, touches=NOTHING).result(WAIT)
        futures = [worker.write(lambda _: None, touches=both) for _ in range(200) for worker in (one, other)]
        assert [future.exception(WAIT) for future in futures] == [None] * 400


@pytest.mark.parametrize("guarded", [True, False])
def test_p01_two_workers_that_claim_at_once_send_once(
    server: str, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with nothing held: a contact moves only from the state it was read in. Unguarded is the mutant."""
    from serving.ledger import lifecycle

    if not guarded:
        core = lifecycle.update(lifecycle.contacts).where(lifecycle.contacts.c.contact_id == lifecycle.bindparam("id"))
        values = {name: lifecycle.bindparam(name) for name in lifecycle._MOVED}
        monkeypatch.setattr(lifecycle, "_MOVE", lifecycle.Statement(core.values(values)))

    def slowly(connection: Connection) -> str:
        row = lifecycle.find(connection, "k1")
        assert row is not None and row.state == State.RESERVED
        time.sleep(0.3)
        lifecycle._move(connection, row, row._replace(state=State.CLAIMED, claimed_at=AT))
        return "sends"

    with opened(server) as one, opened(server) as other:
        one.write(lambda c: reserve(c, contact("k1", "C1", "H1"))).result(WAIT)
        both = [worker.write(slowly, touches=NOTHING) for worker in (one, other)]
        sends = [future.exception(WAIT) is None for future in both].count(True)
    assert sends == (1 if guarded else 2)


def test_p20_workers_count_by_the_servers_clock(server: str) -> None:
    """Their own hosts are a year apart; the ledger's time is the server's on both."""
    ahead, behind = (lambda: datetime.now(UTC) + timedelta(days=365)), (lambda: datetime.now(UTC) - timedelta(days=365))
    with (
        Ledger.open(server, ahead, b"s", server_time=True) as one,
        Ledger.open(server, behind, b"s", server_time=True) as other,
    ):
        for ledger in (one, other, one):
            told = ledger.write(lambda c, ledger=ledger: (ledger.now_micros(), _server_micros(c)), touches=NOTHING)
            ours, servers = told.result(WAIT)
            assert abs(ours - servers) < 1_000_000
        for ledger in (one, other):
            ours = ledger.now_micros()
            with ledger.read() as connection:
                assert abs(ours - _server_micros(connection)) < 1_000_000


def _server_micros(connection: Connection) -> int:
    return int(
        connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").scalar_one()
    )


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=365), timedelta(hours=-1), timedelta(days=-365)])
def test_p20_a_jump_of_the_servers_clock_is_refused(server: str, jump: timedelta) -> None:
    from serving.ledger.clock import WALL, ServerClock

    with Ledger.open(server, lambda: NOW, b"s", server_time=True, bounds=WALL) as ledger:
        ledger.write(lambda _: None, touches=NOTHING).result(WAIT)
        clock, by = ledger._server, jump // timedelta(microseconds=1)
        assert isinstance(clock, ServerClock)
        honest = ServerClock.told

        def jumped(server_micros: int) -> None:
            honest(clock, server_micros + by)

        clock.told = jumped  # type: ignore[method-assign]
        with pytest.raises(LedgerError, match=r"jumped ahead|went back"):
            ledger.write(lambda c: reserve(c, contact("k", "C", "U"))).result(WAIT)
        del clock.told
        ledger.write(lambda _: None, touches=NOTHING).result(WAIT)  # set right again, believed again
        with ledger.read() as connection:
            assert contacts_of_units(connection, ["U"], 0) == []
