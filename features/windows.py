"""The one windowing kernel: what was known at an instant about the time before it.

A row counts at as_of when booked < as_of and recorded <= as_of, that is, when

    visible = max(booked + 1 microsecond, recorded) <= as_of.

A window [tail, as_of) of n days is sawtooth: its tail is the midnight of the bank's zone that begins the n-th day
before the one of as_of, its head is exact. With prefix sums of the rows in two orders, the sum over a window is

    sum(visible <= as_of) - sum(booked < tail) + sum(booked < tail and visible > as_of)

The last term is about rows that came later than the window is long: few, and looked at one by one.
So a pair costs a binary search a window, whatever the window's length, and sums of integers stay
exact. Where all pairs have one instant nothing need be sorted (features/at_once.py). Rows are read,
chosen and measured through Narwhals, so that another eager engine can run the same lines.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from features.at_once import BATCH, Adds, sums_at_once
from features.segments import laid_out, reached, sums_between

Micros = npt.NDArray[np.int64]
DAY_MICROS = 86_400_000_000
DAYS_A_MICRO = 1 / DAY_MICROS  # to multiply with: Polars divides a column by it so, but a column of one row truly
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def midnight_micros(day: date, zone: ZoneInfo) -> int:
    """First instant of a local day, microseconds UTC; on a night without midnight, the jump."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    offset = local.utcoffset() or timedelta()
    return (local.replace(tzinfo=UTC) - offset - _EPOCH) // timedelta(microseconds=1)


def stamp(micros: int) -> pl.Expr:
    """An instant in microseconds UTC as the tables have it, so that a scan passes over the row groups of other days."""
    return pl.lit(micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def local_days(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Local dates of instants in microseconds UTC."""
    if len(instants) > 1 and instants[0] == instants.min() == instants.max() and not instants.has_nulls():
        return local_days(instants.head(1), zone).new_from_index(0, len(instants))  # a snapshot asks for one instant
    stamps = instants.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return stamps.dt.convert_time_zone(zone.key).dt.date()


def in_days(dates: pl.Series) -> Micros:
    """Dates as numbers, days since 1970."""
    return dates.cast(pl.Int32).cast(pl.Int64).to_numpy()


def tails(as_of: pl.Series, days: int, zone: ZoneInfo) -> pl.Series:
    """Tail of the sawtooth window of so many days before each instant, microseconds UTC."""
    dates = local_days(as_of, zone).dt.offset_by(f"-{days}d")
    if dates.is_empty():  # replaced by nothing, days would stay days
        return pl.Series("tail", [], pl.Int64)
    distinct = dates.unique().to_list()
    midnights = [midnight_micros(day, zone) for day in distinct]
    return dates.replace_strict(distinct, midnights, return_dtype=pl.Int64).alias("tail")


def tail_of(as_of: int, days: int, zone: ZoneInfo) -> int:
    """Tail of the sawtooth window of so many days before one instant, microseconds UTC."""
    return midnight_micros(local_day(as_of, zone) - timedelta(days=days), zone)


def local_day(instant: int, zone: ZoneInfo) -> date:
    """Local date of one instant in microseconds UTC."""
    return datetime.fromtimestamp(instant // 1_000_000, zone).date()


class Log:
    """Rows with two clocks, readied for windows.

    Args:
        rows: `by` (key of the pairs), booked and recorded (int64 microseconds), and int64 measures.
        by: Name of the key column.
        order: Columns that settle which of two rows booked and recorded together is the later.
        measures: What a row adds, by name, worked out when it is asked for; names that are not
            among them are columns.
    """

    def __init__(self, rows: pl.DataFrame, by: str = "customer", order: Sequence[str] = (),
                 measures: Mapping[str, Adds] | None = None) -> None:  # fmt: skip
        self.by, self._order, self._measures = by, order, measures or {}
        self._rows = nw.from_native(rows, eager_only=True)

    @cached_property
    def _placed(self) -> "nw.DataFrame[pl.DataFrame]":
        """The rows by key and booking; a row's rank is its place here."""
        placed = self._rows.sort(self.by, "booked", "recorded", *self._order)
        self._rows = placed  # one copy is enough
        return placed

    @cached_property
    def _keys(self) -> Micros:
        return self._placed.get_column(self.by).to_numpy()

    @cached_property
    def _booked(self) -> Micros:
        return self._placed.get_column("booked").to_numpy()

    @cached_property
    def _visible(self) -> Micros:
        return np.maximum(self._booked + 1, self._placed.get_column("recorded").to_numpy())

    @cached_property
    def _by_visible(self) -> Micros:
        """Ranks by key and by when a row became visible; of two at once the lower rank first."""
        order = nw.from_native(pl.DataFrame({"key": self._keys, "visible": self._visible}), eager_only=True)
        return (
            order.with_row_index("rank").sort("key", "visible", "rank").get_column("rank").to_numpy().astype(np.int64)
        )

    @cached_property
    def _place_seen(self) -> Micros:
        """Place in the order of visibility of each rank."""
        places = np.empty(len(self._by_visible), np.int64)
        places[self._by_visible] = np.arange(len(places))
        return places

    @cached_property
    def _latest_place(self) -> Micros:
        """The latest of a key's places up to each rank; another key's places all lie before."""
        return np.maximum.accumulate(self._place_seen)

    @cached_property
    def _seen_at(self) -> Micros:
        return self._visible[self._by_visible]

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
        keys = cuts[self.by].to_numpy()
        if len(cuts) and cuts["as_of"].n_unique() == 1 and (keys[1:] > keys[:-1]).all():
            as_of = int(cuts["as_of"].item(0))
            at = {days: tail_of(as_of, days, zone) for days in asked}
            batches = (self._rows[n : n + BATCH] for n in range(0, len(self._rows), BATCH))
            return sums_at_once(batches, keys, self.by, as_of, at, asked, self._measures)
        tail = {days: tails(cuts["as_of"], days, zone).to_numpy() for days in asked}
        return self._sums(cuts, tail, asked)

    def ever(self, cuts: pl.DataFrame, names: Sequence[str]) -> dict[str, Micros]:
        """Sums of measures over everything visible at as_of; per measure (n_cuts,) int64."""
        start, seen = self._start_and_seen(cuts)
        return {name: sums_between(self._values(name)[self._by_visible], start, seen) for name in names}

    def since(self, cuts: pl.DataFrame, tail: pl.Series, names: Sequence[str]) -> dict[str, Micros]:
        """Sums over [tail, as_of), one tail <= as_of a cut, null: since ever."""
        ever = int(self._booked.min()) if len(self._booked) else 0
        found = self._sums(cuts, {0: tail.fill_null(ever).to_numpy()}, {0: names})
        return {name: sums for (name, _), sums in found.items()}

    def inside(self, cuts: pl.DataFrame, days: int, zone: ZoneInfo) -> "nw.DataFrame[pl.DataFrame]":
        """The rows of each cut's window themselves, with `cut`, the place of the cut, and its `tail`; by cut.

        For what cannot be added up; costs a line a cut and row of the window.
        """
        start, end = self._segments(cuts)
        as_of, tail = cuts["as_of"].to_numpy(), tails(cuts["as_of"], days, zone).to_numpy()
        bounds = [reached(self._booked, start, end, at - 1) for at in (tail, as_of)]
        cut_parts, row_parts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for cut, row in laid_out(*bounds):
            seen = self._visible[row] <= as_of[cut]
            cut_parts.append(cut[seen])
            row_parts.append(row[seen])
        cut, row = np.concatenate(cut_parts), np.concatenate(row_parts)
        found = self._placed[row]
        return found.with_columns(self._series("cut", cut.astype(np.uint32)), self._series("tail", tail[cut]))

    def last(self, cuts: pl.DataFrame, when: nw.Expr, columns: Sequence[str]) -> pl.DataFrame:
        """The row booked last among the visible ones where `when` holds; nulls where there is none.

        Args:
            cuts: `by`, as_of; sorted by both.
            when: Condition on a row.
            columns: What to return of the row.

        Returns:
            (n_cuts,) in the order of cuts: the columns.
        """
        start, seen = self._start_and_seen(cuts)
        if not len(self._keys):
            return self._placed.select(*columns).to_native().clear(len(cuts))
        holds = self._placed.select(_when=when).get_column("_when").fill_null(False).to_numpy()
        ranks = self._by_visible
        highest = np.maximum.accumulate(np.where(holds[ranks], ranks, -1))
        rank = highest[np.maximum(seen, 1) - 1]
        # A rank below the key's first is another key's: then this key has no such row.
        there = self._series("_there", (seen > start) & (rank >= start))
        taken = self._placed.select(*columns)[np.maximum(rank, 0)].with_columns(there)
        return taken.select(nw.when(nw.col("_there")).then(nw.col(c)).alias(c) for c in columns).to_native()

    def _values(self, name: str) -> Micros:
        adds = self._measures.get(name)
        expr = nw.col(name) if adds is None else adds.column()
        return self._placed.select(expr.alias(name)).get_column(name).to_numpy()

    @staticmethod
    def _series(name: str, values: np.ndarray) -> "nw.Series[pl.Series]":  # pyright: ignore[reportMissingTypeArgument]
        return nw.from_native(pl.Series(name, values), series_only=True)

    def _segments(self, cuts: pl.DataFrame) -> tuple[Micros, Micros]:
        """First and last place of each cut's key."""
        asked = cuts[self.by].to_numpy()
        return np.searchsorted(self._keys, asked, "left"), np.searchsorted(self._keys, asked, "right")

    def _start_and_seen(self, cuts: pl.DataFrame) -> tuple[Micros, Micros]:
        """Per cut the first place of its key, and where in the order of visibility its as_of stands."""
        start, end = self._segments(cuts)
        return start, reached(self._seen_at, start, end, cuts["as_of"].to_numpy())

    def _sums(self, cuts: pl.DataFrame, tail: Mapping[int, Micros],
              asked: Mapping[int, Sequence[str]]) -> dict[tuple[str, int], Micros]:  # fmt: skip
        """Per (measure, window) what is visible at as_of and not booked before the tail."""
        start, end = self._segments(cuts)
        seen = reached(self._seen_at, start, end, cuts["as_of"].to_numpy())
        before = {window: reached(self._booked, start, end, at - 1) for window, at in tail.items()}
        missed = {window: self._missed(start, places, seen) for window, places in before.items()}
        found: dict[tuple[str, int], Micros] = {}
        for name in sorted({name for names in asked.values() for name in names}):
            values = self._values(name)
            total = sums_between(values[self._by_visible], start, seen)
            running = np.zeros(len(values) + 1, np.int64)
            np.cumsum(values, out=running[1:])
            for window in (w for w, names in asked.items() if name in names):
                sums = total - (running[before[window]] - running[start])
                cut, row = missed[window]
                np.add.at(sums, cut, values[row])
                found[name, window] = sums
        return found

    def _missed(self, start: Micros, before: Micros, seen: Micros) -> tuple[Micros, Micros]:
        """(cut, rank) of the rows booked before the tail and not yet visible at as_of."""
        cuts, ranks = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        # Behind the first rank that is still hidden, few others are seen: the rest need not be looked at.
        first = reached(self._latest_place, start, before, seen - 1)
        for cut, rank in laid_out(first, before):
            hidden = self._place_seen[rank] >= seen[cut]
            cuts.append(cut[hidden])
            ranks.append(rank[hidden])
        return np.concatenate(cuts), np.concatenate(ranks)
