"""The order in which rows stand in a file changes no figure."""

import numpy as np
import pytest

from training.dataset import Dataset
from training.evaluate import calibration_bins, calibration_error, evaluate, lift
from training.intervals import Ranking, with_intervals
from training.plots import gains
from training.ranked import Ranked


def three_levels(n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores of three levels, weights; sorted by label, positives first."""
    rng = np.random.default_rng(3)
    p = rng.choice([0.1, 0.2, 0.4], n)
    label = (rng.random(n) < p).astype(float)
    first = np.argsort(-label, kind="stable")
    return label[first], p[first], rng.integers(1, 4, n)[first].astype(float)


def all_figures(order: np.ndarray) -> dict[str, object]:
    label, p, weight = (each[order] for each in three_levels())
    blank = np.full(len(p), "", np.str_)
    data = Dataset((), np.empty((len(p), 0)), label, blank, blank, blank, np.zeros(len(p), np.int8), "", weight)
    ranking = Ranking.of(label, p)
    bank = evaluate(label, p, [f"K{i}" for i in range(len(p))], 1, weight)
    plain = {key: value for key, value in bank.items() if not key.endswith(("_low", "_high"))}  # resamples are by place
    return {
        **plain, **{f"table_{key}": value for key, value in ranking.figures(weight).items()},
        "lift_30": lift(label, p, 0.3, weight), "ece_plain": calibration_error(label, p),
        "found": ranking.found(np.linspace(0, 1, 7)).tolist(), "gains": gains(data, p)["found"].to_list(),
        "bins": [x for b in calibration_bins(label, p, weight) for x in (b.p, b.rate, b.weight)],
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_no_figure(seed: int) -> None:
    """Mutant: sorting stably and cutting at the tenth row has a lift of 2.5 where labels are sorted."""
    n = 3000
    mine, theirs = all_figures(np.arange(n)), all_figures(np.random.default_rng(seed).permutation(n))
    for name, value in mine.items():
        assert theirs[name] == pytest.approx(value, abs=1e-9), name
    label, p, _ = three_levels()
    first = np.argsort(-p, kind="stable")[: n // 10]
    assert label[first].mean() / label.mean() > 2.5 > 2 > (lift(label, p, 0.1) or 0)
    assert (mine["ece_plain"] or 1.0) < 0.03  # pyright: ignore[reportOperatorIssue]


def test_a_tie_at_the_edge_is_taken_in_part_by_hand() -> None:
    label, p = np.asarray([1.0, 1.0, 0.0, 0.0]), np.asarray([0.9, 0.5, 0.5, 0.1])
    ranked, ones = Ranked.of(p), np.ones(4)
    assert ranked.among(np.asarray([0.0, 0.25, 0.5, 0.75, 1.0]), ones, label).tolist() == [0, 1, 1.5, 2, 2]
    assert ranked.in_bins(2, ones, label).tolist() == [1.5, 0.5]
    assert lift(label, p, 0.5) == pytest.approx(1.5)


@pytest.mark.parametrize("p", [np.full(2000, 0.2), np.random.default_rng(5).choice([0.1, 0.3], 2000)])
def test_the_intervals_hold_the_lift_and_the_error_of_sorted_rows(p: np.ndarray) -> None:
    """A constant score had a lift of 4.78 with an interval from 1 to 1."""
    label = np.sort((np.random.default_rng(1).random(2000) < 0.2).astype(float))[::-1]
    bank = evaluate(label, p, [f"K{i}" for i in range(2000)], 1)
    table = with_intervals(Ranking.of(label, p).figures, np.arange(2000), 1)
    for found, names in ((bank, ("lift_10", "auc")), (table, ("lift_10", "auc", "ece"))):
        for name in names:
            low, value, high = found[f"{name}_low"], found[name], found[f"{name}_high"]
            assert low is not None and value is not None and high is not None
            assert low <= value <= high, name


def test_the_calibration_error_lies_in_its_interval() -> None:
    """Mutant: the plain percentiles lie above the figure in one of six calibrated worlds."""
    above = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p = rng.beta(2, 18, 2000)
        ranking = Ranking.of((rng.random(2000) < p).astype(float), p)
        found = with_intervals(ranking.figures, np.arange(2000), 1)
        low, value, high = found["ece_low"], found["ece"], found["ece_high"]
        assert low is not None and value is not None and high is not None
        assert 0 <= low <= value <= high
        drawn = np.random.default_rng(1)
        times = [np.bincount(drawn.integers(0, 2000, 2000), minlength=2000).astype(float) for _ in range(100)]
        above += value < float(np.quantile([ranking.figures(w)["ece"] or 0.0 for w in times], 0.025))
    assert above >= 2
