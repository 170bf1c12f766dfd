"""Intervals of weighted means whose rows come in clusters: a unit's rows are not independent.

mean_interval    normal, cluster-robust: where many positives are seen
rare_interval    gamma: where few are, for then the normal interval has almost no width
"""

import numpy as np

from training.clustered import by_unit, clustered_error
from training.dataset import Names
from training.encode import Matrix

_Z95, _TAIL = 1.959964, 0.025


def mean_interval(values: Matrix, owners: Names, weight: Matrix) -> tuple[float, float]:
    """95 % interval of a weighted mean of rows, (n,), that are drawn by owner.

    Linearised variance of a ratio, by cluster. Source: Cochran, Sampling Techniques (1977), 6.3 and 9A.
    """
    mean = float(np.average(values, weights=weight))
    error = clustered_error(weight * (values - mean), owners) / float(weight.sum())
    return mean - _Z95 * error, mean + _Z95 * error


def rare_interval(label: Matrix, owners: Names, weight: Matrix) -> tuple[float, float]:
    """95 % interval of the weighted rate of a rare label 0/1, (n,), whose positives come together by owner.

    With y the weighted positives, v the sum of squares of each owner's, and m the most that one more owner
    brings: chi2(0.025, 2 y^2 / v) v / 2 y to chi2(0.975, 2 (y + m)^2 / (v + m^2)) (v + m^2) / 2 (y + m). With
    weights of one and one row per owner this is the exact Poisson interval.

    Source: Fay and Feuer, Confidence intervals for directly standardized rates, Statistics in Medicine 16 (1997).
    """
    from scipy.stats import chi2  # takes longer to import than to use

    seen, total = by_unit(weight * label, owners), float(weight.sum())
    y, v = float(seen.sum()), float((seen**2).sum())
    m = float(seen.max()) if y > 0 else at_once(label, owners, weight)
    low = float(chi2.ppf(_TAIL, 2 * y**2 / v)) * v / (2 * y) if y > 0 else 0.0
    high = float(chi2.ppf(1 - _TAIL, 2 * (y + m) ** 2 / (v + m**2))) * (v + m**2) / (2 * (y + m))
    return low / total, high / total


def at_once(label: Matrix, owners: Names, weight: Matrix) -> float:
    """The weighted positives that come together, as a positive sees it: the mean of its owner's.

    Where none was seen: the rows of a row's owner, each at the least weight, for of the rare kind none is left
    out before the other is (training.dataset.weighted_sample).
    """
    seen, rows = by_unit(weight * label, owners), by_unit(np.ones(len(label)), owners)
    if seen.any():
        return float((seen**2).sum() / seen.sum())
    return float((rows**2).sum() / rows.sum() * weight.min())
