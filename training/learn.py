"""Learn one part of a bundle: candidates side by side, the better one served.

TRAIN fits, TUNE stops, CALIBRATE fits the probabilities; TUNE and CALIBRATE together (positives
are few) choose between LightGBM and its baselines; TEST measures, and may take the choice back, never
hand one out: LightGBM must surely rank better than the logistic model there, every model surely better
than chance, else the next simpler candidate is served. What is served is then fitted once more on all
ripe rows, the latest included, with the settings, the number of trees and the calibration of the model
that was measured: the figures of a run are of that one.
"""

from dataclasses import dataclass, field

import numpy as np

from training.bundle import PartNote
from training.calibration import Calibrator, fit_calibrator
from training.dataset import Dataset, Slice
from training.evaluate import LEAST_TO_RANK, Metrics, auc, auc_interval, evaluate, gain_interval
from training.logistic import RECENCY_FREQUENCY, fit_logistic
from training.scorer import (
    BoosterScorer,
    ConstantModel,
    ConstantScorer,
    LogisticScorer,
    Scorer,
)
from training.tune import Parameters, fit_booster, refit_booster

Candidate = BoosterScorer | LogisticScorer | ConstantScorer
_POSITIVES = 20  # fewer of either class in TRAIN: no model, the rate
_LADDER = ("logistic", "recency_frequency", "constant")  # what is tried where the chosen one is not borne out
BASELINES = ("logistic", "recency_frequency")


@dataclass(frozen=True)
class Learned:
    """A part: what is served, under which name, and every candidate it was chosen from.

    candidates: as measured, none of them has seen the TEST slice. scorer: what is served, the chosen
    candidate itself or refitted on all rows.
    """

    served: str
    scorer: Candidate
    candidates: dict[str, Candidate] = field(repr=False)
    note: PartNote

    @property
    def measured(self) -> Candidate:
        """The chosen candidate as it was measured."""
        return self.candidates[self.served]


def learn_part(data: Dataset, parameters: Parameters, seed: int, *, refit: bool = False) -> Learned:
    """Fit LightGBM and its baselines and choose by AUC on validation; a tie goes to the simpler.

    A label with one class in TRAIN, or fewer than 20 rows of one, gives the constant rate and a
    note that says so.

    Args:
        refit: Serve what was chosen fitted on all rows; the figures stay those of the measured one.
    """
    train = data.slice(Slice.TRAIN)
    positives = int(train.label.sum())
    if min(positives, len(train.label) - positives) < _POSITIVES:
        return _constant(data, positives)
    candidates = _candidates(data, train, parameters, seed)
    trial = data.slice(Slice.TUNE, Slice.CALIBRATE)
    scores = {name: scorer.predict(trial.matrix) for name, scorer in candidates.items()}
    areas = {name: auc(trial.label, p, trial.weight) for name, p in scores.items()}
    # The order of the dictionary is from simple to rich, and max keeps the first of equals.
    order = {name: (areas[name] or 0.0) if any(areas.values()) else float(name == "logistic") for name in candidates}
    chosen = max(order, key=lambda name: order[name])
    candidates["constant"] = _rate(data)
    gain = _gain(data, candidates, seed) if chosen == "lightgbm" else {}
    served, why = _held(data, candidates, chosen, gain, seed)
    note = _note(data, served, candidates[served], positives, seed)
    note = note.model_copy(update={"note": why, "metrics": note.metrics | gain})
    scorer = _refitted(data, candidates[served], parameters, seed, served) if refit else candidates[served]
    return Learned(served, scorer, candidates, note)


def _held(data: Dataset, candidates: dict[str, Candidate], chosen: str, gain: Metrics, seed: int) -> tuple[str, str]:
    """The chosen candidate if TEST bears it out, else the next simpler one, and the sentence why.

    It must surely rank better than chance, and LightGBM surely better than the logistic model (95 %
    intervals over customers): what officers can read is served unless trees have shown to be worth it. The
    ladder leads from the chosen one to logistic, recency_frequency and the rate for everybody; with fewer than
    20 rows of a class on TEST no ranking is sure, and with one class the gate keeps the rate out too.
    """
    test, why = data.slice(Slice.TEST), ""
    positives = int(test.label.sum())
    if min(positives, len(test.label) - positives) < LEAST_TO_RANK:
        few = f"{positives} positives in {len(test.label)} rows of the latest slice prove no ranking"
        return "constant", f"{few}, {LEAST_TO_RANK} of either class are needed: everybody gets the rate"
    simpler = [name for name in _LADDER if name in candidates and name != chosen]
    for name in (chosen, *simpler):
        if name == "constant":
            return name, why
        p = candidates[name].predict(test.matrix)
        own = auc_interval(test.label, p, test.owners, seed, test.weight)
        if not (own.low or 0.0) > 0.5:
            why = f"{name} does not surely rank better than chance on the latest slice"
            continue
        if name == "lightgbm" and not (gain["gain_low"] or 0.0) > 0:
            why = f"{name} does not surely rank better than logistic on the latest slice"
            continue
        return name, why
    return "constant", why


def _gain(data: Dataset, candidates: dict[str, Candidate], seed: int) -> Metrics:
    """By how much LightGBM ranks the TEST slice better than the logistic model beside it, as AUC."""
    test = data.slice(Slice.TEST)
    trees, straight = (candidates[name].predict(test.matrix) for name in ("lightgbm", "logistic"))
    found = gain_interval(test.label, trees, straight, test.owners, seed, test.weight)
    shown = {"lightgbm_auc": auc(test.label, trees, test.weight), "logistic_auc": auc(test.label, straight, test.weight),
             "gain": found.value, "gain_low": found.low, "gain_high": found.high}  # fmt: skip
    return {name: None if value is None else round(value, 6) for name, value in shown.items()}


def _refitted(data: Dataset, chosen: Candidate, parameters: Parameters, seed: int, served: str) -> Candidate:
    """The chosen candidate on all ripe rows; trees grow in number with the rows, calibration stays."""
    if isinstance(chosen, BoosterScorer):
        share = len(data.label) / max(1, int((data.slices == Slice.TRAIN).sum()))
        rounds = round(chosen.booster.current_iteration() if chosen.booster.best_iteration <= 0
                       else chosen.booster.best_iteration * min(share, 1.5))  # fmt: skip
        return BoosterScorer(chosen.features, refit_booster(data, parameters, seed, rounds), chosen.calibrator)
    if isinstance(chosen, LogisticScorer):
        only = RECENCY_FREQUENCY if served == "recency_frequency" else None
        model = fit_logistic(data.features, data.matrix, data.label, only=only, weight=data.weight, signs=data.signs)
        return LogisticScorer(chosen.features, model, chosen.calibrator)
    return chosen


def measure(data: Dataset, scorer: Scorer, seed: int) -> Metrics:
    """The scorer's figures on the TEST slice."""
    test = data.slice(Slice.TEST)
    return evaluate(test.label, scorer.predict(test.matrix), test.owners, seed, test.weight)


def _candidates(data: Dataset, train: Dataset, parameters: Parameters, seed: int) -> dict[str, Candidate]:
    recent = fit_logistic(data.features, train.matrix, train.label, only=RECENCY_FREQUENCY, weight=train.weight,
                          signs=data.signs)  # fmt: skip
    full = fit_logistic(data.features, train.matrix, train.label, weight=train.weight, signs=data.signs)
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
    calibrator = fit_calibrator(scorer.raw(later.matrix), later.label, later.weight)
    if isinstance(scorer, BoosterScorer):
        return BoosterScorer(scorer.features, scorer.booster, calibrator)
    return LogisticScorer(scorer.features, scorer.model, calibrator)


def _constant(data: Dataset, positives: int) -> Learned:
    scorer = _rate(data)
    note = _note(data, "constant", scorer, positives, 0).model_copy(update={"note": scorer.model.why})
    return Learned("constant", scorer, {"constant": scorer}, note)


def _rate(data: Dataset) -> ConstantScorer:
    """The rate before TEST for everybody."""
    seen = data.slice(Slice.TRAIN, Slice.TUNE, Slice.CALIBRATE)
    seen = seen if len(seen.label) else data
    label = seen.label
    p, n = round(float(np.average(label, weights=seen.weight)), 6), int(label.sum())
    found = "no positives" if n == 0 else "only positives" if n == len(label) else f"{n} positives to learn from"
    why = f"{found} in {len(label)} rows: everybody gets the rate {p:g}"
    return ConstantScorer(data.names, ConstantModel(p=p, why=why))


def _note(data: Dataset, served: str, scorer: Candidate, positives: int, seed: int) -> PartNote:
    rows = int((data.slices == Slice.TRAIN).sum())
    return PartNote(served=served, features=data.names, rows=rows, positives=positives,
                    metrics=measure(data, scorer, seed))  # fmt: skip
