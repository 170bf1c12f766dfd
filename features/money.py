"""Minor units of currencies and what an amount is worth in the bank's base currency."""

import math
from bisect import bisect_right
from datetime import date

import numpy as np
import polars as pl

from features.segments import Floats
from features.tables import MOST_MINOR

# ISO 4217 currencies whose smallest unit is not a hundredth.
_WHOLE = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
)  # fmt: skip
_THOUSANDTHS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")


def minor_digits(currency: str) -> int:
    """Decimal places of the currency's minor unit: JPY 0, EUR 2, KWD 3."""
    return 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2


class Rates:
    """Daily exchange rates; a day's rate holds from its first minute until the next one.

    Args:
        table: day, currency, per_base (units of currency for one unit of the base currency).
        base: Base currency; its rate is 1.
        currencies: Every currency of the bank.
    """

    def __init__(self, table: pl.DataFrame | None, base: str, currencies: tuple[str, ...]) -> None:
        self.base, self.currencies = base, currencies
        empty = pl.DataFrame(schema={"day": pl.Date, "currency": pl.String, "per_base": pl.Float64})
        self._series: dict[str, tuple[list[date], list[float]]] = {}
        self._table = (empty if table is None else table).select("day", "currency", "per_base")

    def series(self, currency: str) -> tuple[list[date], list[float]]:
        """Days and rates of a currency, oldest first."""
        if currency not in self._series:
            rates = self._table.filter(pl.col("currency") == currency).sort("day")
            self._series[currency] = rates["day"].to_list(), rates["per_base"].to_list()
        return self._series[currency]

    def on(self, currency: str, day: date) -> float | None:
        """What one of the base currency costs on a day; null: there is no rate by then."""
        days, rates = self.series(currency)
        place = bisect_right(days, day)
        return rates[place - 1] if place else None

    def to_base(self, amounts: pl.Series, currency: str, days: pl.Series) -> pl.Series:
        """Amounts in base minor units, rounded half up, (n,) float64; null: no rate by that day, or beyond MOST_MINOR."""
        if currency == self.base:
            return amounts.cast(pl.Float64)
        if days.n_unique() == 1 and days[0] is not None:
            return pl.Series(self.worth(amounts.cast(pl.Float64).to_numpy(), currency, days[0])).fill_nan(None)
        rates = self._table.filter(pl.col("currency") == currency).sort("day")
        asked = pl.DataFrame({"day": days, "amount": amounts}).with_row_index("_row").sort("day")
        found = asked.join_asof(rates, on="day", strategy="backward").sort("_row")
        amount, rate = (found[name].cast(pl.Float64).to_numpy() for name in ("amount", "per_base"))
        return pl.Series(self._at(amount, rate, currency)).fill_nan(None)

    def worth(self, amounts: Floats, currency: str, day: date) -> Floats:
        """`to_base` of one day, NaN for null."""
        if currency == self.base:
            return amounts
        rate = self.on(currency, day)
        return self._at(amounts, math.nan if rate is None else rate, currency)

    def _at(self, amounts: Floats, rate: Floats | float, currency: str) -> Floats:
        scale = 10.0 ** (minor_digits(self.base) - minor_digits(currency))
        worth = np.floor(amounts * scale / rate + 0.5)
        # What no whole number could hold or add up is unknown: a rate may be as small as 1e-9.
        return np.where(np.abs(worth) > MOST_MINOR, math.nan, worth)
