"""A reservation, which is what a decision leaves behind, and what the driver is told of it.

The key is looked up, the unit's contacts are counted, the contact is reserved, the decision recorded with its hash, the
answer stored under the key: the steps of `serving.asking` around a decision, without the decision. The bare database is
told the very same statements, taken down in a run before, with values at hand.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from sqlite3 import dbapi2
from typing import Any, NamedTuple

import psycopg
from sqlalchemy.engine import Connection

from serving.ledger import idempotency, records
from serving.ledger.ahead import Later, Wish
from serving.ledger.book import Ledger, Touches, micros
from serving.ledger.contact import ContactRow
from serving.ledger.counted import counted_of_units
from serving.ledger.lifecycle import reserving
from serving.ledger.records import DecisionRow

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
UNITS = 2_003  # a worker's; they come in a shuffled order, each again and again
INPUTS = json.dumps({f"state_{n}": n * 0.5 for n in range(60)}).encode()
ANSWER = json.dumps({"decision_id": "d" * 32, "choices": [{"offer_id": "card_gold", "why": ["x" * 200]}]}).encode()


class Asked(NamedTuple):
    """One reservation asked for: its key, and the rows that a decision hands over."""

    key: idempotency.Asked
    contact: ContactRow
    decision: DecisionRow


def asked_for(worker: int, turn: int) -> Asked:
    """A worker's reservation of that turn."""
    unit = f"H{worker}-{turn * 7_919 % UNITS}"
    contact = ContactRow(contact_id=f"d{worker}-{turn:028d}-0", customer_id=f"C{unit}", unit_id=unit, channel="sms", decided_at=AT,
                         send_after=AT, send_before=AT + 43_200_000_000, offer_id="card_gold", family="card", treatment="warm",
                         campaign_id="spring", p_chosen=0.98, decision_id=f"d{worker}-{turn:028d}")  # fmt: skip
    decision = DecisionRow(decision_id=f"d{worker}-{turn:028d}", customer_id=f"C{unit}", unit_id=unit, as_of=AT, inputs=INPUTS,
                           result=ANSWER, reasons="[]", terms="t" * 64, revisions='{"policy":"r"}', recorded_at=AT)  # fmt: skip
    key = idempotency.Asked("app", "POST /v1/decisions", f"key-{worker}-{turn}", f"{turn:064d}")
    return Asked(key, contact, decision)


def submit(ledger: Ledger, asked: Asked) -> "Future[int]":
    """How many contacts of the unit counted before, once the reservation is on disk."""
    wish = Wish(_ahead, asked)

    def task(connection: Connection) -> Later[int]:
        counted = _ahead(connection, [asked])[0] if wish.told is None else wish.told
        entries = [reserving(asked.contact), records.recording(asked.decision),
                   idempotency.remembering(asked.key, idempotency.Answer(200, ANSWER), AT)]  # fmt: skip
        return Later(counted, entries)

    touches = Touches(customers=(asked.contact.customer_id,), names=(asked.key.key,))
    return ledger.write(task, touches=touches, wish=wish)


def _ahead(connection: Connection, asked: Sequence[Asked]) -> list[int]:
    if any(idempotency.remembered_many(connection, [one.key for one in asked])):
        raise AssertionError("a key came twice")
    counted = dict.fromkeys((one.contact.unit_id for one in asked), 0)
    for row in counted_of_units(connection, counted, 0):
        counted[row[0]] += 1
    return [counted[one.contact.unit_id] for one in asked]


# ---- what the driver is told ---------------------------------------------------------------------

Told = tuple[str | None, Any]  # a statement and its values; null: commit


@contextmanager
def taken_down() -> Generator[list[Told]]:
    """Everything that the ledger's writing thread tells its driver, of both drivers, in order."""
    told: list[Told] = []

    def note(sql: str | None, values: Any = None) -> None:
        if threading.current_thread().name == "ledger-writer":
            told.append((sql, values))

    with (
        _listening(dbapi2, "connect", _sqlite_connect(note)),
        _listening(psycopg.Cursor, "execute", _noting(psycopg.Cursor.execute, note)),
        _listening(psycopg.Connection, "commit", _noting(psycopg.Connection.commit, note)),
    ):
        yield told


def retell(raw: Any, told: Sequence[Told]) -> None:
    """Tell a driver's connection the same, rows fetched."""
    cursor = raw.cursor()
    for sql, values in told:
        if sql is None:
            raw.commit()
            continue
        cursor.execute(sql) if values is None else cursor.execute(sql, values)
        if cursor.description is not None:
            cursor.fetchall()


@contextmanager
def _listening(owner: Any, name: str, other: Any) -> Generator[None]:
    before = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _sqlite_connect(note: Callable[..., None]) -> Callable[..., sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, values: Any = (), /) -> "Cursor":
            note(sql, values)
            return super().execute(sql, values)

    class Noting(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
            note(sql, values)
            return super().execute(sql, values)

        def commit(self) -> None:
            note(None)
            super().commit()

    connect = sqlite3.connect
    return lambda *args, **more: connect(*args, **more | {"factory": Noting})


def _noting(method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    def noting(self: Any, *args: Any, **more: Any) -> Any:
        note(*(args or (None,)))  # commit has none
        return method(self, *args, **more)

    return noting
