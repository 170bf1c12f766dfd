"""Bring SQLite's write-ahead log home while others write, so that no commit has to wait for it."""

import contextlib
import sqlite3
import threading

SECONDS = 0.5
BACKSTOP_PAGES = 8_000  # 32 MB: where nobody does it in time, the writer does it itself


class Checkpointer:
    """A thread that copies what was committed from the log into the file, until `stop`; it never holds a lock anyone waits for."""

    def __init__(self, database: str, seconds: float = SECONDS) -> None:
        self._database, self._seconds = database, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-checkpoint", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it has begun it finishes."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as own:
            own.execute("PRAGMA synchronous = FULL")
            while not self._stopping.wait(self._seconds):
                with contextlib.suppress(sqlite3.Error):  # a full disk now: the log keeps it, the next turn tries again
                    own.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
