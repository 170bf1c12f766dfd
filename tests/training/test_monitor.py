from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from features.home import Home
from features.store import FeatureStore
from training.bundle import Manifest, PartNote, read_bundle, write_bundle
from training.encode import Feature, model_features
from training.errors import RegistryError
from training.monitor import ModelState, mean_interval, monitor, population_stability, state_of
from training.scorer import ConstantModel, ConstantScorer
from training.served import Served, mature_rows, score_rows
from training.study import Study

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def served(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Served:
    """Rows of n / 4 units whose outcome comes with the chance foretold, times `scale`."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1 + shift, 1.2, n)))
    label = (rng.random(n) < np.clip(p * scale, 0, 1)).astype(np.float64)
    return Served(np.repeat(np.arange(n // 4), 4).astype(str), np.full(n, ""), label, {"live": p})


def state(before: Served, after: Served) -> ModelState:
    return state_of("interest", "0" * 64, SINCE, before, after)


def test_a_model_that_holds_raises_no_alarm() -> None:
    """A hundred quiet months: at most two alarm by chance."""
    found = [state(served(2_000, seed), served(1_000, 1_000 + seed)) for seed in range(100)]
    assert sum(bool(one.alarms) for one in found) <= 2


def test_psi_by_hand() -> None:
    """Ten equal bins before; afterwards the lower half is empty but for a floor of 0.0001."""
    before, after = np.arange(1000.0), np.arange(500.0, 1000.0)
    expected = 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1) + 5 * 0.1 * np.log(2)
    assert population_stability(before, after) == pytest.approx(expected)
    assert population_stability(before, before) == 0.0
    assert population_stability(np.full(200, 0.3), np.full(300, 0.3)) == 0.0  # a constant model


def test_the_interval_of_a_household_counts_once() -> None:
    owners = np.repeat(np.arange(50), 10).astype(str)
    values = np.repeat(np.random.default_rng(1).normal(size=50), 10)
    low, high = mean_interval(values, owners)
    alone_low, alone_high = mean_interval(values, np.arange(500).astype(str))
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


def test_too_little_is_said_and_no_alarm() -> None:
    found = state(served(2_000, 1), served(40, 2))
    assert (found.alarms, found.auc) == ((), None)
    assert found.unmeasured == "40 ripe outcomes since 2026-03-01, 100 are needed"


def put_live(home: Home, p: float, features: tuple[Feature, ...] | None = None) -> None:
    """A constant model of reach, live."""
    known = features if features is not None else model_features(FeatureStore(home).schema)[:2]
    names = tuple(feature.name for feature in known)
    part = ConstantScorer(names, ConstantModel(p=p, why="test"))
    manifest = Manifest(name="reach", features=known, parts={"pooled": PartNote(served="constant", features=names)},
                        trained_as_of="2026-03-01T00:00:00Z")  # fmt: skip
    bundle = write_bundle(home.models, manifest, {"pooled": part}, np.zeros((2, len(names))))
    (home.models / "live.json").write_text(f'{{"reach": "{bundle.name}"}}')


def test_the_home_is_watched(small_bank: Home) -> None:
    """Half of the contacts are reached; a model that says 2 % is told so, one that says it right is not."""
    put_live(small_bank, 0.55)
    quiet = monitor(small_bank)[0]
    assert (quiet.rows > 300, quiet.alarms, quiet.psi) == (True, (), 0.0)
    assert quiet.foretold == pytest.approx(0.55)
    put_live(small_bank, 0.02)
    assert monitor(small_bank)[0].alarms[0].startswith("calibration: foretold 0.0200, came 0.5")


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
    held = state_of("interest", "0" * 64, SINCE, known, after, alarmed.auc + 0.01)
    assert held.auc_before == alarmed.auc + 0.01 and not held.alarms
    fallen = state_of("interest", "0" * 64, SINCE, known, after, 0.99)
    assert any(line.startswith("ranking") for line in fallen.alarms)
