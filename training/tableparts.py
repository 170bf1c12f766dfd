"""What is asked of a table, and the table cut, encoded and checked for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl

from training.columns import MOST_VALUES, Plan, plan_columns
from training.crossfit import plain_dataset
from training.dataset import Dataset
from training.encode import Matrix
from training.errors import DatasetError
from training.leaks import Alarm, column_alarms, too_good
from training.roles import LEAST_OF_A_CLASS, ROW_ORDER, Binary, binary, check_ids, group_codes, instants
from training.splits import Axis, Fold, Rows, folds, test_part, without_groups
from training.tablefile import need_columns
from training.tablereport import SEED, TableReport

_PREDICTED = ("part", "p_organic", "score")  # columns of the predictions


@dataclass(frozen=True)
class Question:
    """What is asked of a table: names of its columns, seed, and the money of a contact.

    time: dates, instants or numbers, or "@row" where the rows stand in order of time.
    value, cost: of one outcome and of one contact, in one unit; both or none.
    """

    label: str
    treatment: str | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    drop: tuple[str, ...] = ()
    trials: int = 0
    seed: int = SEED
    value: float | None = None
    cost: float | None = None
    now: datetime | None = None
    treated: str | None = None  # the treatment's value that means contacted; None: known from the values

    @property
    def named(self) -> list[str]:
        """The columns with a part of their own, label first."""
        named = [self.label, self.treatment, self.id, None if self.time == ROW_ORDER else self.time, self.group]
        return [name for name in named if name is not None]


@dataclass(frozen=True)
class Parts:
    """Fitting and test part of a table, as matrices, with what there is to say about them."""

    frame: pl.DataFrame  # the table that predictions are made for
    plan: Plan
    data: Dataset  # fitting part
    label: Binary
    treatment: Binary | None
    treated: Matrix | None  # of the fitting part
    folds: list[Fold]
    test: Dataset
    test_treated: Matrix | None
    test_units: Rows
    fit_places: Rows | None  # places in `frame`, None with a test table
    test_places: Rows
    split: str
    alarms: list[Alarm]
    notes: list[str]

    @classmethod
    def of(cls, frame: pl.DataFrame, test: pl.DataFrame | None, asked: Question) -> "Parts":
        """Check, split, encode.

        Raises:
            DatasetError: See train_table.
        """
        _check(frame, test, asked)
        both = frame if test is None else pl.concat([frame.select(asked.named), test.select(asked.named)],
                                                    how="vertical_relaxed")  # fmt: skip
        label = _binary(both, asked.label, "label", len(frame))
        treatment = (
            None if asked.treatment is None else _binary(both, asked.treatment, "treatment", len(frame), asked.treated)
        )
        axis = _axis(both, asked, label, treatment)
        places = np.arange(len(frame))
        alarms: list[Alarm] = []
        if test is None:
            fit, held = test_part(axis, asked.seed)
        else:
            held = np.arange(len(frame), len(both))
            fit = without_groups(axis, places, held)
            alarms += _overlap(frame, test, asked) + _disorder(axis, fit, held)
        _enough(label.codes[fit], asked.label)
        left_out = [name for name in (*asked.named, *asked.drop) if name in frame.columns]
        parts = folds(axis.rows(fit), asked.seed)
        arms = np.zeros(len(fit)) if treatment is None else treatment.codes[fit]
        if axis.kind != "random":  # which spreads the classes evenly
            _both_in_each(parts, label.codes[fit], arms, asked)
        plan = plan_columns(frame[fit], left_out)
        rows = frame if test is None else test
        start = 0 if test is None else len(frame)
        units = None if axis.group is None else axis.group[fit]
        data = plain_dataset(plan.features, plan.matrix(frame[fit], "the table"), label.codes[fit], units)
        tested = plain_dataset(plan.features, plan.matrix(rows[held - start], "the test table"), label.codes[held])
        notes = [f"`{name}` left out: {why}" for name, why in plan.dropped.items()]
        notes += [
            f"`{name}` has {n} values: the {MOST_VALUES} most frequent are learned from"
            for name, n in plan.many.items()
        ]
        notes += [f"label `{asked.label}`: `{label.positive}` counts as positive, being the rarer"] * label.guessed
        if both.schema[asked.label].is_numeric() and float(label.positive) != 1:
            notes.append(f"label `{asked.label}`: `{label.positive}` counts as positive, being the larger number")
        lost = len(places) - len(fit) - (len(held) if test is None else 0)
        notes += [f"{lost} rows left out: their group is in the test part"] if lost else []
        return cls(
            frame=rows, plan=plan, data=data, label=label, folds=parts, test=tested,
            treatment=treatment, treated=None if treatment is None else treatment.codes[fit],
            test_treated=None if treatment is None else treatment.codes[held],
            test_units=np.arange(len(held)) if axis.group is None else axis.group[held],
            fit_places=fit if test is None else None, test_places=held - start,
            split=axis.kind if test is None else "file", alarms=alarms, notes=notes,
        )  # fmt: skip

    def alarmed(self, area: float | None, leans: list[str]) -> list[Alarm]:
        """All alarms: of the split, of columns, and of a model that is too good (AUC on held-out rows)."""
        found = column_alarms(self.data.features, self.data.matrix, self.data.label)
        return [*self.alarms, *found, *too_good(area, list(dict.fromkeys(name.partition("#")[0] for name in leans)))]

    def predictions(self, asked: Question, predict: Callable[[Matrix], Mapping[str, Matrix]],
                    held_out: Mapping[str, Matrix]) -> pd.DataFrame:  # fmt: skip
        """One line per row of the table, in its order, the score last.

        Args:
            predict: Columns of other rows by the served model.
            held_out: The same of the fitting part by models that have not seen the row, NaN where none.
        """
        found: dict[str, object] = {} if asked.id is None else {asked.id: self.frame[asked.id].to_pandas()}
        columns = dict(predict(self.plan.matrix(self.frame, "the table")))
        if self.fit_places is None:
            return pd.DataFrame(found | columns)
        part = np.full(len(self.frame), "left_out", object)
        part[self.fit_places], part[self.test_places] = "seen", "test"
        for name, values in held_out.items():
            known = np.isfinite(values)
            columns[name][self.fit_places[known]] = values[known]
            part[self.fit_places[known]] = "held_out"
        return pd.DataFrame(found | {"part": part} | columns)

    def report(self, asked: Question, served: str, alarms: list[Alarm], seconds: float) -> TableReport:
        """What there is to say without any figure."""
        return TableReport(
            label=asked.label, positive=self.label.positive, treatment=asked.treatment,
            treated=None if self.treatment is None else self.treatment.positive, split=self.split,
            rows=len(self.data.label), positives=int(self.data.label.sum()), test_rows=len(self.test.label),
            test_positives=int(self.test.label.sum()), served=served, features=list(self.plan.sources),
            dropped=self.plan.dropped, alarms=alarms, notes=self.notes, seed=asked.seed, trials=asked.trials,
            seconds=round(seconds, 3),
        )  # fmt: skip


def _check(frame: pl.DataFrame, test: pl.DataFrame | None, asked: Question) -> None:
    twice = next((name for name in asked.named if asked.named.count(name) > 1 and name != asked.id), None)
    if twice is not None:
        raise DatasetError(f"column `{twice}` is given two parts; label, treatment, time and group differ")
    if asked.id in _PREDICTED:
        raise DatasetError(f"id `{asked.id}` is the name of a column of the predictions; rename it")
    if asked.treated is not None and asked.treatment is None:
        raise DatasetError("--treated names a value of a treatment; give its column with --treatment COL")
    if (asked.value is None) != (asked.cost is None):
        raise DatasetError("a break-even needs both --value of an outcome and --cost of a contact")
    if asked.value is not None and (asked.value <= 0 or (asked.cost or 0) < 0):
        raise DatasetError("--value must be above 0 and --cost not below 0")
    for table, what in ((frame, "the table"), (test, "the test table")):
        if table is None:
            continue
        need_columns(table, asked.named, what)
        if table.is_empty():
            raise DatasetError(f"{what} has no row")
        if asked.id is not None and asked.group is None:
            check_ids(table[asked.id])
    need_columns(frame, asked.drop, "the table")


def _binary(both: pl.DataFrame, name: str, what: str, n: int, positive: str | None = None) -> Binary:
    """Two values, the same way round in both tables, and both of them in the first."""
    binary(both[name].head(n), what, guess=what == "label", positive=positive)
    return binary(both[name], what, guess=what == "label", positive=positive)


def _axis(both: pl.DataFrame, asked: Question, label: Binary, treatment: Binary | None) -> Axis:
    strata = label.codes.astype(np.int64) * 2 + (0 if treatment is None else treatment.codes.astype(np.int64))
    return Axis(
        strata=strata,
        time=None if asked.time is None else instants(both, asked.time, asked.now),
        group=None if asked.group is None else group_codes(both[asked.group]),
    )


def _enough(label: Matrix, name: str) -> None:
    least = int(min(label.sum(), len(label) - label.sum()))
    if least < LEAST_OF_A_CLASS:
        raise DatasetError(
            f"label `{name}` has {least} of the rarer class to learn from; {LEAST_OF_A_CLASS} are needed"
        )


def _both_in_each(parts: list[Fold], label: Matrix, arms: Matrix, asked: Question) -> None:
    """Refuse folds whose rows to fit on, of an arm, hold one class: nothing can be learned from them."""
    for fold in parts:
        for arm in np.unique(arms):
            mine = label[fold.fit][arms[fold.fit] == arm]
            if 0 < mine.sum() < len(mine):
                continue
            which = "the earliest" if asked.time is not None else "a fold's"
            whose = "" if asked.treatment is None else f" of arm {arm:g} of `{asked.treatment}`"
            remedy = "leave --time out, or give" if asked.time is not None else "give"
            raise DatasetError(f"label `{asked.label}` lacks a class in {which} {len(mine)} rows{whose},"
                               f" from which others are foretold; {remedy} more rows")  # fmt: skip


def _overlap(frame: pl.DataFrame, test: pl.DataFrame, asked: Question) -> list[Alarm]:
    if asked.id is None:
        return []
    ids = test[asked.id].cast(pl.String)
    n = int(ids.is_in(frame[asked.id].cast(pl.String).implode()).sum())
    said = f"{n} of {len(test)} ids of the test table are in the fitting table too; measure on others"
    return [Alarm(kind="overlap", column=asked.id, auc=None, message=said)] if n else []


def _disorder(axis: Axis, fit: Rows, held: Rows) -> list[Alarm]:
    if axis.time is None or float(axis.time[fit].max()) < float(axis.time[held].min()):
        return []
    said = "the test table begins before the fitting table ends: it measures what was partly known"
    return [Alarm(kind="order", column=None, auc=None, message=said)]
