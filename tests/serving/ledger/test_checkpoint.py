"""The log comes home beside the writer, and what was committed is in the file."""

import sqlite3
import time
from pathlib import Path

from serving.ledger.checkpoint import Checkpointer


def test_the_log_is_copied_home_while_others_write(tmp_path: Path) -> None:
    file = tmp_path / "nbo.db"
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 100000")
    writer.execute("CREATE TABLE t (a TEXT)")
    before = file.stat().st_size
    writer.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 500)
    assert file.stat().st_size == before, "nothing is copied without it"
    checkpointer = Checkpointer(str(file), seconds=0.01)
    until = time.monotonic() + 20
    while file.stat().st_size < 400_000 and time.monotonic() < until:
        time.sleep(0.01)
    checkpointer.stop()
    assert file.stat().st_size > 400_000
    writer.close()
