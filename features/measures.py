"""What bookings add up to: the windowed sums and counts, declared once, and what one booking adds to each.

What is declared here as a window is also rolled to the present online (features/online.py).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import narwhals as nw
import polars as pl

from features.at_once import Adds
from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from features.windows import local_days

FLOW_DAYS = (1, 14, 30, 90)
COLUMNS = ("amount_minor", "currency", "kind", "booked_at", "recorded_at")


@dataclass(frozen=True)
class Measure:
    """What one booking adds to a windowed feature: `sign` times its amount, or 1 for a count."""

    column: str
    op: str  # count | sum
    days: tuple[int, ...]
    kinds: tuple[str, ...]  # (): every kind
    sign: int
    en: str
    zh: str

    @property
    def key(self) -> str:
        """Name of the measure in the log."""
        return f"{self.column}_{self.op}"

    def name(self, days: int) -> str:
        """Name of the feature, `{column}_{op}_{days}d`."""
        return f"{self.key}_{days}d"


BASE_MEASURES = (
    Measure("transaction", "count", (1, 30, 90, 365, 730), (), 0, "bookings", "交易笔数"),
    Measure("purchase", "count", (7, 30, 90, 365), ("purchase",), 0, "purchases", "消费笔数"),
    Measure("purchase", "sum", (1, 30, 90, 365, 730), ("purchase",), -1, "spending", "消费金额"),
    Measure("salary", "sum", (90, 365), ("salary",), 1, "salary", "工资收入"),
    Measure("fee", "sum", (365,), ("fee",), -1, "fees paid", "手续费支出"),
    Measure("interest", "sum", (365,), ("interest",), 1, "interest booked", "利息"),
)
LASTS = {
    "transaction": ("any booking", "上次交易"),
    "purchase": ("a purchase", "上次消费"),
    "salary": ("a salary", "上次发薪"),
}
TREND_DAYS = (45, 90)
MEAN_DAYS = (30, 90, 365)
RATIOS = (*(f"purchase_mean_{days}d" for days in MEAN_DAYS), "purchase_trend_90d", "transaction_trend_90d")
HALF = f"_purchase_sum_{TREND_DAYS[0]}d"


@dataclass(frozen=True)
class Window:
    """One windowed sum or count: its column, what it adds up, over how many days.

    `currency`: only bookings in it, in its minor units; None: all bookings, in base minor units. A
    name that begins with `_` is no feature but a part of one.
    """

    name: str
    measure: Measure
    days: int
    currency: str | None

    @property
    def needs_rate(self) -> bool:
        """Whether a booking without a rate makes it null."""
        return self.currency is None and self.measure.op == "sum"


@lru_cache(maxsize=64)
def windows(currencies: tuple[str, ...]) -> tuple[Window, ...]:
    """Every windowed sum and count of a bank with those currencies; their order is their number."""
    found = [Window(m.name(d), m, d, currency) for currency in currencies for m in flows(currency) for d in m.days]
    found += [Window(m.name(d), m, d, None) for m in BASE_MEASURES for d in m.days]
    spent = next(m for m in BASE_MEASURES if m.key == "purchase_sum")
    return (*found, Window(HALF, spent, TREND_DAYS[0], None))


@lru_cache(maxsize=64)
def flows(currency: str) -> tuple[Measure, Measure]:
    """Inflow and outflow of one currency."""
    c = currency.lower()
    return (
        Measure(
            f"inflow_{c}",
            "sum",
            FLOW_DAYS,
            INFLOW_KINDS,
            1,
            f"{currency} coming in",
            f"{currency} 流入",
        ),
        Measure(
            f"outflow_{c}",
            "sum",
            FLOW_DAYS,
            OUTFLOW_KINDS,
            -1,
            f"{currency} going out",
            f"{currency} 流出",
        ),
    )


def measured(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """One row a booking: customer, booked, recorded, day (local), and what it adds to each measure.

    Args:
        rows: customer and COLUMNS; instants as microseconds.
        source: The bank's currencies, zone and rates.
    """
    days = local_days(rows["booked_at"], source.settings.tz)
    base = in_base(rows["amount_minor"], rows["currency"], days, source)
    placed = rows.with_columns(base=base.cast(pl.Int64), day=days)
    placed = placed.rename({"booked_at": "booked", "recorded_at": "recorded"})
    return placed.select("customer", "booked", "recorded", "day", *_columns(source.settings.currencies))


@lru_cache(maxsize=64)
def _columns(currencies: tuple[str, ...]) -> tuple[pl.Expr, ...]:
    return tuple(m.column(pl).alias(name) for name, m in measures(currencies, pl).items())  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=64)
def measures(currencies: tuple[str, ...], engine: Any = nw) -> dict[str, Adds]:
    """What a booking adds to each measure, of its kind, currency, amount_minor and `base`, its worth.

    Expressions of Narwhals, or of another module that speaks as it does: few rows are measured by
    Polars itself, for translating costs more than measuring.
    """
    kind = engine.col("kind")
    known = engine.col("base").fill_null(0)
    base, own = ({sign: column * sign for sign in (1, -1)} for column in (known, engine.col("amount_minor")))
    when: dict[tuple[str, ...], Any] = {
        kinds: kind.is_in(kinds) if kinds else ~kind.is_null() for kinds in {m.kinds for m in BASE_MEASURES}
    }
    adds = {"unrated_count": Adds(engine.col("base").is_null())}
    for m in BASE_MEASURES:
        adds[m.key] = Adds(when[m.kinds], None if m.op == "count" else base[m.sign])
    for currency in currencies:
        for m in flows(currency):
            adds[m.key] = Adds(kind.is_in(m.kinds) & (engine.col("currency") == currency), own[m.sign])
    return adds


def in_base(amounts: pl.Series, currencies: pl.Series, days: pl.Series, source: Source) -> pl.Series:
    """Amounts in base minor units at the rates of the days, (n,) float64; null: no amount or no rate."""
    base = pl.repeat(None, len(amounts), dtype=pl.Float64, eager=True)
    for currency in currencies.drop_nulls().unique().sort().to_list():
        base = base.zip_with((currencies != currency).fill_null(True), source.rates.to_base(amounts, currency, days))
    return base
