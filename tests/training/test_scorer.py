import numpy as np
import pytest

from tests.training.small import draw_matrix, small_booster
from training.calibration import Calibrator, fit_calibrator
from training.encode import Matrix
from training.scorer import (
    ConstantModel,
    ConstantScorer,
    LogisticModel,
    LogisticScorer,
    LogisticTerm,
    Scorer,
)


def small_logistic() -> LogisticScorer:
    number = LogisticTerm(feature="age_years", kind="number", mean=50.0, scale=10.0, weights=(0.5,))
    money = LogisticTerm(feature="purchase_sum_365d", kind="number", log=True, mean=3.0, scale=2.0, weights=(-1.0,))
    codes = LogisticTerm(feature="kind", kind="codes", weights=(0.25, -0.25))
    names = ("age_years", "purchase_sum_365d", "holds_card", "kind")
    return LogisticScorer(names, LogisticModel(intercept=-1.0, terms=(number, money, codes)), Calibrator())


def test_logistic_by_hand() -> None:
    row = np.asarray([[60.0, np.e**5 - 1, 1.0, 1.0], [np.nan, np.nan, np.nan, np.nan]])
    odds = [-1 + 0.5 * 1 - 1.0 * (5 - 3) / 2 - 0.25, -1.0]
    np.testing.assert_array_equal(small_logistic().predict(row), np.round(1 / (1 + np.exp(-np.asarray(odds))), 6))


def test_a_code_outside_the_domain_adds_nothing() -> None:
    term = LogisticTerm(feature="kind", kind="codes", weights=(0.25, -0.25))
    np.testing.assert_array_equal(term.share(np.asarray([0, 1, 2, -1, np.nan])), [0.25, -0.25, 0, 0, 0])


@pytest.mark.parametrize("scorer", [small_booster(), small_logistic()], ids=["lightgbm", "logistic"])
def test_a_row_alone_scores_like_the_row_among_many(scorer: Scorer) -> None:
    matrix = draw_matrix(5000)
    many = scorer.predict(matrix)
    alone = np.concatenate([scorer.predict(matrix[i : i + 1]) for i in range(300)])
    np.testing.assert_array_equal(alone, many[:300])
    np.testing.assert_array_equal(scorer.predict(matrix[::-1])[::-1], many)
    assert len(np.unique(many)) > 5


@pytest.mark.parametrize("scorer", [small_booster(), small_logistic()], ids=["lightgbm", "logistic"])
def test_scores_are_probabilities_of_six_decimals(scorer: Scorer) -> None:
    p = scorer.predict(draw_matrix(500))
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_array_equal(p, np.round(p, 6))
    assert scorer.predict(np.empty((0, 4))).shape == (0,)


def test_constant_is_the_same_for_all() -> None:
    scorer = ConstantScorer(("age_years",), ConstantModel(p=0.12345678, why="no positives"))
    assert scorer.predict(np.zeros((3, 1))).tolist() == [0.123457] * 3


@pytest.mark.parametrize(("n", "kind"), [(200, "none"), (2_000, "platt"), (30_000, "isotonic")])
def test_calibration_never_falls_and_meets_the_rate(n: int, kind: str) -> None:
    raw, label = _miscalibrated(n)
    fitted = fit_calibrator(raw, label)
    p = fitted.apply(np.linspace(0, 1, 500))
    assert fitted.kind == kind
    assert (np.diff(p) >= 0).all() and p.min() >= 0 and p.max() <= 1
    if kind != "none":
        assert abs(fitted.apply(raw).mean() - label.mean()) < 0.005 < abs(raw.mean() - label.mean())


def test_calibration_never_turns_a_ranking_round() -> None:
    raw, label = _miscalibrated(2_000)
    assert fit_calibrator(1 - raw, label).kind == "none"


def _miscalibrated(n: int) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(5)
    raw = rng.uniform(0, 1, n)
    return raw, (rng.random(n) < 0.15 * raw).astype(np.float64)
