"""Decision records: what was known, what was decided, under which terms. Written with the answer.

Each row carries the sha256 of its own canonical bytes: every field but `row_sha256`, in the order of
DecisionRow, each as its length in eight bytes and then the bytes themselves. Seals over many rows
(`serving.ledger.seal`) build on these. Inputs and result are ciphertext (`serving.ledger.vault`).
"""

import hashlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass, fields
from operator import attrgetter

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.schema import decisions
from serving.ledger.statement import Entry, Statement, enter_all


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision about one customer.

    inputs: state columns and scores as decide saw them; result: answer and row; canonical JSON,
    encrypted as stored. reasons: JSON list of slugs, `[]` where an offer won. terms: their sha256.
    revisions: JSON object. Instants in microseconds UTC.
    """

    decision_id: str
    customer_id: str
    unit_id: str
    as_of: int
    inputs: bytes
    result: bytes
    reasons: str
    terms: str
    revisions: str
    recorded_at: int


FIELDS = tuple(field.name for field in fields(DecisionRow))
_values = attrgetter(*FIELDS)
_STORED = (*FIELDS, "row_sha256")
_NULL = b"\xff" * 8
_COLUMNS = tuple(decisions.c[name] for name in (*FIELDS, "row_sha256"))
_INSERT = Statement(insert(decisions))
_FIND = Statement(select(*_COLUMNS).where(decisions.c.decision_id == bindparam("decision_id")))


def row_sha256(row: DecisionRow) -> str:
    """sha256 of the row's canonical bytes, as 64 hexadecimal digits."""
    return fields_sha256(_values(row))


def fields_sha256(values: Iterable[object]) -> str:
    """sha256 over fields, each as its length in eight bytes and its bytes; null is a length no field has."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
            continue
        part = value if isinstance(value, bytes) else str(value).encode()
        parts += (len(part).to_bytes(8, "big"), part)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def record(connection: Connection, row: DecisionRow) -> str:
    """Store the decision; its row hash. RowError where the id is taken."""
    entry = recording(row)
    enter_all(connection, [entry])
    return str(entry.row[-1])


def recording(row: DecisionRow) -> Entry:
    """What `record` enters."""
    values = _values(row)
    return Entry(_INSERT, _STORED, (*values, fields_sha256(values)))


def find(connection: Connection, decision_id: str) -> DecisionRow | None:
    """The decision with this id, null where there is none. See `is_whole` for its hash."""
    row = _FIND.run(connection, decision_id=decision_id).fetchone()
    return None if row is None else DecisionRow(**dict(zip(FIELDS, row[:-1], strict=True)))


def is_whole(connection: Connection, decision_id: str) -> bool:
    """True where the row still has the bytes its hash was taken of. KeyError: no such row."""
    row = _FIND.run(connection, decision_id=decision_id).fetchone()
    if row is None:
        raise KeyError("there is no such decision")
    return row_sha256(DecisionRow(**dict(zip(FIELDS, row[:-1], strict=True)))) == row[-1]


def of_customer(connection: Connection, customer_id: str, limit: int = 100) -> list[DecisionRow]:
    """A customer's decisions, newest first."""
    query = (
        select(*_COLUMNS[:-1])
        .where(decisions.c.customer_id == customer_id)
        .order_by(decisions.c.as_of.desc(), decisions.c.decision_id)
        .limit(limit)
    )
    return [DecisionRow(**row) for row in connection.execute(query).mappings()]


def latest(connection: Connection, limit: int) -> list[DecisionRow]:
    """The decisions recorded last, the newest first."""
    query = select(*_COLUMNS[:-1]).order_by(decisions.c.recorded_at.desc(), decisions.c.decision_id).limit(limit)
    return [DecisionRow(**row) for row in connection.execute(query).mappings()]


def broken(connection: Connection) -> Generator[str]:
    """Ids of decisions whose stored bytes no longer have their hash, in the order of recording."""
    query = select(*_COLUMNS).order_by(decisions.c.recorded_at, decisions.c.decision_id)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        if row_sha256(DecisionRow(**dict(zip(FIELDS, row[:-1], strict=True)))) != row[-1]:
            yield row[0]
