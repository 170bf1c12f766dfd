"""Money in windows: flows per currency, spending, salary, fees, recency.

Flows are in minor units of their own currency, the rest in the base currency at the rate of the
booking's local day. Amounts are summed with their sign, so a reversal takes back what it reverses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    Measure("transaction", "count", (30, 90), (), 0, "bookings", "交易笔数"),
    Measure("purchase", "count", (7, 30, 90, 365), ("purchase",), 0, "purchases", "消费笔数"),
    Measure("purchase", "sum", (30, 90, 365), ("purchase",), -1, "spending", "消费金额"),
    Measure("salary", "sum", (90,), ("salary",), 1, "salary", "工资收入"),
    Measure("fee", "sum", (365,), ("fee",), -1, "fees paid", "手续费支出"),
    Measure("interest", "sum", (365,), ("interest",), 1, "interest booked", "利息"),
)
LASTS = {"transaction": ("any booking", "上次交易"), "purchase": ("a purchase", "上次消费")}
TREND_DAYS = (45, 90)


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
    measures = [m for c in source.settings.currencies for m in flows(c)] + list(BASE_MEASURES)
    log = Log(_booked(pairs, source))
    asked: dict[int, list[str]] = {}
    for measure in measures:
        for days in measure.days:
            asked.setdefault(days, []).append(measure.key)
    asked[TREND_DAYS[0]] = ["purchase_sum"]
    for days in (*TREND_DAYS, 30, 365):
        asked[days].append("unrated_count")
    sums = log.windows(pairs.frame, asked, source.settings.tz)
    found: dict[str, pl.Series] = {}
    for measure in measures:
        in_base = measure.op == "sum" and measure in BASE_MEASURES
        for days in measure.days:
            unrated = sums["unrated_count", days] if in_base else None
            found[measure.name(days)] = _number(sums[measure.key, days], unrated)
    return found | _ratios(found, sums) | _recency(pairs, log)


def _booked(pairs: Pairs, source: Source) -> pl.DataFrame:
    """One row a booking: customer, booked, recorded, and what it adds to each measure."""
    rows = source.rows("transactions", COLUMNS, pairs.codes)
    days = local_days(rows["booked_at"], source.settings.tz)
    base = pl.repeat(None, len(rows), dtype=pl.Float64, eager=True)
    for currency in rows["currency"].unique().sort().to_list():
        worth = source.rates.to_base(rows["amount_minor"], currency, days)
        base = base.zip_with(rows["currency"] != currency, worth)
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


def _number(values: Micros, unknown: Micros | None) -> pl.Series:
    numbers = pl.Series(values.astype(np.float64))
    return numbers if unknown is None else numbers.set(pl.Series(unknown > 0), None)


def _ratios(found: Mapping[str, pl.Series], sums: Mapping[tuple[str, int], Micros]) -> dict[str, pl.Series]:
    half, whole = TREND_DAYS
    total, count = found[f"purchase_sum_{whole}d"], found[f"purchase_count_{whole}d"]
    recent = pl.Series(sums["purchase_sum", half].astype(np.float64))
    return {
        "purchase_mean_90d": (total / count).set(count == 0, None),
        "purchase_trend_90d": (recent / total).set((total == 0).fill_null(True), None),
    }


def _recency(pairs: Pairs, log: Log) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for name in LASTS:
        booked = log.last(pairs.frame, nw.col(f"{name}_count") > 0, ("booked",))["booked"]
        found[f"days_since_last_{name}"] = (pairs.frame["as_of"] - booked) / DAY_MICROS
    return found


TRANSACTIONS = FeatureView("transactions", _declare, _compute)
