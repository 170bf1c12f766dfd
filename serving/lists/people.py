"""The customers of a run: a snapshot's rows brought up to the run's instant, in whole units, in a mapped file.

A row takes kilobytes and bringing it up to date some copies of it, so it is done a block at a time: in memory is one
block, and what is mapped the system lets go of when it wants the room. The file has no name: it goes with the run.
"""

import os
import tempfile
from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from features.identity import shared
from features.snapshot import Snapshot
from features.store import FeatureStore

BLOCK = 65_536


def read_people(store: FeatureStore, snapshot: Snapshot, at: datetime, ledger: dict[str, pa.Table], members: pa.Table,
                certain: Sequence[Sequence[str]], block: int = BLOCK) -> pa.Table:  # fmt: skip
    """The features of every customer as of `at`, sorted by unit_id, customer_id.

    Args:
        ledger: `events`, `consents`, `persons` whole.
        members: customer_id, unit_id, as the ledger counts them: newer than the snapshot's.
        certain: ids of each person of whom they are certain.
        block: Rows brought up to date at once; a few more where they would part a unit.
    """
    base = snapshot.table
    unit = _units(base, members)
    keys = pa.table({"unit_id": unit, "customer_id": base.column("customer_id")})
    order = pc.sort_indices(keys, [("unit_id", "ascending"), ("customer_id", "ascending")])
    person = _persons(ledger["persons"])
    descriptor, name = tempfile.mkstemp(prefix="nbo-people-")
    try:
        with os.fdopen(descriptor, "wb") as sink, ipc.new_file(sink, store.schema) as file:
            for part in _blocks(unit, order, block):
                rows = store.overlay(base, at, ledger["events"], ledger["consents"], part)
                if person:
                    rows = shared(rows, person, certain)
                where = rows.schema.get_field_index("unit_id")
                rows = rows.set_column(where, rows.schema.field(where), unit.take(part))
                file.write_table(rows.combine_chunks())
        with pa.memory_map(name) as source:
            return ipc.open_file(source).read_all()
    finally:
        Path(name).unlink()


def _blocks(unit: pa.ChunkedArray, order: pa.Array, block: int) -> Generator[pa.Array]:
    """The order in parts of about `block` rows, none of which parts a unit; one empty part of nobody."""
    codes = np.asarray(pc.dictionary_encode(unit).combine_chunks().indices)[np.asarray(order)]
    heads = np.append(np.flatnonzero(codes[1:] != codes[:-1]) + 1, len(codes))  # where a unit ends
    start = 0
    while start < len(codes):
        end = int(heads[np.searchsorted(heads, min(start + block, len(codes)))])
        yield order.slice(start, end - start)
        start = end
    if not len(codes):
        yield order


def _units(base: pa.Table, members: pa.Table) -> pa.ChunkedArray:
    place = pc.index_in(base.column("customer_id"), value_set=members.column("customer_id"))
    return pc.coalesce(members.column("unit_id").take(place), base.column("unit_id"))


def _persons(persons: pa.Table) -> list[list[str]]:
    """The ids of each person that the ledger knows under several."""
    found: dict[str, list[str]] = {}
    for customer, one in zip(*(persons.column(name).to_pylist() for name in ("customer_id", "person_id")), strict=True):
        found.setdefault(one, []).append(customer)
    return list(found.values())
