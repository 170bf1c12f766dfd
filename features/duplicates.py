"""Finds second rows of one key, and keys whose rows differ, over any number of rows without holding them in memory.

Each row leaves a 128-bit hash of its key in one of a few bucket files; a bucket at a time is sorted
and compared. Two different keys of 200 million meet in 128 bits with a chance below 1e-21.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

BUCKETS = 16
SAME = ("high", "low")  # the two halves of a key's hash
RECORD = [("high", "u8"), ("low", "u8"), ("row", "u8")]
SAYS = ("says", "u8")  # a hash of the whole row
Places = npt.NDArray[np.uint64]


class KeyBook:
    """The keys seen so far, on disk under `folder`; `whole`: what their rows say as well."""

    def __init__(self, folder: Path, key: Sequence[str], whole: bool = False) -> None:
        self._folder, self._key, self.whole = folder, list(key), whole
        self._record = np.dtype([*RECORD, SAYS] if whole else RECORD)
        folder.mkdir(parents=True)

    def add(self, rows: pl.DataFrame, numbers: Places, refused: bool = False) -> None:
        """Remember the keys of these rows; `numbers` are their places in the whole feed. refused: they say what no row taken says."""
        keys = rows.select(self._key)
        records = np.empty(len(rows), self._record)
        records["high"] = keys.hash_rows(seed=1).to_numpy()
        records["low"] = keys.hash_rows(seed=2).to_numpy()
        records["row"] = numbers
        if self.whole:
            records["says"] = rows.hash_rows(seed=4 if refused else 3).to_numpy()
        bucket = records["high"] % BUCKETS
        order = np.argsort(bucket, kind="stable")
        edges = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        for index in range(BUCKETS):
            with (self._folder / str(index)).open("ab") as file:
                records[order[edges[index] : edges[index + 1]]].tofile(file)

    def repeated(self) -> Places:
        """Places of every row whose key stood on an earlier row, ascending."""
        return self._found(_repeated)

    def contradicted(self) -> Places:
        """Places of every row whose key stands on a row that says something else, ascending; none without `whole`."""
        return self._found(_contradicted) if self.whole else np.empty(0, np.uint64)

    def _found(self, find: Callable[[npt.NDArray[np.void]], Places]) -> Places:
        paths = [self._folder / str(index) for index in range(BUCKETS)]
        found = [find(np.fromfile(path, self._record)) for path in paths if path.exists()]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)


def _repeated(records: npt.NDArray[np.void]) -> Places:
    """Rows of the second and later records of each key."""
    few, again = _of_shared_keys(records)
    return few["row"][again]


def _contradicted(records: npt.NDArray[np.void]) -> Places:
    """Rows of the keys whose records do not all say the same."""
    few, again = _of_shared_keys(records)
    differs = again.copy()
    differs[1:] &= few["says"][1:] != few["says"][:-1]
    key = np.cumsum(~again)
    return few["row"][np.isin(key, key[differs])]


def _of_shared_keys(records: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.bool_]]:
    """Records by key and row, most of those alone with theirs left out, and whether each has the key of the one before."""
    order = np.argsort(records["high"])
    high = records["high"][order]
    same = high[1:] == high[:-1]
    shared = np.zeros(len(records), bool)
    shared[1:] |= same
    shared[:-1] |= same
    few = records[order[shared]]  # only what shares its high half is compared whole
    few.sort(order=("high", "low", "row"))
    again = np.zeros(len(few), bool)
    again[1:] = np.logical_and.reduce([few[half][1:] == few[half][:-1] for half in SAME])
    return few, again
