"""Figures with their intervals from resampling whole units (rows, or groups where there are some).

Each figure is written for weighted rows: a resample is how often each unit was drawn. What can be
sorted is sorted once, so a resample is a few passes over the rows.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile interval.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.encode import Matrix
from training.evaluate import Metrics

RESAMPLES = 200
_TOP_SHARE = 0.1
_BINS = 10
_DECIMALS = 6
_EDGE = 1e-6

Figures = dict[str, float | None]


def with_intervals(figures: Callable[[Matrix], Figures], units: npt.NDArray[np.int64], seed: int) -> Metrics:
    """Each figure with `_low` and `_high`, the 2.5 % and 97.5 % points over 200 resamples.

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
        low, high = np.quantile(drawn[name], [0.025, 0.975]) if value is not None and drawn[name] else (None, None)
        found |= {name: _short(value), f"{name}_low": _short(low), f"{name}_high": _short(high)}
    return found


@dataclass(frozen=True)
class Ranking:
    """Labels in the order of their scores, ready for weighted figures of how good the scores are."""

    label: Matrix
    p: Matrix
    order: npt.NDArray[np.int64]  # best first
    tie: npt.NDArray[np.int64]  # equal scores share a number, in that order

    @classmethod
    def of(cls, label: Matrix, p: Matrix) -> "Ranking":
        """Sort once; label 0 or 1, p in [0, 1], both (n,)."""
        order = np.argsort(-p, kind="stable")
        ranked = p[order]
        tie = np.concatenate([[0], np.cumsum(np.diff(ranked) != 0)]).astype(np.int64)
        return cls(label, p, order, tie)

    def figures(self, weight: Matrix) -> Figures:
        """auc, average_precision, log_loss, brier, ece and lift_10 of weighted rows."""
        w, y = weight[self.order], self.label[self.order]
        positive, negative = np.bincount(self.tie, w * y), np.bincount(self.tie, w * (1 - y))
        n_positive, n_negative = float(positive.sum()), float(negative.sum())
        inside = np.clip(self.p, _EDGE, 1 - _EDGE)
        total = n_positive + n_negative
        surprise = -(self.label * np.log(inside) + (1 - self.label) * np.log1p(-inside))
        found: Figures = {
            "auc": None, "average_precision": None,
            "log_loss": float(weight @ surprise) / total,
            "brier": float(weight @ (self.label - self.p) ** 2) / total,
            "ece": self._calibration_error(w, y) / total, "lift_10": None,
        }  # fmt: skip
        if n_positive == 0:
            return found
        hits, shown = np.cumsum(positive), np.cumsum(positive + negative)
        precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
        found["average_precision"] = float(positive @ precision) / n_positive
        found["lift_10"] = self._lift(w, y, n_positive / total, total)
        if n_negative > 0:
            below = n_negative - np.cumsum(negative)
            found["auc"] = float(positive @ (below + negative / 2)) / (n_positive * n_negative)
        return found

    def _calibration_error(self, w: Matrix, y: Matrix) -> float:
        place = np.arange(len(w)) * _BINS // len(w)
        gap = np.bincount(place, w * (y - self.p[self.order]), minlength=_BINS)
        return float(np.abs(gap).sum())

    @staticmethod
    def _lift(w: Matrix, y: Matrix, rate: float, total: float) -> float:
        """Rate among the first tenth of the weight over the rate of all; a row on the line counts in part."""
        room = np.clip(_TOP_SHARE * total - (np.cumsum(w) - w), 0.0, w)
        return float(room @ y) / float(room.sum()) / rate


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DECIMALS)
