"""The one thread that writes: groups of requests, a savepoint each, answered after COMMIT.

Requests that arrive while a transaction runs form the next one; nobody waits for company. A
request that fails is rolled back to its savepoint and leaves the others as they are.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from psycopg.pq import TransactionStatus
from sqlalchemy.engine import Connection, Engine

from serving.ledger.ahead import Later, Wish, forget, tell
from serving.ledger.clock import EPOCH, SIMULATED, WALL, ClockBounds, LedgerClock, boot_seconds, micros
from serving.ledger.errors import (
    ClockError,
    CrowdedError,
    DeadlineError,
    InDoubtError,
    LedgerError,
    RowError,
    in_plain_words,
    of_commit,
)
from serving.ledger.locks import Touches, together
from serving.ledger.statement import Entry, enter_all

T = TypeVar("T")


@dataclass
class _Request:
    work: Callable[[Connection], Any]
    deadline: float | None
    touches: Touches | None
    wish: Wish[Any, Any] | None
    future: Future[Any]


class Writer:
    """One thread, one connection, one transaction at a time.

    Args:
        engine: Its `begin` event starts a transaction that holds the write lock.
        opening: Runs first in each transaction; where it raises, the whole group fails with it.
        lock: Holds what is touched, null everything, until the transaction ends; called once a
            group, with all it touches, so that workers never wait for each other in a circle.
        steady: The seconds that deadlines are given in.
        group_max: Most requests of one transaction, so that no group runs long.
        waiting_max: Most requests in the queue; the next one is refused.
    """

    def __init__(
        self,
        engine: Engine,
        opening: Callable[[Connection], object] | None = None,
        *,
        lock: Callable[[Connection, Touches | None], object] | None = None,
        steady: Callable[[], float] = time.monotonic,
        group_max: int = 64,
        waiting_max: int = 10_000,
    ) -> None:
        self._engine, self._steady = engine, steady
        self._opening, self._lock = opening, lock
        self._group_max, self._waiting_max = group_max, waiting_max
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()  # null comes last: no more will come
        self._door = threading.Lock()
        self._closed = False
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def submit(
        self,
        task: Callable[[Connection], T | Later[T]],
        deadline: float | None = None,
        touches: Touches | None = None,
        wish: Wish[Any, Any] | None = None,
    ) -> Future[T]:
        """The task's answer, once it is on disk.

        The task may run more than once (a neighbour's deadline undoes the group), so it touches
        nothing but the connection, and neither commits nor rolls back. deadline: on the `steady`
        clock. touches: what it reads and then writes; null: it may be anything. wish: what it would
        like to be told ahead, with its group; see there. The future raises what the task raised; LedgerError
        where the database failed.
        """
        future: Future[T] = Future()
        with self._door:
            if self._closed:
                raise LedgerError("the ledger is closed; open it again")
            if self._waiting.qsize() >= self._waiting_max:
                raise CrowdedError(f"{self._waiting_max} requests wait already; ask again later")
            self._waiting.put(_Request(task, deadline, touches, wish, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """Finish what waits, then stop; a second call does nothing."""
        with self._door:
            if not self._closed:
                self._waiting.put(None)
            self._closed = True
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
        found, group = self._waiting.get(), list[_Request]()
        while found is not None:
            group.append(found)
            if len(group) == self._group_max:
                break
            try:
                found = self._waiting.get_nowait()
            except Empty:
                break
        else:
            if not group:
                return None
            self._waiting.put(None)  # for the next time: this group first
        return [r for r in group if r.future.set_running_or_notify_cancel()]

    def _attempt(self, group: Sequence[_Request], *, careful: bool = False) -> list[_Request]:
        """One transaction. Whom it could not answer, to be tried again: fewer each time. careful: nobody is told ahead."""
        group = self._without_late(group)
        if not group:
            return []
        try:
            connection = self._begun(group)
        except Exception as error:  # noqa: BLE001  # whatever it was, every caller hears of it
            return self._fail(group, error)
        answers: list[Any] = []
        forget(group)
        pile: list[Entry] = []  # what those who were told ahead write; whoever was not may have to read it
        try:
            for place, request in enumerate(group):
                if request.wish is not None and request.wish.told is None and not careful:
                    pile = _entered(connection, pile)
                    _told(connection, group[place:])
                if request.wish is not None and request.wish.told is not None:
                    answers.append(_piled(connection, request, pile))
                    continue
                pile = _entered(connection, pile)
                try:
                    answers.append(self._one(connection, request, alone=len(group) == 1))
                except _TransactionLost as lost:
                    self._roll_back()
                    others = [*group[:place], *group[place + 1 :]]
                    return [*self._fail([request], lost.cause), *others]
            _entered(connection, pile)
        except _GroupLost:  # one of them spoilt it for all: each gets a savepoint
            self._roll_back()
            return self._attempt(group, careful=True)
        if any(map(self._is_late, group)):
            self._roll_back()
            return self._without_late(group)
        try:
            connection.commit()
        except Exception as error:  # noqa: BLE001  # whatever it was, every caller hears of it
            self._roll_back()
            return self._fail(group, of_commit(error))
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
                self._lock(self._connection, together(request.touches for request in group))
        except Exception:
            self._roll_back()
            raise
        return self._connection

    def _one(self, connection: Connection, request: _Request, alone: bool) -> Any:
        if alone:  # nobody to be spared: the whole transaction is its savepoint
            try:
                answer = _done(connection, request)
            except Exception as error:
                raise _TransactionLost(error) from error
            if not _is_open(connection):
                raise _TransactionLost(
                    LedgerError("the transaction ended before its commit; nothing was kept, ask again")
                )
            return answer
        cursor = connection.connection.cursor()
        try:
            cursor.execute("SAVEPOINT request")
            answer = _done(connection, request)
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


def _told(connection: Connection, group: Sequence[_Request]) -> None:
    try:
        tell(connection, group)
    except Exception as error:  # even its savepoint is gone
        raise _GroupLost from error


def _piled(connection: Connection, request: _Request, pile: list[Entry]) -> Any:
    """The answer of a request that was told ahead; what it writes is on the pile."""
    try:
        done = request.work(connection)
    except Exception as error:  # the task's own error goes to its caller
        if not _is_open(connection):
            raise _GroupLost from error
        return _Failed(in_plain_words(error))
    if isinstance(done, Later):
        pile += done.entries
        return done.answer
    return done


def _entered(connection: Connection, pile: list[Entry]) -> list[Entry]:
    """An empty pile; _GroupLost where a row is refused."""
    try:
        enter_all(connection, pile)
    except Exception as error:
        raise _GroupLost from error
    return []


def _done(connection: Connection, request: _Request) -> Any:
    """The answer of a request on its own, what it writes entered."""
    done = request.work(connection)
    if isinstance(done, Later):
        enter_all(connection, done.entries)
        return done.answer
    return done


def _is_open(connection: Connection) -> bool:
    """False where the task, or a full disk, ended the transaction: its COMMIT would keep nothing and say nothing."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return driver.info.transaction_status == TransactionStatus.INTRANS


@dataclass(frozen=True)
class _Failed:
    error: Exception


class _GroupLost(Exception):
    """What was written together was refused, or the transaction is gone; nobody can say whose doing it is."""


class _TransactionLost(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


__all__ = [
    "EPOCH", "SIMULATED", "WALL", "ClockBounds", "ClockError", "CrowdedError", "DeadlineError",
    "InDoubtError", "LedgerClock", "LedgerError", "RowError", "Writer", "boot_seconds", "in_plain_words", "micros",
]  # fmt: skip
