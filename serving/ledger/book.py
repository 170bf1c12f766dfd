"""The ledger: the only door to its database. One writer, many readers, one clock.

SQLite is embedded: one serving process and one writer thread, WAL, synchronous FULL, so that what
was acknowledged survives a crash of the process and of the machine. The tables are in
`serving.ledger.schema`; what may be done with a contact is in `serving.ledger.lifecycle`.
"""

import json
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self, TypeVar

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import URL, Connection

from serving.ledger.ahead import Later, Wish
from serving.ledger.clock import SERVER_MICROS, ClockBounds, LedgerClock, ServerClock, micros
from serving.ledger.contact import COUNTING, TRANSITIONS, Action, ContactRow, LifecycleError, State
from serving.ledger.database import address_of, bring_up_to_date, engine_of, is_sqlite, serving_place
from serving.ledger.errors import ClockError, DeadlineError, LedgerError, RowError, in_plain_words
from serving.ledger.feed import recalls
from serving.ledger.journal import Entered, enter
from serving.ledger.lifecycle import (
    claim,
    close,
    contacts_of_units,
    contacts_table,
    due,
    enter_external,
    enter_sent,
    expire,
    find,
    reserve,
    reserve_many,
    sent,
)
from serving.ledger.locks import CLOCK, NOTHING, Touches, hold, hold_clock, unit_of
from serving.ledger.recall import recall
from serving.ledger.schema import meta, units
from serving.ledger.statement import Statement, is_listed
from serving.ledger.writer import Writer

T = TypeVar("T")

_GET_META = Statement(select(meta.c.value).where(meta.c.name == bindparam("name")))
MARKS = "(SELECT value FROM meta WHERE name = 'last_seen'), (SELECT value FROM meta WHERE name = 'clock_resets')"
_SET_META = Statement(insert(meta), "ON CONFLICT (name) DO UPDATE SET value = excluded.value")


class Ledger:
    """An open ledger. Make one with `open`; `close` it, or use it in a `with`.

    secret: the home's secret, for keys and seals.
    """

    def __init__(
        self, address: URL, clock: LedgerClock, secret: bytes, lock: int | None, server: ServerClock | None = None
    ) -> None:
        self.secret = secret
        self._clock, self._lock, self._server = clock, lock, server
        self._writing, self._reading = engine_of(address, writes=True), engine_of(address, writes=False)
        self._writer = Writer(self._writing, self._see, lock=hold)
        if server is not None:
            with self.read() as connection:
                server.sync(connection)

    @classmethod
    def open(
        cls,
        url: str,
        clock: Callable[[], datetime],
        secret: bytes,
        *,
        serving: bool = False,
        bounds: ClockBounds | None = None,
        server_time: bool = False,
    ) -> Self:
        """The ledger at a SQLAlchemy URL, brought to the newest tables.

        serving: hold the one place of the serving process until `close` (SQLite). bounds: how
        far the clock may move. server_time: on PostgreSQL the server's clock instead of `clock`.
        LedgerError, one line, where the place is taken, or the file is newer or unreadable.
        """
        address = address_of(url)
        lock = serving_place(address) if serving and is_sqlite(address) else None
        try:
            with _plainly():
                bring_up_to_date(address)
            server = ServerClock() if server_time and not is_sqlite(address) else None
            return cls(address, LedgerClock(server or clock, bounds or ClockBounds()), secret, lock, server)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what waits, then let go of the database and of the serving place."""
        self._writer.close()
        self._writing.dispose()
        self._reading.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(
        self,
        task: Callable[[Connection], T | Later[T]],
        deadline: float | None = None,
        units: Sequence[str] | None = None,
        touches: Touches | None = None,
        wish: Wish[Any, Any] | None = None,
    ) -> Future[T]:
        """The task's answer once it is on disk; see `Writer.submit`.

        touches: what the task counts, or reads and then writes; units: the same where it is units
        alone, () nothing. Both null: it may be anything, which is safe and, on PostgreSQL, makes
        the other workers wait. SQLite does not care.
        """
        return self._writer.submit(task, deadline, touches if units is None else Touches(units=units), wish)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One consistent view of what was committed; writing on it is refused."""
        with _plainly(), self._reading.connect() as connection, connection.begin():
            yield connection

    def now_micros(self) -> int:
        """The ledger's time in microseconds UTC; it never goes back. ClockError on a jump."""
        return self._clock.now()

    def reset_clock(self, principal: str, reason: str) -> int:
        """Believe the clock as it stands now, on an operator's word, and enter that into the journal.

        Every other process goes on from there with its next transaction.
        """
        now = self._clock.reset()
        forced = Writer(self._writing, lock=hold_clock)  # the usual one asks the clock first, and would refuse
        try:
            forced.submit(lambda connection: _record_reset(connection, now, principal, reason)).result()
        finally:
            forced.close()
        return now

    def check_clock(self, connection: Connection) -> int:
        """The ledger's time beside what was seen last; ClockError on a jump. Writes nothing."""
        seen = read_meta(connection, "last_seen")
        if seen is not None:
            self._clock.remember(int(seen), int(read_meta(connection, "clock_resets") or 0))
        return self._clock.now()

    def _see(self, connection: Connection) -> None:
        """Start of each writing transaction: what time it is, on paper."""
        if connection.dialect.name == "postgresql":
            self._see_with_others(connection)
            return
        seen, resets = connection.connection.cursor().execute(f"SELECT {MARKS}").fetchone()
        if seen is not None:
            self._clock.remember(int(seen), int(resets or 0))
        # Always written: a transaction that begins has shown that the disk takes it.
        write_meta(connection, "last_seen", str(self._clock.now()))

    def _see_with_others(self, connection: Connection) -> None:
        """The same beside other workers: one of them writes it each second, and nobody waits for that row."""
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"SELECT {SERVER_MICROS}, {MARKS}")
        told, seen, resets = cursor.fetchone()
        if self._server is not None:
            self._server.told(told)
        if seen is not None:
            self._clock.remember(int(seen), int(resets or 0))
        now = self._clock.now()
        if seen is None or now - int(seen) > 1_000_000:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (CLOCK,))
            # An operator may have reset the clock since `seen` was read: then that stands.
            if cursor.fetchone()[0] and read_meta(connection, "clock_resets") == resets:
                write_meta(connection, "last_seen", str(now))


def members_of(connection: Connection, unit_ids: Iterable[str]) -> dict[str, list[str]]:
    """Unit -> its customers by id, for each of the units; [unit] where nothing is entered."""
    asked = sorted(set(unit_ids))
    rows = connection.execute(
        select(units.c.unit_id, units.c.customer_id)
        .where(is_listed(units.c.unit_id, bindparam("unit_ids", json.dumps(asked))))
        .order_by(units.c.unit_id, units.c.customer_id)
    )
    members: dict[str, list[str]] = {}
    for unit_id, customer_id in rows:
        members.setdefault(unit_id, []).append(customer_id)
    return {unit_id: members.get(unit_id, [unit_id]) for unit_id in asked}


def read_meta(connection: Connection, name: str) -> str | None:
    """What the ledger keeps under a name, `last_seen` or a revision in force; null: nothing."""
    row = _GET_META.run(connection, name=name).fetchone()
    return None if row is None else str(row[0])


def write_meta(connection: Connection, name: str, value: str) -> None:
    """Keep a value under a name; the former one is gone."""
    _SET_META.run(connection, name=name, value=value)


def _record_reset(connection: Connection, now: int, principal: str, reason: str) -> None:
    seen, resets = read_meta(connection, "last_seen"), int(read_meta(connection, "clock_resets") or 0)
    write_meta(connection, "last_seen", str(now))
    write_meta(connection, "clock_resets", str(resets + 1))
    enter(connection, Entered.CLOCK, None, principal, now, reason=reason, seen=seen and int(seen))


@contextmanager
def _plainly() -> Generator[None]:
    try:
        yield
    except Exception as error:
        plain = in_plain_words(error)
        if plain is error:
            raise
        raise plain from error


__all__ = [
    "COUNTING",
    "NOTHING",
    "TRANSITIONS",
    "Action",
    "ClockBounds",
    "ClockError",
    "ContactRow",
    "DeadlineError",
    "Ledger",
    "LedgerError",
    "LifecycleError",
    "RowError",
    "State",
    "Touches",
    "claim",
    "close",
    "contacts_of_units",
    "contacts_table",
    "due",
    "enter_external",
    "enter_sent",
    "expire",
    "find",
    "members_of",
    "micros",
    "read_meta",
    "recall",
    "recalls",
    "reserve",
    "reserve_many",
    "sent",
    "unit_of",
    "write_meta",
]  # fmt: skip
