"""Window sums of everybody at one instant: no sort, no join, each row looked at once.

The tails of the windows cut the time before the instant into bands. A row is added to its customer's
cell of its band; a window is the sum of the bands from its tail on. So the memory is the cells and
one batch of rows, however many rows there are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
BATCH = 1 << 20


class Adds(NamedTuple):
    """What a row adds to a measure: where `when` holds `value` (int64), or 1 where that is None.

    Expressions of Narwhals, or of another module that speaks as it does.
    """

    when: Any
    value: Any = None

    def column(self, engine: Any = nw) -> Any:
        """The same as a column of int64, 0 where the row does not count."""
        whole = engine.Int64
        if self.value is None:
            return self.when.cast(whole)
        return engine.when(self.when).then(self.value).otherwise(engine.lit(0, whole))


def sums_at_once(batches: "Iterable[nw.DataFrame[pl.DataFrame]]", keys: Ints, by: str, as_of: int,
                 tails: Mapping[int, int], asked: Mapping[int, Sequence[str]],
                 measures: Mapping[str, Adds]) -> dict[tuple[str, int], Ints]:  # fmt: skip
    """Sums of measures over the windows [tail, as_of).

    Args:
        batches: `by`, booked, recorded, and what the measures are made of; in any order.
        keys: Whose sums, ascending, each once.
        by: Name of the key column.
        as_of: Microseconds; a row counts if booked < as_of and recorded <= as_of.
        tails: Days of a window -> its tail, microseconds.
        asked: Days of a window -> measures.
        measures: What a row adds; a measure that is not named is the column of its name. Those that share
            one condition, the same object, share the search for its rows.

    Returns:
        Per (measure, days) (n_keys,) int64.
    """
    names = sorted({name for some in asked.values() for name in some})
    lengths = sorted(asked)
    starts = np.array([tails[days] for days in reversed(lengths)], np.int64)  # the longest window first
    bands = len(lengths)
    nowhere = len(keys) * bands  # the cell of rows that do not count
    cells = {name: np.zeros(nowhere + 1, np.int64) for name in names}
    place, plan = _Places(keys), _Plan(names, measures)
    for batch in batches:
        who, booked, recorded = (batch.get_column(name).to_numpy() for name in (by, "booked", "recorded"))
        cell = place.of(who)
        counts = (cell >= 0) & (booked >= starts[0]) & (booked < as_of) & (recorded <= as_of)
        cell *= bands
        band = np.zeros(len(cell), np.int16)
        for start in starts[1:]:
            band += booked >= start
        cell += band
        if not counts.all():
            cell[~counts] = nowhere
        for rows, some in plan.of(batch):
            at = cell[rows]
            for name, values in some:
                np.add.at(cells[name], at, 1 if values is None else values[rows])
    found: dict[tuple[str, int], Ints] = {}
    for name in names:
        # From the newest band backwards, so that a longer window holds the shorter ones.
        sums = np.cumsum(cells.pop(name)[:nowhere].reshape(len(keys), bands)[:, ::-1], axis=1)
        found |= {
            (name, days): np.ascontiguousarray(sums[:, n]) for n, days in enumerate(lengths) if name in asked[days]
        }
    return found


class _Plan:
    """Which rows of a batch count for which measures, each condition and each value worked out once."""

    def __init__(self, names: Sequence[str], measures: Mapping[str, Adds]) -> None:
        self._under: dict[str, list[tuple[str, str | None]]] = {}  # condition -> measures, value
        self._exprs: dict[str, nw.Expr] = {}
        for name in names:
            plain = nw.col(name)
            when, value = measures.get(name, Adds(plain != 0, plain))
            condition, worth = f"when_{id(when)}", None
            self._exprs[condition] = when.fill_null(False).alias(condition)
            if value is not None:
                worth = f"value_{id(value)}"
                self._exprs[worth] = value.alias(worth)
            self._under.setdefault(condition, []).append((name, worth))
        self._kept = measures  # an id is of one object only as long as the object lives

    def of(self, batch: "nw.DataFrame[pl.DataFrame]") -> "Iterator[tuple[Ints, list[tuple[str, Ints | None]]]]":
        """Per condition the rows it holds for, ascending, and its measures with the values of all rows."""
        columns = batch.select(*self._exprs.values())
        values = {name: columns.get_column(name).to_numpy() for name in self._exprs}
        for condition, names in self._under.items():
            yield (
                np.flatnonzero(values[condition]),
                [(name, None if worth is None else values[worth]) for name, worth in names],
            )


class _Places:
    """Place of a key among the keys, -1 for a stranger; looked up in a table where the keys lie close."""

    def __init__(self, keys: Ints) -> None:
        self._keys = keys
        self._low = int(keys[0]) if len(keys) else 0
        self._table: Ints | None = None
        span = int(keys[-1]) - self._low + 1 if len(keys) else 0
        self._dense = span == len(keys)
        if not self._dense and span <= 4 * len(keys) + BATCH:
            self._table = np.full(span + 1, -1, np.int64)
            self._table[keys - self._low] = np.arange(len(keys))

    def of(self, asked: npt.NDArray[Any]) -> Ints:
        """An array of its own, (n_asked,)."""
        if not self._dense and self._table is None:
            at = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
            return np.where(self._keys[at] == asked, at, -1)
        at = asked.astype(np.int64)
        at -= self._low
        strange = (at < 0) | (at >= (len(self._keys) if self._table is None else len(self._table)))
        if strange.any():
            at[strange] = -1
        return at if self._table is None else self._table[at]
