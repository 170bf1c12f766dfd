"""Whether the ledger still is what was sealed: every row, leaf, root, head, HMAC. Reads only."""

import hmac
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from serving.ledger.journal import Entered, entries
from serving.ledger.keyring import Keyring, KeyringError
from serving.ledger.merkle import merkle_root
from serving.ledger.schema import decisions, leaves, seals
from serving.ledger.seal import (
    COLUMNS,
    FIRST_PREVIOUS,
    LAG_MICROS,
    Seal,
    head_of,
    leaf_bytes,
    mac_of,
    seal_of,
    unsealed,
)
from serving.ledger.sealed import DECISION, SORTS, Sort, hashed_again
from serving.ledger.statement import Statement

_SEALS = Statement(select(*COLUMNS).order_by(seals.c.seal_id))
_LEAVES = Statement(
    select(leaves.c.seal_id, leaves.c.kind, leaves.c.row_id, leaves.c.sha256).order_by(leaves.c.seal_id, leaves.c.place)
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not what was sealed. what: `seal`, a kind of row, `export` or `list`; which: its id."""

    what: str
    which: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at. tail: (kind, id) of rows no seal covers yet. pruned: leaves whose row was pruned."""

    seals: int
    rows: int
    pruned: int
    head: str | None
    tail: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def verify(connection: Connection, keyring: Keyring) -> Verified:
    """Check the chain and every row under it; findings name the exact seal or record."""
    chain, findings = _chain(connection, keyring)
    findings += _roots(connection, chain)
    n_rows = n_pruned = 0
    sealed_at = {seal.seal_id: seal.sealed_at for seal in chain}
    horizon = _horizons(connection)
    for sort in SORTS:
        for _, found in _rows(connection, sort):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                n_rows += 1
        for seal_id, row_id in _gone(connection, sort):
            n_pruned += 1
            if sealed_at.get(seal_id, 0) >= horizon.get(sort.kind, 0):
                findings.append(Finding(sort.kind, row_id, f"is gone; seal {seal_id} covers it, and no prune took it"))
    tail, late = _tail(connection, chain)
    head = chain[-1].head if chain else None
    return Verified(seals=len(chain), rows=n_rows, pruned=n_pruned, head=head, tail=tail, findings=(*findings, *late))


def _chain(connection: Connection, keyring: Keyring) -> tuple[list[Seal], list[Finding]]:
    chain = [seal_of(row) for row in _SEALS.run(connection)]
    findings: list[Finding] = []
    previous = FIRST_PREVIOUS
    for place, seal in enumerate(chain, 1):
        name = str(seal.seal_id)
        if seal.seal_id != place:
            findings.append(Finding("seal", name, f"stands at place {place} of the chain; one is missing or moved"))
            break  # everything behind it would be said again
        if seal.previous != previous:
            findings.append(Finding("seal", name, "does not follow the head before it"))
        made = head_of(seal.seal_id, seal.sealed_at, seal.through, seal.leaves, seal.root, seal.previous)
        if made != seal.head:
            findings.append(Finding("seal", name, "its head is not the hash of its root and times"))
        try:
            signed = hmac.compare_digest(mac_of(keyring, seal.key_id, seal.head).encode(), seal.mac.encode())
        except KeyringError:
            findings.append(Finding("seal", name, f"its key `{seal.key_id[:16]}` is not in the keyring"))
        else:
            if not signed:
                findings.append(Finding("seal", name, "its HMAC is not the home's"))
        previous = seal.head
    return chain, findings


def _roots(connection: Connection, chain: list[Seal]) -> list[Finding]:
    known = {seal.seal_id: seal for seal in chain}
    seen: set[int] = set()
    findings: list[Finding] = []
    for seal_id, rows in groupby(_streamed(connection, _LEAVES), key=lambda row: int(row[0])):
        hashed = [leaf_bytes(row[1], row[2], row[3]) for row in rows]
        seal = known.get(seal_id)
        seen.add(seal_id)
        if seal is None:
            findings.append(Finding("seal", str(seal_id), "has leaves and is missing"))
        elif len(hashed) != seal.leaves or merkle_root(hashed) != seal.root:
            findings.append(Finding("seal", str(seal_id), "its root is not that of its leaves"))
    return findings + [Finding("seal", str(name), "has lost its leaves") for name in known if name not in seen]


def _rows(connection: Connection, sort: Sort) -> Generator[tuple[str, Finding | None]]:
    """Each row that stands, with what is wrong with it."""
    columns, hashed = hashed_again(sort)
    stored = (decisions.c.row_sha256,) if sort is DECISION else ()
    covered = (leaves.c.kind == bindparam("kind")) & (leaves.c.row_id == sort.row_id)
    query = select(sort.row_id, leaves.c.sha256, *stored, *columns)
    query = query.select_from(sort.table.outerjoin(leaves, covered)).where(sort.among)
    for row in _streamed(connection, Statement(query), kind=sort.kind):
        row_id, leaf, fields = str(row[0]), row[1], tuple(row[2 + len(stored) :])
        digest = hashed(fields)
        if stored and row[2] != digest:
            yield row_id, Finding(sort.kind, row_id, "its bytes are not those its hash was taken of")
        elif leaf is not None and leaf != digest:
            yield row_id, Finding(sort.kind, row_id, "its hash is not the one that was sealed")
        else:
            yield row_id, None


def _gone(connection: Connection, sort: Sort) -> Iterator[tuple[int, str]]:
    stands = select(sort.row_id).where(sort.row_id == leaves.c.row_id).exists()
    query = select(leaves.c.seal_id, leaves.c.row_id).where(leaves.c.kind == bindparam("kind"), ~stands)
    query = query.order_by(leaves.c.seal_id, leaves.c.place)
    return ((int(row[0]), str(row[1])) for row in _streamed(connection, Statement(query), kind=sort.kind))


def _horizons(connection: Connection) -> dict[str, int]:
    """Kind of row -> rows sealed before this instant may have been pruned, by the sealed journal."""
    told: dict[str, int] = {}
    for entry in entries(connection, Entered.PRUNE):
        for kind, before in entry.body.get("sealed_before", {}).items():
            told[kind] = max(told.get(kind, 0), int(before))
    return told


def _tail(connection: Connection, chain: list[Seal]) -> tuple[tuple[tuple[str, str], ...], list[Finding]]:
    """Rows no seal covers: the tail, and those so old that a seal should have."""
    bound = chain[-1].through - LAG_MICROS[connection.dialect.name] if chain else 0
    tail, late = [], []
    for kind, row_id, at in unsealed(connection):
        if at < bound:
            late.append(Finding(kind, row_id, "is older than the last seal, and no seal covers it"))
        else:
            tail.append((kind, row_id))
    return tuple(tail), late


def _streamed(connection: Connection, statement: Statement, **values: Any) -> Iterator[tuple[Any, ...]]:
    cursor = statement.run(connection, **values)
    while rows := cursor.fetchmany(1_000):
        yield from rows
