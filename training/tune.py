"""Search for LightGBM's settings: a seeded Optuna study that prunes, and goes on where it stopped.

The objective is log loss on the TUNE slice, later than all trees have seen, which neither calibrates
nor measures. A trial that stands behind the median of the trials before it at the same number of
trees is pruned; one that gets no better stops early. Finished trials stand in a journal, and each
draws from its own seed, so a search cut short goes on to the very settings it would have reached.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from training.dataset import Dataset, Slice
from training.encode import Matrix, categorical_places
from training.lock import exclusive
from training.monotone import constraints

Parameters = dict[str, float | int | str | bool]
Progress = Callable[[str, int, int], None]  # what, done, of how many

DEFAULTS: Parameters = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
}
_FIXED: Parameters = {
    "objective": "binary",
    "metric": "binary_logloss",
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,  # else a data set binned once could serve one min_data_in_leaf only
    "cat_smooth": 20.0,
    "max_cat_threshold": 16,
}
_ROUNDS, _PATIENCE = 400, 30
_MANY_ROWS = 200_000
_REPORT_EVERY, _STARTUP_TRIALS, _WARMUP_ROUNDS = 10, 4, 40
_SPACE = "2"  # changes with `space`: trials of another space are not gone on with
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def silent(what: str, done: int, total: int) -> None:
    """A Progress that shows nothing."""


def space(trial: optuna.Trial) -> Parameters:
    """What one trial tries."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 300, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 50.0, log=True),
    }


def fit_booster(data: Dataset, parameters: Parameters, seed: int) -> lgb.Booster:
    """Train on TRAIN, stop where TUNE gets no better; equal data and seed, equal trees."""
    return _Binned.of(data).fit(parameters, seed)


def refit_booster(data: Dataset, parameters: Parameters, seed: int, rounds: int) -> lgb.Booster:
    """Train on every row of `data`, whatever its slice, for so many trees."""
    return _Binned(_rows(data), None, data).fit(parameters, seed, max(1, rounds))


def search(data: Dataset, trials: int, seed: int, progress: Progress = silent,
           journal: Path | None = None) -> Parameters:  # fmt: skip
    """The best of `trials` settings, the defaults being the first tried; 0 trials: the defaults.

    Args:
        journal: Folder in which finished trials are kept, a file per data set, seed and space; a
            later call goes on from there, also after a kill. None: nothing is kept.
    """
    tune = data.slice(Slice.TUNE)
    if trials < 1 or not 0 < tune.label.sum() < len(tune.label):
        return dict(DEFAULTS)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if journal is None:
        return _searched(data, trials, seed, progress, InMemoryStorage())
    path = journal / f"{_study_name(data, seed)}.journal"
    with exclusive(path.with_suffix(".lock")):
        return _searched(data, trials, seed, progress, JournalStorage(JournalFileBackend(str(path))))


def _searched(data: Dataset, trials: int, seed: int, progress: Progress, storage: BaseStorage) -> Parameters:
    pruner = optuna.pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_ROUNDS)
    study = optuna.create_study(direction="minimize", storage=storage, study_name="search", pruner=pruner,
                                load_if_exists=True)  # fmt: skip
    for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # of a search that was killed
        study.tell(left.number, state=TrialState.FAIL)
    binned = _Binned.of(data)

    def objective(trial: optuna.Trial) -> float:
        settings = space(trial)
        booster = binned.fit(settings, seed, trial=trial)
        return float(booster.best_score["tune"]["binary_logloss"])

    done = len(study.get_trials(deepcopy=False, states=_FINISHED))
    while done < trials:
        if done == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(dict(DEFAULTS))
        study.sampler = optuna.samplers.TPESampler(seed=seed + done)
        study.optimize(objective, n_trials=1)
        done += 1
        progress("settings tried", done, trials)
    return dict(study.best_params)


@dataclass
class _Binned:
    """A data set in LightGBM's bins, made once for all trials: (rows to learn, rows to stop by)."""

    train: lgb.Dataset
    tune: lgb.Dataset | None
    data: Dataset

    @classmethod
    def of(cls, data: Dataset) -> "_Binned":
        train, tune = data.slice(Slice.TRAIN), data.slice(Slice.TUNE)
        fitted = _rows(train)
        stop = 0 < tune.label.sum() < len(tune.label)
        watch = lgb.Dataset(tune.matrix, tune.label, weight=tune.weight, reference=fitted) if stop else None
        return cls(fitted, watch, train)

    def fit(self, parameters: Parameters, seed: int, rounds: int | None = None,
            trial: optuna.Trial | None = None) -> lgb.Booster:  # fmt: skip
        signs = constraints(self.data.features, self.data.signs)
        bound: dict[str, Any] = {"monotone_constraints": signs, "monotone_constraints_method": "intermediate"} \
            if any(signs) else {}  # fmt: skip
        watch: list[Callable[..., Any]] = [lgb.early_stopping(_PATIENCE, verbose=False)] if self.tune else []
        if trial is not None:
            watch.append(_pruning(trial))
        return lgb.train(  # pyright: ignore[reportUnknownMemberType]  # its callbacks are untyped
            {**_FIXED, **DEFAULTS, **parameters, **bound, "seed": seed, "num_threads": _threads(self.data)},
            self.train,
            num_boost_round=rounds or (_ROUNDS if self.tune else _ROUNDS // 4),
            valid_sets=[self.tune] if self.tune else [],
            valid_names=["tune"] if self.tune else [],
            callbacks=watch,
        )


def _rows(data: Dataset) -> lgb.Dataset:
    names = [f"x{place}" for place in range(len(data.features))]  # LightGBM refuses some of ours
    return lgb.Dataset(data.matrix, data.label, weight=data.weight, feature_name=names,
                       categorical_feature=categorical_places(data.features),
                       params={key: _FIXED[key] for key in ("feature_pre_filter", "verbosity", "force_row_wise")})  # fmt: skip


def _pruning(trial: optuna.Trial) -> Callable[[Any], None]:
    best = float("inf")

    def told(state: Any) -> None:
        nonlocal best
        best = min(best, float(state.evaluation_result_list[0][2]))
        if (state.iteration + 1) % _REPORT_EVERY == 0:
            trial.report(best, state.iteration + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

    return told


def _threads(train: Dataset) -> int:
    # On a shared machine two threads wait for each other at every split: measured 25-55 s against
    # 5 s for 100 trees on 24,000 x 120 while the two cores were busy. By rows, so trees repeat.
    return 2 if len(train.label) >= _MANY_ROWS else 1


def _study_name(data: Dataset, seed: int) -> str:
    said: Sequence[Matrix | bytes] = (data.label, data.weight, data.slices.tobytes(), data.matrix)
    digest = hashlib.sha256(f"{_SPACE} {seed} {data.snapshot} {','.join(data.names)}".encode())
    for part in said:
        digest.update(part if isinstance(part, bytes) else part.tobytes())
    return digest.hexdigest()[:32]
