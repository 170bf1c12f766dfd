"""What cannot be added up over years: how varied, how large, of which kind, on which channel.

Windows of at most 98 days, which look at the bookings themselves. Online they stand as of the night before.
"""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from features.booking_channels import by_channel, declare_channels, plain_name
from features.bookings import bookings
from features.cut_bookings import CutBookings, Worths, counts, distinct, extreme, known, sums
from features.salary import FRESH_DAYS, SALARY_DAYS, declare_salary, salaries
from features.segments import Ints
from features.source import Source
from features.tables import INFLOW_KINDS, OUTFLOW_KINDS, TRANSACTION_KINDS
from features.view import Feature, FeatureView, Pairs
from features.windows import in_days, local_days, tails

SHORT, LONG = 30, 90  # days
DISTINCT = {
    "transaction_kinds": ("kind", "kinds of bookings", "交易种类"),
    "transaction_channels": ("channel", "channels of bookings", "交易渠道"),
    "active_days": ("day", "days with a booking", "有交易的天数"),
}
EXTREMES = {
    "purchase": (("purchase",), -1, "purchase", "消费"),
    "inflow": (INFLOW_KINDS, 1, "inflow", "流入"),
    "outflow": (OUTFLOW_KINDS, -1, "outflow", "流出"),
}
COUNTED_KINDS = tuple(kind for kind in TRANSACTION_KINDS if kind != "purchase")  # its counts can be added up
Amounts = dict[str, tuple[Ints, Worths]]  # of each of EXTREMES: whose, how much
TABLE, RATE = "transactions", "there was none, or the rate of one is missing"


def _declare(source: Source) -> tuple[Feature, ...]:
    money = f"{source.settings.currency} minor"
    told = [Feature(f"{n}_count_{d}d", "number", unit, "never", TABLE, f"different {en}, {d} days", f"{d}天{zh}")
            for (n, (_, en, zh)), unit in zip(DISTINCT.items(), ("kinds", "channels", "days"), strict=True)
            for d in (SHORT, LONG)]  # fmt: skip
    told.append(
        Feature("salary_months_count_90d", "number", "months", "never", TABLE, "months with a salary, 90 days", "90天发薪月数")
    )  # fmt: skip
    told += [Feature(f"{name}_{how}_{d}d", "number", money, RATE, TABLE, f"{how} {en}, {d} days; reversals left out", f"{d}天{word}{zh}")
             for name, (_, _, en, zh) in EXTREMES.items()
             for how, word, days in (("largest", "最大单笔", (SHORT, LONG)), ("smallest", "最小单笔", (LONG,)), ("mean", "平均", (LONG,)))
             for d in days if (name, how) != ("purchase", "mean")]  # fmt: skip
    told += [Feature(f"{kind}_count_90d", "number", "bookings", "never", TABLE, f"bookings of kind {kind}, 90 days", f"90天{kind}笔数")
             for kind in COUNTED_KINDS]  # fmt: skip
    told += declare_channels(source.settings, SHORT, LONG)
    return (*told, *declare_salary(source.settings.currency))


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    frame, zone = pairs.frame, source.settings.tz
    rows = bookings(pairs, source).inside(frame, SALARY_DAYS, zone).to_native()
    kinds = rows.select("cut", "day", "channel", kind=pl.col("kind").to_physical(), worth="base")
    return varied(kinds, first_days(frame["as_of"], zone), source.settings.booking_channels)


def first_days(as_of: pl.Series, zone: ZoneInfo) -> dict[int, Ints]:
    """Days of a window -> its first local day at each instant, days since 1970."""
    windows = (SHORT, FRESH_DAYS, LONG, SALARY_DAYS)
    return {days: in_days(local_days(tails(as_of, days, zone), zone)) for days in windows}


def varied(rows: pl.DataFrame, firsts: Mapping[int, Ints], channels: tuple[str, ...]) -> dict[str, pl.Series]:
    """How varied and how large the bookings of each cut are.

    Args:
        rows: cut (the place of a cut, ascending), day, kind (place in TRANSACTION_KINDS), channel, worth
            (base minor units, null: no rate), visible at the cut, of its longest window at least.
        firsts: Days of a window -> its first local day, days since 1970, one a cut.
        channels: Those with features of their own.

    Returns:
        The declared columns, (n_cuts,).
    """
    cut, day = rows["cut"].to_numpy().astype(np.int64), in_days(rows["day"])
    kind, worth = rows["kind"].to_numpy().astype(np.int64), rows["worth"].cast(pl.Float64).to_numpy()
    channel = rows["channel"].cast(pl.Categorical())
    named: dict[str, list[int]] = {name: [] for name in channels}
    told = channel.unique().drop_nulls()
    for name, code in zip(told.cast(pl.String), _codes(told).tolist(), strict=True):
        named.get(plain_name(name), []).append(code)
    every = CutBookings(cut, day, kind, worth, _codes(channel))
    found = salaries(every.where(day >= firsts[SALARY_DAYS][cut]), firsts[FRESH_DAYS])
    windows = {days: every.where(day >= firsts[days][cut]) for days in (SHORT, LONG)}
    amounts = {days: _onward(inside) for days, inside in windows.items()}
    for days, inside in windows.items():
        found |= {f"{name}_{days}d": series for name, series in _of_both(inside, amounts[days], firsts[days]).items()}
    found |= _of_long(windows[LONG], amounts[LONG], firsts[LONG])
    return found | by_channel(named, windows, len(firsts[LONG]))


def _of_both(bookings: CutBookings, amounts: Amounts, first: Ints) -> dict[str, pl.Series]:
    """What is asked of the short window and of the long one."""
    cut, day, kind, _, channel = bookings
    codes = {"kind": kind, "day": day - first[cut], "channel": channel}
    found = {f"{name}_count": distinct(cut, codes[column], len(first)) for name, (column, _, _) in DISTINCT.items()}
    for name, (theirs, worth) in amounts.items():
        found[f"{name}_largest"] = extreme(np.maximum, theirs, worth, len(first))
    return found


def _of_long(bookings: CutBookings, amounts: Amounts, first: Ints) -> dict[str, pl.Series]:
    """What is asked of the long window alone, but for channels."""
    cut, day, kind, _, _ = bookings
    n, found = len(first), dict[str, pl.Series]()
    for name, (theirs, worth) in amounts.items():
        found[f"{name}_smallest_90d"] = extreme(np.minimum, theirs, worth, n)
        if name != "purchase":
            mean = sums(theirs, worth, n) / np.maximum(np.bincount(theirs, minlength=n), 1)
            found[f"{name}_mean_90d"] = known(mean, theirs, n)
    for name in COUNTED_KINDS:
        found[f"{name}_count_90d"] = counts(cut[kind == _code(name)], n)
    paid = kind == _code("salary")
    months = _months(day[paid].astype("datetime64[D]")) - _months(first.astype("datetime64[D]"))[cut[paid]]
    found["salary_months_count_90d"] = distinct(cut[paid], months, n)
    return found


def _onward(bookings: CutBookings) -> Amounts:
    """Of each of EXTREMES the bookings that are no reversals; unknown amounts stay, and make all unknown."""
    found: Amounts = {}
    for name, (kinds, sign, _, _) in EXTREMES.items():
        place = np.flatnonzero(_is_of(kinds)[bookings.kind] & ~(bookings.worth * sign <= 0))
        found[name] = bookings.cut[place], bookings.worth[place] * sign
    return found


def _is_of(kinds: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return np.array([kind in kinds for kind in TRANSACTION_KINDS])


def _codes(channels: pl.Series) -> Ints:
    """A number for each channel of one series, whose own they are; null: -1."""
    return channels.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _code(kind: str) -> int:
    return TRANSACTION_KINDS.index(kind)


def _months(days: "npt.NDArray[np.datetime64]") -> Ints:
    return days.astype("datetime64[M]").astype(np.int64)


VARIETY = FeatureView("variety", _declare, _compute)
