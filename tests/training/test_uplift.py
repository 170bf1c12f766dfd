"""Uplift learners against a small world whose truth is known."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from training.calibration import fit_calibrator
from training.crossfit import plain_dataset
from training.dataset import Dataset
from training.encode import Feature
from training.errors import DatasetError
from training.qini import UpliftRows
from training.splits import Axis, folds
from training.uplift import LEARNERS, UpliftFit, assignment, fit_uplift, pseudo_outcome

FEATURES = tuple(Feature(name=name, kind="number") for name in ("a", "b", "c"))
N = 6000


def world(seed: int, confounded: bool = False) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Rows, who was contacted, and the true effect: high where a > 0 and b > 0, slightly harmful where a < -1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 3))
    effect = np.where((x[:, 0] > 0) & (x[:, 1] > 0), 0.25, np.where(x[:, 0] < -1, -0.08, 0.02))
    base = 0.12 + 0.15 / (1 + np.exp(-2 * x[:, 2]))
    chance = 1 / (1 + np.exp(-1.2 * x[:, 2])) if confounded else np.full(N, 0.5)
    treated = (rng.random(N) < chance).astype(float)
    outcome = (rng.random(N) < base + treated * effect).astype(float)
    return plain_dataset(FEATURES, x, outcome), treated, effect


@cache
def fitted(seed: int = 1, confounded: bool = False, placebo: bool = False) -> tuple[UpliftFit, Dataset, np.ndarray]:
    data, treated, _ = world(seed, confounded)
    if placebo:
        treated = np.random.default_rng(99).permutation(treated)
    strata = (data.label * 2 + treated).astype(np.int64)
    return fit_uplift(data, treated, folds(Axis(strata), seed), seed), data, treated


def test_the_learners_rank_as_the_truth_does() -> None:
    """Mutant: t swapped in psi, or p_treated and p_organic changed round, turns the ranking over."""
    fit, _, _ = fitted()
    other, treated, effect = world(2)
    score = fit.model.uplift(other.matrix)
    assert np.corrcoef(score, effect)[0, 1] > 0.6
    best = UpliftRows.of(other.label, treated, effect).curve().qini_area()
    assert UpliftRows.of(other.label, treated, score).curve().qini_area() > 0.75 * best
    # Scores are shrunk and never stretched: an effect of 0.25 is rather under- than overstated.
    high, low = score[effect > 0.2].mean(), score[effect < 0.2].mean()
    assert 0.1 < high < 0.28 and abs(low) < 0.05 and high - low > 0.08
    assert set(fit.areas) == set(LEARNERS) and fit.slope_low > 0 and fit.assignment.randomised


def test_p_organic_is_the_chance_without_a_contact() -> None:
    fit, data, _ = fitted()
    base = 0.12 + 0.15 / (1 + np.exp(-2 * data.matrix[:, 2]))
    p = fit.model.p_organic(data.matrix)
    assert np.corrcoef(p, base)[0, 1] > 0.7 and p.mean() == pytest.approx(base.mean(), abs=0.02)
    assert np.isfinite(fit.p_organic_held_out).all()


def test_a_placebo_finds_nothing() -> None:
    """Contacts shuffled among the rows: no ranking beyond chance on other rows, and scores shrunk together.

    Mutant: held-out scores by models that have seen the row give the placebo a slope near 1.
    """
    fit, data, treated = fitted(placebo=True)
    assert fit.slope_low < 0.35 and fit.model.slope < 0.6
    other, contacted, _ = world(2)
    shuffled = np.random.default_rng(98).permutation(contacted)
    area = UpliftRows.of(other.label, shuffled, fit.model.uplift(other.matrix)).curve().qini_area()
    real, _, _ = fitted()
    found = UpliftRows.of(other.label, contacted, real.model.uplift(other.matrix)).curve().qini_area()
    assert abs(area) < found / 4
    assert np.std(fit.model.uplift(data.matrix)) < 0.5 * np.std(real.model.uplift(data.matrix))
    assert len(treated) == N


def test_scores_that_know_nothing_stay_together() -> None:
    """Mutant: steps fitted on the arms' own rows remember their outcomes, and noise calls itself uplift."""
    data, treated, _ = world(4)
    noise = np.random.default_rng(4).uniform(0.1, 0.4, N)
    spreads, slopes = list[float](), list[float]()
    for smooth in (True, False):
        p: list[np.ndarray] = []
        for arm in (0, 1):
            mine = treated == arm
            copies = np.repeat(np.flatnonzero(mine), 4)  # enough positives for isotonic regression
            p.append(fit_calibrator(noise[copies], data.label[copies], smooth=smooth).apply(noise))
        psi = pseudo_outcome(data.label, treated, p[0], p[1], np.full(N, 0.5))
        tau = p[1] - p[0]
        spreads.append(float(tau.std()))
        slopes.append(float(np.cov(psi, tau)[0, 1] / max(np.var(tau), 1e-12)))
    assert slopes[1] > 0.7 and spreads[0] < spreads[1] / 3


def test_where_contacts_were_chosen_it_says_so_and_the_doubly_robust_effect_is_right() -> None:
    """The plain difference of the arms is biased upwards; psi's mean is not."""
    data, treated, effect = world(3, confounded=True)
    fit, _, _ = fitted(3, confounded=True)
    assert not fit.assignment.randomised and fit.assignment.words.startswith("no randomised control")
    plain = data.label[treated == 1].mean() - data.label[treated == 0].mean()
    assert plain - effect.mean() > 0.04
    assert np.mean(fit.served) == pytest.approx(effect.mean(), abs=0.025)
    weight = fit.assignment.weight(treated, data.matrix)
    assert weight is not None and weight.sum() == pytest.approx(2 * N, rel=0.05)


def test_a_known_design_is_believed() -> None:
    data, treated, _ = world(3, confounded=True)
    parts = folds(Axis(treated.astype(np.int64)), 1)
    chance = 1 / (1 + np.exp(-1.2 * data.matrix[:, 2]))
    found = assignment(data, treated, parts, chance)
    assert found.randomised and found.propensity.min() >= 0.01 and found.propensity.max() <= 0.99
    np.testing.assert_allclose(found.propensity, np.clip(chance, 0.01, 0.99))


def test_the_pseudo_outcome_is_right_if_either_model_is() -> None:
    rng = np.random.default_rng(5)
    n, e = 200_000, 0.3
    treated = (rng.random(n) < e).astype(float)
    m0, m1 = np.full(n, 0.2), np.full(n, 0.35)
    y = (rng.random(n) < np.where(treated == 1, m1, m0)).astype(float)
    right = np.full(n, e)
    for first, second, chance in ((m0, m1, right), (m0 * 0 + 0.6, m1 * 0, right), (m0, m1, np.full(n, 0.8))):
        assert pseudo_outcome(y, treated, first, second, chance).mean() == pytest.approx(0.15, abs=0.015)
    assert pseudo_outcome(y, treated, m0 * 0 + 0.6, m1 * 0, np.full(n, 0.8)).mean() != pytest.approx(0.15, abs=0.1)


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (1.0, "no untreated row: without a control group neither uplift nor p_organic can be learned"),
        (0.0, "no treated row: without a control group neither uplift nor p_organic can be learned"),
    ],
)
def test_without_a_control_it_says_so(arm: float, said: str) -> None:
    data, _, _ = world(1)
    with pytest.raises(DatasetError, match=said):
        fit_uplift(data, np.full(N, arm), folds(Axis(data.label.astype(np.int64)), 1), 1)


def test_too_few_outcomes_in_an_arm_are_named() -> None:
    data, treated, _ = world(1)
    rare = replace(data, label=np.where(treated == 1, data.label, 0.0))
    with pytest.raises(DatasetError, match=r"^untreated rows have 0 of the rarer outcome; 10 are needed at least$"):
        fit_uplift(rare, treated, folds(Axis(treated.astype(np.int64)), 1), 1)


def split_by(steep: float, n: int, seed: int, rate: float = 0.0) -> str | None:
    """Why arms cannot be compared whose contact follows one column so steeply."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    treated = (rng.random(n) < 1 / (1 + np.exp(-steep * x[:, 0] - rate))).astype(float)
    data = plain_dataset(FEATURES, x, (rng.random(n) < 0.3).astype(float))
    return assignment(data, treated, folds(Axis(treated.astype(np.int64)), seed)).apart


@pytest.mark.parametrize(
    ("steep", "n", "rate"), [(0.0, 4_000, 0.0), (0.8, 900, 0.0), (1.2, 6_000, 0.0), (0.8, 6_000, -4.5)]
)
def test_arms_that_overlap_are_compared(steep: float, n: int, rate: float) -> None:
    """Contacts by lot, fair overlap, few rows, and rare contacts whose chances are all small."""
    assert [split_by(steep, n, seed, rate) for seed in range(10)] == [None] * 10


@pytest.mark.parametrize(("steep", "n"), [(1e6, 4_000), (1e6, 400), (6.0, 4_000)])
def test_arms_without_overlap_are_not(steep: float, n: int) -> None:
    for seed in range(5):
        assert "no comparable rows, so no effect can be told" in (split_by(steep, n, seed) or "")
