"""Learn one part of a bundle: candidates side by side, the better one served.

TRAIN fits, TUNE stops, CALIBRATE fits the probabilities; TUNE and CALIBRATE together (positives
are few) choose between LightGBM and its baselines; TEST only measures. What is measured is what is
served: nothing is refitted afterwards.
"""

from dataclasses import dataclass

import numpy as np

from training.bundle import PartNote
from training.calibration import Calibrator, fit_calibrator
from training.dataset import Dataset, Slice
from training.evaluate import Metrics, auc, evaluate
from training.logistic import RECENCY_FREQUENCY, fit_logistic
from training.scorer import (
    BoosterScorer,
    ConstantModel,
    ConstantScorer,
    LogisticScorer,
    Scorer,
)
from training.tune import Parameters, fit_booster

Candidate = BoosterScorer | LogisticScorer | ConstantScorer
_POSITIVES = 20  # fewer of either class in TRAIN: no model, the rate
BASELINES = ("logistic", "recency_frequency")


@dataclass(frozen=True)
class Learned:
    """A part: what is served, under which name, and every candidate it was chosen from."""

    served: str
    scorer: Candidate
    candidates: dict[str, Candidate]
    note: PartNote


def learn_part(data: Dataset, parameters: Parameters, seed: int) -> Learned:
    """Fit LightGBM and its baselines and choose by AUC on validation; a tie goes to the simpler.

    A label with one class in TRAIN, or fewer than 20 rows of one, gives the constant rate and a
    note that says so.
    """
    train = data.slice(Slice.TRAIN)
    positives = int(train.label.sum())
    if min(positives, len(train.label) - positives) < _POSITIVES:
        return _constant(data, positives)
    candidates = _candidates(data, train, parameters, seed)
    trial = data.slice(Slice.TUNE, Slice.CALIBRATE)
    areas = {name: auc(trial.label, scorer.predict(trial.matrix)) for name, scorer in candidates.items()}
    # The order of the dictionary is from simple to rich, and max keeps the first of equals.
    served = max(
        candidates,
        key=lambda name: (areas[name] or 0.0) if any(areas.values()) else name == "logistic",
    )
    return Learned(
        served,
        candidates[served],
        candidates,
        _note(data, served, candidates[served], positives, seed),
    )


def measure(data: Dataset, scorer: Scorer, seed: int) -> Metrics:
    """The scorer's figures on the TEST slice."""
    test = data.slice(Slice.TEST)
    return evaluate(test.label, scorer.predict(test.matrix), test.owners, seed)


def _candidates(data: Dataset, train: Dataset, parameters: Parameters, seed: int) -> dict[str, Candidate]:
    recent = fit_logistic(data.features, train.matrix, train.label, only=RECENCY_FREQUENCY)
    full = fit_logistic(data.features, train.matrix, train.label)
    raw = {
        "recency_frequency": LogisticScorer(data.names, recent, Calibrator()),
        "logistic": LogisticScorer(data.names, full, Calibrator()),
        "lightgbm": BoosterScorer(data.names, fit_booster(data, parameters, seed), Calibrator()),
    }
    if not recent.terms:  # a source without transactions has no recency
        del raw["recency_frequency"]
    return {name: _calibrated(data, scorer) for name, scorer in raw.items()}


def _calibrated(data: Dataset, scorer: BoosterScorer | LogisticScorer) -> Candidate:
    later = data.slice(Slice.CALIBRATE)
    calibrator = fit_calibrator(scorer.raw(later.matrix), later.label)
    if isinstance(scorer, BoosterScorer):
        return BoosterScorer(scorer.features, scorer.booster, calibrator)
    return LogisticScorer(scorer.features, scorer.model, calibrator)


def _constant(data: Dataset, positives: int) -> Learned:
    seen = data.slice(Slice.TRAIN, Slice.TUNE, Slice.CALIBRATE)
    label = seen.label if len(seen.label) else data.label
    p = round(float(np.mean(label)), 6)
    n = int(label.sum())
    found = (
        "no positives" if n == 0 else "only positives" if n == len(label) else f"{positives} positives to learn from"
    )
    why = f"{found} in {len(label)} rows: everybody gets the rate {p:g}"
    scorer = ConstantScorer(data.names, ConstantModel(p=p, why=why))
    note = _note(data, "constant", scorer, positives, 0).model_copy(update={"note": why})
    return Learned("constant", scorer, {"constant": scorer}, note)


def _note(data: Dataset, served: str, scorer: Candidate, positives: int, seed: int) -> PartNote:
    rows = int((data.slices == Slice.TRAIN).sum())
    return PartNote(served=served, features=data.names, rows=rows, positives=positives,
                    metrics=measure(data, scorer, seed))  # fmt: skip
