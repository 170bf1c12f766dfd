"""`train_table`: what it chooses, what it refuses, what it says of rows."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from training.errors import DatasetError
from training.table import TableResult, train_table
from training.tablefile import read_table
from training.tablereport import lines

DATA = Path(os.environ.get("NBO_DATA", Path(__file__).parents[3] / "shared" / "data"))


def customers(n: int = 900, seed: int = 1) -> pd.DataFrame:
    """Rows whose label follows x and the word; `late` is the label written down afterwards."""
    rng = np.random.default_rng(seed)
    x, word = rng.normal(size=n), rng.choice(["a", "b", "c"], n)
    y = rng.random(n) < 1 / (1 + np.exp(-(1.2 * x + (word == "a") - 1)))
    return pd.DataFrame({
        "id": [f"K{seed}-{i}" for i in range(n)], "x": x, "word": word, "flag": rng.random(n) < 0.5,
        "household": rng.integers(0, n // 2, n), "on": pd.date_range("2025-01-01", periods=n, freq="h"),
        "late": y + rng.normal(0, 0.01, n), "contacted": rng.integers(0, 2, n), "y": np.where(y, "yes", "no"),
    })  # fmt: skip


@cache
def plain() -> TableResult:
    return train_table(customers(), "y", id="id", drop=["late", "on", "household"])


def test_figures_come_with_intervals_and_the_baseline_beside() -> None:
    report = plain().report
    for name in ("auc", "average_precision", "log_loss", "brier", "ece", "lift_10"):
        value, low, high = (report.metrics[key] for key in (name, f"{name}_low", f"{name}_high"))
        assert value is not None and low is not None and high is not None and low < high
        assert low - 0.1 <= value <= high + 0.1
    assert set(report.candidates) == {"logistic", "lightgbm", "blend"} == set(report.validation)
    assert report.served == max(report.validation, key=lambda name: report.validation[name]["auc"] or 0)
    assert (report.rows, report.test_rows, report.split, report.positive) == (720, 180, "random", "yes")
    assert report.alarms == [] and (report.metrics["auc"] or 0) > 0.7


def test_the_test_part_chooses_nothing() -> None:
    """Test labels turned over: same candidate, same scores, other figures. Mutant: best by `candidates`."""
    fit, test = customers(300), customers(200, seed=2)
    turned = test.assign(y=np.where(test["y"] == "yes", "no", "yes"))
    one, two = (train_table(fit, "y", drop=["late", "on", "id"], test=each) for each in (test, turned))
    assert one.report.served == two.report.served and one.report.validation == two.report.validation
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert one.report.metrics["auc"] == pytest.approx(1 - (two.report.metrics["auc"] or 0))


def test_predictions_keep_row_order_with_the_score_last() -> None:
    frame, test = customers(), customers(200, seed=2)
    result = train_table(frame.head(300), "y", drop=["late", "on", "id"], test=test.iloc[::-1])
    assert list(result.predictions.columns) == ["score"]
    np.testing.assert_array_equal(result.predictions["score"].to_numpy()[::-1], result.score(test).to_numpy())
    found = plain().predictions
    assert list(found.columns) == ["id", "part", "score"] and found["id"].tolist() == frame["id"].tolist()
    assert found["part"].value_counts().to_dict() == {"held_out": 720, "test": 180}
    assert found["score"].between(0, 1).all()


def test_equal_table_and_seed_give_equal_scores() -> None:
    one, two = (train_table(customers(200), "y", id="id", drop=["late", "on", "household"]) for _ in range(2))
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert one.report.model_copy(update={"seconds": 0}) == two.report.model_copy(update={"seconds": 0})


def test_p28_time_and_group_hold_in_the_parts_that_are_reported() -> None:
    frame = customers()
    shuffled = frame.sample(frac=1, random_state=3)
    found = train_table(shuffled, "y", time="on", group="household", drop=["late", "id"])
    part = found.predictions["part"].to_numpy()
    on, house = shuffled["on"].to_numpy(), shuffled["household"].to_numpy()
    learned, tested = np.isin(part, ["seen", "held_out"]), part == "test"
    assert found.report.split == "time" and tested.sum() == 180
    assert on[learned].max() < on[tested].min() and not set(house[learned]) & set(house[tested])
    assert found.report.notes[-1] == f"{(part == 'left_out').sum()} rows left out: their group is in the test part"
    assert "on" not in found.report.features and "household" not in found.report.features


def test_leaks_ring_and_stop_nothing() -> None:
    found = train_table(customers(400).rename(columns={"flag": "duration"}), "y", drop=["id", "on"])
    kinds = [(alarm.kind, alarm.column) for alarm in found.report.alarms]
    assert kinds == [("after_contact", "duration"), ("leak", "late"), ("too_good", "late")]


def test_known_rows_and_a_test_before_its_time_ring() -> None:
    frame = customers()
    found = train_table(frame.tail(700), "y", id="id", time="on", drop=["late"], test=frame.head(300))
    kinds = [(alarm.kind, alarm.column) for alarm in found.report.alarms]
    assert kinds == [("overlap", "id"), ("order", None)]
    assert found.report.alarms[0].message.startswith("100 of 300 ids of the test table")


def test_with_a_treatment_the_score_is_the_uplift() -> None:
    frame = customers(700)
    found = train_table(frame, "y", treatment="contacted", id="id", drop=["late", "on", "household"], value=10, cost=1)
    uplift = found.report.uplift
    assert uplift is not None and uplift.randomised and uplift.cut_off == 0.1
    assert list(found.predictions.columns) == ["id", "part", "p_organic", "score"]
    low, high = found.report.metrics["qini_area_low"], found.report.metrics["qini_area_high"]
    assert low is not None and high is not None and low <= 0.02 <= high + 0.02  # contacts change nothing here
    tested = found.predictions[found.predictions["part"] == "test"]
    assert uplift.best_share == pytest.approx((tested["score"] > 0.1).mean(), abs=1e-6)
    assert any("contacts look drawn by lot" in note for note in found.report.notes)
    assert any("nothing shows that customers differ" in note for note in found.report.notes)
    assert {"share", "gain", "random"} == set(found.curves.columns)


def test_where_contacts_move_some_customers_the_rows_never_seen_show_it() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"x": rng.normal(size=4000), "z": rng.normal(size=4000), "contacted": rng.integers(0, 2, 4000)}
    )
    frame["y"] = (rng.random(4000) < 0.1 + 0.5 * frame["contacted"] * (frame["x"] > 0)).astype(int)
    found = train_table(frame, "y", treatment="contacted")
    assert not any("nothing shows" in note for note in found.report.notes)
    assert (found.report.metrics["qini_area_low"] or 0) > 0


def test_constant_and_empty_columns_are_dropped_with_a_note() -> None:
    frame = customers(300).assign(same=7, nothing=None)
    report = train_table(frame, "y", drop=["late", "on", "household"]).report
    assert report.dropped == {
        "id": "a key: different in every row", "same": "the same in every row", "nothing": "empty in every row"}  # fmt: skip
    assert "`same` left out: the same in every row" in report.notes


def test_many_categories_are_one_line() -> None:
    frame = customers(300).assign(shop=[f"S{i % 200}" for i in range(300)])
    report = train_table(frame, "y", drop=["late", "on", "household", "id"]).report
    assert report.notes == ["`shop` has 176 values: the 48 most frequent are learned from"]


BAD = {
    "no column `lable` in the table; did you mean `late`?": {"label": "lable"},
    "no column `housheold` in the table; did you mean `household`?": {"group": "housheold"},
    "no column `z` in the table; it has id, x, word, flag, household, on, late, contacted": {"drop": ["z"]},
    "id `word` repeats in 897 of 900 rows; keep one row each, or name the column with --group": {"id": "word"},
    "treatment `word` has 3 values, expected two (0 and 1, no and yes)": {"treatment": "word"},
    "label `word` has 3 values, expected two (0 and 1, no and yes)": {"label": "word"},
    "column `y` is given two parts; label, treatment, time and group differ": {"treatment": "y"},
    "a break-even needs both --value of an outcome and --cost of a contact": {"treatment": "contacted", "value": 1},
    "no column is left to learn from; each is constant, empty, a key or left out": {
        "drop": ["x", "word", "flag", "household", "on", "late", "contacted"]},
}  # fmt: skip


@pytest.mark.parametrize("said", BAD)
def test_bad_input_is_one_line(said: str) -> None:
    asked = {"label": "y", **BAD[said]}
    with pytest.raises(DatasetError) as error:
        train_table(customers(), asked.pop("label"), **asked)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": "no"}, "label `y` has no positives in 900 rows; both classes are needed"),
        ({"y": "yes"}, "label `y` has one value only in 900 rows; both classes are needed"),
        ({"y": ["yes"] * 5 + ["no"] * 895}, "label `y` has 4 of the rarer class to learn from; 10 are needed"),
        ({"y": [None] * 3 + ["yes", "no", "no"] * 299},
         "label `y` is empty in 3 of 900 rows; fill them in or leave them out"),
        ({"on": "2999-01-01"}, "time `on` lies in the future in 900 rows; what has not happened has no label"),
        ({"contacted": 1}, "treatment `contacted` has one value only in 900 rows; both classes are needed"),
        ({"x": 1, "word": None, "flag": True, "household": 0, "late": None, "id": "K", "on": None, "contacted": 0},
         "no column is left to learn from; each is constant, empty, a key or left out"),
    ],
)  # fmt: skip
def test_bad_values_are_one_line(change: dict[str, object], said: str) -> None:
    frame = customers().assign(**change)
    with pytest.raises(DatasetError) as error:
        train_table(frame, "y", treatment="contacted" if list(change) == ["contacted"] else None,
                    time="on" if list(change) == ["on"] else None)  # fmt: skip
    assert str(error.value) == said


UCI, BERKA = DATA / "uci_bank" / "bank.csv", DATA / "berka" / "basetable_1996_targets_1997.csv"


@pytest.mark.skipif(not UCI.is_file(), reason=f"{DATA} holds no UCI bank marketing file; set NBO_DATA")
def test_the_bank_marketing_file_warns_of_duration() -> None:
    found = train_table(read_table(UCI).head(1200).drop("balance", "day", "month", "job"), "y")
    assert [(alarm.kind, alarm.column) for alarm in found.report.alarms] == [("after_contact", "duration")]
    assert (found.report.metrics["auc"] or 0) > 0.75


@pytest.mark.skipif(not BERKA.is_file(), reason=f"{DATA} holds no Berka base table; set NBO_DATA")
def test_an_undated_table_of_orders_rings_the_alarm_for_loans() -> None:
    """Orders have no date: one for a loan exists once the loan does, so no loan is without one."""
    few = ["dv_loan_1997", "po_uver_count", "has_previous_loan", "avg_balance_1996", "account_age_days"]
    found = train_table(read_table(BERKA).select(few), "dv_loan_1997")
    assert [alarm.kind for alarm in found.report.alarms] == ["too_good"]
    assert found.report.alarms[0].column == "po_uver_count"


def test_values_never_seen_before_do_not_move_the_level_of_scores() -> None:
    """Households of three rows within ten days: the later ones are new. Mutant: their count as a feature, ece 0.13."""
    rng, n = np.random.default_rng(0), 4000
    x = rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(1.2 - x))).astype(int)
    day = np.sort(rng.integers(0, 360, n)) + rng.integers(0, 10, n)
    frame = pl.DataFrame({"x": x, "household": [f"h{i // 3}" for i in range(n)], "day": day, "y": label})
    metrics = train_table(frame, "y", time="day").report.metrics
    assert (metrics["ece"] or 1.0) < 0.05


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("score", None, "id `score` is the name of a column of the predictions; rename it"),
        ("part", None, "id `part` is the name of a column of the predictions; rename it"),
        ("id", 0.45, "label `y` lacks a class in the earliest 288 rows, from which others are foretold;"
         " leave --time out, or give more rows"),
        ("id", 0.93, "all rows before the test part are of one time; leave --time out or give a column that orders them"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_or_written_is_one_line(name: str, value: float | None, said: str) -> None:
    frame, n = customers().rename(columns={"id": name}), 900
    frame["day"] = np.where(np.arange(n) < n * 0.93, 1, 2) if value == 0.93 else np.arange(n)
    if value == 0.45:
        frame.loc[np.arange(n) < n * 0.45, "y"] = "no"
    with pytest.raises(DatasetError) as error:
        train_table(frame.drop(columns=["late", "on"]), "y", id=name, time=None if value is None else "day")
    assert str(error.value) == said


def test_a_treatment_of_other_numbers_is_named_and_told() -> None:
    """1 contacted, 2 control: the same figures as 1 and 0, and the report says which is which."""
    frame = customers().drop(columns=["late", "on"])
    right = train_table(frame, "y", treatment="contacted", id="id").report
    coded = frame.assign(contacted=np.where(frame["contacted"] == 1, 1, 2))
    with pytest.raises(DatasetError, match="neither says treated; name it with --treated VALUE"):
        train_table(coded, "y", treatment="contacted", id="id")
    named = train_table(coded, "y", treatment="contacted", id="id", treated="1").report
    assert named.treated == right.treated == "1"
    assert named.metrics == right.metrics and named.uplift == right.uplift
    assert "  contacted: `contacted` = 1" in lines(named)
    with pytest.raises(DatasetError, match="--treated names a value of a treatment"):
        train_table(frame, "y", treated="1")


def test_who_is_contacted_by_a_column_alone_gives_no_effect() -> None:
    """Mutant: no effect at all, and the report sold one of 0.20 with a net gain, surely above nothing."""
    rng, n = np.random.default_rng(5), 4_000
    x = rng.normal(size=n)
    outcome = (rng.random(n) < np.where(x > 0, 0.35, 0.15)).astype(int)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=n), "t": (x > 0).astype(int), "y": outcome})
    report = train_table(frame, "y", treatment="t", value=10, cost=1).report
    assert [alarm.kind for alarm in report.alarms] == ["support"]
    assert report.uplift is not None
    told = (
        report.uplift.best_share,
        report.uplift.gain_at_best_share,
        report.uplift.net_gain,
        report.metrics["average_effect"],
    )
    assert told == (None, None, None, None)
    said = "\n".join(lines(report))
    assert "no comparable rows" in said and "net gain" not in said and "nothing else decided it" not in said
