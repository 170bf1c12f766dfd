import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from training.encode import Matrix
from training.evaluate import auc_interval, calibration_error, evaluate, gain_interval, lift, within_group_auc


def drawn(n: int = 3000, seed: int = 2) -> tuple[Matrix, Matrix, list[str]]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 6, n), 2)  # rounding makes ties
    return (rng.random(n) < p).astype(np.float64), p, [f"K{i % 500}" for i in range(n)]


def test_figures_equal_scikit_learns() -> None:
    label, p, owners = drawn()
    found = evaluate(label, p, owners, 1)
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    expected = {
        "auc": roc_auc_score(label, p),
        "average_precision": average_precision_score(label, p),
        "log_loss": log_loss(label, inside),
        "brier": brier_score_loss(label, p),
        "rate": label.mean(),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_interval_holds_the_auc_and_widens_when_customers_repeat() -> None:
    label, p, owners = drawn()
    many = auc_interval(label, p, [f"K{i}" for i in range(len(p))], 1)
    assert many.low is not None and many.high is not None and many.value is not None
    assert many.low < many.value < many.high
    # The same rows ten times over are no new evidence: resampled by customer the interval stays.
    again = auc_interval(np.tile(label, 10), np.tile(p, 10), [f"K{i}" for i in range(len(p))] * 10, 1)
    assert again.low == pytest.approx(many.low) and again.high == pytest.approx(many.high)
    assert auc_interval(label, p, owners, 1) == auc_interval(label, p, owners, 1)


def test_one_class_has_no_auc() -> None:
    found = evaluate(np.zeros(5), np.full(5, 0.1), list("abcde"), 1)
    assert found["auc"] is None and found["lift_10"] is None and found["average_precision"] is None
    assert found["brier"] == pytest.approx(0.01)
    assert evaluate(np.empty(0), np.empty(0), [], 1) == {"rows": 0.0, "positives": 0.0}


def test_auc_within_groups_is_not_flattered_by_telling_groups_apart() -> None:
    label = np.asarray([1, 1, 1, 0, 0, 0, 0, 1], dtype=np.float64)
    p = np.asarray([0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    groups = ["good"] * 4 + ["bad"] * 4
    assert roc_auc_score(label, p) == 0.75
    assert within_group_auc(label, p, groups) == 0.5
    assert within_group_auc(label, p, [str(i) for i in range(8)]) is None


def test_auc_within_groups_weighs_pairs_by_hand() -> None:
    label = np.asarray([1, 0, 1, 0, 0], dtype=np.float64)
    p = np.asarray([0.2, 0.8, 0.9, 0.1, 0.3])
    assert within_group_auc(label, p, ["a", "a", "b", "b", "b"]) == pytest.approx((0 * 1 + 1 * 2) / 3)


def test_lift_and_calibration_error_by_hand() -> None:
    label = np.asarray([1, 0, 0, 0, 0, 0, 0, 0, 1, 0], dtype=np.float64)
    p = np.linspace(0.95, 0.05, 10)
    assert lift(label, p, 0.1) == pytest.approx(1 / 0.2)
    assert calibration_error(label, p) == pytest.approx(np.abs(label - p).mean())
    assert calibration_error(np.asarray([1.0, 0.0]), np.asarray([1.0, 0.0])) == 0


def test_a_row_that_stands_for_three_counts_like_three_rows() -> None:
    label, p, _ = drawn(400)
    weight = np.random.default_rng(3).integers(1, 4, len(p)).astype(np.float64)
    times = weight.astype(int)
    owners = [f"K{i}" for i in range(len(p))]
    mine = evaluate(label, p, owners, 1, weight)
    theirs = evaluate(np.repeat(label, times), np.repeat(p, times), np.repeat(owners, times), 1)
    for name in ("rate", "p_mean", "brier", "log_loss", "auc", "average_precision", "auc_low", "lift_10_high"):
        assert mine[name] == pytest.approx(theirs[name], abs=1e-6), name


def test_every_interval_holds_its_figure() -> None:
    label, p, owners = drawn()
    found = evaluate(label, p, owners, 1)
    for name in ("auc", "average_precision", "lift_10", "log_loss", "brier"):
        low, value, high = found[f"{name}_low"], found[name], found[f"{name}_high"]
        assert low is not None and value is not None and high is not None and low < value < high


def test_gain_over_another_model_is_drawn_on_the_same_customers() -> None:
    label, p, owners = drawn()
    noisy = p + np.random.default_rng(4).normal(0, 0.05, len(p))
    gain = gain_interval(label, p, noisy, owners, 1)
    assert gain.low is not None and gain.high is not None and gain.low > 0
    both = gain_interval(label, p, p, owners, 1)
    assert (both.value, both.low, both.high) == (0.0, 0.0, 0.0)
    apart = auc_interval(label, p, owners, 1)
    assert apart.high is not None and apart.low is not None
    assert gain.high - gain.low < apart.high - apart.low
