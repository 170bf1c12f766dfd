"""Whether a salary comes: one booked as such, or a transfer in that comes regularly.

A transfer in is regular when it is the third of three whose amounts are like one another (the smaller at least nine
tenths of the larger), each a fortnight (12 to 16 days) or each a month (26 to 35 days) after the one before. One of more
than 35 days ago is a salary that has stopped, and what was booked as one and taken back is none. Whom more than TRANSFERS_MOST transfers reach in the 98 days is no
wage earner, but somebody's till: for him only what is booked as a salary counts.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from features.cut_bookings import CutBookings, nullable, sums
from features.segments import Ints, laid_out, last_places
from features.tables import TRANSACTION_KINDS
from features.view import Feature

SALARY_DAYS, FRESH_DAYS = 98, 35  # three monthly ones and the month after them; how old the last may be
TRANSFERS_MOST = 400  # each is held against those of the month before: of a merchant that would be millions of pairs
GAPS = ((12, 16), (26, 35))
_SALARY, _TRANSFER = TRANSACTION_KINDS.index("salary"), TRANSACTION_KINDS.index("transfer_in")
_DAYS = 1 << 20  # more days than any calendar has: customer and day in one number


def declare_salary(currency: str) -> tuple[Feature, ...]:
    """The declared features of a salary."""
    none = "none is detected"
    return (
        Feature("salary_detected", "bool", "", "never", "transactions",
                "a salary comes: booked as one in 35 days, or like transfers in each fortnight or month", "识别出工资"),
        Feature("salary_detected_minor", "number", f"{currency} minor", none, "transactions", "amount of the salary detected",
                "识别出的工资金额"),
        Feature("salary_detected_day", "number", "day of the month", none, "transactions", "day the salary detected came",
                "识别出的发薪日"),
    )  # fmt: skip


def salaries(bookings: CutBookings, first_fresh: Ints) -> dict[str, pl.Series]:
    """The latest salary of each cut, the largest of one day; one booked as such before any other.

    Args:
        bookings: Of the last SALARY_DAYS.
        first_fresh: First local day of the last FRESH_DAYS at each cut, (n_cuts,).

    Returns:
        The declared columns, (n_cuts,).
    """
    n, came = len(first_fresh), bookings.where(~(bookings.worth <= 0))  # unknown ones among them
    transfers = np.bincount(came.cut[came.kind == _TRANSFER], minlength=n)
    sought = (came.kind == _TRANSFER) & ~np.isnan(came.worth) & (transfers[came.cut] <= TRANSFERS_MOST)
    came = came.where((came.kind == _SALARY) | sought)
    came = came.where(np.lexsort((came.worth, came.day, came.cut)))
    fresh = came.day >= first_fresh[came.cut]
    amount, paid_on = np.zeros(n), np.full(n, -1)
    for chosen in (fresh & (came.kind == _TRANSFER) & _regular(came), fresh & _paid(bookings, came, first_fresh)):
        place = np.flatnonzero(chosen)
        last = place[last_places(came.cut[place])]
        amount[came.cut[last]], paid_on[came.cut[last]] = came.worth[last], came.day[last]
    none = pl.Series(paid_on < 0)
    days = pl.Series(np.maximum(paid_on, 0)).cast(pl.Int32).cast(pl.Date).dt.day().cast(pl.Float64)
    return {
        "salary_detected": ~none,
        "salary_detected_minor": nullable(np.where(paid_on < 0, np.nan, amount)),
        "salary_detected_day": days.set(none, 0.0).set(none, None),  # 0 behind every null: the same bytes
    }


def _paid(bookings: CutBookings, came: CutBookings, first_fresh: Ints) -> "npt.NDArray[np.bool_]":
    """Which of those that came are salaries, and were not all taken back: in the fresh days they come to more than 0."""
    salaries = bookings.where((bookings.kind == _SALARY) & (bookings.day >= first_fresh[bookings.cut]))
    return (came.kind == _SALARY) & ~(sums(salaries.cut, salaries.worth, len(first_fresh))[came.cut] <= 0)


def _regular(came: CutBookings) -> "npt.NDArray[np.bool_]":
    """Whether a transfer in is the third of a row; those given stand by cut and day, (n,) bool."""
    key, worth, transfer = came.cut * _DAYS + came.day, came.worth, came.kind == _TRANSFER
    found = np.zeros(len(key), bool)
    for shortest, longest in GAPS:
        first, last = np.searchsorted(key, key - longest, "left"), np.searchsorted(key, key - shortest, "right")
        second, pairs = np.zeros(len(key), bool), list[tuple[Ints, Ints]]()
        for row, before in laid_out(first, last):
            small, large = np.minimum(worth[row], worth[before]), np.maximum(worth[row], worth[before])
            like = transfer[row] & transfer[before] & (10 * small >= 9 * large)
            second[row[like]] = True
            pairs.append((row[like], before[like]))
        for row, before in pairs:
            found[row[second[before]]] = True
    return found
