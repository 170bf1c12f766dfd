"""Where the ledger's tables are: addresses, engines, the place of the serving process, turns at writing."""

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from serving.ledger.errors import LedgerError
from serving.ledger.migrations import upgrade
from serving.ledger.schema import HEAD, contacts, events, outcomes, units

PATIENCE = 30.0  # seconds that a writer waits for SQLite's one write lock
FILLED = (units, contacts, outcomes, events)  # by an import, a whole history at once
_OURS = 0o600


def address_of(url: str) -> URL:
    """The SQLAlchemy URL; LedgerError where it is none, or a database in memory."""
    try:
        address = make_url(url)
    except ArgumentError:
        raise LedgerError("the database is no SQLAlchemy URL; write sqlite:///path/nbo.db") from None
    if is_sqlite(address) and address.database in (None, "", ":memory:"):
        raise LedgerError("the ledger cannot live in memory; name a file: sqlite:///path/nbo.db")
    return address


def is_sqlite(address: URL) -> bool:
    """Whether it is embedded; else it is PostgreSQL."""
    return address.get_backend_name() == "sqlite"


def serving_place(address: URL) -> int:
    """The place of SQLite's one serving process, held until the descriptor is closed or the process ends."""
    try:
        lock = os.open(f"{address.database}.serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OURS)
    except OSError as error:
        raise LedgerError(f"cannot write beside the ledger ({error.strerror}); mend the folder") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerError(
            "another process serves this ledger; SQLite allows one, so stop it first or move the home to PostgreSQL"
        ) from None
    return lock


def bring_up_to_date(address: URL) -> None:
    """Bring the tables to the newest ones; one that is up to date is opened without a lock."""
    reading = engine_of(address, writes=False)
    try:
        if upgrade.revision(reading) == HEAD:
            return
    finally:
        reading.dispose()
    writing = engine_of(address, writes=True)
    try:
        upgrade.bring_up_to_date(writing)
    finally:
        writing.dispose()


def count_anew(connection: Connection) -> None:
    """Let PostgreSQL's planner know how much the tables hold, in this transaction; SQLite's needs no figures.

    Until its own vacuum comes by, a minute later, it takes tables that were just filled for empty.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {', '.join(table.name for table in FILLED)}")


def engine_of(address: URL, *, writes: bool) -> Engine:
    """An engine whose `begin` starts a transaction that holds the write lock, or one that only reads."""
    return _sqlite(address, writes) if is_sqlite(address) else _postgresql(address, writes)


def _postgresql(address: URL, writes: bool) -> Engine:
    engine = create_engine(address, paramstyle="format", pool_pre_ping=True)
    if not writes:
        view = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

        def read_only(connection: Connection) -> None:
            connection.exec_driver_sql(view)

        event.listen(engine, "begin", read_only)
    return engine


def _sqlite(address: URL, writes: bool) -> Engine:
    # The driver's own idea of when to BEGIN is switched off; ours is below.
    engine = create_engine(address, connect_args={"isolation_level": None, "timeout": PATIENCE})
    turns = Turns(Path(address.database or ""))

    def set_up(connection: Any, _: object) -> None:
        for pragma in ("synchronous = FULL", "foreign_keys = ON", f"query_only = {int(not writes)}"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection  # the road through Core takes ten times as long
        if writes:
            turns.begin(driver)
        else:
            driver.execute("BEGIN")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    event.listen(engine, "engine_disposed", lambda _: turns.close())
    return engine


class Turns:
    """SQLite's write lock in the order of asking, also between processes.

    SQLite waits by looking again after ever longer sleeps: beside a list that reserves chunk after chunk, a decision
    would find the lock taken each time it looks. Whoever waits here holds the file lock, so that the next transaction
    of everybody else comes after his, and looks each millisecond. Outside of here SQLite waits in its own way:
    opening and closing a database take locks as well.
    """

    def __init__(self, database: Path, patience: float = PATIENCE) -> None:
        """database: its file; a file `.turn` beside it is what is locked. patience: seconds of waiting for SQLite."""
        self._path = Path(f"{database}.turn")
        self._patience = patience
        self._file: int | None = None

    def begin(self, driver: sqlite3.Connection) -> None:
        """BEGIN IMMEDIATE; sqlite3.OperationalError where the patience ends."""
        taken = self._taken()
        try:
            self._looked(driver)
        finally:
            if taken:
                fcntl.flock(self._file or -1, fcntl.LOCK_UN)

    def _looked(self, driver: sqlite3.Connection) -> None:
        until = time.monotonic() + self._patience
        driver.execute("PRAGMA busy_timeout = 1").close()
        try:
            while True:
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() > until:
                        raise
                else:
                    return
        finally:
            driver.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}").close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _taken(self) -> bool:
        """False where no file can be made beside the database: SQLite itself will say what is wrong there."""
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OURS)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:
            return False
        return True
