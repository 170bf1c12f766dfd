"""The interval holds although somebody looks every day; the usual one does not."""

import numpy as np
import pytest

from serving.lists.sequence import ALPHA, effect, mean_bounds

SIMULATIONS, UNITS = 300, 4_000
LOOKS = np.arange(100, UNITS + 1, 50) - 1
MARGIN, ORGANIC, LIFT = 30_000.0, 0.04, 0.02


def drawn(seed: int, rate: float, n: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


@pytest.mark.parametrize("held", [0.02, 0.1, 0.3])
def test_looking_every_day_misses_the_truth_in_at_most_one_of_twenty_campaigns(held: float) -> None:
    """Mutant beside it: the usual 1.96 standard errors, looked at as often, misses far more."""
    missed = usual = 0
    for seed in range(SIMULATIONS):
        arm = np.random.default_rng(10_000 + seed).random(UNITS) < held
        off: list[np.ndarray] = []
        sides: list[tuple[np.ndarray, np.ndarray]] = []
        for number, (rate, rows) in enumerate(((ORGANIC + LIFT, ~arm), (ORGANIC, arm))):
            x = drawn(2 * seed + number, rate, int(rows.sum()))
            seen = np.maximum(np.cumsum(rows)[LOOKS], 1) - 1  # units of the arm at each look
            low, high = mean_bounds(x, ALPHA / 2)
            sides.append((low[seen], high[seen]))
            mean = np.cumsum(x)[seen] / (seen + 1)
            off += [mean, mean * (1 - mean) / (seen + 1)]
        (low1, high1), (low0, high0) = sides
        missed += bool(((low1 - high0 > LIFT) | (high1 - low0 < LIFT)).any())
        usual += bool((np.abs(off[0] - off[2] - LIFT) > 1.96 * np.sqrt(off[1] + off[3])).any())
    assert missed / SIMULATIONS <= 0.05 and usual / SIMULATIONS > 0.2


def test_bounds_are_those_of_the_formula_written_out() -> None:
    x, alpha = drawn(5, 0.3, 40), 0.05
    stake = won = cost = 0.0
    mean, variance, sums, squares = 0.5, 0.25, 0.5, 0.25
    best_low, best_high = 0.0, 1.0
    for t, value in enumerate(x, 1):
        bet = min(np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(1 + t))), 0.5)
        stake, won = stake + bet, won + bet * value
        cost += 4 * (value - mean) ** 2 * (-np.log(1 - bet) - bet) / 4
        sums += value
        mean = sums / (t + 1)
        squares += (value - mean) ** 2
        variance = squares / (t + 1)
        radius = (np.log(2 / alpha) + cost) / stake
        best_low, best_high = max(best_low, won / stake - radius), min(best_high, won / stake + radius)
    low, high = mean_bounds(x, alpha)
    assert np.allclose([low[-1], high[-1]], [best_low, best_high])


def test_a_large_effect_is_found_and_an_empty_arm_says_nothing() -> None:
    treated, held = MARGIN * drawn(1, 0.25, 8_000), MARGIN * drawn(2, 0.04, 900)
    found = effect(treated, held, MARGIN)
    assert found is not None and 0 < found.low < MARGIN * 0.21 < found.high
    assert found.low < found.mean < found.high
    assert effect(treated, held[:0], MARGIN) is None and effect(treated[:0], held, MARGIN) is None
