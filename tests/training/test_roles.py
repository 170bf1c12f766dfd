from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from training.errors import DatasetError
from training.roles import binary, check_ids, group_codes, instants

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "expected", "positive", "guessed"),
    [
        ([0, 1, 1], [0, 1, 1], "1", False),
        ([-1, 1, -1], [0, 1, 0], "1", False),
        ([1, 2, 2], [0, 1, 1], "2", False),
        ([10.0, 9.0], [1, 0], "10.0", False),
        ([True, False], [1, 0], "True", False),
        (["no", "yes"], [0, 1], "yes", False),
        (["No", "Yes"], [0, 1], "Yes", False),
        (["control", "email"], [0, 1], "email", False),
        (["good", "bad", "good"], [0, 1, 0], "bad", True),
    ],
)
def test_two_values_are_a_label(values: list[object], expected: list[int], positive: str, guessed: bool) -> None:
    found = binary(pl.Series("y", values), "label", guess=True)
    np.testing.assert_array_equal(found.codes, expected)
    assert (found.positive, found.guessed) == (positive, guessed)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, None, 1], "label `y` is empty in 1 of 3 rows; fill them in or leave them out"),
        ([0.0, float("nan"), 1.0], "label `y` is empty in 1 of 3 rows; fill them in or leave them out"),
        ([0, 0], "label `y` has no positives in 2 rows; both classes are needed"),
        (["no"], "label `y` has no positives in 1 rows; both classes are needed"),
        ([1, 1], "label `y` has one value only in 2 rows; both classes are needed"),
        ([0, 1, 2], "label `y` has 3 values, expected two (0 and 1, no and yes)"),
    ],
)
def test_a_bad_label_is_one_line(values: list[object], said: str) -> None:
    with pytest.raises(DatasetError) as error:
        binary(pl.Series("y", values, strict=False), "label", guess=True)
    assert str(error.value) == said


@pytest.mark.parametrize("values", [["good", "bad"], [1, 2], [-1, 1], [0.0, 2.0]])
def test_a_treatment_is_not_guessed(values: list[object]) -> None:
    """1 contacted and 2 control is as common as the other way round; the larger number (the mutant) turned it about."""
    column = pl.Series("t", values)
    with pytest.raises(
        DatasetError, match=r"^treatment `t` has the values .* and neither says treated; name it with --tr"
    ):
        binary(column, "treatment", guess=False)
    for treated in values:
        found = binary(
            column, "treatment", guess=False, positive=f"{treated:g}" if isinstance(treated, float) else str(treated)
        )
        np.testing.assert_array_equal(found.codes, [value == treated for value in values])
    with pytest.raises(DatasetError, match=r"^treatment `t` has no value `7`; it has "):
        binary(column, "treatment", guess=False, positive="7")
    for right in ([0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], ["no", "yes", "yes"]):
        np.testing.assert_array_equal(binary(pl.Series("t", right), "treatment", guess=False).codes, [0, 1, 1])


def test_time_is_dates_instants_numbers_text_or_the_order_of_rows() -> None:
    frame = pl.DataFrame({
        "on": [date(2025, 1, 2), date(2025, 1, 1)], "at": [datetime(2025, 1, 1, 9), datetime(2025, 1, 1, 8)],
        "n": [5, 3], "text": ["2025-01-02 10:00:00", "2025-01-01 10:00:00"],
    })  # fmt: skip
    for name in frame.columns:
        first, second = instants(frame, name, NOW)
        assert first > second
    np.testing.assert_array_equal(instants(frame, "@row"), [0, 1])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            [date(2026, 6, 2), date(2026, 5, 1)],
            "time `t` lies in the future in 1 rows; what has not happened has no label",
        ),
        ([None, 3], "time `t` is empty in 1 of 2 rows; fill them in"),
        (["soon", "later"], "time `t` is text and no date; write 2026-06-01 or a number"),
        ([float("nan"), 3.0], "time `t` has values that are no number; fill them in"),
        ([True, False], "time `t` is Boolean, expected dates, instants or numbers"),
    ],
)
def test_bad_time_is_one_line(values: list[object], said: str) -> None:
    with pytest.raises(DatasetError) as error:
        instants(pl.DataFrame({"t": pl.Series(values, strict=False)}), "t", NOW)
    assert str(error.value) == said


def test_ids_are_given_once_and_never_named() -> None:
    check_ids(pl.Series("id", ["a", "b"]))
    with pytest.raises(DatasetError, match=r"^id `id` repeats in 1 of 3 rows") as error:
        check_ids(pl.Series("id", ["secret", "b", "secret"]))
    assert "secret" not in str(error.value)
    with pytest.raises(DatasetError, match=r"^id `id` is empty in 1 rows"):
        check_ids(pl.Series("id", ["a", None]))


def test_groups_are_numbered() -> None:
    np.testing.assert_array_equal(group_codes(pl.Series("g", ["b", "a", "b"])), [1, 0, 1])
    with pytest.raises(DatasetError, match=r"^group `g` is empty in 1 rows"):
        group_codes(pl.Series("g", ["a", None]))
