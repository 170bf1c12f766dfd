"""Minor units of currencies and what an amount is worth in the bank's base currency."""

from bisect import bisect_right
from datetime import date

import polars as pl

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
        scale = 10.0 ** (minor_digits(self.base) - minor_digits(currency))
        if days.n_unique() == 1 and days[0] is not None:
            # A column of the one rate: by a number Polars would divide otherwise, to other bits.
            rate = pl.repeat(self.on(currency, days[0]), len(days), dtype=pl.Float64, eager=True)
            return _countable((amounts.cast(pl.Float64) * scale / rate + 0.5).floor())
        rates = self._table.filter(pl.col("currency") == currency).sort("day")
        asked = pl.DataFrame({"day": days, "amount": amounts}).with_row_index("_row").sort("day")
        found = asked.join_asof(rates, on="day", strategy="backward").sort("_row")
        worth = pl.col("amount").cast(pl.Float64) * scale / pl.col("per_base")
        return _countable(found.select((worth + 0.5).floor()).to_series())


def _countable(worth: pl.Series) -> pl.Series:
    """Null for what no whole number could hold or add up: a rate may be as small as 1e-9."""
    beyond = worth.abs() > MOST_MINOR
    return worth.set(beyond.fill_null(False), None) if beyond.any() else worth
