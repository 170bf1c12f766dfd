"""The customers of a run in order, cut into chunks that part no unit, and the ledger's rows dealt out to the chunks once.

A chunk that passed over the whole ledger would cost chunks x rows. A unit stands in one chunk, and the ids of a person
share a unit, so that a row of the ledger concerns one chunk, or nobody of the run. Tables are put into the chunks' order
a million rows at a time, and what was put in order is let go of: there is never a second ledger in memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.rows import as_persons

CHUNK = 16_384
AT_ONCE = 1 << 20  # rows of a table
UNIT, PERSON = "unit_id", "customer_id"  # by which a table is dealt out
DEALT = {
    "contacts": UNIT,
    "outcomes": PERSON,
    "suppressions": PERSON,
    "events": PERSON,
    "consents": PERSON,
    "persons": PERSON,
}


@dataclass(frozen=True)
class Queue:
    """Everybody of a snapshot by unit_id, customer_id. order: its rows; units: (n,) in that order; ends: where each chunk ends."""

    customers: pa.ChunkedArray
    units: pa.ChunkedArray
    order: pa.Array
    ends: np.ndarray

    def rows(self, first: int, last: int) -> slice:
        """Where the chunks from `first` up to and without `last` stand."""
        return slice(int(self.ends[first - 1]) if first else 0, int(self.ends[last - 1]))


def queue(customers: pa.ChunkedArray, units: pa.ChunkedArray, size: int) -> Queue:
    """The queue of those customers in those units, in chunks of `size` rows and a few more where they would part a unit."""
    keys = pa.table({"unit_id": units, "customer_id": customers})
    order = pc.sort_indices(keys, [("unit_id", "ascending"), ("customer_id", "ascending")])
    customers, units = customers.take(order), units.take(order)
    codes = np.asarray(pc.dictionary_encode(units).combine_chunks().indices)
    last = np.append(np.flatnonzero(codes[1:] != codes[:-1]) + 1, len(codes))  # where a unit ends
    ends: list[int] = []
    while (start := ends[-1] if ends else 0) < len(codes):
        ends.append(int(last[np.searchsorted(last, min(start + size, len(codes)))]))
    return Queue(customers, units, order, np.asarray(ends, np.int64))


@dataclass(frozen=True)
class Dealt:
    """The ledger's tables whole, each in parts that are sorted by chunk. ends: (parts, chunks), where in its part each chunk ends."""

    tables: Mapping[str, pa.Table]
    ends: Mapping[str, np.ndarray]

    def of(self, first: int, last: int) -> dict[str, pa.Table]:
        """What concerns the chunks from `first` up to and without `last`; nothing is copied."""
        return {name: self._of(table, self.ends[name], first, last) for name, table in self.tables.items()}

    @staticmethod
    def _of(table: pa.Table, ends: np.ndarray, first: int, last: int) -> pa.Table:
        found: list[pa.RecordBatch] = []
        for part, mine in zip(table.to_batches(), ends, strict=True):
            start = int(mine[first - 1]) if first else 0
            found.append(part.slice(start, int(mine[last - 1]) - start))
        return pa.Table.from_batches([part for part in found if part.num_rows], table.schema)


def deal(tables: dict[str, pa.Table], people: Queue) -> Dealt:
    """The tables, taken out of `tables` one by one and dealt out to the chunks of the queue.

    tables: some of DEALT's, `persons` (customer_id, person_id) among them. Contacts go to their unit, all else to its person.
    """
    persons = tables["persons"]
    keys = {UNIT: people.units, PERSON: as_persons(people.customers, persons)}
    done: dict[str, pa.Table] = {}
    ends: dict[str, np.ndarray] = {}
    for name in list(tables):
        key = DEALT[name]
        whose = tables[name].column(key)
        whose = whose if key == UNIT else as_persons(whose, persons)
        # Who is nobody of the run stands behind the last, and so in no chunk.
        place = pc.fill_null(pc.index_in(whose, value_set=keys[key]), len(people.units))
        chunk = np.searchsorted(people.ends, np.asarray(place), "right").astype(np.int32)
        done[name], ends[name] = _sorted(tables.pop(name), chunk, len(people.ends))
    return Dealt(done, ends)


def _sorted(table: pa.Table, chunk: np.ndarray, n: int) -> tuple[pa.Table, np.ndarray]:
    """The table in parts sorted by chunk, and where in each part each of the n chunks ends."""
    waiting, schema = table.to_batches()[::-1], table.schema
    del table
    parts: list[pa.RecordBatch] = []
    ends: list[np.ndarray] = []
    start = 0
    while waiting:
        together = [waiting.pop()]
        while waiting and sum(part.num_rows for part in together) < AT_ONCE:
            together.append(waiting.pop())
        rows = pa.Table.from_batches(together, schema).combine_chunks()
        if not rows.num_rows:
            continue
        mine = chunk[start : start + rows.num_rows]
        start += rows.num_rows
        order = np.argsort(mine, kind="stable")
        parts.extend(rows.take(pa.array(order)).combine_chunks().to_batches())
        ends.append(np.searchsorted(mine[order], np.arange(n), "right"))
    return pa.Table.from_batches(parts, schema), np.asarray(ends, np.int64).reshape(len(parts), n)
