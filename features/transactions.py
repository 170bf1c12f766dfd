"""Money in windows: flows per currency, spending, salary, fees, recency.

What is declared as a window here is rolled to the present online (features/online.py). Flows are in minor units of their own currency, the rest in the base currency at the rate of the
booking's local day. Amounts are summed with their sign, so a reversal takes back what it reverses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import narwhals as nw
import numpy as np
import polars as pl

from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, Log, Micros, local_days

FLOW_DAYS = (14, 30, 90)
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
    Measure("transaction", "count", (30, 90, 365, 730), (), 0, "bookings", "交易笔数"),
    Measure("purchase", "count", (7, 30, 90, 365), ("purchase",), 0, "purchases", "消费笔数"),
    Measure("purchase", "sum", (30, 90, 365, 730), ("purchase",), -1, "spending", "消费金额"),
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
RATIOS = ("purchase_mean_90d", "purchase_trend_90d", "transaction_trend_90d")
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


def _declare(source: Source) -> tuple[Feature, ...]:
    base, table = source.settings.currency, "transactions"
    told: list[Feature] = []
    for currency in source.settings.currencies:
        for m in flows(currency):
            told += [_windowed(m, d, f"{currency} minor", "never") for d in m.days]
    for m in BASE_MEASURES:
        unit, null = ("", "never") if m.op == "count" else (f"{base} minor", "a rate is missing")
        told += [_windowed(m, d, unit, null) for d in m.days]
    none = "no purchase in 90 days, or a rate is missing"
    told.append(Feature("purchase_mean_90d", "number", f"{base} minor", none, table,
                        "mean purchase, 90 days", "90天平均消费"))  # fmt: skip
    told.append(
        Feature(
            "purchase_trend_90d",
            "number",
            "share",
            none,
            table,
            "share of 90 days' spending in the last 45",
            "近45天消费占90天比例",
        )
    )
    told.append(Feature("transaction_trend_90d", "number", "share", "no booking in 90 days", table,
                        "share of 90 days' bookings in the last 30", "近30天交易占90天比例"))  # fmt: skip
    told += [
        Feature(
            f"days_since_last_{n}",
            "number",
            "days",
            "there was none",
            table,
            f"days since {en}",
            f"{zh}距今天数",
        )
        for n, (en, zh) in LASTS.items()
    ]
    return tuple(told)


def _windowed(measure: Measure, days: int, unit: str, null: str) -> Feature:
    return Feature(measure.name(days), "number", unit, null, "transactions",
                   f"{measure.en}, {days} days", f"{days}天{measure.zh}")  # fmt: skip


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    rows = source.rows("transactions", COLUMNS, pairs.codes)
    log = Log(measured(rows, source).with_columns(_is_last(rows)))
    asked: dict[int, set[str]] = {}
    for window in windows(source.settings.currencies):
        asked.setdefault(window.days, {"unrated_count"}).add(window.measure.key)
    sums = log.windows(pairs.frame, {days: sorted(names) for days, names in asked.items()}, source.settings.tz)
    found: dict[str, pl.Series] = {}
    for window in windows(source.settings.currencies):
        unrated = sums["unrated_count", window.days] if window.needs_rate else None
        found[window.name] = _number(sums[window.measure.key, window.days], unrated)
    ratios = pl.DataFrame(found).select(booking_ratios()).to_dict(as_series=True)
    return found | ratios | _recency(pairs, log)


def measured(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """One row a booking: customer, booked, recorded, and what it adds to each measure.

    Args:
        rows: customer and COLUMNS; instants as microseconds.
        source: The bank's currencies, zone and rates.
    """
    days = local_days(rows["booked_at"], source.settings.tz)
    base = in_base(rows["amount_minor"], rows["currency"], days, source)
    rows = rows.with_columns(base=base.cast(pl.Int64))
    amount, kind = pl.col("amount_minor"), pl.col("kind")
    adds = [pl.col("base").is_null().cast(pl.Int64).alias("unrated_count")]
    for m in BASE_MEASURES:
        counts = kind.is_in(m.kinds) if m.kinds else pl.lit(True)
        value = pl.lit(1, pl.Int64) if m.op == "count" else pl.col("base").fill_null(0) * m.sign
        adds.append(pl.when(counts).then(value).otherwise(0).alias(m.key))
    for currency in source.settings.currencies:
        for m in flows(currency):
            counts = kind.is_in(m.kinds) & (pl.col("currency") == currency)
            adds.append(pl.when(counts).then(amount * m.sign).otherwise(0).alias(m.key))
    return rows.select("customer", pl.col("booked_at").alias("booked"),
                       pl.col("recorded_at").alias("recorded"), *adds)  # fmt: skip


def in_base(amounts: pl.Series, currencies: pl.Series, days: pl.Series, source: Source) -> pl.Series:
    """Amounts in base minor units at the rates of the days, (n,) float64; null: no amount or no rate."""
    base = pl.repeat(None, len(amounts), dtype=pl.Float64, eager=True)
    for currency in currencies.unique().sort().to_list():
        base = base.zip_with(currencies != currency, source.rates.to_base(amounts, currency, days))
    return base


def _number(values: Micros, unknown: Micros | None) -> pl.Series:
    numbers = pl.Series(values.astype(np.float64))
    return numbers if unknown is None else numbers.set(pl.Series(unknown > 0), None)


def booking_ratios() -> list[pl.Expr]:
    """Mean and trend of spending from the windows of the frame they are used in."""
    total, count = pl.col("purchase_sum_90d"), pl.col("purchase_count_90d")
    return [
        pl.when(count != 0).then(total / count).alias("purchase_mean_90d"),
        pl.when(total != 0).then(pl.col(HALF) / total).alias("purchase_trend_90d"),
        pl.when(pl.col("transaction_count_90d") != 0)
        .then(pl.col("transaction_count_30d") / pl.col("transaction_count_90d"))
        .alias("transaction_trend_90d"),
    ]


def _is_last(rows: pl.DataFrame) -> list[pl.Series]:
    every = pl.repeat(True, len(rows), eager=True)
    return [(every if name == "transaction" else rows["kind"] == name).alias(f"_{name}") for name in LASTS]


def _recency(pairs: Pairs, log: Log) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for name in LASTS:
        booked = log.last(pairs.frame, nw.col(f"_{name}"), ("booked",))["booked"]
        found[f"days_since_last_{name}"] = (pairs.frame["as_of"] - booked) / DAY_MICROS
    return found


TRANSACTIONS = FeatureView("transactions", _declare, _compute)
