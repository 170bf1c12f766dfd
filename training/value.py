"""What a customer is worth to the bank: a formula anyone can recite, not a model.

    value          = contribution x expected years
    contribution   = interest_margin x balance + interchange x purchases + fees, minor units a year
    expected years = sum over t = 0 .. horizon - 1 of (keep / (1 + discount))^t
    keep           = 1 - annual churn

The annual churn is learned from the bank's own history; the other figures are the bank's to set
and stand in the bundle beside it. The interval of a lifetime value has two sources, both measured on
that history: how sure the churn is, and by how much contributions foretold a year ago were missed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from training.encode import Matrix

VALUE_FEATURES = ("balance_total_minor", "purchase_sum_365d", "fee_sum_365d")
_YEAR_DAYS = 365


class ValueModel(BaseModel):
    """The figures of the formula; shares of one, years, and money in minor units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interest_margin: float = Field(default=0.012, ge=0, le=1)  # earned on what is deposited, a year
    interchange: float = Field(default=0.004, ge=0, le=1)  # earned on what is spent by card
    discount: float = Field(default=0.08, ge=0, le=1)
    horizon_years: int = Field(default=10, ge=1, le=50)
    annual_churn: float = Field(default=0.1, ge=0, le=1)
    # 95 % interval of the churn, resampled by household; null: not measured, it stands alone.
    annual_churn_low: float | None = Field(default=None, ge=0, le=1)
    annual_churn_high: float | None = Field(default=None, ge=0, le=1)
    # Last year's contribution over the one foretold a year ago: 10 % and 90 % points over customers.
    forecast_low: float | None = Field(default=None, ge=0)
    forecast_high: float | None = Field(default=None, ge=0)

    @property
    def expected_years(self) -> float:
        """Discounted years a customer stays, between 1 and the horizon."""
        return self._years(self.annual_churn)

    @property
    def years_interval(self) -> tuple[float, float]:
        """Expected years under the highest and the lowest churn that may be."""
        low, high = self.annual_churn_low, self.annual_churn_high
        return (self._years(self.annual_churn if high is None else high),
                self._years(self.annual_churn if low is None else low))  # fmt: skip

    def interval(self, contribution: Matrix) -> tuple[Matrix, Matrix]:
        """Lifetime values (low, high) in minor units of customers of this contribution a year, (n,) each."""
        fewest, most = self.years_interval
        low = 1.0 if self.forecast_low is None else min(1.0, self.forecast_low)
        high = 1.0 if self.forecast_high is None else max(1.0, self.forecast_high)
        return np.round(contribution * low * fewest), np.round(contribution * high * most)

    def _years(self, churn: float) -> float:
        kept = (1.0 - churn) / (1.0 + self.discount)
        return sum(kept**year for year in range(self.horizon_years))


@dataclass(frozen=True)
class ValueFormula:
    """The formula over named columns; in a bundle it stands where others have a Scorer."""

    features: tuple[str, ...]
    model: ValueModel

    def predict(self, matrix: Matrix) -> Matrix:
        """Lifetime value in minor units of base currency, (n,), 0 or more, whole units.

        An unknown part counts 0; NaN only where every part is unknown.
        """
        earned = self.contribution(matrix)
        return np.round(earned * self.model.expected_years)

    def contribution(self, matrix: Matrix) -> Matrix:
        """What a customer brings in a year, minor units of base currency, (n,); NaN: nothing is known of him."""
        balance, purchases, fees = (self._column(matrix, name) for name in VALUE_FEATURES)
        dark = [np.isnan(part) for part in (balance, purchases, fees)]
        balance, purchases, fees = (
            np.where(gone, 0.0, part) for gone, part in zip(dark, (balance, purchases, fees), strict=True)
        )
        earned = self.model.interest_margin * np.maximum(balance, 0.0)
        earned = earned + self.model.interchange * np.abs(purchases)
        return np.where(dark[0] & dark[1] & dark[2], np.nan, earned + np.abs(fees))

    def _column(self, matrix: Matrix, name: str) -> Matrix:
        if name not in self.features:
            return np.full(len(matrix), np.nan)
        return matrix[:, self.features.index(name)]


def annual_rate(p: float, days: int) -> float:
    """The chance within a year that goes with the chance `p` within `days`."""
    return 1.0 - (1.0 - min(max(p, 0.0), 1.0)) ** (_YEAR_DAYS / days)


def churn_interval(left: Matrix, seen: Matrix, days: int, seed: int) -> tuple[float, float]:
    """95 % interval of the annual churn, households drawn anew 200 times.

    Args:
        left, seen: Per household the windows in which it left and those it was seen in, (n,).
        days: Length of a window.
    """
    rng, n = np.random.default_rng(seed), len(seen)
    rates: list[float] = []
    for _ in range(200):
        drawn: npt.NDArray[np.int64] = rng.integers(0, n, n)
        rates.append(annual_rate(float(left[drawn].sum() / max(seen[drawn].sum(), 1e-9)), days))
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def forecast_interval(foretold: Matrix, came: Matrix) -> tuple[float, float] | None:
    """10 % and 90 % points of (what came / what was foretold) over customers; None: fewer than 50 known."""
    known = (foretold > 0) & ~np.isnan(came)
    if known.sum() < 50:
        return None
    low, high = np.quantile(came[known] / foretold[known], [0.1, 0.9])
    return float(low), float(high)
