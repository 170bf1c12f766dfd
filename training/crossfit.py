"""LightGBM and its logistic baseline on a plain table: compared on rows held out, then fitted on all.

Each fold is predicted by models that have not seen it. These predictions choose the settings, the
number of trees and the candidate, and fit the probabilities; the winner is then fitted anew on every
row of the fitting part. `blend` is the mean log-odds of the two: where a straight line and trees err
differently, both together err less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.calibration import Calibrator, fit_calibrator
from training.dataset import Dataset, Slice
from training.encode import Feature, Matrix
from training.evaluate import within_group_auc
from training.logistic import fit_logistic
from training.scorer import BoosterScorer, LogisticScorer, rounded
from training.splits import Fold
from training.tune import DEFAULTS, Parameters, Progress, fit_booster, refit_booster, search, silent

CANDIDATES = ("logistic", "lightgbm", "blend")  # from simple to rich: of equals the first is served
_SMALL: Parameters = {"num_leaves": 4, "min_data_in_leaf": 20, "feature_fraction": 0.5, "lambda_l2": 10.0}
_FEW_ROWS, _SEEDS_FEW = 5000, 3  # on few rows one forest's luck shows: average so many
_EDGE = 1e-6

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Averaged:
    """One probability from several models: the mean of their log-odds, then calibrated."""

    parts: tuple[BoosterScorer | LogisticScorer, ...]
    calibrator: Calibrator

    def predict(self, matrix: Matrix) -> Matrix:
        """Probabilities for (n, n_features), (n,) in [0, 1], 6 decimals."""
        return rounded(self.calibrator.apply(self.raw(matrix)))

    def raw(self, matrix: Matrix) -> Matrix:
        """Uncalibrated probabilities, (n,)."""
        return mean_odds([part.raw(matrix) for part in self.parts])


@dataclass(frozen=True)
class CrossFit:
    """What the folds have shown.

    raw: candidate -> uncalibrated probability of each row by models that have not seen it, (n,),
    NaN where no fold holds the row out. areas: its AUC within folds.
    """

    data: Dataset
    learned: Mask  # rows that models may learn from
    fold: npt.NDArray[np.int64]  # which fold holds the row out, -1 for none
    raw: dict[str, Matrix]
    areas: dict[str, float | None]
    settings: Parameters
    rounds: int
    seed: int
    smooth: bool = False  # see training.calibration.fit_calibrator

    @property
    def best(self) -> str:
        """The candidate with the highest AUC within folds; of equals the simplest."""
        return max(CANDIDATES, key=lambda name: self.areas[name] or 0.0)

    def held_out(self, candidate: str) -> Matrix:
        """The candidate's calibrated probability of each row, never by a model that saw it."""
        return self.calibrator(candidate).apply(self.raw[candidate])

    def calibrator(self, candidate: str) -> Calibrator:
        """From raw score to probability, fitted on held-out rows."""
        rows = self.learned & (self.fold >= 0)
        return fit_calibrator(self.raw[candidate][rows], self.data.label[rows], smooth=self.smooth)

    def fitted(self, candidate: str) -> Averaged:
        """The candidate on every row that may be learned from."""
        rows = self.data.rows(self.learned)
        parts: list[BoosterScorer | LogisticScorer] = []
        if candidate in {"logistic", "blend"}:
            parts.append(_logistic(rows))
        if candidate in {"lightgbm", "blend"}:
            boosters = [refit_booster(rows, self.settings, seed, self.rounds) for seed in _seeds(rows, self.seed)]
            parts += [BoosterScorer(rows.names, booster, Calibrator()) for booster in boosters]
            parts += parts[:1] * (len(boosters) - 1) if candidate == "blend" else []  # half the odds each
        return Averaged(tuple(parts), self.calibrator(candidate))


def crossfit(data: Dataset, folds: Sequence[Fold], seed: int, *, learned: Mask | None = None, trials: int = 0,
             smooth: bool = False, progress: Progress = silent) -> CrossFit:  # fmt: skip
    """Predict every fold by the candidates fitted on the rows the fold leaves to them.

    Args:
        data: The fitting part; its slices are not looked at.
        learned: Rows that models may learn from (one arm of an experiment); None: all.
        trials: Further LightGBM settings that Optuna tries on the last fold.
        smooth: Held-out scores are to be compared with the labels of their own rows.
    """
    mine = np.ones(len(data.label), np.bool_) if learned is None else learned
    fold = np.full(len(data.label), -1, np.int64)
    for number, each in enumerate(folds):
        fold[each.hold] = number
    judged = mine & (fold >= 0)
    tried = [_SMALL, dict(DEFAULTS)]
    if trials:
        tried.append(search(_sliced(data, folds[-1], mine), trials, seed, progress))
    raw: dict[str, Matrix] = {"logistic": np.full(len(data.label), np.nan)}
    for number, each in enumerate(folds):
        progress("held-out fold", number, len(folds))
        keep = each.fit[mine[each.fit]]
        raw["logistic"][each.hold] = _logistic(_places(data, keep)).raw(data.matrix[each.hold])
    found = [_boosted(data, folds, settings, seed, mine) for settings in tried]
    areas = [_area(data, p, fold, judged) or 0.0 for p, _ in found]
    place = int(np.argmax(areas))
    raw["lightgbm"], rounds = found[place]
    raw["blend"] = mean_odds([raw["logistic"], raw["lightgbm"]])
    by_name = {name: _area(data, raw[name], fold, judged) for name in CANDIDATES}
    return CrossFit(data, mine, fold, raw, by_name, tried[place], rounds, seed, smooth)


def plain_dataset(features: tuple[Feature, ...], matrix: Matrix, label: Matrix,
                  units: npt.NDArray[np.int64] | None = None) -> Dataset:  # fmt: skip
    """Rows of a table as the trainers read them: no campaign, no item; units (n,) whose row it is, None: each its own."""
    blank = np.full(len(label), "", np.str_)
    owners = (np.arange(len(label)) if units is None else units).astype(np.str_)
    slices = np.full(len(label), Slice.TRAIN, np.int8)
    return Dataset(features=features, matrix=matrix, label=label, owners=owners, groups=blank, items=blank,
                   slices=slices, snapshot="")  # fmt: skip


def mean_odds(ps: Sequence[Matrix]) -> Matrix:
    """The probability whose log-odds are the mean of theirs, (n,)."""
    inside = [np.clip(p, _EDGE, 1 - _EDGE) for p in ps]
    return 1.0 / (1.0 + np.exp(-np.mean([np.log(p / (1 - p)) for p in inside], axis=0)))


def leaning(scorer: Averaged, n: int = 3) -> list[str]:
    """The `n` columns that the model leans on most: by split gain, else by weight."""
    for part in scorer.parts:
        if isinstance(part, BoosterScorer):
            gain = part.booster.feature_importance("gain")
            return [part.features[place] for place in np.argsort(-gain, kind="stable")[:n] if gain[place] > 0]
    terms = [term for part in scorer.parts if isinstance(part, LogisticScorer) for term in part.model.terms]
    return [t.feature for t in sorted(terms, key=lambda t: -float(np.abs(t.weights).max(initial=0.0)))[:n]]


def _boosted(data: Dataset, folds: Sequence[Fold], settings: Parameters, seed: int,
             mine: Mask) -> tuple[Matrix, int]:  # fmt: skip
    """Held-out raw scores at the median number of trees, and that number."""
    seeds = _seeds(data, seed)
    fitted = [[fit_booster(_sliced(data, each, mine), settings, s) for s in seeds] for each in folds]
    trees = [booster.best_iteration or booster.current_iteration() for row in fitted for booster in row]
    rounds = max(1, int(np.median(trees)))  # one number for all folds, so that none is stopped on its own rows
    p = np.full(len(data.label), np.nan)
    for each, boosters in zip(folds, fitted, strict=True):
        rows = data.matrix[each.hold]
        p[each.hold] = mean_odds([np.asarray(b.predict(rows, num_iteration=rounds, num_threads=1)) for b in boosters])
    return p, rounds


def _logistic(rows: Dataset) -> LogisticScorer:
    return LogisticScorer(rows.names, fit_logistic(rows.features, rows.matrix, rows.label), Calibrator())


def _sliced(data: Dataset, fold: Fold, mine: Mask) -> Dataset:
    slices = np.full(len(data.label), Slice.EMBARGO, np.int8)
    slices[fold.fit], slices[fold.hold] = Slice.TRAIN, Slice.TUNE
    slices[~mine] = Slice.EMBARGO
    return replace(data, slices=slices)


def _places(data: Dataset, places: npt.NDArray[np.int64]) -> Dataset:
    keep = np.zeros(len(data.label), np.bool_)
    keep[places] = True
    return data.rows(keep)


def _seeds(rows: Dataset, seed: int) -> list[int]:
    return [seed + extra for extra in range(_SEEDS_FEW if len(rows.label) < _FEW_ROWS else 1)]


def _area(data: Dataset, p: Matrix, fold: npt.NDArray[np.int64], judged: Mask) -> float | None:
    return within_group_auc(data.label[judged], p[judged], fold[judged].astype(np.str_))
