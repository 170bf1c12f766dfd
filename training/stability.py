"""The population stability index (PSI) of two samples of scores, and how much of it is chance.

    PSI = sum (q - p) ln(q / p) over ten bins of equal weight of the first sample

Source: Siddiqi, Credit Risk Scorecards (2006). Of two samples without drift it is about (1/n + 1/m) times a
chi-square with one degree of freedom less than there are bins: Yurdakul, Statistical Properties of the
Population Stability Index (2018).
"""

import numpy as np

from training.clustered import by_unit
from training.dataset import Names
from training.encode import Matrix

PSI_MOST = 0.25  # beyond it, and what chance brings, scores have moved
_BINS, _QUANTILE = 10, 0.95
_FLOOR = 1e-4  # an empty bin would make the PSI endless


def population_stability(before: Matrix, after: Matrix, weight_before: Matrix, weight_after: Matrix) -> float:
    """PSI of two samples over the deciles of the first, each row by its weight; ties fall into one bin. 0: the same."""
    edges = _edges(before, weight_before)
    shares = [
        np.bincount(np.searchsorted(edges, x, side="right"), w, minlength=len(edges) + 1) / w.sum()
        for x, w in ((before, weight_before), (after, weight_after))
    ]
    p, q = (np.maximum(share, _FLOOR) for share in shares)
    return float(((q - p) * np.log(q / p)).sum())


def chance_stability(before: tuple[Names, Matrix], after: tuple[Names, Matrix]) -> float:
    """The PSI that two samples (owners, weight) without drift stay below in 95 %.

    n and m are the numbers of equal, independent rows that say as much (Kish 1965): rows of one owner score
    alike and count as one.
    """
    from scipy.stats import chi2  # takes longer to import than to use

    n, m = (
        float(weight.sum()) ** 2 / float((by_unit(weight, owners) ** 2).sum()) for owners, weight in (before, after)
    )
    return float(chi2.ppf(_QUANTILE, _BINS - 1)) * (1 / n + 1 / m)


def _edges(scores: Matrix, weight: Matrix) -> Matrix:
    """The weighted deciles, without repeats."""
    order = np.argsort(scores, kind="stable")
    # Each row stands in the middle of its weight, so that with weights of one these are numpy's own quantiles.
    upto = np.cumsum(weight[order]) - weight[order] / 2
    first, last = upto[0], upto[-1]
    return np.unique(np.interp(first + (last - first) * np.linspace(0, 1, _BINS + 1)[1:-1], upto, scores[order]))
