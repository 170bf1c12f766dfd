"""The customers of a run: a snapshot's rows brought up to the run's instant, in whole units, in a mapped file.

A row takes kilobytes and bringing it up to date some copies of it, so it is done a block at a time: in memory is one
block, and what is mapped the system lets go of when it wants the room. The file has no name: it goes with the run.
"""

import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from features.identity import shared
from features.snapshot import Snapshot
from features.store import FeatureStore
from serving.lists.dealt import Dealt, Queue, queue

TOGETHER = 4  # chunks brought up to date at once


def queue_of(snapshot: Snapshot, members: pa.Table, size: int) -> Queue:
    """Everybody of the snapshot, in chunks of that size and a few more.

    members: customer_id, unit_id as the ledger counts them, which is newer than what the snapshot says.
    """
    customers, units = snapshot.table.column("customer_id"), snapshot.table.column("unit_id")
    place = pc.index_in(customers, value_set=members.column("customer_id"))
    return queue(customers, pc.coalesce(members.column("unit_id").take(place), units), size)


def read_people(store: FeatureStore, snapshot: Snapshot, at: datetime, people: Queue, ledger: Dealt,
                certain: Sequence[Sequence[str]]) -> pa.Table:  # fmt: skip
    """The features of every customer as of `at`, in the order of the queue.

    Args:
        ledger: `events`, `consents`, `persons`, dealt out to the queue's chunks.
        certain: ids of each person of whom they are certain.
    """
    descriptor, name = tempfile.mkstemp(prefix="nbo-people-")
    try:
        with os.fdopen(descriptor, "wb") as sink, ipc.new_file(sink, store.schema) as file:
            for first in range(0, len(people.ends), TOGETHER):
                last = min(first + TOGETHER, len(people.ends))
                mine, heard = people.rows(first, last), ledger.of(first, last)
                rows = store.overlay(snapshot.table, at, heard["events"], heard["consents"], people.order[mine])
                if heard["persons"].num_rows:
                    rows = shared(rows, _persons(heard["persons"]), certain)
                where = rows.schema.get_field_index("unit_id")
                rows = rows.set_column(where, rows.schema.field(where), people.units[mine])
                file.write_table(rows.combine_chunks())
        with pa.memory_map(name) as source:
            return ipc.open_file(source).read_all()
    finally:
        Path(name).unlink()


def _persons(persons: pa.Table) -> list[list[str]]:
    """The ids of each person that the ledger knows under several."""
    found: dict[str, list[str]] = {}
    for customer, one in zip(*(persons.column(name).to_pylist() for name in ("customer_id", "person_id")), strict=True):
        found.setdefault(one, []).append(customer)
    return list(found.values())
