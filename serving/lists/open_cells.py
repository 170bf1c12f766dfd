"""Open cells: who may be offered what, and what it is worth, before anything is scarce."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OpenCells:
    """Every open cell. A chooser - a customer, or members of a unit who close each other - gets at most one.

    start: (n_choosers + 1,) int64, the cells of chooser i are start[i]:start[i + 1], at least one each.
    column: (n,) int32 into Columns. gross: (n,) int64, minor units, worth before any price.
    """

    start: np.ndarray
    column: np.ndarray
    gross: np.ndarray

    @property
    def n_choosers(self) -> int:
        """How many choosers there are."""
        return len(self.start) - 1

    def taken(self, choosers: np.ndarray) -> "OpenCells":
        """The cells of some choosers."""
        counts = np.diff(self.start)[choosers]
        start = np.concatenate(([0], np.cumsum(counts)))
        cells = np.repeat(self.start[choosers] - start[:-1], counts) + np.arange(start[-1])
        return OpenCells(start, self.column[cells], self.gross[cells])

    def only(self, wanted: np.ndarray) -> "OpenCells":
        """The wanted cells; choosers with none of them are left out. wanted: (n,) bool."""
        counts = np.add.reduceat(wanted.astype(np.int64), self.start[:-1]) if len(wanted) else np.zeros(0, np.int64)
        start = np.concatenate(([0], np.cumsum(counts[counts > 0])))
        return OpenCells(start, self.column[wanted], self.gross[wanted])
