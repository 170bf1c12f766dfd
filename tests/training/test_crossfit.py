from dataclasses import replace

import numpy as np
import pytest

from training.crossfit import CANDIDATES, crossfit, leaning, mean_odds, plain_dataset
from training.dataset import Dataset
from training.encode import Feature
from training.splits import Axis, folds

FEATURES = (Feature(name="a", kind="number"), Feature(name="b", kind="number"))


def rows(seed: int, curved: bool, n: int = 1500) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    odds = np.where(np.abs(x[:, 0]) > 1, 1.5, -2) if curved else x[:, 0] - 0.5 * x[:, 1] - 1
    return plain_dataset(FEATURES, x, (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float))


def test_the_better_on_held_out_rows_is_served() -> None:
    """Mutant: areas of rows the models have learned from always serve LightGBM."""
    for curved, best in ((True, "lightgbm"), (False, "logistic")):
        data = rows(1, curved)
        fit = crossfit(data, folds(Axis(data.label.astype(np.int64)), 1), 1)
        assert fit.best == best and set(fit.areas) == set(CANDIDATES)
        other = rows(2, curved)
        p = fit.fitted(best).predict(other.matrix)
        assert abs(p.mean() - other.label.mean()) < 0.04
        assert leaning(fit.fitted(best))[0] == "a"


def test_p28_a_block_in_time_is_predicted_from_earlier_rows_only() -> None:
    """Labels of the last block turned over: no raw score of an earlier block moves by a bit.

    Mutant: fold.fit of all other rows, as without time.
    """
    data = rows(3, curved=False)
    parts = folds(Axis(data.label.astype(np.int64), time=np.arange(1500.0)), 1)
    last = parts[-1].hold
    turned = data.label.copy()
    turned[last] = 1 - turned[last]
    one = crossfit(data, parts, 1).raw["logistic"]
    two = crossfit(replace(data, label=turned), parts, 1).raw["logistic"]
    np.testing.assert_array_equal(one, two)
    assert np.isnan(one[: parts[0].hold.min()]).all() and np.isfinite(one[parts[0].hold.min() :]).all()


def test_only_rows_that_may_be_learned_from_are() -> None:
    data = rows(4, curved=False, n=500)
    arm = np.random.default_rng(1).random(500) < 0.5
    parts = folds(Axis(data.label.astype(np.int64)), 1)
    noise = replace(data, label=np.where(arm, data.label, np.random.default_rng(2).integers(0, 2, 500).astype(float)))
    one, two = (crossfit(each, parts, 1, learned=arm) for each in (data, noise))
    for name in CANDIDATES:
        np.testing.assert_array_equal(one.raw[name], two.raw[name])
    np.testing.assert_array_equal(one.fitted("blend").predict(data.matrix), two.fitted("blend").predict(data.matrix))


def test_a_blend_is_half_the_log_odds_of_each() -> None:
    assert mean_odds([np.array([0.2]), np.array([0.8])])[0] == pytest.approx(0.5)
    data = rows(5, curved=True, n=400)
    fit = crossfit(data, folds(Axis(data.label.astype(np.int64)), 1), 1)
    blend, line, trees = (fit.fitted(name).raw(data.matrix) for name in ("blend", "logistic", "lightgbm"))
    np.testing.assert_allclose(blend, mean_odds([line, trees]))
