"""From a model's raw score to a probability: kept as a few numbers, applied with NumPy.

Isotonic (knots) where a later slice holds enough positives, Platt (two numbers) where it does not.
Source: Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability
estimates (2002); Platt, Probabilistic outputs for support vector machines (1999).
"""

from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from training.encode import Matrix

_ISOTONIC_POSITIVES = 1000  # below this the steps of isotonic regression follow the noise
_PLATT_POSITIVES = 20
_EDGE = 1e-6  # logits stay finite


class Calibrator(BaseModel):
    """Rising map from raw score to probability.

    platt: (slope, intercept) on the logit; isotonic: knots x -> y, straight between them; none: the
    raw score stands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none", "platt", "isotonic"] = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, raw: Matrix) -> Matrix:
        """Probabilities in [0, 1], (n,), in the order of the raw scores."""
        if self.kind == "isotonic":
            return np.interp(raw, *self._knots)
        if self.kind == "platt":
            return 1.0 / (1.0 + np.exp(-(self.slope * _logit(raw) + self.intercept)))
        return np.clip(raw, 0.0, 1.0)

    @cached_property
    def _knots(self) -> tuple[Matrix, Matrix]:
        return np.asarray(self.x), np.asarray(self.y)


def fit_calibrator(raw: Matrix, label: Matrix, weight: Matrix | None = None, *, smooth: bool = False) -> Calibrator:
    """Learn the map on rows the model has not seen; `none` where they hold too few positives.

    Never falls: a slice that would turn the ranking round leaves the raw score as it is.

    Args:
        smooth: Platt however many positives there are: for scores of the very rows it is learned on, since
            the steps of isotonic regression remember the labels of theirs and two numbers cannot.
    """
    positives = min(label.sum(), len(label) - label.sum())
    if positives < _PLATT_POSITIVES:
        return Calibrator()
    return (_platt if smooth or positives < _ISOTONIC_POSITIVES else _isotonic)(raw, label, weight)


def _isotonic(raw: Matrix, label: Matrix, weight: Matrix | None) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression  # who only applies a map does not wait for it

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw, label, sample_weight=weight)
    x = tuple(float(v) for v in fitted.X_thresholds_)
    return Calibrator(kind="isotonic", x=x, y=tuple(float(v) for v in fitted.y_thresholds_))


def _platt(raw: Matrix, label: Matrix, weight: Matrix | None) -> Calibrator:
    from sklearn.linear_model import LogisticRegression

    # A weak prior keeps a slope from a few dozen positives from running away.
    fitted = LogisticRegression(C=10.0).fit(_logit(raw).reshape(-1, 1), label, sample_weight=weight)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return Calibrator(kind="platt", slope=slope, intercept=intercept) if slope > 0 else Calibrator()


def _logit(p: Matrix) -> Matrix:
    inside = np.minimum(np.maximum(p, _EDGE), 1 - _EDGE)
    return np.log(inside / (1 - inside))
