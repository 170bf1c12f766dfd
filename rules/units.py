"""Units: the members of one household settle one after another, each with the others' contacts counted.

Highest value first, ties by customer_id. All units go in step: in each round every unit settles its
first member, raises its counters for the others, and these are decided again.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.arbitrate import CHUNK, Choice, arbitrate
from rules.chunks import over_chunks
from rules.masks import numbers
from rules.reasons import RANK, ReasonCode
from rules.suppress import Suppressed, suppress
from rules.terms import Terms
from rules.types import CUSTOMERS


@dataclass(frozen=True)
class Allotted:
    """What a clearing house gave each customer: it replaces his own best choice.

    choice: (n,). bid_minor: (n,) float64, what the scarce seats of his cell cost.
    """

    choice: Choice
    bid_minor: np.ndarray

    def into(self, choice: Choice, found: Suppressed, rows: np.ndarray | slice) -> None:
        """Put some rows of it into their choice where the cell is still open; silence where it is not."""
        cell = self.choice.cell[rows]
        byte, bit = np.divmod(np.maximum(cell, 0), 8)
        kept = (cell >= 0) & (found.packed[np.arange(len(cell)), byte] >> bit & 1 == 1)
        choice.cell, choice.minor = np.where(kept, cell, -1), np.where(kept, self.choice.minor[rows], 0)
        choice.p_chosen = np.where(kept | ((cell < 0) & (found.decisive < 0)), self.choice.p_chosen[rows], 1.0)
        choice.explored = self.choice.explored[rows] & kept


@dataclass
class Work:
    """A decision in the making: what comes in, and what each customer has so far."""

    customers: pa.RecordBatch
    scores: pa.RecordBatch
    terms: Terms
    found: Suppressed
    choice: Choice
    allotted: Allotted | None = None


def note(reasons: np.ndarray, code: ReasonCode, rows: np.ndarray) -> None:
    """Add a reason to the sets of some rows. rows: (n,) bool."""
    reasons |= rows.astype(np.uint64) << np.uint64(RANK[code])


def is_outbound(customers: pa.RecordBatch) -> np.ndarray:
    """(n,) bool."""
    return np.asarray(pc.fill_null(pc.equal(customers.column("direction"), "outbound"), False))


def resolve_units(work: Work) -> None:
    """Settle the members of each unit one after another, raising the unit's counters."""
    if np.count_nonzero(work.choice.cell >= 0) < (2 if work.allotted is None else 1):
        return
    counters = [count for count in work.terms.policy.counts(work.terms.catalogue)
                if count.unit and count.name in work.terms.state_schema.names]  # fmt: skip
    rows, units = _rivals(work) if counters else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    names = work.customers.column("customer_id")
    rank = np.argsort(np.asarray(pc.sort_indices(names.take(pa.array(rows)))))
    raised: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(work.customers.num_rows))
    while len(rows):
        order = np.lexsort((rank, -work.choice.minor[rows], work.choice.cell[rows] < 0, units))
        rows, units, rank = rows[order], units[order], rank[order]
        first = np.concatenate(([True], units[1:] != units[:-1]))
        heads = np.flatnonzero(first)[np.cumsum(first) - 1]  # the place of each row's unit's first member
        offer, channel = np.divmod(work.choice.cell[rows[heads]], len(work.terms.catalogue.channels))
        for count in counters:
            told = _fits(count.channel, [c.id for c in work.terms.catalogue.channels])[channel]
            told &= _fits(count.family, [o.family for o in work.terms.catalogue.offers])[offer]
            raised[count.name][rows[told & ~first & (work.choice.cell[rows[heads]] >= 0)]] += 1.0
        rows, units, rank = rows[~first], units[~first], rank[~first]
        _again(work, np.sort(rows), raised)
        still = work.choice.cell[rows] >= 0
        rows, units, rank = rows[still], units[still], rank[still]
        several = np.bincount(units)[units] > 1 if len(units) else still[:0]
        rows, units, rank = rows[several], units[several], rank[several]


def _fits(wanted: str | None, names: list[str]) -> np.ndarray:
    return np.array([wanted in (None, name) for name in names], dtype=bool)


def _rivals(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """The rows in whose unit several members were chosen for an outbound contact, and their units' numbers.

    Of an allotted unit one is enough: the others, who could have been chosen, are told what closed their cells.
    """
    chosen = (work.choice.cell >= 0) & is_outbound(work.customers)
    units = _numbered(work.customers.column("unit_id"))
    if work.allotted is not None:
        taken = np.bincount(units[chosen], minlength=len(units))[units] > 0
        chosen |= taken & (work.found.decisive < 0) & work.choice.wanted & is_outbound(work.customers)
    several = chosen & (np.bincount(units[chosen], minlength=len(units))[units] > 1)
    rows = np.flatnonzero(several)
    return rows, units[rows]


def _numbered(units: pa.Array) -> np.ndarray:
    """(n,) the same number for the same unit, below n."""
    if len(units) < 2:
        return np.zeros(len(units), np.int64)
    left, right = units.slice(0, len(units) - 1), units.slice(1)
    if pc.all(pc.less_equal(left, right)).as_py():  # sorted, as lists come: far cheaper than a hash table
        return np.concatenate(([0], np.cumsum(~np.asarray(pc.equal(left, right)))))
    return np.asarray(units.dictionary_encode().indices).astype(np.int64)


def _again(work: Work, rows: np.ndarray, raised: dict[str, np.ndarray]) -> None:
    """Decide some rows once more, with their units' counters raised."""
    if not len(rows):
        return
    part = _taken(work.customers.select([*CUSTOMERS.names, *work.terms.state_schema.names]), rows)
    for name, more in raised.items():
        place = part.schema.get_field_index(name)
        counted = numbers(part.column(place)) + more[rows]
        part = part.set_column(place, part.schema.field(place), pa.array(counted, from_pandas=True))
    found = suppress(part, work.terms)
    choice = arbitrate(part, _taken(work.scores, rows), found, work.terms)
    if work.allotted is not None:
        work.allotted.into(choice, found, rows)
    note(found.reasons, ReasonCode.NOT_SCORED, choice.unscored)
    work.choice.put(rows, choice)
    for name in ("packed", "reasons", "decisive"):
        getattr(work.found, name)[rows] = getattr(found, name)


def _taken(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    """Some rows of a batch; a wide one is as much work as the rules, so the columns are shared out."""
    index, columns = pa.array(rows), batch.columns

    def take(start: int, stop: int) -> None:
        columns[start:stop] = [column.take(index) for column in columns[start:stop]]

    over_chunks(len(columns), len(columns) if len(rows) < CHUNK else 4, take)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
