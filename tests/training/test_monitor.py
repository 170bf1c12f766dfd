from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from features.store import FeatureStore
from tests.training.small import put_live
from training.bundle import Manifest, PartNote, read_bundle, write_bundle
from training.dataset import weighted_sample
from training.encode import Feature
from training.errors import RegistryError
from training.evaluate import Interval, auc_interval
from training.means import mean_interval, rare_interval
from training.monitor import ModelState, monitor, state_of
from training.served import Served, mature_rows, score_rows
from training.stability import population_stability
from training.study import Study

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def served(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Served:
    """Rows of n / 4 units whose outcome comes with the chance foretold, times `scale`."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1 + shift, 1.2, n)))
    label = (rng.random(n) < np.clip(p * scale, 0, 1)).astype(np.float64)
    owners = np.repeat(np.arange(n // 4), 4).astype(str)
    return Served(owners, np.full(n, ""), label, {"live": p}, np.ones(n), np.zeros(n, np.int64))


def state(before: Served, after: Served) -> ModelState:
    return state_of("interest", "0" * 64, SINCE, before, after, None)


def test_a_model_that_holds_raises_no_alarm() -> None:
    """A hundred quiet months: at most two alarm by chance."""
    found = [state(served(2_000, seed), served(1_000, 1_000 + seed)) for seed in range(100)]
    assert sum(bool(one.alarms) for one in found) <= 2


def test_psi_by_hand() -> None:
    """Ten equal bins before; afterwards the lower half is empty but for a floor of 0.0001."""
    before, after = np.arange(1000.0), np.arange(500.0, 1000.0)
    expected = 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1) + 5 * 0.1 * np.log(2)
    one = np.ones(1000)
    assert population_stability(before, after, one, one[:500]) == pytest.approx(expected)
    assert population_stability(before, before, one, one) == 0.0
    assert population_stability(np.full(200, 0.3), np.full(300, 0.3), one[:200], one[:300]) == 0.0  # a constant model


def test_the_interval_of_a_household_counts_once() -> None:
    owners = np.repeat(np.arange(50), 10).astype(str)
    values = np.repeat(np.random.default_rng(1).normal(size=50), 10)
    low, high = mean_interval(values, owners, np.ones(500))
    alone_low, alone_high = mean_interval(values, np.arange(500).astype(str), np.ones(500))
    assert (high - low) > 2.5 * (alone_high - alone_low)


@pytest.mark.parametrize(("after", "alarm"), [
    (served(1_000, 2, scale=0.6), "calibration: foretold"), (served(1_000, 3, shift=1.0), "drift: PSI"),
])  # fmt: skip
def test_alarms(after: Served, alarm: str) -> None:
    """Two mutants of the world: fewer accept than foretold, and other people are scored."""
    assert any(line.startswith(alarm) for line in state(served(2_000, 1), after).alarms)


def test_a_model_that_ranks_no_longer() -> None:
    after = served(1_000, 4)
    shuffled = replace(after, scores={"live": np.random.default_rng(1).permutation(after.scores["live"])})
    assert any(line.startswith("ranking:") for line in state(served(2_000, 1), shuffled).alarms)


def rare(n: int, rate: float, seed: int, rows_each: int = 1) -> Served:
    """Rows whose owner has `rows_each` of one score and one outcome, which comes as foretold."""
    rng, k = np.random.default_rng(seed), n // rows_each
    p = 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - 0.8 * rng.normal(size=k)))
    columns = (np.repeat(x, rows_each) for x in (np.arange(k).astype(str), (rng.random(k) < p).astype(float), p))
    owners, label, score = columns
    return Served(owners, np.full(n, ""), label, {"live": score}, np.ones(n), np.zeros(n, np.int64))


@pytest.mark.parametrize(("n_before", "n", "rate", "rows_each"), [
    (3_000, 100, 0.005, 1), (3_000, 200, 0.005, 1), (3_000, 200, 0.02, 1), (100, 100, 0.1, 1), (3_000, 300, 0.995, 1),
    (300, 300, 0.1, 3), (3_000, 600, 0.01, 3),
])  # fmt: skip
def test_few_rows_without_drift_alarm_in_at_most_a_twentieth(
    n_before: int, n: int, rate: float, rows_each: int
) -> None:
    """The normal interval of 100 rows without a positive has no width: it alarmed in 43 %; PSI of 100 rows in 27 %."""
    found = [
        state(rare(n_before, rate, seed, rows_each), rare(n, rate, 1_000 + seed, rows_each)) for seed in range(200)
    ]
    assert sum(bool(one.alarms) for one in found) <= 10


@pytest.mark.parametrize(("truth", "told"), [(0.03, "calibration"), (0.0005, "calibration")])
def test_few_rows_with_a_wrong_model_alarm(truth: float, told: str) -> None:
    """Thrice what was foretold in 1,000 rows, and a twentieth of it."""
    after = replace(rare(1_000, truth, 5), scores={"live": np.full(1_000, 0.01)})
    assert state(rare(3_000, 0.01, 1), after).alarms[0].startswith(told)


def test_drift_of_few_rows_is_found() -> None:
    after = rare(200, 0.4, 7)
    assert any(line.startswith("drift: PSI") for line in state(rare(200, 0.05, 1), after).alarms)


def test_the_interval_of_few_is_the_exact_poisson_one() -> None:
    """Garwood 1936: of 0 seen 0 to 3.689, of 5 seen 1.623 to 11.668."""
    owners, one = np.arange(100).astype(str), np.ones(100)
    for n, ends in ((0, (0, 0.03689)), (5, (0.01623, 0.11668))):
        assert rare_interval((np.arange(100) < n).astype(float), owners, one) == pytest.approx(ends, abs=1e-5)


def thinned(rows: Served, bound: int) -> Served:
    """A sample as a study draws it: all positives, some of the others."""
    key = pl.DataFrame({"key": [str(n) for n in range(len(rows.label))], "label": rows.label > 0})
    weight = weighted_sample(key, "key", bound, pl.col("label"), "weight")["weight"].to_numpy()
    kept = ~np.isnan(weight)
    return Served(rows.owners[kept], rows.items[kept], rows.label[kept], {"live": rows.scores["live"][kept]},
                  weight[kept], rows.at[kept])  # fmt: skip


def test_a_sample_says_what_all_rows_say() -> None:
    """Mutant: without the weights a rate of 2 % is one of 10 %, and what holds alarms."""
    before, after = rare(20_000, 0.02, 1), rare(20_000, 0.02, 2)
    whole, sample = state(before, after), state(thinned(before, 5_000), thinned(after, 5_000))
    assert (whole.alarms, sample.alarms, sample.rows) == ((), (), 5_000)
    assert sample.rate == pytest.approx(whole.rate)
    assert sample.foretold == pytest.approx(whole.foretold, rel=0.03)
    assert sample.auc == pytest.approx(whole.auc, abs=0.02)
    assert sample.psi == pytest.approx(whole.psi, abs=0.01)
    dropped = [replace(thinned(rows, 5_000), weight=np.ones(5_000)) for rows in (before, after)]
    assert state(*dropped).alarms


def test_the_rows_of_a_home_keep_their_weights(small_bank: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a row of a sample that stands for itself alone."""
    bundle = {"live": read_bundle(small_bank.models / put_live(small_bank, 0.55))}
    whole = monitor(small_bank)[0]
    monkeypatch.setattr("training.study.CONTACTS_MOST", 200)
    _, after = mature_rows(small_bank, "reach", bundle, SINCE)
    assert len(after.label) <= 200 < whole.rows
    assert after.weight.sum() == pytest.approx(whole.rows, rel=0.1)  # young contacts are drawn as well
    assert monitor(small_bank)[0].rate == pytest.approx(np.average(after.label, weights=after.weight))
    assert after.since(SINCE).weight.tolist() == after.weight.tolist()
    assert len(after.since(datetime(2026, 4, 1, tzinfo=UTC)).label) < len(after.label)


def test_too_little_is_said_and_no_alarm() -> None:
    found = state(served(2_000, 1), served(40, 2))
    assert (found.alarms, found.auc) == ((), None)
    assert found.unmeasured == "40 ripe outcomes since 2026-03-01, 100 are needed"


def test_the_home_is_watched(small_bank: Home) -> None:
    """Half of the contacts are reached; a model that says 2 % is told so, one that says it right is not."""
    put_live(small_bank, 0.55)
    quiet = monitor(small_bank)[0]
    assert (quiet.rows > 300, quiet.alarms, quiet.psi) == (True, (), 0.0)
    assert quiet.foretold == pytest.approx(0.55)
    put_live(small_bank, 0.02)
    assert monitor(small_bank)[0].alarms[0].startswith("calibration: foretold 0.0200, came 0.5")


def test_since_moves_no_further_back_than_training(small_bank: Home) -> None:
    """What a model has learned from would flatter it."""
    put_live(small_bank, 0.55)
    assert monitor(small_bank, datetime(2025, 9, 1, tzinfo=UTC)) == monitor(small_bank)
    assert monitor(small_bank, datetime(2026, 4, 1, tzinfo=UTC))[0].rows < monitor(small_bank)[0].rows
    run = CliRunner().invoke(nbo.app, ["--home", str(small_bank.path), "models", "monitor", "--since", "2025-09-01"])
    assert "counted since 2026-03-01, what it was trained to: it has learned from what was before" in run.output


def test_young_contacts_do_not_count(small_bank: Home) -> None:
    put_live(small_bank, 0.55)
    bundle = {"live": read_bundle(next(p for p in small_bank.models.iterdir() if p.is_dir()))}
    _, after = mature_rows(small_bank, "reach", bundle, datetime(2026, 5, 10, tzinfo=UTC))
    assert len(after.label) == 0  # thirty days have not gone before 1 June


def test_a_home_without_models(new_home: Callable[[str], Home]) -> None:
    with pytest.raises(RegistryError, match="no live model to watch"):
        monitor(new_home("empty"))


def test_a_model_of_other_features(small_bank: Home) -> None:
    put_live(small_bank, 0.5, (Feature(name="shoe_size", kind="number"),))
    found = monitor(small_bank)[0]
    assert found.alarms == ("model `reach` reads `shoe_size`, which the home gives otherwise; retrain it",)
    (small_bank.models / "live.json").unlink()


def test_scores_are_those_of_serving(small_bank: Home) -> None:
    """The mutant of a swapped column: the bundle reads features by name, in its own order."""
    data = Study(small_bank, FeatureStore(small_bank), SINCE, lambda *_: None).reach(later=True)
    features = tuple(f for f in data.features if f.name in ("age_years", "tenure_days"))[::-1]
    from training.calibration import Calibrator
    from training.scorer import LogisticModel, LogisticScorer, LogisticTerm

    terms = tuple(
        LogisticTerm(feature=f.name, kind="number", mean=40, scale=20, weights=(w,))
        for f, w in zip(features, (0.1, 2.0), strict=True)
    )
    part = LogisticScorer(tuple(f.name for f in features), LogisticModel(intercept=0, terms=terms), Calibrator())
    manifest = Manifest(name="reach", features=features, parts={"pooled": PartNote(served="logistic", features=part.features)},
                        trained_as_of="2026-03-01T00:00:00Z")  # fmt: skip
    bundle = read_bundle(write_bundle(small_bank.models, manifest, {"pooled": part}, np.zeros((2, 2))))
    columns = [data.matrix[:, data.names.index(f.name)] for f in features]
    np.testing.assert_array_equal(score_rows(bundle, data), part.predict(np.column_stack(columns)))


def test_ranking_is_held_against_what_was_measured_and_not_against_rows_it_has_learned_from() -> None:
    """Mutant: a model refitted on the rows before ranks them too well, and what holds would alarm for ever."""
    known = served(2_000, 5)
    learned = replace(known, scores={"live": np.clip(known.scores["live"] + 0.3 * known.label, 0, 1)})
    after = served(1_000, 6)
    alarmed = state(learned, after)
    assert any(line.startswith("ranking") for line in alarmed.alarms)
    assert alarmed.auc is not None
    about = alarmed.auc + 0.01
    held = state_of("interest", "0" * 64, SINCE, known, after, Interval(about, about - 0.02, about + 0.02))
    assert held.auc_before == about and not held.alarms
    fallen = state_of("interest", "0" * 64, SINCE, known, after, Interval(0.99, 0.98, 1.0))
    assert any(line.startswith("ranking") for line in fallen.alarms)


def faint(n: int, rng: np.random.Generator) -> Served:
    """Rows of owners of their own, of a perfect model that ranks at 0.62, with one positive in forty."""
    p = 1 / (1 + np.exp(3.7 - 0.45 * rng.normal(size=n)))
    label = (rng.random(n) < p).astype(np.float64)
    return Served(np.arange(n).astype(str), np.full(n, ""), label, {"live": p}, np.ones(n), np.zeros(n, np.int64))


def test_what_was_promised_of_few_positives_is_not_taken_at_its_word() -> None:
    """Mutant: of a thousand rows the gate lets in those that were lucky, and 17 % of them rang ever after."""
    rng, rung, let_in = np.random.default_rng(0), 0, 0
    while let_in < 40:
        test = faint(1_000, rng)
        promise = auc_interval(test.label, test.scores["live"], test.owners, 1)
        if promise.low is None or promise.low <= 0.5 or test.label.sum() < 20:
            continue
        let_in += 1
        found = state_of("churn", "0" * 64, SINCE, faint(1_000, rng), faint(4_000, rng), promise)
        rung += any(line.startswith("ranking") for line in found.alarms)
    assert rung <= 2


@pytest.mark.parametrize("promise", [Interval(0.80, 0.72, 0.87), Interval(0.66, 0.55, 0.76)])
def test_of_few_positives_a_model_that_lost_all_still_rings(promise: Interval) -> None:
    """The second's interval of the difference reaches above -0.05: what it has surely lost is half."""
    after = faint(8_000, np.random.default_rng(2))
    lost = replace(after, scores={"live": np.random.default_rng(1).permutation(after.scores["live"])})
    found = state_of("churn", "0" * 64, SINCE, lost, lost, promise)
    assert [line.split(":")[0] for line in found.alarms] == ["ranking"]
    assert f"{promise.value:.4f} (from {promise.low:.4f}) before" in found.alarms[0]
