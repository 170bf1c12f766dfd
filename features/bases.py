"""Which snapshot decisions start from: the newest, a large one once it has been read ahead.

Reading a snapshot of a million customers takes seconds. A service that reads ahead goes on with the one before until the
new one is at hand; whoever does not, and every small snapshot, is read where it is first asked for.
"""

from collections.abc import Callable

from features.base import Base
from features.snapshot import Snapshot

LARGE_BYTES = 100 << 20  # what is smaller is read in some tens of milliseconds


class Bases:
    """The base that is held, and for a moment the one before. read: makes it."""

    def __init__(self, read: Callable[[Snapshot], Base]) -> None:
        self._read = read
        self._held: tuple[Snapshot, Base] | None = None
        self._before: tuple[Snapshot, Base] | None = None  # for decisions under way while others turn to the next
        self._turned: Snapshot | None = None  # read ahead; null: nobody reads ahead

    def of(self, snapshot: Snapshot) -> Base:
        """The base of a snapshot."""
        for one in (self._held, self._before):
            if one is not None and one[0] is snapshot:
                return one[1]
        base = self._read(snapshot)
        self._before, self._held = self._held, (snapshot, base)
        return base

    def usable(self, newest: Snapshot | None) -> Snapshot | None:
        """The newest, or the one before while a large newest is being read."""
        turned = self._turned
        if turned is None or newest is None or newest is turned or newest.as_of < turned.as_of or not _is_large(newest):
            return newest
        return turned

    def read_ahead(self, newest: Snapshot | None, sound: Callable[[Snapshot], bool]) -> None:
        """Read the newest now, then turn to it; to one that is not sound at once, for whoever asks has to hear of it."""
        if newest is not None and newest is self._turned:
            self._before = None
        elif newest is not None:
            if sound(newest):
                self.of(newest)
            self._turned = newest


def _is_large(snapshot: Snapshot) -> bool:
    try:
        return snapshot.path.stat().st_size >= LARGE_BYTES
    except OSError:  # gone again
        return False
