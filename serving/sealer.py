"""The periodic job beside the writer: seal what is new each second, export the days that are over."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from serving.ledger.book import Ledger
from serving.ledger.export import export_days
from serving.ledger.keyring import Keyring
from serving.ledger.seal import Seal, look, seal

EVERY_SECONDS = 1.0
HOUR_MICROS = 3_600_000_000
SWEEP_EVERY = 600  # rounds: a row that became visible late is sealed within ten minutes
_log = logging.getLogger(__name__)


def seal_all(ledger: Ledger, keyring: Keyring) -> list[Seal]:
    """Seal everything that is not sealed yet; the seals made."""
    made: list[Seal] = []
    while (one := _sealed(ledger, keyring, since=0)) is not None:
        made.append(one)
    return made


def _sealed(ledger: Ledger, keyring: Keyring, since: int | None) -> Seal | None:
    """Seal what a look beside the writer finds: a look at all rows takes its time, and no decision waits for it."""
    now = ledger.now_micros
    with ledger.read() as connection:
        found = look(connection, now(), since)
    return ledger.write(lambda c: seal(c, keyring, now(), found), units=()).result() if found.oldest else None


class Sealer:
    """A thread that seals while the ledger serves. Start it with `start`; `stop` seals what is left.

    daily: called once a round, off the writer, with the ledger; for what is done once a day.
    """

    def __init__(self, ledger: Ledger, keyring: Keyring, daily: Callable[[], object] | None = None,
                 every_seconds: float = EVERY_SECONDS) -> None:  # fmt: skip
        self._ledger, self._keyring, self._daily = ledger, keyring, daily
        self._every, self._stopped = every_seconds, threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting = False

    def start(self) -> "Sealer":
        """Begin; itself."""
        self._thread = threading.Thread(target=self._run, name="ledger-sealer", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, and seal the tail; what cannot be sealed now is sealed at the next start."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._round(sweep=True)

    def _run(self) -> None:
        turn = 0
        while not self._stopped.wait(self._every):
            self._round(sweep=turn % SWEEP_EVERY == 0)
            turn += 1

    def _round(self, sweep: bool) -> None:
        try:
            _sealed(self._ledger, self._keyring, since=0 if sweep else None)
            if self._daily is not None:
                self._daily()
        except Exception as error:  # noqa: BLE001  # a full disk now: the rows wait, the next round tries again
            if not self._waiting:  # once, not each second of a long night
                _log.warning("records wait for their seal: %s", type(error).__name__)
            self._waiting = True
        else:
            self._waiting = False


class DailyExport:
    """Called each round: exports the days that are over, looking once an hour of the ledger's time."""

    def __init__(self, ledger: Ledger, keyring: Keyring, folder: Path) -> None:
        self._ledger, self._keyring, self._folder = ledger, keyring, folder
        self._looked: int | None = None

    def __call__(self) -> list[str]:
        """The days it wrote."""
        now = self._ledger.now_micros()
        if self._looked is not None and now - self._looked < HOUR_MICROS:
            return []
        with self._ledger.read() as connection:
            days = export_days(connection, self._keyring, self._folder, now)
        self._looked = now
        return days
