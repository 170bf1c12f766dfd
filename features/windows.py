"""The one windowing kernel: what was known at an instant about the time before it.

A row counts at as_of when booked < as_of and recorded <= as_of, that is, when

    visible = max(booked + 1 microsecond, recorded) <= as_of.

A window [tail, as_of) is sawtooth: its tail is floored to midnight of the bank's zone, its head is
exact. With prefix sums of the rows in two orders, the sum over a window is

    sum(visible <= as_of) - sum(booked < tail) + sum(booked < tail and visible > as_of)

The last term is about rows that came later than the window is long: few, and joined one by one.
So a pair costs two as-of joins whatever the window's length, and sums of integers stay exact.
Written in Narwhals, so that another eager engine can run the same lines.
"""

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

Micros = npt.NDArray[np.int64]
DAY_MICROS = 86_400_000_000
DAYS_A_MICRO = 1 / DAY_MICROS  # Polars divides by a constant so; plain Python does it with it
PAIRS_A_JOIN = 50_000  # bounds the memory of the one-by-one join of very late rows
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def midnight_micros(day: date, zone: ZoneInfo) -> int:
    """First instant of a local day, microseconds UTC; on a night without midnight, the jump."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    offset = local.utcoffset() or timedelta()
    return (local.replace(tzinfo=UTC) - offset - _EPOCH) // timedelta(microseconds=1)


def local_days(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Local dates of instants in microseconds UTC."""
    stamps = instants.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return stamps.dt.convert_time_zone(zone.key).dt.date()


def tails(as_of: pl.Series, days: int, zone: ZoneInfo) -> pl.Series:
    """Tail of the sawtooth window of so many days before each instant, microseconds UTC."""
    dates = local_days(as_of - days * DAY_MICROS, zone)
    distinct = dates.unique().to_list()
    midnights = [midnight_micros(day, zone) for day in distinct]
    return dates.replace_strict(distinct, midnights, return_dtype=pl.Int64).alias("tail")


def tail_of(as_of: int, days: int, zone: ZoneInfo) -> int:
    """Tail of the sawtooth window of so many days before one instant, microseconds UTC."""
    start = datetime.fromtimestamp((as_of - days * DAY_MICROS) // 1_000_000, UTC)
    return midnight_micros(start.astimezone(zone).date(), zone)


class Log:
    """Rows with two clocks, readied for windows.

    Args:
        rows: `by` (key of the pairs), booked and recorded (int64 microseconds), and int64 measures.
        by: Name of the key column.
        order: Columns that settle which of two rows booked and recorded together is the later.
    """

    def __init__(self, rows: pl.DataFrame, by: str = "customer", order: Sequence[str] = ()) -> None:
        self.by, self._order = by, order
        visible = nw.max_horizontal(nw.col("booked") + 1, nw.col("recorded"))
        self._rows = nw.from_native(rows, eager_only=True).with_columns(visible=visible)

    @cached_property
    def _by_booked(self) -> "nw.DataFrame[pl.DataFrame]":
        placed = self._rows.sort(self.by, "booked", "recorded", *self._order).with_row_index("rank")
        return placed.with_columns(nw.col("rank").cast(nw.Int64))

    @cached_property
    def _by_visible(self) -> "nw.DataFrame[pl.DataFrame]":
        return self._by_booked.sort(self.by, "visible", "rank")

    def windows(self, cuts: pl.DataFrame, asked: Mapping[int, Sequence[str]],
                zone: ZoneInfo) -> dict[tuple[str, int], Micros]:  # fmt: skip
        """Sums of measures over sawtooth windows.

        Args:
            cuts: `by`, as_of; sorted by both.
            asked: Days of a window -> measures.
            zone: The zone whose midnights floor the tails.

        Returns:
            Per (measure, days) (n_cuts,) int64.
        """
        if len(cuts) and cuts["as_of"].n_unique() == 1 and cuts[self.by].is_unique().all():
            return self._at_once(cuts, asked, zone)
        everything = sorted({name for names in asked.values() for name in names})
        total = self.ever(cuts, everything)
        found: dict[tuple[str, int], Micros] = {}
        for days, names in asked.items():
            tail = tails(cuts["as_of"], days, zone)
            gone = self._gone(cuts, tail, list(names), days)
            found |= {(name, days): total[name] - gone[name] for name in names}
        return found

    def _at_once(self, cuts: pl.DataFrame, asked: Mapping[int, Sequence[str]],
                 zone: ZoneInfo) -> dict[tuple[str, int], Micros]:  # fmt: skip
        """`windows` where all cuts have one instant: then nothing need be sorted, each row is added once.

        The rows between the tails of two windows are in the longer one and all that are longer still.
        """
        as_of = cuts["as_of"].item(0)
        rows = self._rows.select(self.by, "booked", "visible", *sorted({n for names in asked.values() for n in names}))
        keys = nw.from_native(cuts.select(self.by), eager_only=True)
        head, found = as_of, dict[tuple[str, int], Micros]()
        running: dict[str, Micros] = {}
        for days in sorted(asked):
            tail = tail_of(as_of, days, zone)
            names = sorted({name for longer, some in asked.items() if longer >= days for name in some})
            band = rows.filter(nw.col("booked") >= tail, nw.col("booked") < head, nw.col("visible") <= as_of)
            sums = keys.join(band.group_by(self.by).agg(*(nw.col(n).sum() for n in names)), on=self.by, how="left")
            if not sums.get_column(self.by).to_native().equals(cuts[self.by]):
                sums = sums.sort(self.by)
            added = {name: sums.get_column(name).fill_null(0).to_numpy() for name in names}
            running = {name: running[name] + some if name in running else some for name, some in added.items()}
            found |= {(name, days): running[name] for name in asked[days]}
            head = tail
        return found

    def ever(self, cuts: pl.DataFrame, names: Sequence[str]) -> dict[str, Micros]:
        """Sums of measures over everything visible at as_of; per measure (n_cuts,) int64."""
        return self._prefix(self._by_visible, "visible", cuts, cuts["as_of"], names)

    def since(self, cuts: pl.DataFrame, tail: pl.Series, names: Sequence[str]) -> dict[str, Micros]:
        """Sums over [tail, as_of), one tail <= as_of a cut, null: since ever."""
        total, gone = self.ever(cuts, names), self._gone(cuts, tail, names, 0)
        return {name: total[name] - gone[name] for name in names}

    def inside(self, cuts: pl.DataFrame, days: int, zone: ZoneInfo) -> "nw.DataFrame[pl.DataFrame]":
        """The rows of each cut's window themselves, with `cut`, the place of the cut; in no order.

        For what cannot be added up; costs a line a cut and row.
        """
        asked = cuts.select(self.by, "as_of", tails(cuts["as_of"], days, zone).alias("tail")).with_row_index("cut")
        wanted = nw.from_native(asked, eager_only=True)
        low, high = asked["tail"].min(), asked["as_of"].max()
        rows = (
            self._by_booked.filter(nw.col("booked") >= low, nw.col("booked") < high)
            if len(asked)
            else self._by_booked.head(0)
        )
        found: list[nw.DataFrame[pl.DataFrame]] = []
        for start in range(0, max(len(wanted), 1), PAIRS_A_JOIN):
            pairs = wanted[start : start + PAIRS_A_JOIN].join(rows, on=self.by)
            seen = (nw.col("booked") >= nw.col("tail")) & (nw.col("visible") <= nw.col("as_of"))
            found.append(pairs.filter(seen))
        return nw.concat(found)

    def last(self, cuts: pl.DataFrame, when: nw.Expr, columns: Sequence[str]) -> pl.DataFrame:
        """The row booked last among the visible ones where `when` holds; nulls where there is none.

        Args:
            cuts: `by`, as_of; sorted by both.
            when: Condition on a row.
            columns: What to return of the row, beside `rank`, its place in the booked order.

        Returns:
            (n_cuts,) in the order of cuts: rank and the columns.
        """
        ranks = self._by_visible.filter(when).select(self.by, "visible", nw.col("rank").cum_max().over(self.by))
        found = _asof(cuts, cuts["as_of"], ranks, self.by, "visible").select("rank")
        chosen = self._by_booked.select("rank", *columns)
        return found.join(chosen, on="rank", how="left").to_native()

    def _prefix(self, rows: "nw.DataFrame[pl.DataFrame]", clock: str, cuts: pl.DataFrame,
                at: pl.Series, names: Sequence[str]) -> dict[str, Micros]:  # fmt: skip
        sums = rows.select(self.by, clock, *(nw.col(n).cum_sum().over(self.by) for n in names))
        found = _asof(cuts, at, sums, self.by, clock)
        return {name: found.get_column(name).fill_null(0).to_numpy() for name in names}

    def _gone(self, cuts: pl.DataFrame, tail: pl.Series, names: Sequence[str],
              least_days: int) -> dict[str, Micros]:  # fmt: skip
        """What `ever` holds beyond the window: visible rows booked before the tail."""
        gone = self._prefix(self._by_booked, "booked", cuts, tail - 1, names)
        late = self._by_booked.filter(nw.col("visible") - nw.col("booked") > max(least_days * DAY_MICROS, 1)).select(
            self.by, "booked", "visible", *names
        )
        if not len(late):
            return gone
        gone = {name: sums.copy() for name, sums in gone.items()}
        asked = nw.from_native(cuts.select(self.by, "as_of", tail.alias("tail")).with_row_index("cut"), eager_only=True)
        for start in range(0, len(asked), PAIRS_A_JOIN):
            pairs = asked[start : start + PAIRS_A_JOIN].join(late, on=self.by)
            missed = (nw.col("booked") < nw.col("tail")) & (nw.col("visible") > nw.col("as_of"))
            found = pairs.filter(missed).group_by("cut").agg(*(nw.col(n).sum() for n in names))
            places = found.get_column("cut").to_numpy()
            for name in names:
                gone[name][places] -= found.get_column(name).to_numpy()
        return gone


def _asof(cuts: pl.DataFrame, at: pl.Series, rows: "nw.DataFrame[pl.DataFrame]", by: str,
          clock: str) -> "nw.DataFrame[pl.DataFrame]":  # fmt: skip
    asked = nw.from_native(cuts.select(by, at.alias("_at")), eager_only=True)
    with warnings.catch_warnings():
        # Both sides are sorted by construction; polars cannot check that within groups and says so.
        warnings.simplefilter("ignore", UserWarning)
        return asked.join_asof(rows, left_on="_at", right_on=clock, by=by, strategy="backward")
