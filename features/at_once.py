"""Window sums of everybody at one instant: no sort, no join, each row looked at once.

The tails of the windows cut the time before the instant into bands. A row is added to its customer's
cell of its band; a window is the sum of the bands from its tail on. So the memory is the cells and
one batch of rows, however many rows there are.
"""

from collections.abc import Iterable, Mapping, Sequence

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
BATCH = 1 << 20


def sums_at_once(batches: "Iterable[nw.DataFrame[pl.DataFrame]]", keys: Ints, by: str, as_of: int,
                 tails: Mapping[int, int], asked: Mapping[int, Sequence[str]],
                 measures: Mapping[str, nw.Expr]) -> dict[tuple[str, int], Ints]:  # fmt: skip
    """Sums of measures over the windows [tail, as_of).

    Args:
        batches: `by`, booked, recorded, and what the measures are made of; in any order.
        keys: Whose sums, ascending, each once.
        by: Name of the key column.
        as_of: Microseconds; a row counts if booked < as_of and recorded <= as_of.
        tails: Days of a window -> its tail, microseconds.
        asked: Days of a window -> measures.
        measures: Of a row, int64; a measure that is not named is the column of its name.

    Returns:
        Per (measure, days) (n_keys,) int64.
    """
    names = sorted({name for some in asked.values() for name in some})
    lengths = sorted(asked)
    starts = np.array([tails[days] for days in reversed(lengths)], np.int64)  # the longest window first
    bands = len(lengths)
    cells = {name: np.zeros(len(keys) * bands, np.int64) for name in names}
    place = _Places(keys)
    exprs = [measures.get(name, nw.col(name)).alias(name) for name in names]
    for batch in batches:
        seen = (nw.col("booked") >= int(starts[0])) & (nw.col("booked") < as_of) & (nw.col("recorded") <= as_of)
        rows = batch.filter(seen).select(by, "booked", *exprs)
        who = place.of(rows.get_column(by).to_numpy())
        band = np.searchsorted(starts, rows.get_column("booked").to_numpy(), "right") - 1
        cell = who * bands + band
        known = who >= 0
        for name in names:
            values = rows.get_column(name).to_numpy()
            some = np.flatnonzero((values != 0) & known)
            np.add.at(cells[name], cell[some], values[some])
    found: dict[tuple[str, int], Ints] = {}
    for name in names:
        # From the newest band backwards, so that a longer window holds the shorter ones.
        sums = np.cumsum(cells.pop(name).reshape(len(keys), bands)[:, ::-1], axis=1)
        found |= {
            (name, days): np.ascontiguousarray(sums[:, n]) for n, days in enumerate(lengths) if name in asked[days]
        }
    return found


class _Places:
    """Place of a key among the keys, -1 for a stranger; looked up in a table where the keys lie close."""

    def __init__(self, keys: Ints) -> None:
        self._keys = keys
        self._low = int(keys[0]) if len(keys) else 0
        self._table: Ints | None = None
        span = int(keys[-1]) - self._low + 1 if len(keys) else 0
        if span <= 4 * len(keys) + BATCH:
            self._table = np.full(span + 1, -1, np.int64)
            self._table[keys - self._low] = np.arange(len(keys))

    def of(self, asked: Ints) -> Ints:
        if self._table is not None:
            at = asked.astype(np.int64) - self._low
            at[(at < 0) | (at >= len(self._table))] = len(self._table) - 1
            return self._table[at]
        at = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        return np.where(self._keys[at] == asked, at, -1)
