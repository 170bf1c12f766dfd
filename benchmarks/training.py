"""Training and scoring beside bare LightGBM: the same trees, the same rows, answers compared first."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm as lgb
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.table import Table, best_of, peak_gb
from training.calibration import fit_calibrator
from training.dataset import Dataset, Slice
from training.encode import Feature
from training.evaluate import auc
from training.learn import learn_part
from training.scorer import BoosterScorer
from training.tune import _FIXED, DEFAULTS, _Binned, search  # pyright: ignore[reportPrivateUsage]

OFFERS = 10


def run(quick: bool, part: str | None = None) -> list[Table]:
    """Measure one part or all; quick: a fiftieth of the rows."""
    share = 50 if quick else 1
    return [PARTS[name](share) for name in ([part] if part else PARTS)]


def _drawn(n: int, width: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, 1, (n, width))
    matrix[:, width // 2 :] = np.exp(3 * matrix[:, width // 2 :])
    odds = -3 + matrix[:, 0] + 0.5 * matrix[:, 1] * matrix[:, 2] + 0.4 * np.abs(matrix[:, 3])
    label = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    matrix[rng.random(matrix.shape) < 0.02] = np.nan
    return matrix, label


def _data(n: int, width: int, seed: int = 1) -> Dataset:
    matrix, label = _drawn(n, width, seed)
    slices = np.full(n, Slice.TRAIN, np.int8)
    slices[int(n * 0.6) :], slices[int(n * 0.7) :], slices[int(n * 0.8) :] = Slice.TUNE, Slice.CALIBRATE, Slice.TEST
    names, blank = np.asarray([f"K{i}" for i in range(n)]), np.full(n, "")
    features = tuple(Feature(name=f"x{j}", kind="number") for j in range(width))
    return Dataset(features, matrix, label, names, blank, blank, slices, "benchmark")


def _booster(rounds: int, leaves: int, width: int, rows: int = 20_000) -> tuple[lgb.Booster, np.ndarray, np.ndarray]:
    matrix, label = _drawn(rows, width)
    settings = {**_FIXED, **DEFAULTS, "num_leaves": leaves, "num_threads": 1, "seed": 1}
    return lgb.train(settings, lgb.Dataset(matrix, label), rounds), matrix, label


def _scoring(rows: int) -> Table:
    table = Table(
        "training, scoring many", f"{rows:,} rows x 80 features, 100 trees of 31 leaves, isotonic calibration"
    )
    booster, matrix, label = _booster(100, 31, 80)
    raw = np.asarray(booster.predict(matrix, num_threads=1))
    scorer = BoosterScorer(tuple(f"x{j}" for j in range(80)), booster, fit_calibrator(raw, label))
    many, _ = _drawn(rows, 80, 2)
    assert np.array_equal(scorer.raw(many[:500]), np.asarray(booster.predict(many[:500])))
    ours, bare = np.inf, np.inf
    for _ in range(3):  # in turns, so that other work on the machine meets both
        bare = min(bare, best_of(lambda: booster.predict(many, num_threads=2, validate_features=False), 1))
        ours = min(ours, best_of(lambda: scorer.predict(many), 1))
    table.add("score, calibrate and round", ours, "s")
    table.add("LightGBM's bare predict", bare, "s")
    table.add("ours / bare", ours / bare, "", 1.15)
    return table


def _single() -> Table:
    table = Table("training, scoring one", "300 trees of 31 leaves, 50 features, one row a call")
    booster, matrix, _ = _booster(300, 31, 50)
    scorer = BoosterScorer(tuple(f"x{j}" for j in range(50)), booster, fit_calibrator(np.empty(0), np.empty(0)))
    fast = scorer._single  # pyright: ignore[reportPrivateUsage]
    assert fast is not None
    rows = matrix[:2000]
    assert fast.predict(rows).tobytes() == np.asarray(booster.predict(rows, num_threads=1)).tobytes()
    one = matrix[:1]
    table.add("raw score through the C entry", best_of(lambda: fast.predict(one), 9, 300) * 1e6, "us", 12)
    table.add("the same, 30 rows a call, each", best_of(lambda: fast.predict(matrix[:30]), 9, 20) / 30 * 1e6, "us", 12)
    table.add("whole score: calibrated and rounded", best_of(lambda: scorer.predict(one), 9, 300) * 1e6, "us")
    table.add(
        "Booster.predict",
        best_of(lambda: booster.predict(one, num_threads=1, validate_features=False), 9, 50) * 1e6,
        "us",
    )
    return table


def _searching(rows: int, trials: int) -> Table:
    table = Table("training, search", f"{trials} trials on {rows:,} x 80, one thread")
    data = _data(rows, 80)
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        grown: list[tuple[dict[str, object], int]] = []
        fit = _Binned.fit

        def told(
            self: _Binned, parameters: dict[str, object], seed: int, rounds: object = None, trial: object = None
        ) -> lgb.Booster:
            trees = [0]
            train = lgb.train

            def counted(*args: object, **kwargs: object) -> lgb.Booster:
                callbacks = [*kwargs.pop("callbacks"), lambda env: trees.__setitem__(0, env.iteration + 1)]  # type: ignore[misc]
                callbacks[-1].before_iteration = True  # type: ignore[attr-defined]
                return train(*args, callbacks=callbacks, **kwargs)  # type: ignore[arg-type]

            lgb.train = counted  # type: ignore[assignment]
            try:
                return fit(self, parameters, seed, rounds, trial)  # type: ignore[arg-type]
            finally:
                lgb.train = train
                grown.append((parameters, trees[0]))

        _Binned.fit = told  # type: ignore[method-assign, assignment]
        try:
            began, busy = time.perf_counter(), time.process_time()
            best = search(data, trials, 1, journal=Path(folder))
            ours, our_work = time.perf_counter() - began, time.process_time() - busy
        finally:
            _Binned.fit = fit
    train = data.slice(Slice.TRAIN)
    began, busy = time.perf_counter(), time.process_time()
    for parameters, trees in grown:
        settings = {**_FIXED, **DEFAULTS, **parameters, "seed": 1, "num_threads": 1}
        lgb.train(settings, lgb.Dataset(train.matrix, train.label), trees)
    bare, bare_work = time.perf_counter() - began, time.process_time() - busy
    table.add("search with early stopping, pruning and journal", ours, "s", note=f"{sum(t for _, t in grown):,} trees")
    table.add("bare LightGBM, the same settings and numbers of trees", bare, "s")
    table.add("ours / bare, processor time", our_work / bare_work, "", 1.5)
    table.add("ours / bare", ours / bare, "", 1.5, note=f"learning_rate {float(best['learning_rate']):.3f}")
    return table


def _ten_offers(customers: int) -> Table:
    table = Table(
        "training, ten offers",
        f"{OFFERS} offers x {customers:,} customers x 80 features, one model each with its baselines",
    )
    began, busy, areas, peers = time.perf_counter(), time.process_time(), list[float](), list[float]()
    for offer in range(OFFERS):
        data = _data(customers, 80, offer)
        learned = learn_part(data, dict(DEFAULTS), 1, refit=True)
        areas.append(learned.note.metrics["auc"] or 0.0)
        if offer == 0:
            seconds, work = time.perf_counter() - began, time.process_time() - busy
            peers.append(_histogram(data))
            began, busy = time.perf_counter() - seconds, time.process_time() - work
    table.add("train, measure and refit all", time.perf_counter() - began, "s", 900)
    table.add("the same, processor time", time.process_time() - busy, "s", 900)
    table.add("resident memory, at most", peak_gb(), "GB", 8)
    table.add("auc of the first, later rows", areas[0], "", note=f"scikit-learn HistGradientBoosting {peers[0]:.4f}")
    return table


def _histogram(data: Dataset) -> float:
    train, test = data.slice(Slice.TRAIN, Slice.TUNE, Slice.CALIBRATE), data.slice(Slice.TEST)
    peer = HistGradientBoostingClassifier(random_state=1).fit(train.matrix, train.label)
    return auc(test.label, peer.predict_proba(test.matrix)[:, 1]) or 0.0


# Each is given what share of the rows it takes: one in so many.
PARTS: dict[str, Callable[[int], Table]] = {
    "many": lambda share: _scoring(1_000_000 // share), "one": lambda _: _single(),
    "search": lambda share: _searching(100_000 // share, 20 if share == 1 else 4),
    "offers": lambda share: _ten_offers(200_000 // share),
}  # fmt: skip
