"""Whether a salary comes: one booked as such, or a transfer in that comes regularly.

A transfer in is regular when it is the third of three whose amounts are like one another (the smaller at least nine
tenths of the larger), each a fortnight (12 to 16 days) or each a month (26 to 35 days) after the one before. One of 35
days ago or older is a salary that has stopped. Whom more than TRANSFERS_MOST transfers reach in the 98 days is no
wage earner, but somebody's till: for him only what is booked as a salary counts.
"""

import numpy as np
import polars as pl

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


def salaries(cut: Ints, day: Ints, kind: Ints, worth: Ints, first_fresh: Ints) -> dict[str, pl.Series]:
    """The latest salary of each cut, the largest of one day; one booked as such before any other.

    Args:
        cut: Place of the cut of each booking.
        day: Its local day, days since 1970; of the last SALARY_DAYS.
        kind: Place in TRANSACTION_KINDS.
        worth: Base minor units, above 0.
        first_fresh: First local day of the last FRESH_DAYS at each cut, (n_cuts,).

    Returns:
        The declared columns, (n_cuts,).
    """
    transfers = np.bincount(cut[kind == _TRANSFER], minlength=len(first_fresh))
    come = (kind == _SALARY) | ((kind == _TRANSFER) & (transfers[cut] <= TRANSFERS_MOST))
    cut, day, kind, worth = cut[come], day[come], kind[come], worth[come]
    order = np.lexsort((worth, day, cut))
    cut, day, kind, worth = cut[order], day[order], kind[order], worth[order]
    fresh = day >= first_fresh[cut]
    amount, paid_on = np.zeros(len(first_fresh)), np.full(len(first_fresh), -1)
    for chosen in (fresh & (kind == _TRANSFER) & _regular(cut, day, kind, worth), fresh & (kind == _SALARY)):
        place = np.flatnonzero(chosen)
        last = place[last_places(cut[place])]
        amount[cut[last]], paid_on[cut[last]] = worth[last], day[last]
    none = pl.Series(paid_on < 0)
    days = pl.Series(np.maximum(paid_on, 0)).cast(pl.Int32).cast(pl.Date).dt.day().cast(pl.Float64)
    return {
        "salary_detected": ~none,
        "salary_detected_minor": pl.Series(amount).set(none, None),
        "salary_detected_day": days.set(none, 0.0).set(none, None),  # 0 behind every null: the same bytes
    }


def _regular(cut: Ints, day: Ints, kind: Ints, worth: Ints) -> "np.ndarray":  # pyright: ignore[reportMissingTypeArgument]
    """Whether a transfer in is the third of a row; those given stand by cut and day, (n,) bool."""
    key = cut * _DAYS + day
    found, transfer = np.zeros(len(key), bool), kind == _TRANSFER
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
