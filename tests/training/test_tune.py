"""A search that was stopped goes on to the very settings it would have reached."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.training.test_learn import curved, drawn
from training.dataset import Dataset
from training.monotone import SIGNS, constraints
from training.tune import Parameters, fit_booster, search


class _KilledError(Exception):
    """The power went."""


def finished(journal: Path) -> list[optuna.trial.FrozenTrial]:
    (file,) = journal.glob("*.journal")
    study = optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend(str(file))))
    return [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


@pytest.mark.parametrize("after", [1, 3])
def test_a_stopped_search_goes_on_to_the_same_end(tmp_path: Path, after: int) -> None:
    data = curved(drawn(1200))

    def kill(what: str, done: int, total: int) -> None:
        if done == after:
            raise _KilledError

    whole = search(data, 5, 1, journal=tmp_path / "whole")
    with pytest.raises(_KilledError):
        search(data, 5, 1, kill, tmp_path / "cut")
    assert len(finished(tmp_path / "cut")) == after
    seen: list[int] = []
    assert search(data, 5, 1, lambda what, done, total: seen.append(done), tmp_path / "cut") == whole
    assert seen == list(range(after + 1, 6))
    assert [t.params for t in finished(tmp_path / "cut")] == [t.params for t in finished(tmp_path / "whole")]


def test_a_trial_killed_in_the_middle_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, trials = curved(drawn(1200)), list[int]()
    from training import tune

    whole = search(data, 3, 1, journal=tmp_path / "whole")
    pruning = tune._pruning

    def die(trial: optuna.Trial) -> object:
        trials.append(trial.number)
        if len(trials) == 2:
            raise KeyboardInterrupt
        return pruning(trial)

    monkeypatch.setattr(tune, "_pruning", die)
    with pytest.raises(KeyboardInterrupt):
        search(data, 3, 1, journal=tmp_path / "cut")
    assert search(data, 3, 1, journal=tmp_path / "cut") == whole
    assert len(finished(tmp_path / "cut")) == 3


def test_another_data_set_has_another_journal(tmp_path: Path) -> None:
    search(curved(drawn(800)), 1, 1, journal=tmp_path)
    search(curved(drawn(804)), 1, 1, journal=tmp_path)
    search(curved(drawn(804)), 1, 2, journal=tmp_path)
    assert len(list(tmp_path.glob("*.journal"))) == 3


def test_hopeless_trials_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import tune

    def poor_after_five(trial: optuna.Trial) -> Parameters:
        bad = trial.number >= 5
        return {"learning_rate": trial.suggest_float("learning_rate", 1e-6 if bad else 0.05, 1e-5 if bad else 0.1)}

    monkeypatch.setattr(tune, "space", poor_after_five)
    search(curved(drawn(1200)), 7, 1, journal=tmp_path)
    assert [t.state for t in finished(tmp_path)][-2:] == [TrialState.PRUNED] * 2


def falling(data: Dataset, settings: Parameters) -> int:
    """How often the score falls while the first feature rises, all else equal."""
    booster = fit_booster(data, settings, 1)
    rows = np.repeat(data.matrix[:40], 60, axis=0)
    rows[:, 0] = np.tile(np.linspace(-3, 3, 60), 40)
    p = np.asarray(booster.predict(rows)).reshape(40, 60)
    return int((np.diff(p, axis=1) < -1e-12).sum())


def test_a_declared_sign_is_kept_and_without_it_the_trees_break_it() -> None:
    data = curved(drawn(4000))
    assert falling(data, {}) > 0
    assert falling(data.signed({"age_years": 1}), {}) == 0


def test_signs_name_features_that_exist_and_never_codes() -> None:
    data = curved(drawn(400))
    assert constraints(data.features, {"age_years": 1, "kind": -1}) == [1, 0, 0]
    assert {sign for signs in SIGNS.values() for sign in signs.values()} <= {-1, 1}
