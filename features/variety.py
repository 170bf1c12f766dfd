"""What cannot be added up: how varied, how large, how it was the last time.

Distinct values and extremes over windows of at most 90 days look at the rows of the window
themselves; last values come from the booking order. Online they stand as of the night before.
"""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from features.bookings import bookings, of_kinds
from features.measures import in_base
from features.segments import Ints, distinct_codes, first_places
from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS, TRANSACTION_KINDS
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, local_days, tails

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
    frame, zone = pairs.frame, source.settings.tz
    rows = bookings(pairs, source).inside(frame, max(DISTINCT_DAYS), zone).to_native()
    kinds = rows.select("cut", "day", "channel", kind=pl.col("kind").to_physical(), worth="base")
    return varied(kinds, first_days(frame["as_of"], zone))


def first_days(as_of: pl.Series, zone: ZoneInfo) -> dict[int, Ints]:
    """Days of a window -> its first local day at each instant, days since 1970."""
    return {days: _number(local_days(tails(as_of, days, zone), zone)) for days in DISTINCT_DAYS}


def varied(rows: pl.DataFrame, firsts: Mapping[int, Ints]) -> dict[str, pl.Series]:
    """How varied and how large the bookings of each cut are.

    Args:
        rows: cut (the place of a cut, ascending), day, kind (place in TRANSACTION_KINDS), channel, worth
            (base minor units, null: no rate), visible at the cut, of its longest window at least.
        firsts: Days of a window -> its first local day, days since 1970, one a cut.

    Returns:
        The declared columns, (n_cuts,).
    """
    longest = firsts[max(firsts)]
    days_ago = _number(rows["day"]) - longest[rows["cut"].to_numpy()]
    rows = rows.filter(pl.Series(days_ago >= 0))
    cut, day = rows["cut"].to_numpy().astype(np.int64), days_ago[days_ago >= 0]
    channel = rows["channel"].cast(pl.Categorical()).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    kind, worth = rows["kind"].to_numpy(), rows["worth"].cast(pl.Float64).to_numpy()
    found: dict[str, pl.Series] = {}
    for days, first in firsts.items():
        within = slice(None) if first is longest else np.flatnonzero(day >= (first - longest)[cut])
        codes = {"kind": kind[within], "day": day[within], "channel": channel[within]}
        for name, (column, _, _) in DISTINCT.items():
            found[f"{name}_count_{days}d"] = _distinct(cut[within], codes[column], len(first))
    paid = kind == _code("salary")
    months = (
        _months(rows["day"].filter(pl.Series(paid)).to_numpy()) - _months(longest.astype("datetime64[D]"))[cut[paid]]
    )
    found["salary_months_count_90d"] = _distinct(cut[paid], months, len(longest))
    for name, (kinds, sign, _, _) in LARGEST.items():
        of_kinds = np.array([code in map(_code, kinds) for code in range(len(TRANSACTION_KINDS))])[kind]
        found[f"{name}_90d"] = _largest(cut[of_kinds], worth[of_kinds] * sign, len(longest))
    return found


def _distinct(cut: Ints, codes: Ints, n_cuts: int) -> pl.Series:
    """How many different codes each cut has; those below 0 are none."""
    there = codes >= 0
    if not there.all():
        cut, codes = cut[there], codes[there]
    return pl.Series(distinct_codes(cut, codes, n_cuts)).cast(pl.Float64)


def _code(kind: str) -> int:
    return TRANSACTION_KINDS.index(kind)


def _number(days: pl.Series) -> Ints:
    """Days as numbers, days since 1970."""
    return days.cast(pl.Int32).cast(pl.Int64).to_numpy()


def _months(days: "npt.NDArray[np.datetime64]") -> Ints:
    return days.astype("datetime64[M]").astype(np.int64)


def _largest(cut: Ints, worth: "npt.NDArray[np.float64]", n_cuts: int) -> pl.Series:
    """The largest of each cut; null where there is none, or one is unknown (NaN)."""
    found = np.full(n_cuts, np.nan)
    if len(cut):
        first = first_places(cut)
        found[cut[first]] = np.maximum.reduceat(worth, first)  # NaN where one is
    unknown = np.isnan(found)
    return pl.Series(np.where(unknown, 0.0, found)).set(pl.Series(unknown), None)  # 0 behind every null: the same bytes


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
