"""Train on any table: the same trainers as the bank's own models, an honest split, alarms for leaks.

    table -> test part | fitting part -> folds choose -> winner fitted on the whole fitting part
                 `------------------------------------------> measured once on the test part

Nothing is chosen on the test part: not the columns' kinds, the settings, the candidate, the
calibration, the uplift learner, nor the share to target.
"""

import time as clock
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl

from training.columns import Plan
from training.crossfit import CANDIDATES, Averaged, crossfit, leaning
from training.encode import Matrix
from training.evaluate import Metrics, auc
from training.intervals import Ranking, with_intervals
from training.leaks import Alarm
from training.tableparts import Parts, Question
from training.tablereport import SEED, TableReport, rounded_metrics
from training.tableuplift import TableUplift, faint, report_uplift
from training.tune import Progress, silent
from training.uplift import fit_uplift

Frame = pd.DataFrame | pl.DataFrame


@dataclass(frozen=True)
class TableResult:
    """What was learned and how good it is.

    report: figures, alarms, notes.
    predictions: id (if given), with a treatment `p_organic`, and `score` last, in row order of the
    test table; without one of every row, with `part`: test, held_out (scored by models that have not
    seen the row), seen (by the served model, which has: the earliest rows of a split in time) or
    left_out (its group is in the test part).
    curves: with a treatment `share`, `gain` and `random` of the test part, for a Qini plot; without
    `share` and `found`, the share of positives among the best-scored.
    """

    report: TableReport
    predictions: pd.DataFrame
    curves: pd.DataFrame
    plan: Plan
    scorer: Averaged | TableUplift

    def score(self, frame: Frame) -> pd.Series:
        """The score of other rows, in their order: probability, or with a treatment uplift.

        Raises:
            DatasetError: The frame lacks a column.
        """
        matrix = self.plan.matrix(_polars(frame), "the frame")
        return pd.Series(self.scorer.predict(matrix), name="score")


def train_table(frame: Frame, label: str, *, treatment: str | None = None, id: str | None = None,
                time: str | None = None, group: str | None = None, drop: Collection[str] = (),
                test: Frame | None = None, trials: int = 0, seed: int = SEED, value: float | None = None,
                cost: float | None = None, now: datetime | None = None, treated: str | None = None,
                progress: Progress = silent) -> TableResult:  # fmt: skip
    """Learn a label from a table, with a logistic baseline beside LightGBM; with a treatment, uplift.

    Args:
        frame: One row per case.     label: Column of two values.
        treatment: Column that says who was contacted; the score is then the uplift.
        id: Column that names rows; never learned from.
        time: Column that orders rows ("@row": they stand in order): the latest fifth is the test part.
        group: Column whose rows never lie on both sides of a split.
        drop: Columns to leave out.
        test: Rows to measure on instead of a part of `frame`.
        trials: LightGBM settings that Optuna tries beyond the shipped ones.
        value, cost: Of one outcome and one contact: the cut-off is where cost = value x uplift.
        now: No row may lie later; None: the clock.
        treated: The treatment's value that means contacted; None: 1 of 0 and 1, or known from the words.

    Raises:
        DatasetError: One line: what is wrong with the table, where, and the remedy.
    """
    asked = Question(label, treatment, id, time, group, tuple(drop), trials, seed, value, cost, now, treated)
    return answer(_polars(frame), None if test is None else _polars(test), asked, progress)


def answer(frame: pl.DataFrame, test: pl.DataFrame | None, asked: Question, progress: Progress = silent) -> TableResult:
    """As train_table, of Polars frames."""
    began = clock.perf_counter()
    parts = Parts.of(frame, test, asked)
    progress("comparing candidates", 0, 1)
    if asked.treatment is None:
        return _propensity(parts, asked, progress, began)
    return _uplift(parts, asked, progress, began)


def _propensity(parts: Parts, asked: Question, progress: Progress, began: float) -> TableResult:
    fit = crossfit(parts.data, parts.folds, asked.seed, trials=asked.trials, progress=progress)
    served = fit.best
    scorers = {name: fit.fitted(name) for name in CANDIDATES}
    p = {name: scorer.predict(parts.test.matrix) for name, scorer in scorers.items()}
    alarms = parts.alarmed(fit.areas[served], leaning(scorers["lightgbm"]))
    ranking = Ranking.of(parts.test.label, p[served])
    held = np.round(fit.held_out(served), 6)
    report = parts.report(asked, served, alarms, clock.perf_counter() - began).model_copy(update={
        "validation": {name: {"auc": _short(area)} for name, area in fit.areas.items()},
        "metrics": _measured(parts, p[served], asked.seed, ranking),
        "candidates": {name: {"auc": _short(auc(parts.test.label, each))} for name, each in p.items()},
    })  # fmt: skip
    share = np.arange(1, len(ranking.label) + 1) / len(ranking.label)
    predictions = parts.predictions(asked, lambda matrix: {"score": scorers[served].predict(matrix)}, {"score": held})
    return TableResult(
        report, predictions, pd.DataFrame({"share": share, "found": ranking.found(share)}), parts.plan, scorers[served]
    )


def _uplift(parts: Parts, asked: Question, progress: Progress, began: float) -> TableResult:
    if parts.treated is None or parts.test_treated is None:
        raise AssertionError("uplift needs a treatment")
    fit = fit_uplift(parts.data, parts.treated, parts.folds, asked.seed, trials=asked.trials, progress=progress)
    test, model = parts.test, fit.model
    p = model.p_outcome(test.matrix, parts.test_treated)
    alarms = parts.alarmed(fit.outcome_areas[model.outcome], leaning(model.arms[model.outcome][1]))
    if fit.assignment.apart is not None:
        alarms.append(
            Alarm(
                kind="support", column=asked.treatment, auc=round(fit.assignment.auc, 6), message=fit.assignment.apart
            )
        )
    found = report_uplift(fit, test, parts.test_treated, parts.test_units, asked.value, asked.cost, asked.seed)
    rivals = {name: {"auc": _short(auc(test.label, model.p_outcome(test.matrix, parts.test_treated, name)))}
              for name in model.arms}  # fmt: skip
    report = parts.report(asked, model.learner, alarms, clock.perf_counter() - began)
    notes = [*report.notes, fit.assignment.words, *faint(found.metrics)]
    report = report.model_copy(update={
        "validation": {**{name: {"auc": _short(area)} for name, area in fit.outcome_areas.items()},
                       **{name: {"qini_area": _short(area)} for name, area in fit.areas.items()}},
        "metrics": _measured(parts, p, asked.seed, Ranking.of(test.label, p)) | found.metrics,
        "candidates": rivals, "uplift": found.report, "notes": notes,
    })  # fmt: skip
    held = {"p_organic": np.round(fit.p_organic_held_out, 6), "score": np.round(fit.served, 6)}
    predictions = parts.predictions(
        asked, lambda matrix: {"p_organic": model.p_organic(matrix), "score": model.uplift(matrix)}, held)  # fmt: skip
    return TableResult(report, predictions, found.curve, parts.plan, TableUplift(model))


def _measured(parts: Parts, p: Matrix, seed: int, ranking: Ranking) -> Metrics:
    found = with_intervals(ranking.figures, parts.test_units, seed)
    found |= {"rate": float(parts.test.label.mean()), "p_mean": float(p.mean())}
    return rounded_metrics(found)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _polars(frame: Frame) -> pl.DataFrame:
    return frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)
