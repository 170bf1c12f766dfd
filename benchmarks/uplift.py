"""Uplift scores on drawn experiments whose truth is known: are they too high, too low, and what would mend it?

Three ways of calibrating the same learners on the same held-out rows of the experiment:
    as served        arms calibrated by two numbers, slope of the pseudo-outcome held in [0, 1]
    stretched        the slope taken at its word, also above 1
    steps            arms calibrated by isotonic regression on the rows that then judge them
Compared on 40,000 other customers of the same world, four experiments each.
"""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from benchmarks.table import Table
from training import uplift
from training.crossfit import crossfit, plain_dataset
from training.dataset import Dataset
from training.encode import Feature
from training.splits import Axis, folds
from training.uplift import UpliftFit, fit_uplift

FEATURES = tuple(Feature(name=f"x{j}", kind="number") for j in range(6))
WORLDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "steps of +10, +1 and -4 points": lambda x: np.where(
        (x[:, 0] > 0) & (x[:, 1] > 0), 0.10, np.where(x[:, 0] < -1, -0.04, 0.01)
    ),
    "a line of 3 points a deviation": lambda x: 0.02 + 0.03 * x[:, 0],
}
OTHERS = 40_000


def run(quick: bool) -> list[Table]:
    """Measure; quick: one world, 2,000 customers, one experiment."""
    worlds = dict(list(WORLDS.items())[:1]) if quick else WORLDS
    return [_world(name, effect, 2_000 if quick else 20_000, 1 if quick else 4) for name, effect in worlds.items()]


def _world(name: str, effect: Callable[[np.ndarray], np.ndarray], n: int, times: int) -> Table:
    table = Table(f"uplift, {name}", f"{n:,} customers, half contacted; {times} experiments")
    print(f"{table.name}: {table.setting}")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(times):
        data, treated, _ = _drawn(effect, n, seed)
        others, _, true = _drawn(effect, OTHERS, 100 + seed)
        for way, fit in _ways(data, treated, seed).items():
            for stretched in (False, True) if way == "as served" else (False,):
                said = _said(fit, others, stretched=stretched)
                top = said >= np.quantile(said, 0.9)
                found.setdefault("stretched" if stretched else way, []).append(
                    (float(np.sqrt(np.mean((said - true) ** 2))), float(said[top].mean()), float(true[top].mean())))  # fmt: skip
    for way, rows in found.items():
        error, said, true = np.mean(rows, axis=0)
        table.add(f"{way}: error (root mean square)", 100 * error, "points")
        table.add(f"{way}: said of the best-scored tenth", 100 * said, "points", note=f"true {100 * true:.2f}")
    return table


def _ways(data: Dataset, treated: np.ndarray, seed: int) -> dict[str, UpliftFit]:
    parts = folds(Axis((data.label * 2 + treated).astype(np.int64)), seed)

    def with_steps(*arguments: object, **named: object) -> object:
        return crossfit(*arguments, **{**named, "smooth": False})  # type: ignore[arg-type]

    served = fit_uplift(data, treated, parts, seed)
    with patch.object(uplift, "crossfit", with_steps):
        return {"as served": served, "steps": fit_uplift(data, treated, parts, seed)}


def _said(fit: UpliftFit, others: Dataset, *, stretched: bool) -> np.ndarray:
    if not stretched:
        return fit.model.uplift(others.matrix)
    own = fit.held_out[fit.model.learner]
    middle, slope = float(np.nanmean(own)), max(0.0, (fit.slope_low + fit.slope_high) / 2)
    mean = fit.model.shift + fit.model.slope * middle
    raw = (fit.model.uplift(others.matrix) - fit.model.shift) / max(fit.model.slope, 1e-9)
    return mean + slope * (raw - middle)


def _drawn(effect: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> tuple[Dataset, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(FEATURES)))
    change = effect(x)
    unasked = 0.12 + 0.15 / (1 + np.exp(-2 * x[:, 2]))
    treated = (rng.random(n) < 0.5).astype(float)
    outcome = (rng.random(n) < np.clip(unasked + treated * change, 0, 1)).astype(float)
    return plain_dataset(FEATURES, x, outcome), treated, change
