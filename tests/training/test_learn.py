import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.calibration import Calibrator
from training.dataset import Dataset, Slice
from training.encode import Feature, Matrix
from training.learn import learn_part
from training.logistic import fit_logistic
from training.scorer import BoosterScorer, ConstantScorer, LogisticScorer
from training.tune import DEFAULTS, fit_booster, search

FEATURES = (
    Feature(name="age_years", kind="number"),
    Feature(name="purchase_count_90d", kind="number"),
    Feature(name="kind", kind="enum", domain=("person", "corporate")),
)


def dataset(p: Matrix, matrix: Matrix, seed: int = 1) -> Dataset:
    rng, n = np.random.default_rng(seed), len(matrix)
    slices = np.repeat([Slice.TRAIN, Slice.TUNE, Slice.CALIBRATE, Slice.TEST], n // 4).astype(np.int8)
    names = np.asarray([f"K{i}" for i in range(n)])
    blank = np.full(n, "")
    return Dataset(FEATURES, matrix, (rng.random(n) < p).astype(np.float64), names, blank, blank, slices, "id")


def drawn(n: int = 8000) -> Matrix:
    rng = np.random.default_rng(4)
    return np.column_stack([rng.normal(0, 1, n), rng.poisson(3, n), rng.integers(0, 2, n)])


def curved(matrix: Matrix) -> Dataset:
    return dataset(np.where(np.abs(matrix[:, 0]) > 1, 0.6, 0.05), matrix)


def straight(matrix: Matrix) -> Dataset:
    return dataset(1 / (1 + np.exp(-(matrix[:, 0] - 0.4 * matrix[:, 1]))), matrix)


def test_lightgbm_is_served_where_a_straight_line_cannot_follow() -> None:
    learned = learn_part(curved(drawn()), DEFAULTS, 1)
    assert learned.served == "lightgbm" and isinstance(learned.scorer, BoosterScorer)
    assert (learned.note.metrics["auc"] or 0) > 0.75


def test_the_baseline_is_served_where_it_is_better() -> None:
    learned = learn_part(straight(drawn(1600)), DEFAULTS, 1)
    assert learned.served == "logistic" and isinstance(learned.scorer, LogisticScorer)
    assert set(learned.candidates) == {"recency_frequency", "logistic", "lightgbm", "constant"}


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (0.0, "no positives in 600 rows: everybody gets the rate 0"),
        (1.0, "only positives in 600 rows: everybody gets the rate 1"),
    ],
)
def test_one_class_gives_the_rate_and_says_so(label: float, why: str) -> None:
    learned = learn_part(dataset(np.full(800, label), drawn(800)), DEFAULTS, 1)
    assert isinstance(learned.scorer, ConstantScorer)
    assert (learned.served, learned.note.note) == ("constant", why)
    assert learned.note.metrics["auc"] is None


def test_a_handful_of_positives_is_no_model() -> None:
    data = dataset(np.full(800, 0.02), drawn(800))
    learned = learn_part(data, DEFAULTS, 1)
    assert learned.served == "constant" and "positives to learn from in 600 rows" in learned.note.note
    assert learned.scorer.predict(data.matrix[:1])[0] == pytest.approx(data.label[:600].mean(), abs=1e-6)


def test_the_test_slice_only_takes_a_choice_back() -> None:
    """The latest rows turned round: every candidate is fitted as before, and none is borne out."""
    data = curved(drawn())
    upside_down = np.where(data.slices == Slice.TEST, 1 - data.label, data.label)
    other = Dataset(**{**data.__dict__, "label": upside_down})
    first, second = learn_part(data, DEFAULTS, 1), learn_part(other, DEFAULTS, 1)
    assert (first.served, second.served) == ("lightgbm", "constant")
    assert "recency_frequency does not surely rank better than chance" in second.note.note and first.note.note == ""
    for name, scorer in first.candidates.items():
        np.testing.assert_array_equal(scorer.predict(data.matrix), second.candidates[name].predict(data.matrix))


def test_lightgbm_that_is_not_surely_better_gives_way_to_the_line() -> None:
    """A faint curve: better on validation, not surely on 400 of the latest rows; the mutant ("not surely worse") would serve it."""
    matrix = drawn()
    p = 1 / (1 + np.exp(1.5 - 0.3 * matrix[:, 0] - 1.2 * (np.abs(matrix[:, 0]) > 1)))
    data = dataset(p, matrix)
    few = (data.slices != Slice.TEST) | (np.arange(8000) % 5 == 0)
    more, less = learn_part(data, DEFAULTS, 1), learn_part(data.rows(few), DEFAULTS, 1)
    assert (more.served, less.served) == ("lightgbm", "logistic")
    assert less.note.note == "lightgbm does not surely rank better than logistic on the latest slice"
    assert (less.note.metrics["gain"] or 0) > 0 > (less.note.metrics["gain_low"] or 0)  # not surely worse either


def test_recency_and_frequency_are_tried_before_the_rate() -> None:
    """TEST turns age round, which the full model leans on; how often they buy still ranks it."""
    matrix = drawn()
    age, often = matrix[:, 0], matrix[:, 1]
    later = np.arange(8000) >= 6000
    learned = learn_part(
        dataset(1 / (1 + np.exp(1.5 - np.where(later, -3.0, 3.0) * age - 0.35 * (often - 3))), matrix), DEFAULTS, 1
    )
    assert learned.served == "recency_frequency"
    assert learned.note.note == "logistic does not surely rank better than chance on the latest slice"


@pytest.mark.parametrize(("kept", "served"), [(19, "constant"), (20, "logistic")])
def test_fewer_than_twenty_positives_on_test_prove_no_ranking(kept: int, served: str) -> None:
    matrix = drawn()
    data = dataset(1 / (1 + np.exp(-3 * matrix[:, 0])), matrix)
    test = np.flatnonzero((data.slices == Slice.TEST) & (data.label == 1))
    few = np.ones(8000, np.bool_)
    few[test[kept:]] = False
    learned = learn_part(data.rows(few), DEFAULTS, 1)
    assert learned.served == served
    assert ("19 positives in" in learned.note.note) == (kept == 19)


def test_what_is_served_is_refitted_on_all_rows_and_the_figures_are_of_the_measured() -> None:
    data = curved(drawn())
    plain, learned = learn_part(data, DEFAULTS, 1), learn_part(data, DEFAULTS, 1, refit=True)
    assert plain.scorer is plain.measured
    assert learned.note.metrics == plain.note.metrics and learned.served == plain.served == "lightgbm"
    p = learned.scorer.predict(data.matrix)
    np.testing.assert_array_equal(learned.measured.predict(data.matrix), plain.scorer.predict(data.matrix))
    assert (p != plain.scorer.predict(data.matrix)).mean() > 0.5
    # The latest rows have taught it: turned round, they change what is served and nothing that chose it.
    newest = np.arange(8000) >= 7_800
    flipped = Dataset(**{**data.__dict__, "label": np.where(newest, 1 - data.label, data.label)})
    other = learn_part(flipped, DEFAULTS, 1, refit=True)
    np.testing.assert_array_equal(other.measured.predict(data.matrix), plain.scorer.predict(data.matrix))
    assert (other.scorer.predict(data.matrix) != p).any()


def test_weights_undo_the_thinning_of_negatives() -> None:
    """Mutant: without the weights the thinned sample foretells three times the rate."""
    whole = curved(drawn(16000))
    kept = (whole.label == 1) | (np.arange(16000) % 4 == 0)
    thinned = whole.rows(kept)
    weighed = Dataset(**{**thinned.__dict__, "weight": np.where(thinned.label == 1, 1.0, 4.0)})
    rate = whole.label.mean()
    found = learn_part(weighed, DEFAULTS, 1).scorer.predict(whole.matrix).mean()
    wrong = learn_part(thinned, DEFAULTS, 1).scorer.predict(whole.matrix).mean()
    assert abs(found - rate) < 0.02 < 0.15 < wrong - rate


def test_a_logistic_weight_against_its_sign_is_left_out() -> None:
    matrix = drawn(2000)
    data = straight(matrix)
    model = fit_logistic(FEATURES, matrix, data.label, signs={"age_years": -1})
    assert [t.feature for t in model.terms] == ["purchase_count_90d", "kind"]
    assert len(fit_logistic(FEATURES, matrix, data.label, signs={"age_years": 1}).terms) == 3


def test_equal_data_and_seed_give_equal_trees() -> None:
    data = curved(drawn(2000))
    assert fit_booster(data, {}, 1).model_to_string() == fit_booster(data, {}, 1).model_to_string()


def test_search_is_seeded_and_never_worse_than_the_defaults_on_tune() -> None:
    data = curved(drawn(2000))
    seen: list[int] = []
    best = search(data, 3, 1, lambda what, done, total: seen.append(done))
    assert best == search(data, 3, 1) and seen == [1, 2, 3]
    assert search(data, 0, 1) == DEFAULTS

    def loss(settings: dict[str, float | int | str | bool]) -> float:
        tune = data.slice(Slice.TUNE)
        p = np.asarray(fit_booster(data, settings, 1).predict(tune.matrix))
        return float(-np.mean(tune.label * np.log(p) + (1 - tune.label) * np.log(1 - p)))

    assert loss(best) <= loss(DEFAULTS) + 1e-12


def test_logistic_coefficients_score_like_scikit_learn() -> None:
    matrix = drawn(2000)
    data = straight(matrix)
    model = fit_logistic(FEATURES, matrix, data.label)
    scaled = (matrix[:, :2] - matrix[:, :2].mean(axis=0)) / matrix[:, :2].std(axis=0)
    wide = np.column_stack([scaled, matrix[:, 2] == 0, matrix[:, 2] == 1])
    peer = LogisticRegression(C=0.05, max_iter=300).fit(wide, data.label)
    ours = LogisticScorer(tuple(f.name for f in FEATURES), model, Calibrator()).predict(matrix)
    np.testing.assert_allclose(ours, peer.predict_proba(wide)[:, 1], atol=2e-6)


def test_constant_and_empty_columns_are_left_out() -> None:
    matrix = drawn(500)
    matrix[:, 0], matrix[:, 1] = np.nan, 7.0
    model = fit_logistic(FEATURES[:2], matrix[:, :2], (np.arange(500) % 4 == 0).astype(np.float64))
    assert model.terms == ()
    p = LogisticScorer(("age_years", "purchase_count_90d"), model, Calibrator()).predict(matrix[:1, :2])
    assert p[0] == pytest.approx(0.25, abs=0.001)
