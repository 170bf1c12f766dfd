"""The one thread that writes: groups of requests, a savepoint each, answered after COMMIT.

    ValueError
    └── LedgerError           the ledger cannot do it now; nothing was kept; ask again (503)
        ├── DeadlineError     the caller's time ran out before the commit; nothing was kept
        ├── CrowdedError      too many requests wait already (429)
        └── ClockError        the clock jumped; an operator has to look at it
    ValueError
    └── RowError              the row breaks a constraint of its table; sending it again won't help

Requests that arrive while a transaction runs form the next one; nobody waits for company. A
request that fails is rolled back to its savepoint and leaves the others as they are.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class LedgerError(ValueError):
    """The ledger cannot do it now. Nothing was kept; the same request may be sent again."""


class DeadlineError(LedgerError):
    """The caller's time ran out before the commit. Nothing was kept."""


class CrowdedError(LedgerError):
    """Too many requests wait for the writer already; this one was not queued."""


class ClockError(LedgerError):
    """The clock went back or jumped ahead, so that counting contacts by it would open a cap."""


class RowError(ValueError):
    """A row breaks a constraint of its table. Nothing was kept; the same row will never pass."""


def micros(instant: datetime) -> int:
    """Microseconds since 1970 in UTC; ValueError where the instant carries no zone."""
    if instant.tzinfo is None:
        raise ValueError(f"instant `{instant}` has no zone; give it in UTC")
    return (instant - EPOCH) // MICROSECOND


def boot_seconds() -> float:
    """Seconds since boot, time asleep included: what a wall clock is measured against."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class ClockBounds:
    """How far a clock may move before it is refused. forward and drift null: any distance.

    backward: less than this counts as standing still. forward: the longest time between two
    things seen, over a stop of the service too. drift: beside `steady` seconds while running.
    """

    backward: timedelta = timedelta(seconds=5)
    forward: timedelta | None = timedelta(days=31)
    drift: timedelta | None = timedelta(minutes=10)
    steady: Callable[[], float] | None = None


SIMULATED = ClockBounds(forward=None)
WALL = ClockBounds(steady=boot_seconds)


class LedgerClock:
    """A clock that never goes back: what it shows is refused or at least what it showed before."""

    def __init__(self, clock: Callable[[], datetime], bounds: ClockBounds) -> None:
        self._clock, self._bounds = clock, bounds
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._seen_steady: float | None = None  # null: what was seen, another process saw

    def remember(self, seen: int) -> None:
        """Take over what the database saw last; another process may have written since."""
        with self._lock:
            if self._seen is None or seen > self._seen:
                self._seen, self._seen_steady = seen, None

    def reset(self) -> int:
        """Believe the clock as it stands: the operator's word. The instant, in microseconds."""
        with self._lock:
            self._seen = micros(self._clock())
            self._seen_steady = self._bounds.steady() if self._bounds.steady else None
            return self._seen

    def now(self) -> int:
        """Microseconds UTC, never less than before; ClockError where the clock jumped."""
        with self._lock:
            now = micros(self._clock())
            steady = self._bounds.steady() if self._bounds.steady else None
            if self._seen is not None:
                self._refuse_jump(now, self._seen, steady)
                now = max(now, self._seen)
            self._seen, self._seen_steady = now, steady
            return now

    def _refuse_jump(self, now: int, seen: int, steady: float | None) -> None:
        bounds, moved = self._bounds, timedelta(microseconds=now - seen)
        remedy = "set the clock right, or have an operator reset the ledger's clock"
        if -moved > bounds.backward:
            raise ClockError(f"the clock went back by {-moved}; {remedy}")
        if bounds.forward is not None and moved > bounds.forward:
            raise ClockError(f"the clock jumped ahead by {moved}; {remedy}")
        if steady is None or self._seen_steady is None or bounds.drift is None:
            return
        drift = moved - timedelta(seconds=steady - self._seen_steady)
        if drift > bounds.drift:
            raise ClockError(f"the clock jumped ahead by {drift} while running; {remedy}")


@dataclass
class _Request:
    work: Callable[[Connection], Any]
    deadline: float | None
    units: Sequence[str] | None
    future: Future[Any]


class Writer:
    """One thread, one connection, one transaction at a time.

    Args:
        engine: Its `begin` event starts a transaction that holds the write lock.
        opening: Runs first in each transaction; where it raises, the whole group fails with it.
        lock: Holds units, null all, until the transaction ends; called once a group, with all its
            units, so that workers which share units never wait for each other in a circle.
        steady: The seconds that deadlines are given in.
        group_max: Most requests of one transaction, so that no group runs long.
        waiting_max: Most requests in the queue; the next one is refused.
    """

    def __init__(
        self,
        engine: Engine,
        opening: Callable[[Connection], object] | None = None,
        *,
        lock: Callable[[Connection, Sequence[str] | None], object] | None = None,
        steady: Callable[[], float] = time.monotonic,
        group_max: int = 64,
        waiting_max: int = 10_000,
    ) -> None:
        self._engine, self._steady = engine, steady
        self._opening, self._lock = opening, lock
        self._group_max, self._waiting_max = group_max, waiting_max
        self._waiting: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def submit(
        self,
        task: Callable[[Connection], T],
        deadline: float | None = None,
        units: Sequence[str] | None = None,
    ) -> Future[T]:
        """The task's answer, once it is on disk.

        The task may run more than once (a neighbour's deadline undoes the group), so it touches
        nothing but the connection, and neither commits nor rolls back. deadline: on the `steady`
        clock. units: whose contacts it counts; null: it may be anyone's. The future raises what
        the task raised; LedgerError where the database failed.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise LedgerError("the ledger is closed; open it again")
            if len(self._waiting) >= self._waiting_max:
                raise CrowdedError(f"{self._waiting_max} requests wait already; ask again later")
            self._waiting.append(_Request(task, deadline, units, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
                self._thread.start()
            self._wake.notify()
        return future

    def close(self) -> None:
        """Finish what waits, then stop; a second call does nothing."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            while group:
                group = self._attempt(group)
        if self._connection is not None:
            self._connection.close()

    def _next_group(self) -> list[_Request] | None:
        """What waits now, without whom was cancelled; null once closed and nothing waits."""
        with self._wake:
            while not self._waiting:
                if self._closed:
                    return None
                self._wake.wait()
            n_requests = min(len(self._waiting), self._group_max)
            group = [self._waiting.popleft() for _ in range(n_requests)]
        return [r for r in group if r.future.set_running_or_notify_cancel()]

    def _attempt(self, group: Sequence[_Request]) -> list[_Request]:
        """One transaction. Whom it could not answer, to be tried again: fewer each time."""
        group = self._without_late(group)
        if not group:
            return []
        try:
            connection = self._begun(group)
        except Exception as error:  # noqa: BLE001  # whatever it was, every caller hears of it
            return self._fail(group, error)
        answers: list[Any] = []
        for place, request in enumerate(group):
            try:
                answers.append(self._one(connection, request))
            except _TransactionLost as lost:
                self._roll_back()
                others = [*group[:place], *group[place + 1 :]]
                return [*self._fail([request], lost.cause), *others]
        if any(map(self._is_late, group)):
            self._roll_back()
            return self._without_late(group)
        try:
            connection.commit()
        except Exception as error:  # noqa: BLE001  # whatever it was, every caller hears of it
            self._roll_back()
            return self._fail(group, error)
        for request, answer in zip(group, answers, strict=True):
            if isinstance(answer, _Failed):
                request.future.set_exception(answer.error)
            else:
                request.future.set_result(answer)
        return []

    def _begun(self, group: Sequence[_Request]) -> Connection:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            self._connection.begin()
            if self._opening is not None:
                self._opening(self._connection)
            if self._lock is not None:
                self._lock(self._connection, _units_of(group))
        except Exception:
            self._roll_back()
            raise
        return self._connection

    def _one(self, connection: Connection, request: _Request) -> Any:
        cursor = connection.connection.cursor()
        try:
            cursor.execute("SAVEPOINT request")
            answer = request.work(connection)
            cursor.execute("RELEASE SAVEPOINT request")
        except Exception as error:  # noqa: BLE001  # the task's own error goes to its caller
            try:  # a full disk may have rolled back the whole transaction, savepoint and all
                cursor.execute("ROLLBACK TO SAVEPOINT request")
                cursor.execute("RELEASE SAVEPOINT request")
            except Exception:  # noqa: BLE001  # no savepoint left, however the driver says so
                raise _TransactionLost(error) from error
            return _Failed(in_plain_words(error))
        return answer

    def _is_late(self, request: _Request) -> bool:
        return request.deadline is not None and self._steady() > request.deadline

    def _without_late(self, group: Sequence[_Request]) -> list[_Request]:
        late = [self._is_late(request) for request in group]
        for request, is_late in zip(group, late, strict=True):
            if is_late:
                message = "the deadline passed before the commit; nothing was kept, ask again"
                request.future.set_exception(DeadlineError(message))
        return [r for r, is_late in zip(group, late, strict=True) if not is_late]

    def _fail(self, group: Sequence[_Request], error: Exception) -> list[_Request]:
        for request in group:
            request.future.set_exception(in_plain_words(error))
        return []

    def _roll_back(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
            # SQLAlchemy takes a transaction whose COMMIT failed for over; the driver may not.
            self._connection.connection.rollback()
        except Exception:  # noqa: BLE001  # the connection is beyond use: the next group gets a new one
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _units_of(group: Sequence[_Request]) -> list[str] | None:
    """The units of all requests; null where one of them did not say."""
    units: set[str] = set()
    for request in group:
        if request.units is None:
            return None
        units.update(request.units)
    return sorted(units)


@dataclass(frozen=True)
class _Failed:
    error: Exception


class _TransactionLost(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def in_plain_words(error: Exception) -> Exception:
    """The database's own error as a LedgerError of one line without data; any other as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not type(cause).__module__.startswith(("sqlite3", "psycopg")):
        return error
    kind = type(cause).__name__
    # SQLite's texts name tables and states of the file, never values; PostgreSQL's may quote a row.
    text = str(cause).splitlines()[0] if type(cause).__module__.startswith("sqlite3") else kind
    if kind in ("OperationalError", "DatabaseError", "InterfaceError"):
        remedy = "see to the disk or the server, then ask again"
        plain = LedgerError(f"the ledger cannot be read or written ({text}); {remedy}")
    else:
        plain = RowError(f"the ledger refused a row ({text}); mend what was sent")
    plain.__cause__ = error
    return plain


__all__ = [
    "EPOCH", "SIMULATED", "WALL", "ClockBounds", "ClockError", "CrowdedError", "DeadlineError",
    "LedgerClock", "LedgerError", "RowError", "Writer", "boot_seconds", "in_plain_words", "micros",
]  # fmt: skip
