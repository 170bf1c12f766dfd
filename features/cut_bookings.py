"""The bookings of some cuts - a customer at an instant each - as arrays, and what they come to for each cut.

Numbers are float64; a worth is NaN where its rate is missing.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.segments import Ints, distinct_codes, first_places

Worths = npt.NDArray[np.float64]


class CutBookings(NamedTuple):
    """Columns of bookings, one entry each, ascending by cut."""

    cut: Ints
    day: Ints
    kind: Ints
    worth: Worths
    channel: Ints

    def where(self, which: "npt.NDArray[np.bool_] | Ints") -> "CutBookings":
        """Those of them, by a mask or by their places."""
        place = np.flatnonzero(which) if which.dtype == bool else which  # found once, not once a column
        cut, day, kind, worth, channel = self
        return CutBookings(cut[place], day[place], kind[place], worth[place], channel[place])


def counts(cut: Ints, n: int) -> pl.Series:
    """How many each cut has."""
    return pl.Series(np.bincount(cut, minlength=n).astype(np.float64))


def sums(cut: Ints, worth: Worths, n: int) -> Worths:
    """The sum of each cut, exact; NaN where one is unknown."""
    rated, total = ~np.isnan(worth), np.zeros(n, np.int64)
    if len(cut):
        first = first_places(cut)
        total[cut[first]] = np.add.reduceat(np.where(rated, worth, 0).astype(np.int64), first)
    return np.where(np.bincount(cut[~rated], minlength=n) > 0, np.nan, total.astype(np.float64))


def known(values: Worths, cut: Ints, n: int) -> pl.Series:
    """The values; null where a cut has no booking, or the value is unknown (NaN)."""
    return nullable(np.where(np.bincount(cut, minlength=n) > 0, values, np.nan))


def nullable(values: Worths) -> pl.Series:
    """The values, null where NaN."""
    unknown = np.isnan(values)
    there = pl.Series(np.where(unknown, 0.0, values))  # 0 behind every null: the same bytes
    return there.set(pl.Series(unknown), None)


def distinct(cut: Ints, codes: Ints, n_cuts: int) -> pl.Series:
    """How many different codes each cut has; those below 0 are none."""
    there = codes >= 0
    if not there.all():
        cut, codes = cut[there], codes[there]
    return pl.Series(distinct_codes(cut, codes, n_cuts)).cast(pl.Float64)


def extreme(ufunc: np.ufunc, cut: Ints, worth: Worths, n_cuts: int) -> pl.Series:
    """The largest or smallest of each cut; null where there is none, or one is unknown (NaN)."""
    found = np.full(n_cuts, np.nan)
    if len(cut):
        first = first_places(cut)
        found[cut[first]] = ufunc.reduceat(worth, first)  # NaN where one is
    return nullable(found)
