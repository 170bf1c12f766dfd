"""Figures with their intervals from resampling whole units (rows, or groups where there are some).

Each figure is written for weighted rows: a resample is how often each unit was drawn. What can be
sorted is sorted once, so a resample is a few passes over the rows.
An error that is a sum of absolute gaps is larger in a resample than in the rows it is drawn from, for each
gap gets noise of its own; its interval is moved down by that.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993): percentile interval, chapter 13; the
bootstrap's estimate of bias, mean of the resamples less the figure, chapter 10.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.encode import Matrix
from training.evaluate import Metrics
from training.ranked import Ranked

RESAMPLES = 200
_TOP_SHARE = 0.1
_BINS = 10
_DECIMALS = 6
_EDGE = 1e-6
_EXCEEDS = frozenset({"ece"})  # figures of absolute gaps, never below 0

Figures = dict[str, float | None]


def with_intervals(figures: Callable[[Matrix], Figures], units: npt.NDArray[np.int64], seed: int) -> Metrics:
    """Each figure with `_low` and `_high`, the 2.5 % and 97.5 % points over 200 resamples; of `ece` less its bias.

    Args:
        figures: From row weights (n,), all one for the figure itself; None: cannot be measured.
        units: Whose row it is, (n,).
    """
    _, owner = np.unique(units, return_inverse=True)
    n_units = int(owner.max()) + 1
    rng = np.random.default_rng(seed)
    point = figures(np.ones(len(units)))
    drawn: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
        for name, value in figures(times[owner].astype(np.float64)).items():
            if value is not None:
                drawn[name].append(value)
    found: Metrics = {}
    for name, value in point.items():
        low, high = (None, None) if value is None else _middle(drawn[name], value if name in _EXCEEDS else None)
        found |= {name: _short(value), f"{name}_low": _short(low), f"{name}_high": _short(high)}
    return found


@dataclass(frozen=True)
class Ranking:
    """Labels beside their scores, ready for weighted figures of how good the scores are."""

    label: Matrix
    p: Matrix
    ranked: Ranked

    @classmethod
    def of(cls, label: Matrix, p: Matrix) -> "Ranking":
        """Rank once; label 0 or 1, p in [0, 1], both (n,)."""
        return cls(label, p, Ranked.of(p))

    def found(self, share: Matrix) -> Matrix:
        """The share of positives among the best-scored shares of rows, of the shape of share."""
        return self.ranked.among(share, np.ones(len(self.label)), self.label) / max(1.0, float(self.label.sum()))

    def figures(self, weight: Matrix) -> Figures:
        """auc, average_precision, log_loss, brier, ece and lift_10 of weighted rows."""
        positive, negative = (self.ranked.sums(weight * of) for of in (self.label, 1 - self.label))
        n_positive, n_negative = float(positive.sum()), float(negative.sum())
        inside = np.clip(self.p, _EDGE, 1 - _EDGE)
        total = n_positive + n_negative
        surprise = -(self.label * np.log(inside) + (1 - self.label) * np.log1p(-inside))
        gaps = self.ranked.in_bins(_BINS, weight, self.label - self.p)
        found: Figures = {
            "auc": None, "average_precision": None,
            "log_loss": float(weight @ surprise) / total,
            "brier": float(weight @ (self.label - self.p) ** 2) / total,
            "ece": float(np.abs(gaps).sum()) / total, "lift_10": None,
        }  # fmt: skip
        if n_positive == 0:
            return found
        hits, shown = np.cumsum(positive), np.cumsum(positive + negative)
        precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
        found["average_precision"] = float(positive @ precision) / n_positive
        found["lift_10"] = float(self.ranked.among(_TOP_SHARE, weight, self.label)) / n_positive / _TOP_SHARE
        if n_negative > 0:
            below = n_negative - np.cumsum(negative)
            found["auc"] = float(positive @ (below + negative / 2)) / (n_positive * n_negative)
        return found


def _middle(drawn: list[float], exceeded: float | None) -> tuple[float | None, float | None]:
    """The percentiles; `exceeded`: the figure of the rows themselves, by whose bias they are moved, not below 0."""
    if not drawn:
        return None, None
    low, high = np.quantile(drawn, [0.025, 0.975])
    if exceeded is None:
        return float(low), float(high)
    bias = float(np.mean(drawn)) - exceeded
    return max(0.0, float(low) - bias), max(0.0, float(high) - bias)


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DECIMALS)
