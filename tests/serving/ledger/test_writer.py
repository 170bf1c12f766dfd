"""Group commit: one bad task leaves the others, answers follow COMMIT, time runs out cleanly."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine

from serving.ledger.writer import (
    SIMULATED,
    ClockBounds,
    ClockError,
    CrowdedError,
    DeadlineError,
    LedgerClock,
    LedgerError,
    RowError,
    Writer,
    micros,
)

WAIT = 10
NOW = datetime(2026, 6, 1, tzinfo=UTC)
Task = Callable[[Connection], int]


@pytest.fixture
def engine(tmp_path: Path) -> Generator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'w.db'}", connect_args={"isolation_level": None})
    event.listen(made, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT")
    yield made
    made.dispose()


class Gate:
    """A task that holds the writer until it is opened, so that what follows forms one group."""

    def __init__(self, writer: Writer) -> None:
        self._running, self._open = threading.Event(), threading.Event()
        self.future = writer.submit(self._task)
        assert self._running.wait(WAIT)

    def _task(self, _: Connection) -> int:
        self._running.set()
        assert self._open.wait(WAIT)
        return 0

    def open(self) -> None:
        self._open.set()


def _insert(n: int) -> Task:
    def task(connection: Connection) -> int:
        connection.exec_driver_sql("INSERT INTO t VALUES (?)", (n,))
        return n

    return task


def _stored(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT n FROM t ORDER BY n")]


def _fail_after_insert(connection: Connection) -> int:
    _insert(99)(connection)
    raise KeyError("mine")


def test_one_bad_task_leaves_the_others_of_its_group(engine: Engine) -> None:
    opened: list[int] = []
    writer = Writer(engine, lambda _: opened.append(1))
    gate = Gate(writer)
    futures: list[Future[int]] = [writer.submit(t) for t in (_insert(1), _fail_after_insert, _insert(1), _insert(2))]
    gate.open()
    assert futures[0].result(WAIT) == 1
    with pytest.raises(KeyError, match="mine"):
        futures[1].result(WAIT)
    with pytest.raises(RowError, match="UNIQUE"):
        futures[2].result(WAIT)
    assert futures[3].result(WAIT) == 2
    assert _stored(engine) == [1, 2]
    assert len(opened) == 2  # the gate's transaction, and one for the four that came meanwhile
    writer.close()


def test_requests_that_arrive_meanwhile_form_one_group_up_to_its_bound(engine: Engine) -> None:
    opened: list[int] = []
    writer = Writer(engine, lambda _: opened.append(1), group_max=4)
    gate = Gate(writer)
    futures = [writer.submit(_insert(n)) for n in range(10)]
    gate.open()
    assert [future.result(WAIT) for future in futures] == list(range(10))
    assert len(opened) == 1 + 3
    writer.close()


def test_p04_future_resolves_only_after_commit(engine: Engine) -> None:
    """At the instant of COMMIT nothing may be answered yet; when answered, others can read it."""
    writer = Writer(engine)
    futures: list[Future[int]] = []
    at_commit: list[bool] = []
    event.listen(engine, "commit", lambda _: at_commit.extend(f.done() for f in futures))
    seen: list[list[int]] = []
    gate = Gate(writer)
    for n in (1, 2):
        futures.append(writer.submit(_insert(n)))
        futures[-1].add_done_callback(lambda _: seen.append(_stored(engine)))
    gate.open()
    for future in futures:
        future.result(WAIT)
    writer.close()
    assert at_commit == [False] * 4  # at the gate's own commit, and at theirs
    assert seen == [[1, 2], [1, 2]]


def test_p04_commit_that_fails_answers_nobody(engine: Engine) -> None:
    writer = Writer(engine)
    gate = Gate(writer)
    future = writer.submit(_insert(1))
    failing = [True]

    def fail(_: Connection) -> None:
        if failing.pop() if failing else False:
            raise OSError("the disk is gone")

    gate.open()
    gate.future.result(WAIT)
    future.result(WAIT)
    event.listen(engine, "commit", fail)
    with pytest.raises(OSError, match="disk is gone"):
        writer.submit(_insert(2)).result(WAIT)
    assert writer.submit(_insert(3)).result(WAIT) == 3
    assert _stored(engine) == [1, 3]
    writer.close()


def test_deadline_that_passes_in_the_queue_or_in_the_work_keeps_nothing(engine: Engine) -> None:
    seconds = [0.0]
    writer = Writer(engine, steady=lambda: seconds[0])
    gate = Gate(writer)

    def slow(connection: Connection) -> int:
        seconds[0] = 9.0
        return _insert(2)(connection)

    in_queue = writer.submit(_insert(1), deadline=0.5)
    in_work = writer.submit(slow, deadline=5.0)
    neighbour_before = writer.submit(_insert(3), deadline=20.0)
    neighbour_after = writer.submit(_insert(4))
    seconds[0] = 1.0
    gate.open()
    for late in (in_queue, in_work):
        with pytest.raises(DeadlineError, match="nothing was kept"):
            late.result(WAIT)
    assert (neighbour_before.result(WAIT), neighbour_after.result(WAIT)) == (3, 4)
    assert _stored(engine) == [3, 4]
    writer.close()


def test_neighbours_of_a_late_task_that_stood_before_it_are_done_once(engine: Engine) -> None:
    seconds = [0.0]
    writer = Writer(engine, steady=lambda: seconds[0])
    gate = Gate(writer)

    def slow(connection: Connection) -> int:
        seconds[0] = 9.0
        return _insert(2)(connection)

    first = writer.submit(_insert(1))
    late = writer.submit(slow, deadline=5.0)
    gate.open()
    assert first.result(WAIT) == 1
    with pytest.raises(DeadlineError):
        late.result(WAIT)
    assert _stored(engine) == [1]
    writer.close()


def test_full_queue_refuses_the_next_one(engine: Engine) -> None:
    writer = Writer(engine, waiting_max=1)
    gate = Gate(writer)
    waiting = writer.submit(_insert(1))
    with pytest.raises(CrowdedError, match="wait already"):
        writer.submit(_insert(2))
    gate.open()
    assert waiting.result(WAIT) == 1
    writer.close()


def test_close_finishes_what_waits_and_refuses_what_comes(engine: Engine) -> None:
    writer = Writer(engine)
    gate = Gate(writer)
    waiting = writer.submit(_insert(1))
    gate.open()
    writer.close()
    assert waiting.result(0) == 1
    with pytest.raises(LedgerError, match="closed"):
        writer.submit(_insert(2))


def test_cancelled_request_is_not_done(engine: Engine) -> None:
    writer = Writer(engine)
    gate = Gate(writer)
    future = writer.submit(_insert(1))
    assert future.cancel()
    gate.open()
    writer.close()
    assert _stored(engine) == []


def test_task_that_ends_the_transaction_itself_fails_alone(engine: Engine) -> None:
    writer = Writer(engine)
    gate = Gate(writer)

    def ends(connection: Connection) -> int:
        connection.exec_driver_sql("ROLLBACK")
        return 0

    before, rogue, after = (writer.submit(task) for task in (_insert(1), ends, _insert(2)))
    gate.open()
    with pytest.raises(LedgerError):
        rogue.result(WAIT)
    assert (before.result(WAIT), after.result(WAIT)) == (1, 2)
    assert _stored(engine) == [1, 2]
    writer.close()


def _clock(bounds: ClockBounds) -> tuple[LedgerClock, list[datetime], list[float]]:
    wall, steady = [NOW], [0.0]
    if bounds.drift is not None and bounds.steady is not None:
        bounds = ClockBounds(bounds.backward, bounds.forward, bounds.drift, lambda: steady[0])
    return LedgerClock(lambda: wall[0], bounds), wall, steady


RUNNING = ClockBounds(steady=lambda: 0.0)


@pytest.mark.parametrize(
    ("bounds", "jump", "refusal"),
    [
        (RUNNING, timedelta(hours=-1), "went back by 1:00:00"),
        (RUNNING, timedelta(days=-365), "went back"),
        (RUNNING, timedelta(hours=1), "jumped ahead by 1:00:00 while running"),
        (RUNNING, timedelta(days=365), "jumped ahead"),
        (ClockBounds(), timedelta(days=365), "jumped ahead by 365 days"),
        (SIMULATED, timedelta(hours=-1), "went back"),
        (SIMULATED, timedelta(days=365), None),
        (RUNNING, timedelta(seconds=-5), None),
        (RUNNING, timedelta(minutes=10), None),
        (ClockBounds(), timedelta(days=31), None),
    ],
)
def test_p20_jump_of_the_clock_is_refused(bounds: ClockBounds, jump: timedelta, refusal: str | None) -> None:
    clock, wall, _ = _clock(bounds)
    assert clock.now() == micros(NOW)
    wall[0] = NOW + jump
    if refusal is None:
        assert clock.now() == max(micros(NOW), micros(wall[0]))
    else:
        with pytest.raises(ClockError, match=refusal):
            clock.now()
        wall[0] = NOW
        assert clock.now() == micros(NOW)  # a clock set right again is believed again


def test_p20_time_that_passes_on_both_clocks_is_believed() -> None:
    clock, wall, steady = _clock(RUNNING)
    clock.now()
    wall[0], steady[0] = NOW + timedelta(hours=3), 3 * 3600.0
    assert clock.now() == micros(wall[0])


def test_p20_what_another_process_saw_binds_too() -> None:
    clock, wall, _ = _clock(ClockBounds())
    clock.remember(micros(NOW + timedelta(hours=1)))
    with pytest.raises(ClockError, match="went back"):
        clock.now()
    wall[0] = NOW + timedelta(hours=1, minutes=-1) + timedelta(seconds=56)
    assert clock.now() == micros(NOW + timedelta(hours=1))


def test_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        micros(datetime(2026, 6, 1))  # the point of the test
