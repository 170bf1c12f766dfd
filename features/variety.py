"""What cannot be added up: how varied, how large, how it was the last time.

Distinct values and extremes over windows of at most 90 days look at the rows of the window
themselves; last values come from the booking order. Online they stand as of the night before.
"""

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from features.bookings import bookings, of_kinds
from features.measures import in_base
from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, local_days, tail_of, tails

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


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    rows = _window(pairs, source)
    return _distinct(pairs, rows, source) | _of_quarter(pairs, rows)


def _window(pairs: Pairs, source: Source) -> "nw.DataFrame[pl.DataFrame]":
    """The bookings of each cut's longest window, with `cut`, the place of the cut."""
    frame, zone, longest = pairs.frame, source.settings.tz, max(DISTINCT_DAYS)
    instants = frame["as_of"].unique()
    start = tail_of(instants.min(), longest, zone) if len(frame) else None  # pyright: ignore[reportArgumentType]  # int64
    log = bookings(pairs, source, start)
    if len(instants) == 1 and frame["customer"].is_unique().all():  # a snapshot: nothing need be sorted
        places = frame.select("customer", cut=pl.int_range(pl.len(), dtype=pl.UInt32))
        return log.before(instants.item(), start or 0, places)
    return log.inside(frame, longest, zone)


def _distinct(pairs: Pairs, rows: "nw.DataFrame[pl.DataFrame]", source: Source) -> dict[str, pl.Series]:
    """How many different values each cut's rows have."""
    counts: list[nw.Expr] = []
    for days in DISTINCT_DAYS:
        tail = tails(pairs.frame["as_of"], days, source.settings.tz)
        begins = nw.from_native(tail.gather(rows.get_column("cut").to_native()), series_only=True)
        within = (rows.get_column("booked") >= begins).alias(f"_within_{days}")
        rows = rows.with_columns(within)
        counts += [
            nw.col(column).filter(nw.col(within.name)).drop_nulls().n_unique().alias(f"{name}_count_{days}d")
            for name, (column, _, _) in DISTINCT.items()
        ]
    wide = _by_cut(pairs, rows.group_by("cut").agg(*counts))
    return {name: wide[name].fill_null(0).cast(pl.Float64) for name in wide.columns if name != "cut"}


def _of_quarter(pairs: Pairs, rows: "nw.DataFrame[pl.DataFrame]") -> dict[str, pl.Series]:
    """Months with a salary, and extremes; of a kind without a rate in one booking nothing is known."""
    paid = rows.filter(nw.col("kind") == "salary").select("cut", month=nw.col("day").dt.truncate("1mo"))
    months = _by_cut(pairs, paid.unique().group_by("cut").agg(nw.len().alias("n")))["n"]
    found = {"salary_months_count_90d": months.fill_null(0).cast(pl.Float64)}
    for name, (kinds, sign, _, _) in LARGEST.items():
        chosen = rows.filter(nw.col("kind").is_in(kinds)).select("cut", worth=nw.col("base") * sign)
        most = chosen.group_by("cut").agg(nw.col("worth").max(), unrated=nw.col("worth").is_null().any())
        wide = _by_cut(pairs, most)
        found[f"{name}_90d"] = wide.select(pl.when(~pl.col("unrated")).then("worth")).to_series().cast(pl.Float64)
    return found


def _by_cut(pairs: Pairs, grouped: "nw.DataFrame[pl.DataFrame]") -> pl.DataFrame:
    frame = pl.DataFrame({"cut": pl.int_range(len(pairs), dtype=pl.UInt32, eager=True)})
    return frame.join(grouped.to_native(), on="cut", how="left", maintain_order="left")


def _compute_last(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    log, found = bookings(pairs, source), dict[str, pl.Series]()
    for name, (_, kinds, _) in LAST.items():
        columns = ("base",) if kinds else ("base", "amount_minor", "balance_after_minor", "currency", "day")
        last = log.last(pairs.frame, of_kinds(kinds), columns)
        found[f"{name}_minor"] = last["base"].cast(pl.Float64)
        if not kinds:
            found |= {f"balance_{w}_last_transaction_minor": s for w, s in _balances(last, source).items()}
    return found


def _balances(rows: pl.DataFrame, source: Source) -> dict[str, pl.Series]:
    """Balance before and after each booking in base minor units; null: not stated, or no rate."""
    after = rows["balance_after_minor"]
    stated = {"before": after - rows["amount_minor"], "after": after}
    return {when: in_base(amount, rows["currency"], rows["day"], source) for when, amount in stated.items()}


def _valued(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The rows with what amount and balances were worth in base minor units."""
    placed = rows.with_columns(day=local_days(rows["booked_at"], source.settings.tz))
    worth = in_base(placed["amount_minor"], placed["currency"], placed["day"], source)
    return placed.with_columns(worth=worth, **_balances(placed, source))


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


VARIETY = FeatureView("variety", _declare, _compute)
LAST_VALUES = FeatureView("last values", _declare_last, _compute_last)
