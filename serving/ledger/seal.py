"""Seals: each second the new rows become the leaves of a Merkle tree, whose root joins a chain.

    leaf = kind NUL row_id NUL sha256 of the row       root = merkle_root(leaves in their order)
    head = sha256(seal_id, sealed_at, through, leaves, root, previous head)    mac = HMAC(home's key, head)

A changed byte of a row misses its leaf, a changed leaf its root, a changed root its head, a changed
head its mac and the next seal. Who takes off the end of the chain is found by a head kept elsewhere:
the daily export writes them.

One seals at a time: on SQLite the one writer, on PostgreSQL whoever gets the advisory lock.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.keyring import Keyring
from serving.ledger.merkle import merkle_root
from serving.ledger.records import fields_sha256
from serving.ledger.schema import leaves, seals
from serving.ledger.sealed import SORTS
from serving.ledger.statement import Statement

FIRST_PREVIOUS = "0" * 64
LEAVES_MAX = 5_000  # of one sort in one seal, so that the writer is not held for long
# How much older than the last seal a row may become visible. SQLite's writers come one after the
# other; PostgreSQL's workers stamp a row and commit it some time later.
LAG_MICROS = {"sqlite": 1_000_000, "postgresql": 10_000_000}
_ADVISORY_LOCK = 4720260604  # PostgreSQL: whoever seals


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One link of the chain; the columns of `schema.seals`."""

    seal_id: int
    sealed_at: int
    through: int
    leaves: int
    root: str
    previous: str
    head: str
    key_id: str
    mac: str


COLUMNS = tuple(seals.c)
_LAST = Statement(select(*COLUMNS).order_by(seals.c.seal_id.desc()), "LIMIT 1")
_SEAL = Statement(insert(seals))
_LEAF = Statement(insert(leaves))
_OF_ROW = Statement(
    select(leaves.c.seal_id).where(leaves.c.kind == bindparam("kind"), leaves.c.row_id == bindparam("row_id"))
)


def leaf_bytes(kind: str, row_id: str, row_sha256: str) -> bytes:
    """What a leaf is hashed of."""
    return f"{kind}\0{row_id}\0{row_sha256}".encode()


def head_of(seal_id: int, sealed_at: int, through: int, n_leaves: int, root: str, previous: str) -> str:
    """The head of a seal: 64 hexadecimal digits."""
    return fields_sha256((seal_id, sealed_at, through, n_leaves, root, previous))


def mac_of(keyring: Keyring, key_id: str, head: str) -> str:
    """The head's HMAC-SHA256 with that key of the home; KeyringError where the key is gone."""
    return hmac.new(keyring.seal_key(key_id), head.encode(), sha256).hexdigest()


def seal(connection: Connection, keyring: Keyring, now: int, *, since: int | None = None) -> Seal | None:
    """Seal what is new; the seal, null where nothing is new or another worker seals.

    since: look at rows recorded from then on, 0: at all; null: at the latest only.
    """
    if connection.dialect.name == "postgresql":
        lock = "SELECT pg_try_advisory_xact_lock(%s)"
        if not connection.exec_driver_sql(lock, (_ADVISORY_LOCK,)).scalar():
            return None
    last = last_seal(connection)
    found, full = _fresh(connection, _since(connection, last) if since is None else since)
    if not found:
        return None
    seal_id, previous = (1, FIRST_PREVIOUS) if last is None else (last.seal_id + 1, last.head)
    through = (last.through if last else 0) if full else max(now, last.through if last else 0)
    root = merkle_root([leaf_bytes(*leaf) for leaf in found])
    head, key_id = head_of(seal_id, now, through, len(found), root, previous), keyring.current()
    made = Seal(seal_id=seal_id, sealed_at=now, through=through, leaves=len(found), root=root, previous=previous,
                head=head, key_id=key_id, mac=mac_of(keyring, key_id, head))  # fmt: skip
    _LEAF.run_many(connection, [{"seal_id": seal_id, "place": place, "kind": kind, "row_id": row_id, "sha256": digest}
                                for place, (kind, row_id, digest) in enumerate(found)])  # fmt: skip
    _SEAL.run(connection, **{column.name: getattr(made, column.name) for column in COLUMNS})
    return made


def is_news(connection: Connection) -> bool:
    """Whether there may be something to seal; reads only, and may say yes once too often."""
    since = _since(connection, last_seal(connection))
    return any(sort.fresh.run(connection, since=since, limit=1).fetchone() for sort in SORTS)


def oldest_unsealed(connection: Connection) -> int | None:
    """When the oldest row that no seal covers was recorded; null: all are covered. Reads every row there is."""
    found = (sort.fresh.run(connection, since=0, limit=1).fetchone() for sort in SORTS)
    return min((int(row[1]) for row in found if row is not None), default=None)


def _since(connection: Connection, last: Seal | None) -> int:
    """From when on rows may be new, as long as none became visible late."""
    return 0 if last is None else last.through - LAG_MICROS[connection.dialect.name]


def last_seal(connection: Connection) -> Seal | None:
    """The newest seal; null before the first."""
    row = _LAST.run(connection).fetchone()
    return None if row is None else seal_of(row)


def seal_of(row: Any) -> Seal:
    """The seal in a row of its table."""
    return Seal(**{column.name: value for column, value in zip(COLUMNS, row, strict=True)})


def seal_of_row(connection: Connection, kind: str, row_id: str) -> int | None:
    """The number of the seal that covers a row; null: it is not sealed yet."""
    row = _OF_ROW.run(connection, kind=kind, row_id=row_id).fetchone()
    return None if row is None else int(row[0])


def unsealed(connection: Connection) -> list[tuple[str, str, int]]:
    """(kind, row id, recorded at) of every row no seal covers."""
    return [(sort.kind, str(row[0]), int(row[1]))
            for sort in SORTS for row in sort.fresh.run(connection, since=0, limit=2**31 - 1)]  # fmt: skip


def _fresh(connection: Connection, since: int) -> tuple[list[tuple[str, str, str]], bool]:
    """(kind, row id, hash) of new rows, and whether there are more than one seal takes."""
    found: list[tuple[str, str, str]] = []
    full = False
    for sort in SORTS:
        rows = sort.fresh.run(connection, since=since, limit=LEAVES_MAX).fetchall()
        full |= len(rows) == LEAVES_MAX
        found += [(sort.kind, str(row[0]), sort.leaf(row[2:])) for row in rows]
    return found, full
