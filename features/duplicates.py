"""Finds second rows of one key over any number of rows without holding the keys in memory.

Each row leaves a 128-bit hash of its key in one of a few bucket files; a bucket at a time is sorted
and compared. Two different keys of 200 million meet in 128 bits with a chance below 1e-21.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

BUCKETS = 16
SAME = ("high", "low")  # the two halves of a key's hash
RECORD = np.dtype([("high", "u8"), ("low", "u8"), ("row", "u8")])


class KeyBook:
    """The keys seen so far, on disk under `folder`."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self._folder, self._key = folder, list(key)
        folder.mkdir(parents=True)

    def add(self, rows: pl.DataFrame, numbers: npt.NDArray[np.uint64]) -> None:
        """Remember the keys of these rows; `numbers` are their places in the whole feed."""
        keys = rows.select(self._key)
        records = np.empty(len(rows), RECORD)
        records["high"] = keys.hash_rows(seed=1).to_numpy()
        records["low"] = keys.hash_rows(seed=2).to_numpy()
        records["row"] = numbers
        bucket = records["high"] % BUCKETS
        order = np.argsort(bucket, kind="stable")
        edges = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        for index in range(BUCKETS):
            with (self._folder / str(index)).open("ab") as file:
                records[order[edges[index] : edges[index + 1]]].tofile(file)

    def repeated(self) -> npt.NDArray[np.uint64]:
        """Places of every row whose key stood on an earlier row, ascending."""
        found: list[npt.NDArray[np.uint64]] = []
        for index in range(BUCKETS):
            path = self._folder / str(index)
            if not path.exists():
                continue
            records = np.fromfile(path, RECORD)
            found.append(_repeated(records))
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)


def _repeated(records: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Rows of the second and later records of each key; only what shares its high half is compared whole."""
    order = np.argsort(records["high"])
    high = records["high"][order]
    same = high[1:] == high[:-1]
    shared = np.zeros(len(records), bool)
    shared[1:] |= same
    shared[:-1] |= same
    few = records[order[shared]]
    few.sort(order=("high", "low", "row"))
    again = np.logical_and.reduce([few[half][1:] == few[half][:-1] for half in SAME])
    return few["row"][1:][again]
