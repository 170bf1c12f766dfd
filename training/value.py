"""What a customer is worth to the bank: a formula anyone can recite, not a model.

    value          = contribution x expected years
    contribution   = interest_margin x balance + interchange x purchases + fees, minor units a year
    expected years = sum over t = 0 .. horizon - 1 of (keep / (1 + discount))^t
    keep           = 1 - annual churn

The annual churn is learned from the bank's own history; the other figures are the bank's to set
and stand in the bundle beside it.
"""

from dataclasses import dataclass

import numpy as np
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

    @property
    def expected_years(self) -> float:
        """Discounted years a customer stays, between 1 and the horizon."""
        kept = (1.0 - self.annual_churn) / (1.0 + self.discount)
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
        balance, purchases, fees = (self._column(matrix, name) for name in VALUE_FEATURES)
        unknown = np.isnan(balance) & np.isnan(purchases) & np.isnan(fees)
        earned = self.model.interest_margin * np.maximum(np.nan_to_num(balance), 0.0)
        earned = earned + self.model.interchange * np.abs(np.nan_to_num(purchases))
        earned = earned + np.abs(np.nan_to_num(fees))
        return np.where(unknown, np.nan, np.round(earned * self.model.expected_years))

    def _column(self, matrix: Matrix, name: str) -> Matrix:
        if name not in self.features:
            return np.full(len(matrix), np.nan)
        return matrix[:, self.features.index(name)]


def annual_rate(p: float, days: int) -> float:
    """The chance within a year that goes with the chance `p` within `days`."""
    return 1.0 - (1.0 - min(max(p, 0.0), 1.0)) ** (_YEAR_DAYS / days)
