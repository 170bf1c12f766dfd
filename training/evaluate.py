"""How good a model is, on rows later than those it learned from.

Every figure comes with its number of positives; AUC carries an interval from resampling whole
customers, because the rows of one customer are not independent. scikit-learn takes longer to import
than all else here, and a command that measures nothing does not wait for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.encode import Matrix
from training.ranked import Ranked

Metrics = dict[str, float | None]
# Of either class: with fewer positives the resamples of an AUC are too narrow. Without any signal the 95 % interval
# lay above 0.5 in 25, 8 and 7 % of draws with 2, 3 and 5 positives, 2.5 % are promised.
LEAST_TO_RANK = 20
_ECE_BINS = 10
_RESAMPLES = 200
_DECIMALS = 6


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; all None where it cannot be measured."""

    value: float | None
    low: float | None
    high: float | None


def evaluate(label: Matrix, p: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int,
             weight: Matrix | None = None) -> Metrics:  # fmt: skip
    """All figures of one model on one slice; AUC and lift are None where a class is missing.

    Args:
        label: 0 or 1, (n,).     p: probabilities, (n,).     customers: whose row it is, (n,).
        weight: How many rows each stands for, (n,); None: one. rows and positives are those at hand.

    Returns:
        `auc`, `average_precision`, `lift_10`, `log_loss` and `brier` come with `_low` and `_high`,
        the 95 % interval over 200 resamples of customers.
    """
    from sklearn.metrics import (
        average_precision_score,
        brier_score_loss,
        log_loss,
    )  # takes longer to import than to use

    w = np.ones(len(label)) if weight is None else weight
    positives = int(label.sum())
    figures: Metrics = {"rows": float(len(label)), "positives": float(positives)}
    if len(label) == 0:
        return figures
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    figures |= {
        "rate": float(np.average(label, weights=w)),
        "p_mean": float(np.average(p, weights=w)),
        "brier": float(brier_score_loss(label, p, sample_weight=w)),
        "log_loss": float(log_loss(label, inside, labels=[0, 1], sample_weight=w)),
        "ece": calibration_error(label, p, w),
        "auc": auc(label, p, w),
        "lift_10": lift(label, p, 0.1, w),
        "average_precision": float(average_precision_score(label, p, sample_weight=w)) if positives else None,
    }
    figures |= _intervals(label, p, customers, seed, w)
    return {name: None if value is None else round(value, _DECIMALS) for name, value in figures.items()}


def auc(label: Matrix, p: Matrix, weight: Matrix | None = None) -> float | None:
    """Chance that a positive outranks a negative, ties half; None without both classes."""
    from sklearn.metrics import roc_auc_score

    both = 0 < label.sum() < len(label)
    return float(roc_auc_score(label, p, sample_weight=weight)) if both else None


def auc_interval(label: Matrix, p: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int,
                 weight: Matrix | None = None) -> Interval:  # fmt: skip
    """AUC with the 2.5 % and 97.5 % points over 200 resamples of customers."""
    value = auc(label, p, weight)
    if value is None:
        return Interval(None, None, None)
    ranked = _Drawn(label, p)
    drawn = [ranked.auc(w) for w in resampled(customers, seed, weight)]
    return Interval(value, *_middle(drawn))


def gain_interval(label: Matrix, p: Matrix, other: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int,
                  weight: Matrix | None = None) -> Interval:  # fmt: skip
    """How much higher the AUC of `p` is than that of `other`, both drawn on the same resamples of customers."""
    mine, theirs = auc(label, p, weight), auc(label, other, weight)
    if mine is None or theirs is None:
        return Interval(None, None, None)
    ours, rival, drawn = _Drawn(label, p), _Drawn(label, other), list[float | None]()
    for w in resampled(customers, seed, weight):
        first, second = ours.auc(w), rival.auc(w)
        drawn.append(None if first is None or second is None else first - second)
    return Interval(mine - theirs, *_middle(drawn))


def resampled(customers: Sequence[str] | npt.NDArray[np.str_], seed: int,
              weight: Matrix | None = None) -> Iterator[Matrix]:  # fmt: skip
    """200 times the weights (n,) of rows whose customers were drawn anew, with replacement."""
    _, owner = np.unique(np.asarray(customers), return_inverse=True)
    n_owners, rng = int(owner.max()) + 1, np.random.default_rng(seed)
    for _ in range(_RESAMPLES):
        times = np.bincount(rng.integers(0, n_owners, n_owners), minlength=n_owners)[owner].astype(np.float64)
        yield times if weight is None else times * weight


def _intervals(label: Matrix, p: Matrix, customers: Sequence[str] | npt.NDArray[np.str_], seed: int,
               weight: Matrix) -> Metrics:  # fmt: skip
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    losses = {"log_loss": -(label * np.log(inside) + (1 - label) * np.log1p(-inside)), "brier": (label - p) ** 2}
    ranked, drawn = _Drawn(label, p), dict[str, list[float | None]]()
    for w in resampled(customers, seed, weight):
        found = ranked.figures(w) | {
            name: float((loss * w).sum() / w.sum()) if w.sum() else None for name, loss in losses.items()
        }
        for name, value in found.items():
            drawn.setdefault(name, []).append(value)
    both = 0 < label.sum() < len(label)
    found: Metrics = {}
    for name, values in drawn.items():
        low, high = _middle(values) if both or name in losses else (None, None)
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _middle(drawn: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in drawn if value is not None]
    if not known:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def within_group_auc(label: Matrix, p: Matrix, groups: Sequence[str] | npt.NDArray[np.str_],
                     weight: Matrix | None = None) -> float | None:  # fmt: skip
    """AUC over the pairs of one group (campaign) only, each pair counting once.

    A group that is all the same class has no pairs. None where no group has any. It cannot be
    flattered by a model that merely tells good campaigns from bad ones.
    """
    won, pairs = 0.0, 0.0
    names, w = np.asarray(groups), np.ones(len(label)) if weight is None else weight
    for name in np.unique(names):
        inside = names == name
        area = auc(label[inside], p[inside], w[inside])
        if area is not None:
            of_positives = float((label[inside] * w[inside]).sum())
            n_pairs = of_positives * (float(w[inside].sum()) - of_positives)
            won, pairs = won + area * n_pairs, pairs + n_pairs
    return won / pairs if pairs else None


def calibration_error(label: Matrix, p: Matrix, weight: Matrix | None = None) -> float:
    """Expected calibration error: mean |rate - p| over ten bins of equal weight, ties shared out among bins.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning (2015).
    """
    w = np.ones(len(label)) if weight is None else weight
    return float(np.abs(Ranked.of(p).in_bins(_ECE_BINS, w, label - p)).sum() / w.sum())


@dataclass(frozen=True)
class Bin:
    """Rows of like scores: their mean score, their rate of positives, and the rows they stand for."""

    p: float
    rate: float
    weight: float


def calibration_bins(label: Matrix, p: Matrix, weight: Matrix) -> list[Bin]:
    """Ten bins of equal weight, by rising score; a tie at an edge is shared out, with its rate."""
    ranked = Ranked.of(p)
    share = float(weight.sum()) / _ECE_BINS
    score, hits = (ranked.in_bins(_ECE_BINS, weight, of) / share for of in (p, label))
    return [Bin(float(score[b]), float(hits[b]), share) for b in reversed(range(_ECE_BINS))]


def lift(label: Matrix, p: Matrix, share: float, weight: Matrix | None = None) -> float | None:
    """Rate among the best-scored `share` over the rate of all; of a tie at its edge in part."""
    if label.sum() == 0:
        return None
    w = np.ones(len(label)) if weight is None else weight
    return float(Ranked.of(p).among(share, w, label)) / share / float(w @ label)


class _Drawn:
    """Labels and ranks of rows, so that the figures of a resample are one pass."""

    def __init__(self, label: Matrix, p: Matrix) -> None:
        self._label, self._ranked = label, Ranked.of(p)

    def auc(self, weight: Matrix) -> float | None:
        positive, negative = (self._ranked.sums(weight * of) for of in (self._label, 1 - self._label))
        pairs = positive.sum() * negative.sum()
        if pairs == 0:
            return None
        below = negative.sum() - np.cumsum(negative)
        return float((positive * (below + negative / 2)).sum() / pairs)

    def figures(self, weight: Matrix) -> dict[str, float | None]:
        """AUC, average precision and lift of the best tenth under these weights; None without positives."""
        positive, both = self._ranked.sums(weight * self._label), self._ranked.sums(weight)
        hits, taken = np.cumsum(positive), np.cumsum(both)
        if hits[-1] == 0:
            return {"auc": None, "average_precision": None, "lift_10": None}
        precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
        tenth = float(self._ranked.among(0.1, weight, self._label))
        return {"auc": self.auc(weight), "average_precision": float((precision * positive).sum() / hits[-1]),
                "lift_10": tenth / float(hits[-1]) / 0.1}  # fmt: skip
