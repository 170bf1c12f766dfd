"""Errors by unit, against simulated repeats of known truth."""

import numpy as np
import pytest

from training import uplift
from training.clustered import auc_error, clustered_error
from training.crossfit import plain_dataset
from training.encode import Feature
from training.splits import Axis, folds
from training.uplift import assignment

N_UNITS, RUNS = 300, 300


def covered(k: int) -> float:
    """Share of 95 % intervals that hold a slope of 0, with k rows a unit that share score and noise."""
    rng, inside = np.random.default_rng(5), 0
    units = np.repeat(np.arange(N_UNITS), k)
    for _ in range(RUNS):
        tau = 0.02 + 0.01 * np.repeat(rng.normal(size=N_UNITS), k)
        psi = 0.02 + 0.3 * np.repeat(rng.normal(size=N_UNITS), k) + 0.2 * rng.normal(size=N_UNITS * k)
        _, (slope, error), _ = uplift._best_linear(psi, tau, units)
        inside += abs(slope) <= 1.96 * error
    return inside / RUNS


@pytest.mark.parametrize("k", [1, 4, 10])
def test_the_slope_interval_covers_whatever_the_rows_of_a_unit(k: int) -> None:
    assert 0.915 <= covered(k) <= 0.985


def test_mutant_an_error_by_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplift, "clustered_error", lambda influence, units: float(np.sqrt(influence @ influence)))
    assert covered(1) > 0.915 and covered(4) < 0.85 and covered(10) < 0.7


def test_one_row_a_unit_is_the_error_by_row_and_copies_are_no_evidence() -> None:
    x = np.random.default_rng(1).normal(size=500)
    x -= x.mean()
    assert clustered_error(x, np.arange(500)) == pytest.approx(np.sqrt(x @ x * 500 / 499))
    assert clustered_error(np.repeat(x, 4) / 4, np.repeat(np.arange(500), 4)) == pytest.approx(
        clustered_error(x, np.arange(500))
    )
    assert clustered_error(x, np.zeros(500, np.int64)) == 0.0


def test_the_error_of_an_auc_is_its_spread_over_worlds() -> None:
    rng, areas, errors = np.random.default_rng(2), list[float](), list[float]()
    units = np.repeat(np.arange(200), 5)
    for _ in range(300):
        label, score = np.repeat((rng.random(200) < 0.4).astype(float), 5), np.repeat(rng.normal(size=200), 5)
        above = score[label == 1][:, None] > score[label == 0]
        areas.append(float(above.mean() + (score[label == 1][:, None] == score[label == 0]).mean() / 2))
        errors.append(auc_error(label, score, units))
    assert float(np.mean(errors)) == pytest.approx(float(np.std(areas)), rel=0.12)


@pytest.mark.parametrize(("k", "runs"), [(1, 4), (20, 12), pytest.param(1, 12, marks=pytest.mark.long)])
def test_a_lot_drawn_by_household_is_a_lot(k: int, runs: int) -> None:
    """Of 4,000 rows in households of 20 a lot by household looked chosen in three of ten runs."""
    features = tuple(Feature(name=f"x{i}", kind="number") for i in range(8))
    for seed in range(runs):
        rng, g = np.random.default_rng(seed), 4000 // k
        x, units = np.repeat(rng.normal(size=(g, 8)), k, axis=0), np.repeat(np.arange(g), k)
        treated = np.repeat((rng.random(g) < 0.5).astype(float), k)
        data = plain_dataset(features, x, (rng.random(len(x)) < 0.2).astype(float), units)
        parts = folds(Axis(strata=treated.astype(np.int64), group=units), 1)
        assert assignment(data, treated, parts).randomised, seed
        chosen = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(float)
        assert not assignment(data, chosen, parts).randomised
