"""Bring a ledger's database to the newest tables: forward only, all or nothing, one at a time."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy.engine import Engine

from serving.ledger.schema import HEAD
from serving.ledger.writer import LedgerError

SCRIPTS = Path(__file__).parent
_OTHERS_GO_SECONDS = 10.0
_ADVISORY_LOCK = 4720260601  # PostgreSQL: any number, the same in every release


def bring_up_to_date(engine: Engine, scripts: Path = SCRIPTS, head: str = HEAD) -> None:
    """Migrate the engine's database to `head`; nothing is touched where it stands there.

    engine: its `begin` event takes the write lock. One transaction: a migration that fails leaves
    the tables as they were. LedgerError where the database is at a revision `scripts` lacks.
    """
    if revision(engine) == head:
        return
    embedded = engine.dialect.name == "sqlite"
    with _held(Path(f"{engine.url.database}.setup")) if embedded else nullcontext():
        if embedded:
            _to_wal(engine)
        if revision(engine) != head:
            _upgrade(engine, scripts, head)


def _to_wal(engine: Engine) -> None:
    """Switch the file to WAL; whoever has it in this instant is waited for, which SQLite itself does not do."""
    until = time.monotonic() + _OTHERS_GO_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def revision(engine: Engine) -> str | None:
    """The migration the database stands at; null: none, it is empty."""
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Two processes that meet a new file must not both switch it to WAL and fill it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"cannot write beside the ledger ({error.strerror}); mend the folder"
        raise LedgerError(why) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _upgrade(engine: Engine, scripts: Path, head: str) -> None:
    from alembic import command  # a third of a second that an up-to-date ledger need not spend
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            lock = "SELECT pg_advisory_xact_lock(%s)"
            connection.exec_driver_sql(lock, (_ADVISORY_LOCK,))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, head)
        except CommandError:
            why = "the ledger was made by a newer version of this program; update the program"
            raise LedgerError(why) from None
