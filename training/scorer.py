"""What serving needs of a model: feature names in, a probability per row out.

Each scorer is plain text on disk - LightGBM's own format or JSON - and gives the same bytes for a
row alone as for the row among a million. LightGBM takes longer to import than all the rest of serving: it is
imported by who opens trees, and a process without any does not wait for it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from training.calibration import Calibrator
from training.encode import Matrix
from training.errors import BundleError
from training.singlerow import SingleRow, open_single_row

if TYPE_CHECKING:
    import lightgbm as lgb

SCORE_DECIMALS = 6  # rounded once, here: what is logged is what was decided on
_MANY_ROWS = 2000  # from here on a second thread pays
_FEW_ROWS = 32  # up to here row by row is the shorter way


class Scorer(Protocol):
    """A trained model of one probability."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the matrix's columns, in order."""
        ...

    def predict(self, matrix: Matrix) -> Matrix:
        """Probabilities for (n, n_features) float64, null as NaN: (n,) in [0, 1], 6 decimals."""
        ...


def rounded(p: Matrix) -> Matrix:
    """Clip to [0, 1] and round to the decimals every score has."""
    return np.minimum(np.maximum(p, 0.0), 1.0).round(SCORE_DECIMALS)  # np.clip takes longer than a tree


@dataclass(frozen=True)
class BoosterScorer:
    """LightGBM trees and their calibration."""

    features: tuple[str, ...]
    booster: "lgb.Booster"
    calibrator: Calibrator

    def predict(self, matrix: Matrix) -> Matrix:
        """See Scorer.predict."""
        return rounded(self.calibrator.apply(self.raw(matrix)))

    def raw(self, matrix: Matrix) -> Matrix:
        """Uncalibrated probabilities, (n,)."""
        if len(matrix) == 0:
            return np.empty(0)
        if len(matrix) <= _FEW_ROWS and self._single is not None and matrix.shape[1] == len(self.features):
            return self._single.predict(matrix)
        threads = 2 if len(matrix) >= _MANY_ROWS else 1
        return np.asarray(self.booster.predict(matrix, num_threads=threads, validate_features=False))

    def warm(self) -> bool:
        """Test the single-row path now and not at the first customer; false: Booster.predict is used."""
        return self._single is not None

    @cached_property
    def _single(self) -> SingleRow | None:
        return open_single_row(self.booster, len(self.features))


def open_booster(text: str) -> "lgb.Booster":
    """The trees that LightGBM wrote as text.

    Raises:
        BundleError: LightGBM cannot read them; damage that kills the process is training/probe.py's.
    """
    import lightgbm as lgb

    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise BundleError(str(error).splitlines()[0]) from error


class LogisticTerm(BaseModel):
    """One feature's share of the log-odds.

    number: weight x (f(x) - mean) / scale with f = sign(x) log(1 + |x|) when `log`, null counts as
    the mean; codes: weights[code], null counts 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    kind: Literal["number", "codes"]
    log: bool = False
    mean: float = 0.0
    scale: float = 1.0
    weights: tuple[float, ...]

    def share(self, x: Matrix) -> Matrix:
        """Contribution to the log-odds, (n,)."""
        if self.kind == "codes":
            known = (x >= 0) & (x < len(self.weights))  # NaN is neither
            code = np.where(known, x, 0).astype(np.int64)
            return np.where(known, self._by_code[code], 0.0)
        return self.weights[0] * np.where(np.isnan(x), 0.0, (self.shape(x) - self.mean) / self.scale)

    @cached_property
    def _by_code(self) -> Matrix:
        return np.asarray(self.weights)

    def shape(self, x: Matrix) -> Matrix:
        """The feature as the weight sees it, before mean and scale."""
        return np.sign(x) * np.log1p(np.abs(x)) if self.log else x


class LogisticModel(BaseModel):
    """A logistic regression as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intercept: float
    terms: tuple[LogisticTerm, ...]


@dataclass(frozen=True)
class LogisticScorer:
    """A logistic regression and its calibration: log-odds = intercept + sum of the terms."""

    features: tuple[str, ...]
    model: LogisticModel
    calibrator: Calibrator

    def predict(self, matrix: Matrix) -> Matrix:
        """See Scorer.predict."""
        return rounded(self.calibrator.apply(self.raw(matrix)))

    def raw(self, matrix: Matrix) -> Matrix:
        """Uncalibrated probabilities, (n,)."""
        odds = self._odds(matrix)
        for place, term in self._numbers.codes:
            odds = odds + term.share(matrix[:, place])
        return 1.0 / (1.0 + np.exp(-odds))

    def pooled(self, matrix: Matrix, rows: npt.NDArray[np.intp], codes: Matrix) -> Matrix:
        """What `predict` says of matrix[rows] with the codes as their last column: what does not hang on them, once."""
        odds, last = self._odds(matrix)[rows], matrix.shape[1]
        for place, term in self._numbers.codes:  # added up in the order of `raw`, to the same bits
            odds = odds + (term.share(codes) if place == last else term.share(matrix[:, place])[rows])
        return rounded(self.calibrator.apply(1.0 / (1.0 + np.exp(-odds))))

    @cached_property
    def ends_in_code(self) -> bool:
        """Whether `pooled` may be asked: the last feature is a code, and no number."""
        return len(self.features) - 1 not in self._numbers.places

    def _odds(self, matrix: Matrix) -> Matrix:
        """Log-odds from intercept and numbers, (n,)."""
        numbers = self._numbers
        x = matrix[:, numbers.places]
        logs = x[:, numbers.log]
        x[:, numbers.log] = np.sign(logs) * np.log1p(np.abs(logs))
        shares = numbers.weight * ((x - numbers.mean) / numbers.scale)
        shares[np.isnan(shares)] = 0.0
        # INVARIANT: added up from left to right by cumsum - a matrix product or a sum would add in
        # an order that may depend on the number of rows, and a row alone differ from the batch.
        return np.cumsum(np.column_stack([np.full(len(x), self.model.intercept), shares]), axis=1)[:, -1]

    @cached_property
    def _numbers(self) -> "_Numbers":
        terms = [term for term in self.model.terms if term.kind == "number"]
        return _Numbers(
            places=np.asarray([self.features.index(t.feature) for t in terms], dtype=np.int64),
            log=np.asarray([t.log for t in terms], dtype=np.bool_),
            mean=np.asarray([t.mean for t in terms], dtype=np.float64),
            scale=np.asarray([t.scale for t in terms], dtype=np.float64),
            weight=np.asarray([t.weights[0] for t in terms], dtype=np.float64),
            codes=[(self.features.index(t.feature), t) for t in self.model.terms if t.kind == "codes"],
        )


@dataclass(frozen=True)
class _Numbers:
    """The number terms side by side, (n_terms,) each: one pass instead of one call a term."""

    places: npt.NDArray[np.int64]
    log: npt.NDArray[np.bool_]
    mean: Matrix
    scale: Matrix
    weight: Matrix
    codes: list[tuple[int, LogisticTerm]]


class ConstantModel(BaseModel):
    """A probability that does not depend on the customer, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p: float
    why: str


@dataclass(frozen=True)
class ConstantScorer:
    """The same probability for everybody: where a label has one class, or too few of one."""

    features: tuple[str, ...]
    model: ConstantModel

    def predict(self, matrix: Matrix) -> Matrix:
        """See Scorer.predict."""
        return rounded(np.full(len(matrix), self.model.p))
