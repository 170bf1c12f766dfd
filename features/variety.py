"""What cannot be added up: how varied, how large, how it was the last time.

Distinct values and extremes over windows of at most 90 days look at the rows of the window
themselves; last values come from the booking order. Online they stand as of the night before.
"""

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from features.transactions import in_base
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, Log, local_days, tail_of

DISTINCT_DAYS = (30, 90)
DISTINCT = {
    "transaction_kinds": ("kind", "kinds of bookings", "交易种类"),
    "transaction_channels": ("channel", "channels of bookings", "交易渠道"),
    "active_days": ("day", "days with a booking", "有交易的天数"),
}
LARGEST = {
    "purchase_largest": (("purchase",), -1, "largest purchase", "最大单笔消费"),
    "inflow_largest": (INFLOW_KINDS, 1, "largest inflow", "最大单笔流入"),
    "outflow_largest": (OUTFLOW_KINDS, -1, "largest outflow", "最大单笔流出"),
}
LAST = {
    "last_transaction": ("any booking", (), "上次交易金额"),
    "last_purchase": ("purchase", ("purchase",), "上次消费金额"),
    "last_salary": ("salary", ("salary",), "上次工资金额"),
}
LAST_COLUMNS = (
    *(f"{name}_minor" for name in LAST),
    *(f"balance_{when}_last_transaction_minor" for when in ("before", "after")),
)
TABLE, RATE = "transactions", "there was none, or its rate is missing"
COLUMNS = (
    "amount_minor",
    "currency",
    "kind",
    "channel",
    "balance_after_minor",
    "booked_at",
    "recorded_at",
    "transaction_id",
)


def _declare(source: Source) -> tuple[Feature, ...]:
    told = [Feature(f"{n}_count_{d}d", "number", "", "never", TABLE, f"different {en}, {d} days", f"{d}天{zh}")
            for n, (_, en, zh) in DISTINCT.items() for d in DISTINCT_DAYS]  # fmt: skip
    told.append(
        Feature(
            "salary_months_count_90d", "number", "", "never", TABLE, "months with a salary, 90 days", "90天发薪月数"
        )
    )
    return (*told, *(Feature(f"{n}_90d", "number", f"{source.settings.currency} minor", RATE, TABLE, f"{en}, 90 days", f"90天{zh}")
                     for n, (_, _, en, zh) in LARGEST.items()))  # fmt: skip


def _declare_last(source: Source) -> tuple[Feature, ...]:
    money = f"{source.settings.currency} minor"
    told = [Feature(f"{n}_minor", "number", money, RATE, TABLE, f"amount of the last {en.removeprefix('any ')}", zh)
            for n, (en, _, zh) in LAST.items()]  # fmt: skip
    stated = "no balance was stated with it, or its rate is missing"
    return (*told, *(Feature(f"balance_{when}_last_transaction_minor", "number", money, stated, TABLE,
                             f"balance of the account {when} the last booking", f"上次交易{zh}余额")
                     for when, zh in (("before", "前"), ("after", "后"))))  # fmt: skip


def _valued(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The rows with day, month, and what amount and balances were worth in base minor units."""
    day = local_days(rows["booked_at"], source.settings.tz)
    return rows.with_columns(
        day=day, month=day.dt.truncate("1mo"), worth=in_base(rows["amount_minor"], rows["currency"], day, source),
        before=in_base(rows["balance_after_minor"] - rows["amount_minor"], rows["currency"], day, source),
        after=in_base(rows["balance_after_minor"], rows["currency"], day, source),
    )  # fmt: skip


def _log(pairs: Pairs, source: Source, booked_from: int | None) -> Log:
    rows = _valued(source.rows("transactions", COLUMNS, pairs.codes, booked_from), source)
    return Log(rows.rename({"booked_at": "booked", "recorded_at": "recorded"}), order=("transaction_id",))


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    earliest = pairs.frame["as_of"].min()
    start = tail_of(earliest, max(DISTINCT_DAYS), source.settings.tz) if isinstance(earliest, int) else None
    return _within(pairs, _log(pairs, source, start), source)


def _compute_last(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    return _last(pairs, _log(pairs, source, None))


def last_moved_on(base: pl.DataFrame, bookings: pl.DataFrame, since: int, source: Source) -> pl.DataFrame:
    """The last values after new bookings, from those before: customer_id, `unsure`, the values.

    Args:
        base: customer_id, the recencies and the last values as of `since`.
        bookings: customer_id and COLUMNS of what became visible since.
        since: Microseconds.
        source: The bank's currencies, zone and rates.

    Returns:
        One row a row of base. Unsure: a new booking and the last one happened at once.
    """
    rows = _valued(bookings, source).sort("booked_at", "recorded_at", "transaction_id")
    moved = base.with_columns(unsure=pl.lit(False))
    for name, (_, kinds, _) in LAST.items():
        chosen = rows.filter(pl.col("kind").is_in(kinds)) if kinds else rows
        last = chosen.group_by("customer_id").last().select("customer_id", "booked_at", "worth", "before", "after")
        joined = moved.join(last, on="customer_id", how="left", maintain_order="left")
        age = pl.col(f"days_since_{name}")
        before = since - (age * DAY_MICROS).round().cast(pl.Int64)
        newer = (pl.col("booked_at").is_not_null() & (before.is_null() | (pl.col("booked_at") > before))).alias("newer")
        places = {f"{name}_minor": "worth"} | (
            {} if kinds else {f"balance_{w}_last_transaction_minor": w for w in ("before", "after")}
        )
        moved = joined.with_columns(newer, unsure=pl.col("unsure") | (pl.col("booked_at") == before).fill_null(False)).with_columns(
            pl.when("newer").then(pl.col(value)).otherwise(pl.col(column)).alias(column) for column, value in places.items()
        ).drop("newer", "booked_at", "worth", "before", "after")  # fmt: skip
    return moved.select("customer_id", "unsure", *LAST_COLUMNS)


def _within(pairs: Pairs, log: Log, source: Source) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for days in DISTINCT_DAYS:
        counts = [
            nw.col(column).drop_nulls().n_unique().alias(f"{name}_count_{days}d")
            for name, (column, _, _) in DISTINCT.items()
        ]
        rows = log.inside(pairs.frame, days, source.settings.tz)
        grouped = rows.group_by("cut").agg(*counts)
        if days == 90:
            salaries = (
                rows.filter(nw.col("kind") == "salary")
                .group_by("cut")
                .agg(nw.col("month").n_unique().alias("salary_months_count_90d"))
            )
            grouped = grouped.join(salaries, on="cut", how="left")
            for name, (kinds, sign, _, _) in LARGEST.items():
                chosen = rows.filter(nw.col("kind").is_in(kinds)).with_columns(signed=nw.col("worth") * sign)
                most = chosen.group_by("cut").agg(
                    nw.col("signed").max().alias(f"{name}_90d"), nw.col("worth").is_null().any().alias("unrated")
                )
                most = most.with_columns(nw.when(~nw.col("unrated")).then(nw.col(f"{name}_90d")).alias(f"{name}_90d"))
                grouped = grouped.join(most.drop("unrated"), on="cut", how="left")
        frame = pl.DataFrame({"cut": pl.int_range(len(pairs), dtype=pl.UInt32, eager=True)})
        wide = frame.join(grouped.to_native(), on="cut", how="left", maintain_order="left")
        for name in wide.columns[1:]:
            column = wide[name].cast(pl.Float64)
            found[name] = column.fill_null(0.0) if "_count_" in name else column
    return found


def _last(pairs: Pairs, log: Log) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for name, (_, kinds, _) in LAST.items():
        when = nw.col("kind").is_in(kinds) if kinds else ~nw.col("kind").is_null()
        last = log.last(pairs.frame, when, ("worth", "before", "after"))
        found[f"{name}_minor"] = last["worth"]
        if not kinds:
            found |= {f"balance_{w}_last_transaction_minor": last[w] for w in ("before", "after")}
    return found


VARIETY = FeatureView("variety", _declare, _compute)
LAST_VALUES = FeatureView("last values", _declare_last, _compute_last)
