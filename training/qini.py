"""How well scores rank customers by what a contact changes: Qini, uplift curve, net gain.

n_t, n_c: treated and untreated among the best-scored share; y_t, y_c: their outcomes. Rows carry
weights: resamples, and 1/propensity where the contact was not drawn at random.
Source: Radcliffe, Using control groups to target on predicted lift (2007); Gutierrez and Gerardy,
Causal inference and uplift modelling: a review of the literature (2017).
"""

from dataclasses import dataclass

import numpy as np

from training.encode import Matrix
from training.intervals import Figures


@dataclass(frozen=True)
class UpliftRows:
    """Rows of an experiment, best-scored first, ties known; made once for many resamples."""

    outcome: Matrix
    treated: Matrix
    score: Matrix
    weight: Matrix
    ends: np.typing.NDArray[np.int64]  # place of the last row of each run of equal scores
    order: np.typing.NDArray[np.int64]

    @classmethod
    def of(cls, outcome: Matrix, treated: Matrix, score: Matrix, weight: Matrix | None = None) -> "UpliftRows":
        """Sort by score; outcome and treated are 0 or 1, all (n,); weight: None counts each row once."""
        order = np.argsort(-score, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(score[order]) != 0), len(score) - 1)
        w = np.ones(len(score)) if weight is None else weight
        return cls(outcome[order], treated[order], score[order], w[order], ends, order)

    def curve(self, times: Matrix | None = None) -> "UpliftCurve":
        """The curve over the share of rows, with the point (0, 0); rows of one score stand together."""
        w = self.weight if times is None else self.weight * times[self.order]
        wt, wc = w * self.treated, w * (1 - self.treated)

        def summed(x: Matrix) -> Matrix:
            return np.concatenate([[0.0], np.cumsum(x)[self.ends]])

        n_t, n_c = summed(wt), summed(wc)
        return UpliftCurve(n_t, n_c, summed(wt * self.outcome), summed(wc * self.outcome))


@dataclass(frozen=True)
class UpliftCurve:
    """Cumulative counts from the best score on, each (n_points,), the first point 0."""

    n_treated: Matrix
    n_control: Matrix
    y_treated: Matrix
    y_control: Matrix

    @property
    def share(self) -> Matrix:
        """Share of rows targeted, 0 to 1."""
        n = self.n_treated + self.n_control
        return n / n[-1]

    @property
    def gain(self) -> Matrix:
        """Outcomes the contact added among the treated targeted: y_t - y_c n_t / n_c."""
        return self.y_treated - self.y_control * _over(self.n_treated, self.n_control)

    @property
    def uplift(self) -> Matrix:
        """(y_t / n_t - y_c / n_c) (n_t + n_c): outcomes added had all targeted been contacted."""
        rate = _over(self.y_treated, self.n_treated) - _over(self.y_control, self.n_control)
        return rate * (self.n_treated + self.n_control)

    def qini_area(self) -> float:
        """Area between the gain and the straight line of random targeting, in outcomes per treated row."""
        over = self.gain - self.share * self.gain[-1]
        return float(np.trapezoid(over, self.share)) / max(float(self.n_treated[-1]), 1.0)

    def auuc(self) -> float:
        """Area under the uplift curve per row; random targeting gives half the average effect."""
        n = float(self.n_treated[-1] + self.n_control[-1])
        return float(np.trapezoid(self.uplift, self.share)) / max(n, 1.0)

    def effect(self) -> float | None:
        """Average effect over all rows: y_t / n_t - y_c / n_c; None without both arms."""
        if min(self.n_treated[-1], self.n_control[-1]) <= 0:
            return None
        return float(self.y_treated[-1] / self.n_treated[-1] - self.y_control[-1] / self.n_control[-1])

    def best_share(self) -> float:
        """The share, in steps of 5 %, up to which contacting has added the most."""
        steps = np.linspace(0, 1, 21)
        return float(steps[int(np.argmax(np.round(np.interp(steps, self.share, self.gain), 9)))])


def qini_figures(rows: UpliftRows, times: Matrix) -> Figures:
    """qini_area, auuc and average_effect of weighted rows, for training.intervals.with_intervals."""
    curve = rows.curve(times)
    effect = curve.effect()
    if effect is None:
        return {"qini_area": None, "auuc": None, "average_effect": None}
    return {"qini_area": curve.qini_area(), "auuc": curve.auuc(), "average_effect": effect}


def net_gain(outcome: Matrix, treated: Matrix, targeted: Matrix, value: float, cost: float,
             weight: Matrix | None = None, times: Matrix | None = None, *, balanced: bool = True) -> float:  # fmt: skip
    """What the contacts of the targeted brought: value (y_t - y_c n_t / n_c) - cost n_t, n_t treated rows.

    Args:
        outcome: 0 or 1, (n,).     treated: 0 or 1, (n,).     targeted: whom the cut-off takes, (n,).
        value: Of one outcome.     cost: Of one contact.
        weight: 1 / chance of the row's arm, (n,): the effect is then that on all targeted, still reckoned to as
            many contacts as treated rows were targeted. None: the lot decided.
        times: How often each row was drawn, (n,); None: once.
        balanced: Scale the untreated to the number of treated; without, the arms count as they are
            (the challenge formula of the Starbucks experiment, drawn half and half).
    """
    drawn = targeted if times is None else times * targeted
    w = drawn if weight is None else drawn * weight
    n_t, n_c = float(w @ treated), float(w @ (1 - treated))
    y_t, y_c = float(w @ (treated * outcome)), float(w @ ((1 - treated) * outcome))
    ratio = (n_t / n_c if n_c else 0.0) if balanced else 1.0
    # Weights of 1 / chance make the treated stand for all rows: back to those that were contacted.
    back = float(drawn @ treated) / n_t if n_t else 1.0
    return (value * (y_t - y_c * ratio) - cost * n_t) * back


def _over(top: Matrix, bottom: Matrix) -> Matrix:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
