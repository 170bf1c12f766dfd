"""What leaves each window once its tail passes a day: of every day that a snapshot can be rolled on to."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from features.lists import in_lists, out_of_lists
from features.measures import COLUMNS, Window, measured, windows
from features.segments import Floats, Ints, first_places
from features.settings import Settings, horizon_days
from features.source import Source
from features.windows import in_days, local_day, midnight_micros, stamp

_EPOCH = date(1970, 1, 1)
_FIELDS = [pa.field("window", pa.uint16()), pa.field("day", pa.int32()), pa.field("amount", pa.int64())]
DROPS = pa.field("_drops", pa.list_(pa.struct(_FIELDS)))  # window: its number; day: since 1970


def drops(codes: pl.DataFrame, at: int, source: Source) -> "pa.Array[Any]":
    """One list of DROPS a customer 0..n - 1, by window and day; what comes to 0 is not in it.

    Args:
        codes: customer_id, customer: 0, 1, ...
        at: Instant of the snapshot, microseconds.
        source: The bank's tables.
    """
    wanted = windows(source.settings.currencies)
    first, horizon = cut_days(at, source.settings), horizon_days(source.settings)
    adds = measured(_leaving(codes, at, source, first, horizon), source)
    customer, day = adds["customer"].to_numpy().astype(np.int64), in_days(adds["day"])
    found = [np.empty((4, 0), np.int64)]
    for length, begins in first.items():
        place = np.flatnonzero((day >= begins) & (day < begins + horizon))
        cell = customer[place] * horizon + day[place] - begins
        of_length = {number: window for number, window in enumerate(wanted) if window.days == length}
        number, cell, amount = _summed(adds, of_length, place, cell)
        found.append(np.stack([cell // horizon, number, begins + cell % horizon, amount]))
    row, window, day, amount = np.concatenate(found, axis=1)
    order = np.lexsort((day, window, row))
    told = zip(_FIELDS, (window, day, amount), strict=True)
    values = [pa.array(column[order]).cast(field.type) for field, column in told]
    return in_lists(pa.StructArray.from_arrays(values, fields=_FIELDS), row[order], len(codes))


def dropped(lists: pl.Series) -> tuple[Ints, Ints, Ints, Floats]:
    """(row, window, day, amount) of everything in a column of DROPS."""
    row, flat = out_of_lists(lists)
    window, day, amount = (flat[field.name].to_numpy() for field in _FIELDS)
    return row, window.astype(np.int64), day.astype(np.int64), amount.astype(np.float64)


def cut_days(at: int, settings: Settings) -> dict[int, int]:
    """Per window length the first local day that is still in the window, days since 1970."""
    today = (local_day(at, settings.tz) - _EPOCH).days
    return {w.days: today - w.days for w in windows(settings.currencies)}


def _leaving(codes: pl.DataFrame, at: int, source: Source, first: Mapping[int, int], horizon: int) -> pl.DataFrame:
    """Who and COLUMNS of the visible bookings that a window will lose."""
    booked = pl.col("booked_at")
    bounds = [[midnight_micros(_EPOCH + timedelta(days=day + n), source.settings.tz) for n in (0, horizon)]
              for day in first.values()]  # fmt: skip
    visible = (booked < stamp(at)) & (pl.col("recorded_at") <= stamp(at))
    leaves = pl.any_horizontal(booked.is_between(*map(stamp, two), closed="left") for two in bounds)
    rows = source.scan("transactions").filter(visible, leaves).join(codes.lazy(), on="customer_id")
    return rows.select("customer", *COLUMNS).with_columns(pl.col("booked_at", "recorded_at").dt.epoch("us")).collect()


def _summed(adds: pl.DataFrame, of_windows: Mapping[int, Window], place: Ints, cell: Ints) -> tuple[Ints, Ints, Ints]:
    """(window, cell, amount) of what the bookings at those places, one cell each, add up to in some windows; none is 0."""
    if not len(place):
        return cell, cell, cell
    order = np.argsort(cell, kind="stable")
    place, cell = place[order], cell[order]
    first = first_places(cell)
    amounts = np.stack([adds[window.measure.key].to_numpy()[place] for window in of_windows.values()])
    sums = np.add.reduceat(amounts, first, axis=1)
    which, group = np.nonzero(sums)
    return np.array(list(of_windows))[which], cell[first][group], sums[which, group]
