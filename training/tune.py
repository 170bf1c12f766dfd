"""Search for LightGBM's settings: a seeded Optuna study over a few that matter.

The objective is log loss on the TUNE slice, which neither calibrates nor measures.
"""

from collections.abc import Callable

import lightgbm as lgb
import numpy as np
import optuna

from training.dataset import Dataset, Slice
from training.encode import categorical_places

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
    "cat_smooth": 20.0,
    "max_cat_threshold": 16,
}
_ROUNDS, _PATIENCE = 400, 30
_MANY_ROWS = 200_000


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
    train, tune = data.slice(Slice.TRAIN), data.slice(Slice.TUNE)
    codes = categorical_places(data.features)
    names = [f"x{place}" for place in range(len(data.features))]  # LightGBM refuses some of ours
    fitted = lgb.Dataset(train.matrix, train.label, feature_name=names, categorical_feature=codes)
    stop = 0 < tune.label.sum() < len(tune.label)
    watch = [lgb.Dataset(tune.matrix, tune.label, reference=fitted)] if stop else []
    return lgb.train(  # pyright: ignore[reportUnknownMemberType]  # its callbacks are untyped
        {**_FIXED, **DEFAULTS, **parameters, "seed": seed, "num_threads": _threads(train)},
        fitted,
        num_boost_round=_ROUNDS if stop else _ROUNDS // 4,
        valid_sets=watch,
        callbacks=[lgb.early_stopping(_PATIENCE, verbose=False)] if stop else [],
    )


def _threads(train: Dataset) -> int:
    # On a shared machine two threads wait for each other at every split: measured 25-55 s against
    # 5 s for 100 trees on 24,000 x 120 while the two cores were busy. By rows, so trees repeat.
    return 2 if len(train.label) >= _MANY_ROWS else 1


def search(data: Dataset, trials: int, seed: int, progress: Progress = silent) -> Parameters:
    """The best of `trials` settings, the defaults being the first tried; 0 trials: the defaults."""
    tune = data.slice(Slice.TUNE)
    if trials < 1 or not 0 < tune.label.sum() < len(tune.label):
        return dict(DEFAULTS)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(DEFAULTS))

    def objective(trial: optuna.Trial) -> float:
        booster = fit_booster(data, space(trial), seed)
        p = np.clip(np.asarray(booster.predict(tune.matrix, num_threads=1)), 1e-6, 1 - 1e-6)
        progress("settings tried", trial.number + 1, trials)
        return float(-np.mean(tune.label * np.log(p) + (1 - tune.label) * np.log1p(-p)))

    study.optimize(objective, n_trials=trials)
    return dict(study.best_params)
