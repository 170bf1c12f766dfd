"""Turns at SQLite's write lock: whoever asks next writes next, whatever another process does in a loop."""

import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from serving.ledger.database import Turns

ROOT = Path(__file__).parents[3]
GREEDY = """
    import sqlite3, sys, time
    from pathlib import Path
    from serving.ledger.database import Turns
    path = Path(sys.argv[1])
    driver, turns, until = sqlite3.connect(path, isolation_level=None, timeout=30), Turns(path), time.monotonic() + 60
    print("begins", flush=True)
    while not path.with_suffix(".stop").exists() and time.monotonic() < until:
        turns.begin(driver)
        driver.execute("UPDATE written SET n = n + 1")
        time.sleep(0.02)
        driver.execute("COMMIT")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "nbo.db"
    with sqlite3.connect(found) as driver:
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("CREATE TABLE written (n INTEGER)")
        driver.execute("INSERT INTO written VALUES (0)")
    return found


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)


def test_nobody_who_writes_in_a_loop_is_let_in_twice_before_one_who_waits(path: Path) -> None:
    """Counted in transactions, not in seconds: what is being written when he asks, and one that was at the door."""
    driver, turns, behind = opened(path), Turns(path), list[int]()
    command = [sys.executable, "-c", textwrap.dedent(GREEDY), str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as greedy:
        assert greedy.stdout is not None
        greedy.stdout.readline()
        for _ in range(20):
            [(before,)] = driver.execute("SELECT n FROM written")
            turns.begin(driver)
            [(found,)] = driver.execute("SELECT n FROM written")
            driver.execute("COMMIT")
            behind.append(found - before)
            time.sleep(0.003)
        path.with_suffix(".stop").touch()
    assert sum(behind) > 0, "the other wrote meanwhile"
    assert max(behind) <= 2


def test_whoever_waits_too_long_is_told(path: Path) -> None:
    holder, driver, turns = opened(path), opened(path), Turns(path, patience=0.05)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        turns.begin(driver)
    holder.execute("COMMIT")
    turns.begin(driver)  # and nothing of it is left behind
    assert driver.execute("PRAGMA busy_timeout").fetchone() == (50,), "outside, SQLite waits in its own way"


def test_one_who_waits_goes_on_when_the_other_ends(path: Path) -> None:
    holder, driver = opened(path), opened(path)
    holder.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=Turns(path).begin, args=(driver,))
    waiting.start()
    holder.execute("UPDATE written SET n = 7")
    holder.execute("COMMIT")
    waiting.join(timeout=30)
    assert driver.execute("SELECT n FROM written").fetchone() == (7,)
    driver.execute("COMMIT")


def test_where_no_file_can_be_made_sqlite_itself_says_what_is_wrong(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "nowhere" / "nbo.db")
    driver = sqlite3.connect(":memory:", isolation_level=None)
    turns.begin(driver)
    assert driver.in_transaction
    turns.close()
