"""The uplift of a table's test part: figures with intervals, the share to contact, the net gain."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.dataset import Dataset
from training.encode import Matrix
from training.evaluate import Metrics
from training.intervals import Figures, with_intervals
from training.qini import UpliftRows, net_gain, qini_figures
from training.splits import Rows
from training.tablereport import UpliftReport
from training.uplift import UpliftFit, UpliftModel


@dataclass(frozen=True)
class TableUplift:
    """A model whose score is the uplift."""

    model: UpliftModel

    def predict(self, matrix: Matrix) -> Matrix:
        """Uplift of each row, (n,) in [-1, 1]."""
        return self.model.uplift(matrix)


@dataclass(frozen=True)
class Measured:
    """The figures of the test part, and the curve for a plot."""

    metrics: Metrics
    report: UpliftReport
    curve: pd.DataFrame  # share, gain, random: outcomes added among the treated


def faint(metrics: Metrics) -> tuple[str, ...]:
    """The line that nothing shows a difference between customers, by rows that had no part in learning; () where something does.

    Not by the slope: learner, rounds and calibration are chosen on the rows that give it, and without any difference its
    interval lies above 0 in a third of small worlds.
    """
    if metrics["qini_area"] is None:  # the arms cannot be compared
        return ()
    low, high = metrics["qini_area_low"] or 0.0, metrics["qini_area_high"] or 0.0
    if low > 0:
        return ()
    return (f"nothing shows that customers differ in what a contact changes: Qini area over random {low:.4f} to {high:.4f} on rows never seen",)  # fmt: skip


def report_uplift(fit: UpliftFit, test: Dataset, treated: Matrix, units: Rows, value: float | None,
                  cost: float | None, seed: int) -> Measured:  # fmt: skip
    """Measure the served learner on the test part.

    Args:
        test: Label is the outcome.     treated: 0 or 1, (n,).     units: What is resampled, (n,).
        value, cost: Of one outcome and one contact; None: no break-even.
    """
    score = fit.model.uplift(test.matrix)
    weight = fit.assignment.weight(treated, test.matrix)
    rows = UpliftRows.of(test.label, treated, score, weight)
    curve = rows.curve()
    metrics = with_intervals(lambda times: qini_figures(rows, times), units, seed)
    apart = fit.assignment.apart is not None  # a figure without comparable rows is worse than none
    metrics = dict.fromkeys(metrics) if apart else metrics
    cut_off = None if value is None or cost is None else cost / value
    share = fit.best_share if cut_off is None else float(np.mean(score > cut_off))
    gain = float(np.interp(share, curve.share, curve.gain)) / max(1.0, float(curve.n_treated[-1]))
    report = UpliftReport(
        learner=fit.model.learner, randomised=fit.assignment.randomised,
        treatment_auc=round(fit.assignment.auc, 6), slope=round(fit.model.slope, 6),
        slope_low=round(fit.slope_low, 6), slope_high=round(fit.slope_high, 6), cut_off=cut_off,
        best_share=None if apart else round(share, 6), gain_at_best_share=None if apart else round(gain, 8),
        p_organic_mean=round(float(fit.model.p_organic(test.matrix).mean()), 6),
    )  # fmt: skip
    if value is not None and cost is not None and not apart:
        report = report.model_copy(update=_money(test.label, treated, (score > cost / value).astype(np.float64), value, cost, weight,
                                                 units, seed))  # fmt: skip
    added = (
        curve.gain * float(treated.sum()) / max(1.0, float(curve.n_treated[-1]))
    )  # weights count all rows as treated
    points = pd.DataFrame({"share": curve.share, "gain": added, "random": curve.share * added[-1]})
    return Measured(metrics, report, points)


def _money(outcome: Matrix, treated: Matrix, targeted: Matrix, value: float, cost: float, weight: Matrix | None,
           units: Rows, seed: int) -> Metrics:  # fmt: skip
    def gained(times: Matrix) -> Figures:
        return {"net_gain": net_gain(outcome, treated, targeted, value, cost, weight, times)}

    everyone = net_gain(outcome, treated, np.ones(len(outcome)), value, cost, weight)
    return with_intervals(gained, units, seed) | {"net_gain_everyone": round(everyone, 6)}
