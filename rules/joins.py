"""Tables as NumPy: joins by text and the deepest overlap of intervals, for many customers at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def pairs(left: pa.ChunkedArray | pa.Array, right: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Every (row of left, row of right) with equal text, as two index arrays, by left."""
    names = pc.unique(left)
    mine, theirs = (numbers(pc.fill_null(pc.index_in(side, value_set=names), -1)) for side in (left, right))
    order = np.argsort(theirs, kind="stable")
    begin, end = np.searchsorted(theirs[order], mine, "left"), np.searchsorted(theirs[order], mine, "right")
    lengths = end - begin
    rows = np.repeat(np.arange(len(mine)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, order[np.repeat(begin, lengths) + within]


def deepest(row: np.ndarray, low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """(n,) for each row the greatest number of its intervals [low, high] with an instant in common.

    row ascending. Where the last begin is not after the first end, all of a row's meet: no sweep.
    """
    found = np.bincount(row, minlength=n).astype(np.float64)
    if not len(row):
        return found
    first = firsts(row)
    apart = np.maximum.reduceat(low, first) > np.minimum.reduceat(high, first)
    if not apart.any():
        return found
    swept = np.zeros(n, dtype=bool)
    swept[row[first[apart]]] = True
    part = swept[row]
    who = np.concatenate([row[part], row[part]])
    step = np.repeat([1, -1], len(who) // 2)
    order = np.lexsort((step, np.concatenate([low[part], high[part] + 1]), who))  # an end before a begin
    who, depth = who[order], np.cumsum(step[order])  # back to 0 after each row
    begins = firsts(who)
    found[who[begins]] = np.maximum.reduceat(depth, begins)
    return found


def firsts(row: np.ndarray) -> np.ndarray:
    """The places where a new row begins."""
    return np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))


def whole(table: pa.Table, name: str) -> np.ndarray:
    """A column of whole numbers or instants, without nulls."""
    return numbers(table.column(name).cast(pa.int64()))


def numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(n,) int64 of a column without nulls."""
    return np.asarray(column.to_numpy(), dtype=np.int64)


def flags(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(n,) bool; null is False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)
