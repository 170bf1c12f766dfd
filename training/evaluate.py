"""How good a model is, on rows later than those it learned from.

Every figure comes with its number of positives; AUC carries an interval from resampling whole
customers, because the rows of one customer are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from training.encode import Matrix

Metrics = dict[str, float | None]
_ECE_BINS = 10
_RESAMPLES = 200
_DECIMALS = 6


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; all None where it cannot be measured."""

    value: float | None
    low: float | None
    high: float | None


def evaluate(label: Matrix, p: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int) -> Metrics:
    """All figures of one model on one slice; AUC and lift are None where a class is missing.

    Args:
        label: 0 or 1, (n,).     p: probabilities, (n,).     customers: whose row it is, (n,).
    """
    positives = int(label.sum())
    figures: Metrics = {"rows": float(len(label)), "positives": float(positives)}
    if len(label) == 0:
        return figures
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    figures |= {
        "rate": float(label.mean()),
        "p_mean": float(p.mean()),
        "brier": float(brier_score_loss(label, p)),
        "log_loss": float(log_loss(label, inside, labels=[0, 1])),
        "ece": calibration_error(label, p),
    }
    area = auc_interval(label, p, customers, seed)
    figures |= {
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "lift_10": lift(label, p, 0.1),
    }
    figures["average_precision"] = float(average_precision_score(label, p)) if positives else None
    return {name: None if value is None else round(value, _DECIMALS) for name, value in figures.items()}


def auc(label: Matrix, p: Matrix) -> float | None:
    """Chance that a positive outranks a negative, ties half; None without both classes."""
    both = 0 < label.sum() < len(label)
    return float(roc_auc_score(label, p)) if both else None


def auc_interval(label: Matrix, p: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int) -> Interval:
    """AUC with the 2.5 % and 97.5 % points over 200 resamples of customers."""
    value = auc(label, p)
    if value is None:
        return Interval(None, None, None)
    _, owner = np.unique(np.asarray(customers), return_inverse=True)
    n_owners = int(owner.max()) + 1
    rng = np.random.default_rng(seed)
    ranked = _Ranked(label, p)
    drawn: list[float] = []
    for _ in range(_RESAMPLES):
        times = np.bincount(rng.integers(0, n_owners, n_owners), minlength=n_owners)
        area = ranked.auc(times[owner].astype(np.float64))
        if area is not None:
            drawn.append(area)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def within_group_auc(label: Matrix, p: Matrix, groups: Sequence[str] | npt.NDArray[np.str_]) -> float | None:
    """AUC over the pairs of one group (campaign) only, each pair counting once.

    A group that is all the same class has no pairs. None where no group has any. It cannot be
    flattered by a model that merely tells good campaigns from bad ones.
    """
    won, pairs = 0.0, 0.0
    names = np.asarray(groups)
    for name in np.unique(names):
        inside = names == name
        area = auc(label[inside], p[inside])
        if area is not None:
            n_pairs = float(label[inside].sum() * (inside.sum() - label[inside].sum()))
            won, pairs = won + area * n_pairs, pairs + n_pairs
    return won / pairs if pairs else None


def calibration_error(label: Matrix, p: Matrix) -> float:
    """Expected calibration error: mean |rate - p| over ten bins of equal count, by rows."""
    order = np.argsort(p, kind="stable")
    bins = [b for b in np.array_split(order, _ECE_BINS) if len(b)]
    return float(sum(abs(label[b].mean() - p[b].mean()) * len(b) for b in bins) / len(p))


def lift(label: Matrix, p: Matrix, share: float) -> float | None:
    """Rate among the best-scored `share` over the rate of all; ties by row order."""
    if label.sum() == 0:
        return None
    best = np.argsort(-p, kind="stable")[: max(1, round(len(p) * share))]
    return float(label[best].mean() / label.mean())


class _Ranked:
    """Rows sorted by score once, so that a weighted AUC is one pass."""

    def __init__(self, label: Matrix, p: Matrix) -> None:
        self._order = np.argsort(p, kind="stable")
        ranked = p[self._order]
        self._tie = np.cumsum(np.concatenate([[0], (np.diff(ranked) > 0).astype(np.int64)]))
        self._label = label[self._order]

    def auc(self, weight: Matrix) -> float | None:
        sorted_weight = weight[self._order]
        positive = np.bincount(self._tie, sorted_weight * self._label)
        negative = np.bincount(self._tie, sorted_weight * (1 - self._label))
        pairs = positive.sum() * negative.sum()
        if pairs == 0:
            return None
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2)).sum() / pairs)
