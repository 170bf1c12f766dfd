import tracemalloc
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from training.columns import MOST_VALUES, plan_columns
from training.errors import DatasetError


def table(n: int = 60) -> pl.DataFrame:
    return pl.DataFrame({
        "key": [f"K{i}" for i in range(n)], "row_id": np.arange(n), "place": np.arange(n),
        "amount": np.linspace(-1, 1, n), "level": np.arange(n) % 3, "flag": np.arange(n) % 2 == 0,
        "word": [("a", "b", None)[i % 3] for i in range(n)], "same": [7] * n, "none": [None] * n,
        "once": [None if i % 2 else "here" for i in range(n)],
        "on": [date(2025, 1, 1 + i % 28) for i in range(n)], "at": [datetime(2025, 1, 1, i % 24) for i in range(n)],
        "listed": [[i] for i in range(n)],
    })  # fmt: skip


def test_kinds_are_chosen_and_useless_columns_dropped_with_their_reason() -> None:
    plan = plan_columns(table(), [])
    assert plan.dropped == {
        "key": "a key: different in every row", "row_id": "a key: different in every row",
        "same": "the same in every row", "none": "empty in every row",
        "listed": "of type List(Int64), which is no number, text, flag or date",
    }  # fmt: skip
    assert [(feature.name, feature.kind) for feature in plan.features] == [
        ("place", "number"), ("amount", "number"), ("level", "number"), ("level#level", "enum"), ("flag", "flag"),
        ("word", "enum"), ("once", "enum"), ("on", "number"), ("on#month", "number"), ("on#weekday", "number"),
        ("at", "number"), ("at#month", "number"), ("at#weekday", "number"),
    ]  # fmt: skip


def test_values_become_numbers_in_row_order() -> None:
    frame = table().select("word", "on", "at", "flag", "level")
    plan = plan_columns(frame, [])
    names = [feature.name for feature in plan.features]
    row = dict(zip(names, plan.matrix(frame, "it")[25], strict=True))
    assert row["word"] == 1 and row["on"] == 20089 + 25 and row["on#month"] == 1 and row["on#weekday"] == 7
    assert row["at"] == pytest.approx(20089 + 1 / 24) and row["flag"] == 0 and row["level"] == row["level#level"] == 1
    assert np.isnan(plan.matrix(frame, "it")[2, names.index("word")])


def test_unseen_values_are_unknown_and_never_a_code() -> None:
    frame = table().select("word", "level", "amount")
    plan = plan_columns(frame, [])
    other = pl.DataFrame({"amount": [1.0, float("inf")], "level": [9, 2], "word": ["z", "a"]})
    np.testing.assert_array_equal(plan.matrix(other, "it"), [[np.nan, 9, np.nan, 1], [0, 2, 2, np.nan]])


def test_a_million_categories_cost_one_column_and_bounded_memory() -> None:
    n = 1_100_000
    codes = np.concatenate([np.arange(1_000_000), np.random.default_rng(1).integers(0, 1_000_000, n - 1_000_000)])
    frame = pl.DataFrame({"shop": pl.Series(codes).cast(pl.String), "x": np.arange(n) % 7 / 2})
    tracemalloc.start()
    plan = plan_columns(frame, [])
    matrix = plan.matrix(frame, "it")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [feature.name for feature in plan.features] == ["shop", "x"]
    assert len(plan.features[0].domain) == MOST_VALUES and matrix.shape == (n, 2)
    assert peak < 500e6


def test_codes_do_not_depend_on_the_label_or_on_left_out_columns() -> None:
    frame = table()
    whole = plan_columns(frame, ["place", "amount"])
    assert whole == plan_columns(frame.drop("place", "amount"), [])
    assert "amount" not in whole.sources


def test_a_column_of_another_type_is_named() -> None:
    plan = plan_columns(table().select("amount"), [])
    with pytest.raises(
        DatasetError, match=r"^column `amount` is String in t.csv, but was learned as Float64; align them$"
    ):
        plan.matrix(pl.DataFrame({"amount": ["much", "1"]}), "t.csv")
    assert plan.matrix(pl.DataFrame({"amount": ["1.5"]}), "t.csv")[0, 0] == 1.5
    with pytest.raises(DatasetError, match=r"^no column `amount` in t.csv; did you mean `amounts`"):
        plan.matrix(pl.DataFrame({"amounts": [1]}), "t.csv")


def test_nothing_to_learn_from_is_one_line() -> None:
    with pytest.raises(DatasetError, match=r"^no column is left to learn from"):
        plan_columns(table().select("key", "same", "none"), [])
