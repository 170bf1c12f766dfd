"""Seals: each second the new rows become the leaves of a Merkle tree, whose root joins a chain.

    leaf = kind NUL row_id NUL sha256 of the row       root = merkle_root(leaves in their order)
    head = sha256(seal_id, sealed_at, through, leaves, root, previous head)    mac = HMAC(home's key, head)

A changed byte of a row misses its leaf, a changed leaf its root, a changed root its head, a changed
head its mac and the next seal. Who takes off the end of the chain is found by a head kept elsewhere:
the daily export writes them.

One seals at a time: on SQLite the one writer, on PostgreSQL whoever gets the advisory lock.
"""

import hmac
from collections.abc import Mapping
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


@dataclass(frozen=True)
class Look:
    """What no seal covers. at: when it was looked for; oldest: of each sort that has any, when the oldest was recorded."""

    at: int
    oldest: Mapping[str, int]


def look(connection: Connection, now: int, since: int | None = None) -> Look:
    """What no seal covers among rows recorded from `since` on, 0: all; null: those that may be new. Reads only.

    Rows that are never sealed, imported outcomes, are passed over one by one: with millions of them it takes seconds.
    """
    if since is None:
        since = _since(connection, last_seal(connection))
    found = {sort.kind: sort.fresh.run(connection, since=since, limit=1).fetchone() for sort in SORTS}
    return Look(now, {kind: int(row[1]) for kind, row in found.items() if row is not None})


def seal(connection: Connection, keyring: Keyring, now: int, found: Look | None = None) -> Seal | None:
    """Seal what was found; the seal, null where nothing is left of it or another worker seals.

    found: by a look from another connection, so that no decision waits for it; null: what may be new, looked for here.
    """
    if connection.dialect.name == "postgresql":
        lock = "SELECT pg_try_advisory_xact_lock(%s)"
        if not connection.exec_driver_sql(lock, (_ADVISORY_LOCK,)).scalar():
            return None
    last, found = last_seal(connection), found or look(connection, now)
    rows, full = _fresh(connection, found.oldest)
    if not rows:
        return None
    seal_id, previous = (1, FIRST_PREVIOUS) if last is None else (last.seal_id + 1, last.head)
    # What was recorded after the look may be of a sort that had nothing then: the next look begins there.
    through = (last.through if last else 0) if full else max(found.at, last.through if last else 0)
    root = merkle_root([leaf_bytes(*leaf) for leaf in rows])
    head, key_id = head_of(seal_id, now, through, len(rows), root, previous), keyring.current()
    made = Seal(seal_id=seal_id, sealed_at=now, through=through, leaves=len(rows), root=root, previous=previous,
                head=head, key_id=key_id, mac=mac_of(keyring, key_id, head))  # fmt: skip
    _LEAF.run_many(connection, [{"seal_id": seal_id, "place": place, "kind": kind, "row_id": row_id, "sha256": digest}
                                for place, (kind, row_id, digest) in enumerate(rows)])  # fmt: skip
    _SEAL.run(connection, **{column.name: getattr(made, column.name) for column in COLUMNS})
    return made


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


def _fresh(connection: Connection, oldest: Mapping[str, int]) -> tuple[list[tuple[str, str, str]], bool]:
    """(kind, row id, hash) of rows no seal covers, and whether there are more than one seal takes."""
    found: list[tuple[str, str, str]] = []
    full = False
    for sort in SORTS:
        if sort.kind in oldest:
            rows = sort.fresh.run(connection, since=oldest[sort.kind], limit=LEAVES_MAX).fetchall()
            full |= len(rows) == LEAVES_MAX
            found += [(sort.kind, str(row[0]), sort.leaf(row[2:])) for row in rows]
    return found, full
