from itertools import pairwise

import numpy as np
import pytest

from training.intervals import with_intervals
from training.qini import UpliftCurve, UpliftRows, net_gain, qini_figures


def experiment(n: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treated and a score that is the true uplift, in [0, 0.4]."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(n) * 0.4, 1 if ties else 9)
    treated = rng.integers(0, 2, n).astype(float)
    return (rng.random(n) < 0.1 + treated * score).astype(float), treated, score


def slow_gain(y: np.ndarray, t: np.ndarray, score: np.ndarray) -> list[tuple[float, float]]:
    """(share, outcomes added) at every distinct score, counted by hand."""
    points = [(0.0, 0.0)]
    for least in sorted(set(score.tolist()), reverse=True):
        best = [i for i in range(len(y)) if score[i] >= least]
        treated = [i for i in best if t[i] == 1]
        control = [i for i in best if t[i] == 0]
        added = sum(y[i] for i in treated)
        if control:
            added -= sum(y[i] for i in control) * len(treated) / len(control)
        points.append((len(best) / len(y), added))
    return points


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_is_the_one_counted_by_hand(seed: int) -> None:
    y, t, score = experiment(120, seed, ties=seed % 2 == 0)
    curve = UpliftRows.of(y, t, score).curve()
    by_hand = slow_gain(y, t, score)
    np.testing.assert_allclose(curve.share, [share for share, _ in by_hand])
    np.testing.assert_allclose(curve.gain, [gain for _, gain in by_hand])
    steps = pairwise(by_hand)
    area = sum((b - a) * (g + h) / 2 for (a, g), (b, h) in steps) - by_hand[-1][1] / 2
    assert curve.qini_area() == pytest.approx(area / t.sum())


def test_weights_are_repeated_rows_and_the_order_of_rows_is_nothing() -> None:
    y, t, score = experiment(300, 5, ties=True)
    times = np.random.default_rng(1).integers(0, 3, 300)
    weighted = UpliftRows.of(y, t, score).curve(times.astype(float))
    repeated = UpliftRows.of(*(np.repeat(x, times) for x in (y, t, score))).curve()
    assert weighted.qini_area() == pytest.approx(repeated.qini_area())
    assert weighted.auuc() == pytest.approx(repeated.auuc())
    turned = np.random.default_rng(2).permutation(300)
    assert UpliftRows.of(y[turned], t[turned], score[turned]).curve().qini_area() == pytest.approx(
        UpliftRows.of(y, t, score).curve().qini_area()
    )


def test_the_truth_ranks_above_chance_its_opposite_below_and_a_constant_at_it() -> None:
    y, t, score = experiment(20_000, 6)

    def area(by: np.ndarray) -> UpliftCurve:
        return UpliftRows.of(y, t, by).curve()

    # With effect u uniform in [0, 0.4] the gain over random is the integral of 0.4 s (1 - s) / 2 = 1 / 30.
    assert area(score).qini_area() == pytest.approx(1 / 30, abs=0.006)
    assert area(-score).qini_area() == pytest.approx(-1 / 30, abs=0.006)
    assert area(np.zeros(20_000)).qini_area() == pytest.approx(0, abs=1e-12)
    assert area(score).effect() == pytest.approx(0.2, abs=0.02)
    assert area(np.zeros(20_000)).auuc() == pytest.approx((area(score).effect() or 0) / 2)
    assert area(score).auuc() > area(np.zeros(20_000)).auuc()


def test_the_best_share_is_where_contacts_stop_adding() -> None:
    rng = np.random.default_rng(7)
    score, t = rng.permutation(20_000) / 20_000, rng.integers(0, 2, 20_000).astype(float)
    effect = np.where(score > 0.6, 0.3, -0.2)
    y = (rng.random(20_000) < 0.4 + t * effect).astype(float)
    assert UpliftRows.of(y, t, score).curve().best_share() == pytest.approx(0.4)


def test_net_gain_is_value_less_cost() -> None:
    outcome, treated = np.array([1, 1, 0, 1, 0, 0.0]), np.array([1, 1, 1, 0, 0, 1.0])
    everyone, some = np.ones(6), np.array([1, 0, 1, 1, 0, 0.0])
    assert net_gain(outcome, treated, everyone, 10, 0.5) == 10 * (2 - 1 * 4 / 2) - 0.5 * 4
    assert net_gain(outcome, treated, everyone, 10, 0.5, balanced=False) == 10 * (2 - 1) - 0.5 * 4
    assert net_gain(outcome, treated, some, 10, 0.5) == 10 * (1 - 1 * 2) - 0.5 * 2
    assert net_gain(outcome, treated, np.zeros(6), 10, 0.5) == 0


def test_net_gain_is_of_as_many_contacts_as_were_made_however_they_were_chosen() -> None:
    """A tenth of 100,000 contacted, chosen by x: 10,000 contacts at an effect of 0.1. Mutant: weights left as they are, 100,000."""
    rng, n = np.random.default_rng(3), 100_000
    x = rng.integers(0, 2, n)
    chance = np.where(x == 1, 0.15, 0.05)
    treated = (rng.random(n) < chance).astype(float)
    outcome = (rng.random(n) < 0.2 + 0.2 * x + 0.1 * treated).astype(float)
    weight = np.where(treated == 1, 1 / chance, 1 / (1 - chance))
    found = net_gain(outcome, treated, np.ones(n), 10, 0.5, weight)
    assert found == pytest.approx(treated.sum() * (10 * 0.1 - 0.5), rel=0.15)
    assert net_gain(outcome, treated, np.ones(n), 10, 0.5, weight, np.full(n, 2.0)) == pytest.approx(2 * found)
    assert net_gain(outcome, treated, np.ones(n), 10, 0.5, np.full(n, 7.0)) == pytest.approx(
        net_gain(outcome, treated, np.ones(n), 10, 0.5))  # fmt: skip


def test_random_scores_have_an_interval_around_zero() -> None:
    y, t, _ = experiment(4000, 8)
    rows = UpliftRows.of(y, t, np.random.default_rng(9).random(4000))
    found = with_intervals(lambda times: qini_figures(rows, times), np.arange(4000), 1)
    assert (found["qini_area_low"] or 1) < 0 < (found["qini_area_high"] or -1)
    assert (found["average_effect_low"] or 0) > 0.1
    assert qini_figures(rows, np.zeros(4000))["qini_area"] is None
