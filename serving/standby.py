"""One scheduler works at a time; a second one stands by."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from features.home import Home

LOCK = 4720260604  # beside those of serving.ledger.locks


@contextmanager
def alone(home: Home) -> Generator[bool]:
    """Whether this is the only scheduler of the home, and stays so inside the block; ends with the process.

    On one machine a locked file says so, between machines the PostgreSQL server both use.
    """
    file = os.open(home.path / ".scheduler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        with _alone_at_server(home) as first:
            yield first
    finally:
        os.close(file)


@contextmanager
def _alone_at_server(home: Home) -> Generator[bool]:
    url = make_url(home.database_url)
    if url.get_backend_name() != "postgresql":
        yield True
        return
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            first = bool(connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar())
            try:
                yield first
            finally:
                if first:  # a busy server may notice only later that the connection is gone
                    with suppress(DBAPIError):
                        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
    finally:
        engine.dispose()
