"""Money in windows: flows per currency, spending, salary, fees, recency.

Flows are in minor units of their own currency, the rest in the base currency at the rate of the
booking's local day. Amounts are summed with their sign, so a reversal takes back what it reverses.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from features.bookings import bookings, of_kinds
from features.measures import BASE_MEASURES, HALF, LASTS, MEAN_DAYS, Measure, flows, windows
from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import DAYS_A_MICRO, Log, Micros


def _declare(source: Source) -> tuple[Feature, ...]:
    base, table = source.settings.currency, "transactions"
    told: list[Feature] = []
    for currency in source.settings.currencies:
        for m in flows(currency):
            told += [_windowed(m, d, f"{currency} minor", "never") for d in m.days]
    for m in BASE_MEASURES:
        unit, null = ("bookings", "never") if m.op == "count" else (f"{base} minor", "a rate is missing")
        told += [_windowed(m, d, unit, null) for d in m.days]
    told += [
        Feature(f"purchase_mean_{days}d", "number", f"{base} minor", f"no purchase in {days} days, or a rate is missing",
                table, f"mean purchase, {days} days", f"{days}天平均消费")
        for days in MEAN_DAYS
    ]  # fmt: skip
    none = "no purchase in 90 days, or a rate is missing"
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
    log = bookings(pairs, source)
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


def _number(values: Micros, unknown: Micros | None) -> pl.Series:
    numbers = pl.Series(values.astype(np.float64))
    return numbers if unknown is None else numbers.set(pl.Series(unknown > 0), None)


def booking_ratios() -> list[pl.Expr]:
    """Means and trends from the windows of the frame they are used in."""
    total = pl.col("purchase_sum_90d")
    sums = {days: (pl.col(f"purchase_sum_{days}d"), pl.col(f"purchase_count_{days}d")) for days in MEAN_DAYS}
    return [
        *(pl.when(n != 0).then(spent / n).alias(f"purchase_mean_{days}d") for days, (spent, n) in sums.items()),
        pl.when(total != 0).then(pl.col(HALF) / total).alias("purchase_trend_90d"),
        pl.when(pl.col("transaction_count_90d") != 0)
        .then(pl.col("transaction_count_30d") / pl.col("transaction_count_90d"))
        .alias("transaction_trend_90d"),
    ]


def _recency(pairs: Pairs, log: Log) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for name in LASTS:
        booked = log.last(pairs.frame, of_kinds(() if name == "transaction" else (name,)), ("booked",))["booked"]
        found[f"days_since_last_{name}"] = (pairs.frame["as_of"] - booked) * DAYS_A_MICRO
    return found


TRANSACTIONS = FeatureView("transactions", _declare, _compute)
