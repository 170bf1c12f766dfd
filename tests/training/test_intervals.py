import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from training.evaluate import calibration_error, lift
from training.intervals import Ranking, with_intervals


def drawn(n: int, seed: int, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 4, n), digits)  # ties
    return (rng.random(n) < p).astype(float), p


@pytest.mark.parametrize("seed", range(5))
def test_weighted_figures_are_those_of_scikit_learn(seed: int) -> None:
    label, p = drawn(300, seed)
    weight = np.random.default_rng(seed).integers(0, 4, 300).astype(float)
    found = Ranking.of(label, p).figures(weight)
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    assert found["auc"] == pytest.approx(roc_auc_score(label, p, sample_weight=weight))
    assert found["average_precision"] == pytest.approx(average_precision_score(label, p, sample_weight=weight))
    assert found["log_loss"] == pytest.approx(log_loss(label, inside, sample_weight=weight))
    assert found["brier"] == pytest.approx(brier_score_loss(label, p, sample_weight=weight))


def test_unweighted_figures_are_those_of_the_other_models() -> None:
    label, p = drawn(1000, 3, digits=9)
    found = Ranking.of(label, p).figures(np.ones(1000))
    assert found["ece"] == pytest.approx(calibration_error(label, p))
    assert found["lift_10"] == pytest.approx(lift(label, p, 0.1))


def test_a_drawn_row_counts_like_a_repeated_one() -> None:
    label, p = drawn(200, 4, digits=9)
    times = np.random.default_rng(1).integers(0, 3, 200)
    weighted = Ranking.of(label, p).figures(times.astype(float))
    repeated = Ranking.of(np.repeat(label, times), np.repeat(p, times)).figures(np.ones(times.sum()))
    for name in ("auc", "average_precision", "log_loss", "brier"):
        assert weighted[name] == pytest.approx(repeated[name])
    assert weighted["lift_10"] == pytest.approx(repeated["lift_10"], rel=0.02)


def test_one_class_has_no_auc() -> None:
    found = Ranking.of(np.zeros(5), np.arange(5) / 5).figures(np.ones(5))
    assert found["auc"] is None and found["average_precision"] is None and found["lift_10"] is None
    assert with_intervals(Ranking.of(np.zeros(5), np.arange(5) / 5).figures, np.arange(5), 1)["auc_low"] is None


def test_the_interval_covers_and_grouped_rows_widen_it() -> None:
    """Nineteen of twenty 95 % intervals of a mean hold the truth; forty rows of one unit are one."""
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(60):
        x = rng.normal(0, 1, 200)
        found = with_intervals(lambda w, x=x: {"mean": float(w @ x) / w.sum()}, np.arange(200), seed)
        inside += (found["mean_low"] or 0) <= 0 <= (found["mean_high"] or 0)
    assert 51 <= inside <= 60
    x = np.repeat(rng.normal(0, 1, 20), 40)

    def width(units: np.ndarray) -> float:
        found = with_intervals(lambda w: {"mean": float(w @ x) / w.sum()}, units, 1)
        return (found["mean_high"] or 0) - (found["mean_low"] or 0)

    assert width(np.repeat(np.arange(20), 40)) > 4 * width(np.arange(800))
