"""Standard errors that reckon with rows of one unit falling out together.

A sum over units of the square of their rows' influences in place of a sum over rows (the cluster-robust sandwich).
Source: Liang and Zeger, Longitudinal data analysis using generalized linear models (1986); for the AUC, Obuchowski,
Nonparametric analysis of clustered ROC curve data (1997), after DeLong, DeLong and Clarke-Pearson (1988).
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from training.encode import Matrix

Units = npt.NDArray[np.str_] | npt.NDArray[np.int64]


def by_unit(values: Matrix, units: Units) -> Matrix:
    """The sum of each unit's values, (n_units,), units sorted."""
    return np.bincount(np.unique(units, return_inverse=True)[1], values).astype(np.float64)


def clustered_error(influence: Matrix, units: Units) -> float:
    """Standard error of a sum of influences that is 0 on average, whole units drawn anew; 0 for one unit.

    Args:
        influence: Of each row, (n,).     units: Whose row it is, (n,).
    """
    sums = by_unit(influence, units)
    n = len(sums)
    return float(np.sqrt((sums @ sums) * n / (n - 1))) if n > 1 else 0.0


def auc_error(label: Matrix, score: Matrix, units: Units) -> float:
    """Standard error of the AUC of scores; a unit may have rows of both labels.

    Args:
        label: 0 or 1, both there, (n,).     score: (n,).     units: Whose row it is, (n,).
    """
    positive = label == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    ranks, place = rankdata(score), np.empty(len(score))
    # Of a positive the share of negatives below it, of a negative the share of positives above it, ties half.
    place[positive] = (ranks[positive] - rankdata(score[positive])) / n0
    place[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / n1
    area = float(place[positive].mean())
    return clustered_error((place - area) / np.where(positive, n1, n0), units)
