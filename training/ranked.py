"""Rows by rising rank of their score, equal scores together: one rule for ties, whatever figure is made.

What is counted from the best score on is counted tie by tie, and a line that cuts through a tie takes of it in
part, as if its rows had been drawn by lot. So the order in which rows stand in a file changes no figure.
Source: McSherry and Najork, Computing information retrieval performance measures efficiently in the presence of
tied scores (2008).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.encode import Matrix


@dataclass(frozen=True)
class Ranked:
    """Which tie each row belongs to, (n,), 0 the best score; made once for many resamples."""

    tie: npt.NDArray[np.int64]
    n_ties: int

    @classmethod
    def of(cls, p: Matrix) -> "Ranked":
        """Rank scores, (n,)."""
        found, tie = np.unique(-p, return_inverse=True)
        return cls(tie, len(found))

    def sums(self, amounts: Matrix) -> Matrix:
        """The amounts of rows summed within each tie, (n_ties,), the best first."""
        return np.bincount(self.tie, amounts, minlength=self.n_ties).astype(np.float64)

    def among(self, share: float | Matrix, weight: Matrix, amounts: Matrix) -> Matrix:
        """The sum of weighted amounts among the best-scored share of the weight, of the shape of share."""
        taken, summed = _cumulated(self.sums(weight)), _cumulated(self.sums(weight * amounts))
        return np.interp(np.asarray(share) * taken[-1], taken, summed)

    def in_bins(self, n: int, weight: Matrix, amounts: Matrix) -> Matrix:
        """The sums of weighted amounts in n bins of equal weight, (n,), the best-scored bin first."""
        return np.diff(self.among(np.linspace(0, 1, n + 1), weight, amounts))


def _cumulated(sums: Matrix) -> Matrix:
    return np.concatenate([[0.0], np.cumsum(sums)])
