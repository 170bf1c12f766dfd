"""P28: a feature that knows the answer rings, whatever the figures."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.test_learn import curved, drawn
from training import alarms
from training.alarms import fairness, future_feature, segment_alarm
from training.dataset import Dataset
from training.encode import Matrix


def planted(data: Dataset, column: Matrix) -> Dataset:
    matrix = data.matrix.copy()
    matrix[:, 1] = column
    return replace(data, matrix=matrix)


@pytest.mark.parametrize("leak", ["value", "reversed", "null"])
def test_p28_a_planted_leak_is_named(leak: str) -> None:
    """Mutants: the answer as a number, turned round, and as what is filled in only afterwards."""
    data = curved(drawn(4000))
    assert future_feature(data) is None
    noise = np.random.default_rng(1).normal(0, 0.1, len(data.label))
    columns = {
        "value": data.label + noise,
        "reversed": -data.label + noise,
        "null": np.where(data.label == 1, 7.0, np.nan),
    }
    line = future_feature(planted(data, columns[leak]))
    assert (
        line is not None and line.startswith("feature `purchase_count_90d` alone ranks the label with auc 0.99")
    ) or "1.0000" in str(line)


@pytest.mark.parametrize("gone", [0.0, np.nan])
def test_p28_a_category_that_is_the_label_is_named(gone: float) -> None:
    """The middle of three codes: ranked as numbers (the mutant) it says nothing. Categories that say a little do not ring."""
    data = curved(drawn(4000))
    rng = np.random.default_rng(2)
    assert data.features[2].kind == "enum" and future_feature(data) is None
    matrix, hindsight = data.matrix.copy(), rng.choice([0.0, 2.0], len(data.label))
    matrix[:, 2] = np.where(data.label == 1, 1.0, np.where(hindsight == 0, gone, hindsight))
    assert "feature `kind` alone ranks the label" in str(future_feature(replace(data, matrix=matrix)))
    areas = alarms._areas(data.label > 0, np.nan_to_num(matrix[:, 2:3], nan=-1.0))
    assert max(areas[0], 1 - areas[0]) < 0.8
    matrix[:, 2] = np.where(rng.random(len(data.label)) < 0.7, matrix[:, 2], hindsight)
    assert future_feature(replace(data, matrix=matrix)) is None


def test_p28_a_category_of_one_row_does_not_know_itself() -> None:
    """Mutant: a rate that counts the row itself ranks a key without fault."""
    data = curved(drawn(4000))
    matrix = data.matrix.copy()
    matrix[:, 2] = np.arange(len(data.label))
    assert future_feature(replace(data, matrix=matrix)) is None


def test_a_segment_scored_off_is_named_and_noise_is_not() -> None:
    data, p = scored()
    items = np.where(np.arange(len(p)) % 4 == 0, "card", "loan")
    data = replace(data, items=items)
    assert segment_alarm(data, p) is None
    off = np.where(items == "card", p / 3, p)
    assert "segment `card` is scored" in str(segment_alarm(data, off))
    few = np.where(np.arange(len(p)) < 30, "rare", "loan")
    assert segment_alarm(replace(data, items=few), np.where(few == "rare", 0.0, p)) is None


def test_rows_of_one_household_fall_out_together() -> None:
    """Mutant: every row an accident of its own; then a few leavers, seen at four cuts each, ring."""
    whole, _ = scored()
    data = whole.rows(np.arange(len(whole.label)) < 4000)
    household = np.arange(4000) // 4
    data = replace(data, items=np.full(4000, "card"), label=(household % 50 == 0).astype(np.float64))
    low = np.full(4000, 0.009)
    assert segment_alarm(replace(data, owners=household.astype(np.str_)), low) is None
    alone = replace(data, owners=np.arange(4000).astype(np.str_))
    assert "segment `card` is scored 0.0090, its rate is 0.0200" in str(segment_alarm(alone, low))


def test_an_age_band_scored_too_high_is_named() -> None:
    data, p = scored()
    bands = np.where(np.arange(len(p)) % 2 == 0, "18-29", "60+")
    data = replace(data, bands=bands)
    figures, line = fairness(data, p)
    assert line is None and (figures["fairness_gap"] or 0) < 0.05
    figures, line = fairness(data, np.where(bands == "60+", p * 0.5, p))
    assert (figures["fairness_gap"] or 0) > 0.05 and "age 18-29 is scored too high, age 60+ too low" in str(line)
    assert fairness(replace(data, bands=np.full(len(p), "")), p) == ({}, None)


def scored() -> tuple[Dataset, Matrix]:
    matrix = drawn(8000)
    return curved(matrix), np.where(np.abs(matrix[:, 0]) > 1, 0.6, 0.05)
