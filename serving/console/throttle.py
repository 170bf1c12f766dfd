"""Who tried a password too often waits: five failures of one name, then a quarter of an hour.

Kept in memory, per process and for a bounded number of names; an unknown name is counted like a known one, so that
nobody learns which there are.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

FAILURES_MAX = 5
WAIT_SECONDS = 900.0
NAMES_MAX = 10_000


class Throttle:
    """Failures by name, forgotten after WAIT_SECONDS without one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # name -> how often, when last
        self._lock = Lock()

    def is_shut(self, name: str) -> bool:
        """Whether the name has to wait; the right password does not help then."""
        with self._lock:
            times, last = self._failed.get(_plain(name), (0, 0.0))
            return times >= FAILURES_MAX and self._clock() - last < WAIT_SECONDS

    def failed(self, name: str) -> None:
        """Count one failure."""
        with self._lock:
            now, key = self._clock(), _plain(name)
            times, last = self._failed.pop(key, (0, now))
            self._failed[key] = (times + 1 if now - last < WAIT_SECONDS else 1, now)
            while len(self._failed) > NAMES_MAX:
                self._failed.popitem(last=False)

    def passed(self, name: str) -> None:
        """Forget the failures of a name."""
        with self._lock:
            self._failed.pop(_plain(name), None)


def _plain(name: str) -> str:
    return name.strip().casefold()[:64]
