"""Nightly base rows brought up to now with what the ledger has heard since: many customers at once.

Rolled to `at`: windows and recency of bookings, balances and shares, consents, ages counted from an
instant. Every other feature stands as of the base. `features/online.py` says the same of one
customer in plain Python; a test ties the two. Numbers are arrays of one entry a row, NaN is null:
for a thousand rows NumPy needs a tenth of what an expression of Polars costs before it begins.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from features.carried import reach_of
from features.drops import cut_days, dropped
from features.expiries import ENDING, ended
from features.holdings import total_in_base
from features.measures import COLUMNS, LASTS, Window, measured, windows
from features.segments import Floats, Ints
from features.shares import outflow_shares
from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.transactions import booking_ratios
from features.windows import DAY_MICROS, DAYS_A_MICRO, local_day, tail_of

EVENT_CLOCKS = ("booked_at", "recorded_at")
CONSENT_CLOCKS = ("at", "received_at")
LISTS = ("_ids", "_drops", "_expiries")
NEVER = -(1 << 62)
Array = TypeVar("Array", Ints, Floats)
_ROW = "_row"


class _Rows(NamedTuple):
    """The rows while they are rolled: windows, (n_windows, n_rows), and every rolled number by name, (n_rows,)."""

    windows: Floats
    numbers: dict[str, Floats]
    since: int  # instant of the base, microseconds
    moment: int  # the present


def overlaid(base: pl.DataFrame, at: datetime, events: pl.DataFrame, consents: pl.DataFrame,
             source: Source) -> pl.DataFrame:  # fmt: skip
    """What of the base rows is rolled, as of `at`: the same rows in their order.

    Args:
        base: Rows of one snapshot, with the columns that `reads` names; as_of is its instant.
            Without `_ids` the base has counted none of the events, without `_expiries` no consent ends.
        at: The new as_of, not before the base's.
        events: event_id, customer_id, kind, amount_minor, currency, balance_after_minor, booked_at,
            recorded_at; instants as microseconds or timestamps. A second row of an id, and an id
            that the base has counted, are ignored.
        consents: customer_id, purpose, channel, state, at, received_at.
        source: The bank's currencies, zone and rates.
    """
    moment = pl.Series([at]).dt.epoch("us").item()
    texts = [name for name in ENDING if name in base.columns]
    base = ended(base, moment) if "_expiries" in base.columns else base
    rows, currencies = _rows(base, moment, source), source.settings.currencies
    heard = _heard(_clocked(events, EVENT_CLOCKS), base, rows, source)
    last_booked = _instants(rows.numbers["days_since_last_transaction"], rows.since)
    for name in _ages(base.columns):
        rows.numbers[name][:] = (moment - _instants(rows.numbers[name], rows.since)) * DAYS_A_MICRO
    _roll_windows(rows, base["_drops"], heard, source)
    if len(heard):
        _recency(rows, heard)
        _balances(rows, heard, last_booked, base["_shared"].to_numpy(), currencies)
    words = _said(_clocked(consents, CONSENT_CLOCKS), base, moment) if len(consents) else consents
    states = _speak(rows, base, words) if len(words) else []
    day = local_day(moment, source.settings.tz)
    rows.numbers["balance_total_minor"] = total_in_base(
        rows.numbers, currencies, lambda amounts, currency: source.rates.worth(amounts, currency, day)
    )
    as_of = pl.lit(at, pl.Datetime("us", "UTC"))
    rolled = pl.DataFrame(rows.numbers).select(pl.all().fill_nan(None), *base.select(texts), as_of=as_of)
    return rolled.with_columns(*outflow_shares(currencies), *booking_ratios(), *states)


def reads(columns: Sequence[str], currencies: tuple[str, ...]) -> list[str]:
    """Those columns of a snapshot that `overlaid` reads; of the others it says nothing."""
    rolled = {*_added(currencies), *_ages(columns), *ENDING, *LISTS, "customer_id", "as_of", "_shared"}
    return [name for name in columns if name in rolled]


def _rows(base: pl.DataFrame, moment: int, source: Source) -> _Rows:
    """What is rolled of the base's rows, writable."""
    currencies = source.settings.currencies
    names = [*_added(currencies), *_ages(base.columns)]
    values = np.array(base.select(names).to_numpy().T, order="C")
    since = base["as_of"].dt.epoch("us").item(0) if len(base) else moment
    return _Rows(values[: len(windows(currencies))], dict(zip(names, values, strict=True)), since, moment)


def _added(currencies: tuple[str, ...]) -> list[str]:
    """What bookings are added to: windows in the order of their numbers, balances."""
    names = [window.name for window in windows(currencies)]
    return [*names, *(f"balance_{currency.lower()}_minor" for currency in currencies)]


def _ages(columns: Sequence[str]) -> list[str]:
    return [name for name in columns
            if name.startswith("days_since_") or (name.startswith("consent_marketing_") and name.endswith("_age_days"))]  # fmt: skip


def _instants(ages: Floats, since: int) -> Floats:
    """When was what is so many days old, microseconds: whole numbers that a float holds exactly."""
    return since - np.rint(ages * DAY_MICROS)


def _clocked(rows: pl.DataFrame, clocks: Sequence[str]) -> pl.DataFrame:
    instants = [c for c in clocks if rows.schema[c].is_temporal()]
    return rows.with_columns(pl.col(instants).dt.epoch("us")) if instants else rows


def _heard(events: pl.DataFrame, base: pl.DataFrame, rows: _Rows, source: Source) -> pl.DataFrame:
    """Events about money visible at the moment and not in the base, oldest first, with their row."""
    booked, recorded = pl.col("booked_at"), pl.col("recorded_at")
    known = events.lazy().filter(
        (booked < rows.moment) & (recorded <= rows.moment), pl.col("amount_minor").is_not_null()
    )
    counts = "_ids" in base.columns
    theirs = base.select("customer_id", *(["_ids"] if counts else [])).with_row_index(_ROW)
    counted = pl.col("_ids").list.contains(pl.col("event_id")) if counts else pl.lit(False)
    out_of_reach = booked < reach_of(rows.since, source.settings)
    old = (booked < rows.since) & (recorded <= rows.since)
    fresh = known.join(theirs.lazy(), on="customer_id").filter(~(old & (out_of_reach | counted)))
    ordered = fresh.sort("booked_at", "recorded_at", "event_id")
    once = ordered.unique([_ROW, "event_id"], keep="first", maintain_order=True)
    return once.select(_ROW, "balance_after_minor", *COLUMNS).collect()


def _roll_windows(rows: _Rows, lists: pl.Series, heard: pl.DataFrame, source: Source) -> None:
    """What the tails passed is gone, what was heard is in it. Of a base older than a whole window nothing is left."""
    settings = source.settings
    wanted, cuts = windows(settings.currencies), cut_days(rows.moment, settings)
    tails = {days: tail_of(rows.moment, days, settings.tz) for days in cuts}
    row, window, day, amount = dropped(lists)
    passed = day < np.array([cuts[w.days] for w in wanted])[window]
    np.subtract.at(rows.windows.ravel(), window[passed] * len(lists) + row[passed], amount[passed])
    for number, each in enumerate(wanted):
        if tails[each.days] >= rows.since:
            rows.windows[number] = 0.0
    if len(heard):
        _take_in(rows, heard, wanted, tails, source)


def _take_in(rows: _Rows, heard: pl.DataFrame, wanted: Sequence[Window], tails: Mapping[int, int],
             source: Source) -> None:  # fmt: skip
    """Add to the windows what was heard; a booking without a rate makes its sums unknown."""
    adds = measured(heard.select(pl.col(_ROW).alias("customer"), *COLUMNS), source)
    booked, row = adds["booked"].to_numpy(), adds["customer"].to_numpy()
    of_measure = {key: adds[key].to_numpy().astype(np.float64) for key in {w.measure.key for w in wanted}}
    unrated = adds["unrated_count"].to_numpy() > 0
    for number, window in enumerate(wanted):
        inside = booked >= tails[window.days]
        np.add.at(rows.windows[number], row[inside], of_measure[window.measure.key][inside])
        if window.needs_rate:
            rows.windows[number, row[inside & unrated]] = np.nan


def _recency(rows: _Rows, heard: pl.DataFrame) -> None:
    """The ages of bookings, no greater than what was heard allows."""
    row, age = heard[_ROW].to_numpy(), (rows.moment - heard["booked_at"].to_numpy()) * DAYS_A_MICRO
    for name in LASTS:
        here = np.ones(len(row), bool) if name == "transaction" else (heard["kind"] == name).fill_null(False).to_numpy()
        np.fmin.at(rows.numbers[f"days_since_last_{name}"], row[here], age[here])


def _balances(rows: _Rows, heard: pl.DataFrame, last_booked: Floats, shared: Ints, currencies: Sequence[str]) -> None:
    """The newest stated balance and later amounts; without one, the base and all amounts.

    A stated balance older than the base's last booking may have been overtaken by it: it is believed only where it is
    the lower one, for doubt suppresses. Where an event may be about one of several accounts, amounts alone count; one
    booked before the base's last booking, which may be in its balance, only if it lowers it.
    """
    n = len(shared)
    for bit, currency in enumerate(currencies):
        moved = heard.filter(pl.col("currency") == currency)
        if moved.is_empty():
            continue
        row, booked, amount = (moved[name].to_numpy() for name in (_ROW, "booked_at", "amount_minor"))
        balance = moved["balance_after_minor"].cast(pl.Float64).to_numpy()
        states = ~np.isnan(balance)  # NaN: none was stated
        fresh = ~(booked < last_booked[row])
        newer = states & fresh
        since = _newest(row, booked, newer, np.full(n, NEVER))
        later = ~states & (booked > since[row])
        counted = fresh | (amount < 0)
        held = rows.numbers[f"balance_{currency.lower()}_minor"]
        stated, doubtful = (_newest(row, balance, here, np.full(n, np.nan)) for here in (newer, states & ~fresh))
        start = np.where(np.isnan(stated), np.fmin(held, doubtful), stated)
        alone = start + _sums(row, amount, later, n)
        held[:] = np.where(shared >> bit & 1, held + _sums(row, amount, counted, n), alone)


def _newest(row: Ints, values: Array, here: npt.NDArray[np.bool_], none: Array) -> Array:
    """Per row the last of its values there, `none` where there is none, (n_rows,); values stand oldest first."""
    none[row[here]] = values[here]
    return none


def _sums(row: Ints, amount: Ints, here: npt.NDArray[np.bool_], n: int) -> Ints:
    """Per row what its amounts there come to, exact, (n,)."""
    found = np.zeros(n, np.int64)
    np.add.at(found, row[here], amount[here])
    return found


def _said(consents: pl.DataFrame, base: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Words on marketing known at the moment, in the order of `features.heard.place_of_word`."""
    known = (pl.col("at") < moment) & (pl.col("received_at") <= moment)
    words = consents.lazy().filter(pl.col("purpose") == "marketing", known)
    joined = words.join(base.lazy().select("customer_id").with_row_index(_ROW), on="customer_id")
    return joined.sort("at", "received_at", pl.col("channel") != "all", pl.col("state") != "granted", "state").collect()


def _speak(rows: _Rows, base: pl.DataFrame, words: pl.DataFrame) -> list[pl.Series]:
    """Per channel the later of the base's word and the ledger's, whose ages it sets; the states."""
    row, at, n = words[_ROW].to_numpy(), words["at"].to_numpy(), len(base)
    found: list[pl.Series] = []
    for channel in MARKETING_CHANNELS:
        name = f"consent_marketing_{channel}"
        concerns = words["channel"].is_in(["all", channel]).fill_null(False).to_numpy()
        last = _newest(row, np.arange(len(row)), concerns, np.full(n, -1))
        place = np.maximum(last, 0)  # of whom nothing is said it is not looked at
        age = rows.numbers[f"{name}_age_days"]
        newer = (last >= 0) & ~(at[place] < _instants(age, rows.moment))
        age[newer] = (rows.moment - at[place][newer]) * DAYS_A_MICRO
        found.append(words["state"].gather(place).zip_with(pl.Series(newer), base[name]).alias(name))
    return found
