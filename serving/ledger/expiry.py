"""Close in time what was reserved and never claimed. Counting does not wait for it: see ContactRow.counts."""

import contextlib
import threading

from serving.ledger.book import NOTHING, Ledger, LedgerError, expire

SECONDS = 5.0
CHUNK = 500  # contacts a transaction: whoever waits behind one waits milliseconds


def close_expired(ledger: Ledger, chunk: int = CHUNK) -> int:
    """Close every reserved contact whose window is over; how many. LedgerError as any write."""
    n_closed = 0
    while True:
        done = ledger.write(lambda connection: expire(connection, ledger.now_micros(), chunk), touches=NOTHING).result()
        n_closed += done
        if done < chunk:
            return n_closed


class Expiry:
    """A thread that does so every few seconds, until `stop`; a ledger that cannot now is asked again."""

    def __init__(self, ledger: Ledger, seconds: float = SECONDS) -> None:
        self._ledger, self._seconds = ledger, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-expiry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it has begun it finishes."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            with contextlib.suppress(LedgerError):
                close_expired(self._ledger)
