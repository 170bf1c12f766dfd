"""Uplift: by how much a contact raises each customer's chance, learned from an experiment.

t_logistic   logistic regression of each arm; uplift is their difference
t_lightgbm   likewise with LightGBM
dr           doubly robust: LightGBM on the pseudo-outcome
                 psi = m1 - m0 + t (y - m1) / e - (1 - t) (y - m0) / (1 - e)
             with m1, m0 the arms' models and e the chance of being treated, all by models that have
             not seen the row; right if either m or e is
mean         the mean of the three

The learner is chosen by its Qini area on held-out rows of the fitting part. Its scores are then
shrunk towards the average effect by the slope of psi on them (best linear predictor), so that where
nothing tells customers apart all get the average. They are never stretched: on drawn experiments of
known truth a slope above 1, taken at its word, made the scores worse (docs/benchmarks.md). The arms are
calibrated by two numbers, never by steps: psi holds each row's own outcome, and a score that remembers it
would call itself right.
Source: Kuenzel et al., Metalearners for estimating heterogeneous treatment effects (2019); Kennedy,
Towards optimal doubly robust estimation of heterogeneous causal effects (2023); Chernozhukov et al.,
Generic machine learning inference on heterogeneous treatment effects (2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from training.calibration import Calibrator
from training.clustered import Units, auc_error, clustered_error
from training.crossfit import Averaged, CrossFit, crossfit
from training.dataset import Dataset
from training.encode import Matrix
from training.errors import DatasetError
from training.leaks import ALONE
from training.logistic import fit_logistic
from training.offpolicy import LEAST_ESS, MOST_CLIPPED, effective_sample_size
from training.qini import UpliftRows
from training.roles import LEAST_OF_A_CLASS
from training.scorer import SCORE_DECIMALS, LogisticScorer
from training.splits import Fold
from training.tune import Parameters, Progress, refit_booster, silent

LEARNERS = ("t_logistic", "t_lightgbm", "dr", "mean")
_EFFECT: Parameters = {
    "objective": "regression", "metric": "l2", "learning_rate": 0.05, "num_leaves": 4,
    "feature_fraction": 0.8, "lambda_l2": 5.0,
}  # fmt: skip
_EFFECT_ROUNDS, _EFFECT_SEEDS = 60, 3
_LEAF_SHARE = 80  # a leaf of the effect model holds at least one row in so many: effects are faint
_E_LEAST = 0.01
_RANDOM_SIGMA = 4.0  # an assignment that ranks rows better than so many standard errors is not random


@dataclass(frozen=True)
class Assignment:
    """How contacts were given out: chance of each row (n,), whether by lot, and one sentence about it.

    apart: why rows with and without a contact cannot be compared, so that no effect can be told; null: they can.
    """

    propensity: Matrix
    randomised: bool
    auc: float
    words: str
    model: LogisticScorer | None = None  # of the chance, where it had to be estimated
    apart: str | None = None

    def weight(self, treated: Matrix, matrix: Matrix) -> Matrix | None:
        """1 / chance of the arm each of other rows is in, (n,); None where the lot decided."""
        if self.model is None:
            return None
        return inverse_propensity(treated, np.clip(self.model.raw(matrix), _E_LEAST, 1 - _E_LEAST))


@dataclass(frozen=True)
class UpliftModel:
    """Learners fitted on all rows of the fitting part, and how the served one is shrunk."""

    learner: str
    outcome: str  # which candidate of training.crossfit models the arms
    arms: Mapping[str, tuple[Averaged, Averaged]]  # candidate -> (untreated, treated)
    effects: tuple[lgb.Booster, ...]
    slope: float
    shift: float

    def uplift(self, matrix: Matrix) -> Matrix:
        """P(outcome | contact) - P(outcome | none) for (n, n_features), (n,) in [-1, 1], 6 decimals."""
        raw = self._learned(matrix)[self.learner]
        return np.round(np.clip(self.shift + self.slope * raw, -1.0, 1.0), SCORE_DECIMALS)

    def p_organic(self, matrix: Matrix) -> Matrix:
        """P(outcome | no contact), (n,) in [0, 1], 6 decimals."""
        return self.arms[self.outcome][0].predict(matrix)

    def p_treated(self, matrix: Matrix) -> Matrix:
        """P(outcome | contact), (n,) in [0, 1], 6 decimals."""
        return self.arms[self.outcome][1].predict(matrix)

    def p_outcome(self, matrix: Matrix, treated: Matrix, candidate: str | None = None) -> Matrix:
        """P(outcome) of rows as they were treated, (n,)."""
        untreated, contacted = self.arms[candidate or self.outcome]
        return np.where(treated == 1, contacted.predict(matrix), untreated.predict(matrix))

    def _learned(self, matrix: Matrix) -> dict[str, Matrix]:
        found = {f"t_{name}": arms[1].predict(matrix) - arms[0].predict(matrix)
                 for name, arms in self.arms.items() if name in {"logistic", "lightgbm"}}  # fmt: skip
        found["dr"] = np.mean([np.asarray(b.predict(matrix, num_threads=1)) for b in self.effects], axis=0)
        return found | {"mean": np.mean(list(found.values()), axis=0)}


@dataclass(frozen=True)
class UpliftFit:
    """A model, and what the held-out rows say of it.

    held_out: learner -> uplift of each row by models that have not seen it, (n,), NaN where no fold
    holds it out; served: the same of the shrunk, served one. areas: learner -> Qini area.
    slope_low, slope_high: 95 % interval of the slope before it is held in [0, 1], by unit, as if the learner had
    not been chosen on these rows.
    """

    model: UpliftModel
    assignment: Assignment
    held_out: dict[str, Matrix]
    served: Matrix
    areas: dict[str, float]
    outcome_areas: dict[str, float | None]  # candidate -> AUC within folds of the outcome as treated
    slope_low: float
    slope_high: float
    best_share: float
    p_organic_held_out: Matrix  # P(outcome | no contact) of each row by models that have not seen it


def fit_uplift(data: Dataset, treated: Matrix, folds: Sequence[Fold], seed: int, *,
               propensity: Matrix | None = None, trials: int = 0, progress: Progress = silent) -> UpliftFit:  # fmt: skip
    """Learn the effect of a contact from rows with and without it.

    Args:
        data: The fitting part; label is the outcome, owners are the units.     treated: 0 or 1, (n,).
        folds: Of the fitting part; in time order they predict only later rows.
        propensity: Chance each row had of being treated, where the design knows it, (n,); None: the
            share treated if rows do not tell who was, else estimated.

    Raises:
        DatasetError: No untreated or no treated row, or too few outcomes in one of the two.
    """
    check_arms(data.label, treated)
    assigned = assignment(data, treated, folds, propensity)
    fits = tuple(
        crossfit(data, folds, seed, learned=treated == arm, trials=trials, smooth=True, progress=progress)
        for arm in (0, 1)
    )
    outcome_areas = _outcome_areas(fits, treated)
    candidate = max(outcome_areas, key=lambda name: outcome_areas[name] or 0.0)
    m0, m1 = (fit.held_out(candidate) for fit in fits)
    psi = pseudo_outcome(data.label, treated, m0, m1, assigned.propensity)
    held = {f"t_{name}": fits[1].held_out(name) - fits[0].held_out(name) for name in ("logistic", "lightgbm")}
    held["dr"] = _held_out_effect(data, psi, folds, seed)
    held["mean"] = np.mean(list(held.values()), axis=0)
    judged = np.isfinite(held["mean"])
    weight = None if assigned.randomised else inverse_propensity(treated, assigned.propensity)[judged]
    curves = {name: UpliftRows.of(data.label[judged], treated[judged], held[name][judged], weight).curve()
              for name in LEARNERS}  # fmt: skip
    areas = {name: curve.qini_area() for name, curve in curves.items()}
    learner = max(LEARNERS, key=lambda name: areas[name])
    slope, (raw_slope, error), shift = _best_linear(psi[judged], held[learner][judged], data.owners[judged])
    model = UpliftModel(
        learner=learner, outcome=candidate, slope=slope, shift=shift,
        arms={name: (fits[0].fitted(name), fits[1].fitted(name)) for name in {"logistic", "lightgbm", candidate}},
        effects=tuple(_effect(data, psi, np.isfinite(psi), seed + k) for k in range(_EFFECT_SEEDS)),
    )  # fmt: skip
    return UpliftFit(
        model=model, assignment=assigned, held_out=held, areas=areas, outcome_areas=outcome_areas,
        served=shift + slope * held[learner], slope_low=raw_slope - 1.96 * error,
        slope_high=raw_slope + 1.96 * error, p_organic_held_out=m0,
        best_share=curves[learner].best_share() if slope > 0 else float(shift > 0),
    )  # fmt: skip


def assignment(data: Dataset, treated: Matrix, folds: Sequence[Fold], known: Matrix | None = None) -> Assignment:
    """Whether contacts went out by lot, and each row's chance of one.

    A logistic regression predicts the contact on held-out rows. Where it cannot, the chance is the
    share treated; where it can, its own estimate, held in [0.01, 0.99]. Rows of one unit are one draw
    of the lot: a few large households that got it say nothing of the rest.
    """
    guess = np.full(len(treated), np.nan)
    for each in folds:
        model = fit_logistic(data.features, data.matrix[each.fit], treated[each.fit])
        guess[each.hold] = LogisticScorer(data.names, model, Calibrator()).raw(data.matrix[each.hold])
    seen = np.isfinite(guess)
    n1 = float(treated[seen].sum())
    n0 = float(seen.sum()) - n1
    area, error = 0.5, 0.0
    if n0 and n1:
        area = float(roc_auc_score(treated[seen], guess[seen]))
        by_row = float(np.sqrt((n0 + n1 + 1) / (12 * n0 * n1)))  # of Mann-Whitney where nothing tells the arms apart
        error = max(by_row, auc_error(treated[seen], guess[seen], data.owners[seen]))
    bound = 0.5 + _RANDOM_SIGMA * error
    if known is not None:
        return Assignment(np.clip(known, _E_LEAST, 1 - _E_LEAST), True, area, "contacts drawn with known chances")
    if area <= bound:
        words = f"contacts look drawn by lot: who got one cannot be told from the columns (AUC {area:.3f})"
        return Assignment(np.full(len(treated), treated.mean()), True, area, words)
    estimated = np.clip(np.where(seen, guess, treated.mean()), _E_LEAST, 1 - _E_LEAST)
    apart = _apart(treated[seen], guess[seen], area)
    held = apart or f"who got a contact can be told from the columns (AUC {area:.3f}); effects hold only if nothing else decided it"  # fmt: skip
    words = f"no randomised control: {held}"
    fitted = fit_logistic(data.features, data.matrix, treated)
    return Assignment(estimated, False, area, words, LogisticScorer(data.names, fitted, Calibrator()), apart)


def _apart(treated: Matrix, chance: Matrix, area: float) -> str | None:
    """Why the arms cannot be compared, of estimated chances (n,): rows that hardly could be in the other, or too few that weigh.

    A chance is held against the share treated, for of a rare contact every chance is small. Held-out chances of few
    rows are drawn to the middle, and the AUC alone tells that nothing is shared.
    """
    rate = float(treated.mean())
    low, high = min(_E_LEAST, rate / 10), 1 - min(_E_LEAST, (1 - rate) / 10)
    clipped = float(((chance < low) | (chance > high)).mean())
    weight = inverse_propensity(treated, np.clip(chance, _E_LEAST, 1 - _E_LEAST))
    arms = [weight[treated == arm] for arm in (0, 1)]
    fewest, n = min((effective_sample_size(arm), len(arm)) for arm in arms)
    if area <= ALONE and clipped <= MOST_CLIPPED and fewest >= min(LEAST_ESS, n / 2):
        return None
    return (f"who got a contact is decided by the columns (AUC {area:.3f}, {clipped:.1%} of the rows hardly could be in the other"
            f" arm, {fewest:.0f} effective rows of {n} in one): no comparable rows, so no effect can be told")  # fmt: skip


def check_arms(outcome: Matrix, treated: Matrix) -> None:
    """Refuse an experiment with an arm missing or too few outcomes in one.

    Raises:
        DatasetError: With the arm and the remedy.
    """
    for arm, name in ((0, "untreated"), (1, "treated")):
        mine = outcome[treated == arm]
        if len(mine) == 0:
            raise DatasetError(f"no {name} row: without a control group neither uplift nor p_organic can be learned;"
                               " hold some customers out by lot")  # fmt: skip
        least = int(min(mine.sum(), len(mine) - mine.sum()))
        if least < LEAST_OF_A_CLASS:
            raise DatasetError(f"{name} rows have {least} of the rarer outcome; {LEAST_OF_A_CLASS} are needed at least")


def pseudo_outcome(outcome: Matrix, treated: Matrix, m0: Matrix, m1: Matrix, e: Matrix) -> Matrix:
    """Psi of each row, (n,): its mean over any group is the group's effect, if m or e is right."""
    return m1 - m0 + treated * (outcome - m1) / e - (1 - treated) * (outcome - m0) / (1 - e)


def inverse_propensity(treated: Matrix, propensity: Matrix) -> Matrix:
    """1 / chance of the arm the row is in, (n,)."""
    return np.where(treated == 1, 1 / propensity, 1 / (1 - propensity))


def _outcome_areas(fits: Sequence[CrossFit], treated: Matrix) -> dict[str, float | None]:
    """AUC within folds of each candidate over both arms, each row as it was treated."""
    found: dict[str, float | None] = {}
    for name in ("logistic", "lightgbm", "blend"):
        areas = [(fit.areas[name], float((treated == arm).sum())) for arm, fit in enumerate(fits)]
        known = [(area, n) for area, n in areas if area is not None]
        found[name] = sum(area * n for area, n in known) / sum(n for _, n in known) if known else None
    return found


def _held_out_effect(data: Dataset, psi: Matrix, folds: Sequence[Fold], seed: int) -> Matrix:
    effect = np.full(len(psi), np.nan)
    for each in folds:
        keep = np.zeros(len(psi), np.bool_)
        keep[each.fit] = np.isfinite(psi[each.fit])
        if keep.any():  # the first block in time has no earlier block with a pseudo-outcome
            boosters = [_effect(data, psi, keep, seed + k) for k in range(_EFFECT_SEEDS)]
            effect[each.hold] = np.mean([np.asarray(b.predict(data.matrix[each.hold])) for b in boosters], axis=0)
    return effect


def _effect(data: Dataset, psi: Matrix, keep: npt.NDArray[np.bool_], seed: int) -> lgb.Booster:
    rows = replace(data, label=np.where(keep, psi, 0.0)).rows(keep)
    least = max(20, int(keep.sum()) // _LEAF_SHARE)
    return refit_booster(rows, {**_EFFECT, "min_data_in_leaf": least}, seed, _EFFECT_ROUNDS)


def _best_linear(psi: Matrix, tau: Matrix, units: Units) -> tuple[float, tuple[float, float], float]:
    """Slope of psi on tau held in [0, 1], (the slope itself, its standard error), and the shift."""
    centred = tau - tau.mean()
    spread = float(centred @ centred)
    if spread <= 0:
        return 0.0, (0.0, 0.0), float(psi.mean())
    slope = float(centred @ psi) / spread
    rest = psi - psi.mean() - slope * centred
    error = clustered_error(centred * rest, units) / spread  # robust to psi's unequal spread as well
    kept = min(max(slope, 0.0), 1.0)
    return kept, (slope, error), float(psi.mean() - kept * tau.mean())
