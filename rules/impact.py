"""Impact: what a change of rules would have meant for the customers of a snapshot, in one pass, writing nothing.

Both policies suppress the same rows; where a cell is open in one alone, every part that closes it in the
other answers for it. A cell that two parts close counts under both, and once in the total. With scores the
value of a customer is that of his best open cell, or 0; what a household's members take from each other is
not in it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rules.arbitrate import cell_values
from rules.diff import CATALOGUE, shared_cells
from rules.errors import SchemaError
from rules.governing import scopes
from rules.masks import Masks
from rules.suppress import Suppressed, suppress
from rules.terms import Terms
from rules.types import CUSTOMERS, scores_schema

ROWS = 65_536
TOTAL = "total"


@dataclass
class Impact:
    """Of one part: customers and cells gained and lost, and the value of their best offers in minor units."""

    customers_gained: int = 0
    customers_lost: int = 0
    cells_gained: int = 0
    cells_lost: int = 0
    value_gained_minor: int = 0
    value_lost_minor: int = 0

    def add(self, gained: np.ndarray, lost: np.ndarray, value: np.ndarray) -> None:
        """Count (n, cells) bool gained and lost, and (n,) int64 the change of value, once a customer."""
        more, less = gained.any(axis=1), lost.any(axis=1)
        found = Impact(int(more.sum()), int(less.sum()), int(gained.sum()), int(lost.sum()),
                       int(value[(more | less) & (value > 0)].sum()), -int(value[(more | less) & (value < 0)].sum()))  # fmt: skip
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(found, each.name))


@dataclass
class Impacts:
    """The snapshot's customers, those who get an open cell or lose their last one, and each part's impact."""

    customers: int
    opened: int
    silenced: int
    total: Impact
    parts: dict[str, Impact]


class Rows(NamedTuple):
    """Some customers of a snapshot.

    scores: their SCORES; null where there are none. after: their columns as the after side counts them; null where
    both sides count alike. A cool-off made longer keeps its column's name.
    """

    customers: pa.RecordBatch
    scores: pa.RecordBatch | None = None
    after: pa.RecordBatch | None = None


Batches = Iterable[Rows]


def impact(before: Terms, after: Terms, batches: Batches) -> Impacts:
    """The change over all batches. customers: CUSTOMERS and the state columns of both; SchemaError where one is missing.

    With scores both catalogues must have the same offers and channels in the same order.
    """
    found = Impacts(0, 0, 0, Impact(), {})
    places = [
        (here, there)
        for direction, here, there in shared_cells(after, before)
        if direction == "outbound" and there is not None
    ]
    mine, theirs = np.array([p[0] for p in places], np.int64), np.array([p[1] for p in places], np.int64)
    for customers, scores, counted in batches:
        later = counted or customers
        old, new = suppress(customers, before), suppress(later, after)
        was, now = _aligned(old, theirs, mine, after.catalogue.n_cells), new.open
        gone = np.delete(old.open, theirs, axis=1)  # cells that only the former catalogue has
        found.customers += len(now)
        found.opened += int((now.any(axis=1) & ~old.open.any(axis=1)).sum())
        found.silenced += int((~now.any(axis=1) & old.open.any(axis=1)).sum())
        gained, lost = now & ~was, was & ~now
        rows = np.flatnonzero(gained.any(axis=1) | lost.any(axis=1) | gone.any(axis=1))
        if not len(rows):
            continue
        part = customers.take(pa.array(rows))
        value = np.zeros(len(rows), np.int64)
        if scores is not None:
            chosen = scores.take(pa.array(rows))
            value = _best(chosen, after, now[rows]) - _best(chosen, before, old.open[rows])
        gained, lost, gone = gained[rows], lost[rows], gone[rows]
        found.total.add(gained, np.hstack([lost, gone]), value)
        fresh = np.ones(after.catalogue.n_cells, dtype=bool)
        fresh[mine] = False
        closings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, cells in _closers(part, before, (theirs, mine, after.catalogue.n_cells)):
            _note(closings, name, gained & cells, np.zeros_like(lost))
        for name, cells in _closers(later.take(pa.array(rows)), after, None):
            _note(closings, name, np.zeros_like(gained), lost & cells)
        if fresh.any():
            _note(closings, CATALOGUE, gained & fresh, np.zeros_like(lost))
        for name, (more, less) in closings.items():
            if more.any() or less.any():
                found.parts.setdefault(name, Impact()).add(more, less, value)
        if gone.any():
            found.parts.setdefault(CATALOGUE, Impact()).add(np.zeros_like(gone), gone, value)
    return found


def _note(closings: dict[str, tuple[np.ndarray, np.ndarray]], name: str, gained: np.ndarray, lost: np.ndarray) -> None:
    more, less = closings.get(name, (np.zeros_like(gained), np.zeros_like(lost)))
    closings[name] = (more | gained, less | lost)


def _aligned(found: Suppressed, theirs: np.ndarray, mine: np.ndarray, n_cells: int) -> np.ndarray:
    """Their open cells in our numbering; False where they have no such cell."""
    out = np.zeros((len(found.packed), n_cells), dtype=bool)
    out[:, mine] = found.open[:, theirs]
    return out


def _closers(part: pa.RecordBatch, terms: Terms,
             places: tuple[np.ndarray, np.ndarray, int] | None) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
    """(part of the policy, (n, cells) bool it closes); places: their cells, ours and how many, to renumber."""
    masks, program, parts = Masks(part, terms.program.types), terms.program, {each.id for each in terms.policy.parts}
    directions = np.asarray(part.column("direction").to_pylist())
    closed: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((part.num_rows, program.n_cells), dtype=bool))
    for direction, steps in program.steps.items():
        side = directions == direction
        for step in steps if side.any() else ():
            cells = np.array([step.cells >> cell & 1 for cell in range(program.n_cells)], dtype=bool)
            shut = (~masks.truth(step.when)[1] & side)[:, None] & cells
            for rule in step.rules:
                governed = scopes(terms).get((direction, rule), 0) if rule in parts else program.full
                closed[rule] |= shut & np.array([governed >> cell & 1 for cell in range(program.n_cells)], dtype=bool)
    for name, cells in closed.items():
        if places is None:
            yield name, cells
        else:
            theirs, mine, n_cells = places
            out = np.zeros((part.num_rows, n_cells), dtype=bool)
            out[:, mine] = cells[:, theirs]
            yield name, out


def _best(scores: pa.RecordBatch, terms: Terms, opened: np.ndarray) -> np.ndarray:
    """(n,) the value of the best open cell, at least 0."""
    values = cell_values(scores, terms)
    return np.where(values.known & opened, values.minor, 0).max(axis=1, initial=0)


def read_batches(customers: Path, scores: Path | None, before: Terms, after: Terms) -> Batches:
    """The rows of a Parquet or Arrow file (and of one with their SCORES, in the same order), in batches.

    CUSTOMERS columns but customer_id and as_of may be missing: a unit of his own, outbound, any channel, no
    window. SchemaError where a column that a rule of either side reads is missing or of another type.
    """
    wanted = {field.name: field for field in (*CUSTOMERS, *before.state_schema, *after.state_schema)}
    schema = pa.schema(list(wanted.values()))
    found = _batches(customers, lambda batch: _customers(batch, schema, customers))
    if scores is None:
        for batch in found:
            yield Rows(batch)
        return
    shape = scores_schema(len(after.catalogue.offers), len(after.catalogue.channels))
    told = _batches(scores, lambda batch: _cast(batch, shape, scores))
    for batch in found:
        beside = next(told, None)
        if beside is None or beside.num_rows != batch.num_rows:
            raise SchemaError(f"{scores.name} has not one row for each of {customers.name}; score the same customers")
        yield Rows(batch, beside)
    if next(told, None) is not None:
        raise SchemaError(f"{scores.name} has more rows than {customers.name}; score the same customers")


def _batches(path: Path, reader: Callable[[pa.RecordBatch], pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of ROWS rows."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from (reader(batch) for batch in file.iter_batches(ROWS))
            return
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
            yield from (reader(batch) for batch in table.to_batches(ROWS))
    except (OSError, pa.ArrowInvalid) as error:
        raise SchemaError(f"{path.name} is no Parquet or Arrow file; give a snapshot of customers") from error


def _customers(batch: pa.RecordBatch, schema: pa.Schema, path: Path) -> pa.RecordBatch:
    n = batch.num_rows
    missing = {"direction": pa.repeat("outbound", n)} | {
        name: pa.nulls(n, CUSTOMERS.field(name).type) for name in ("local_day", "channels", "send_after", "send_before")}  # fmt: skip
    if "customer_id" in batch.schema.names:
        missing["unit_id"] = batch.column("customer_id")
    for name, column in missing.items():
        if name not in batch.schema.names:
            batch = batch.append_column(name, column)
    return _cast(batch, schema, path)


def _cast(batch: pa.RecordBatch, schema: pa.Schema, path: Path) -> pa.RecordBatch:
    for field in schema:
        if field.name not in batch.schema.names:
            raise SchemaError(f"{path.name} has no column `{field.name}`; a rule reads it, add it to the snapshot")
    try:
        return batch.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SchemaError(
            f"{path.name} does not have the types the rules read: {str(error).splitlines()[0][:120]}"
        ) from error
