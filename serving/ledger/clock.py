"""What time it is for the ledger: never earlier than before, and no jump is believed."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from serving.ledger.errors import ClockError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


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
        self._resets: int | None = None

    def remember(self, seen: int, resets: int = 0) -> None:
        """Take over what the database saw last; another process may have written since.

        resets: how often operators have reset the clock. One more than known: what was seen before is void.
        """
        with self._lock:
            is_reset = self._resets is not None and resets > self._resets
            self._resets = max(resets, self._resets or 0)
            if is_reset or self._seen is None or seen > self._seen:
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


class ServerClock:
    """The clock of a PostgreSQL server, told in each transaction and counted on by ours in between.

    All workers then count by one clock, whatever their own hosts believe.
    """

    def __init__(self) -> None:
        self._told: tuple[int, int] | None = None  # the server's microseconds, our nanoseconds then

    def told(self, server_micros: int) -> None:
        """Take over what the server just said; the road back makes ours late, never early."""
        self._told = server_micros, time.monotonic_ns()

    def sync(self, connection: Connection) -> None:
        """Ask the server."""
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"SELECT {SERVER_MICROS}")
        self.told(cursor.fetchone()[0])

    def __call__(self) -> datetime:
        """Its time now. ClockError before it was asked."""
        if self._told is None:
            raise ClockError("the server was not asked what time it is yet; ask again")
        server, then = self._told
        return EPOCH + timedelta(microseconds=server + (time.monotonic_ns() - then) // 1000)


SERVER_MICROS = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
