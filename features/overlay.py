"""Nightly base rows brought up to now with what the ledger has heard since: many customers at once.

Rolled to `at`: windows and recency of bookings, balances and shares, consents, ages counted from an
instant. Every other feature stands as of the base. `features/online.py` says the same of one
customer in plain Python; a test ties the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from features.carried import cut_days, reach_of
from features.expiries import ended
from features.holdings import total_in_base
from features.measures import COLUMNS, LASTS, Window, measured, windows
from features.segments import Ints
from features.shares import outflow_shares
from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.transactions import booking_ratios
from features.windows import DAY_MICROS, DAYS_A_MICRO, local_days, tail_of

EVENT_CLOCKS = ("booked_at", "recorded_at")
CONSENT_CLOCKS = ("at", "received_at")
_BASE, _ROW = pl.col("_base"), "_row"
_LISTS = ("_ids", "_drops", "_expiries")


def overlaid(base: pl.DataFrame, at: datetime, events: pl.DataFrame, consents: pl.DataFrame,
             source: Source) -> pl.DataFrame:  # fmt: skip
    """The base rows as of `at`: same rows, same order, same columns but for the lists they carried.

    Args:
        base: Snapshot rows with what they carry (features/carried.py); as_of is the base's instant.
        at: The new as_of, not before the base's.
        events: event_id, customer_id, kind, amount_minor, currency, balance_after_minor, booked_at,
            recorded_at; instants as microseconds or timestamps. A second row of an id, and an id
            that the base has counted, are ignored.
        consents: customer_id, purpose, channel, state, at, received_at.
        source: The bank's currencies, zone and rates.
    """
    moment = pl.Series([at]).dt.epoch("us").item()
    rows = ended(base, moment).with_columns(
        _base=pl.col("as_of").dt.epoch("us"), _row=pl.int_range(len(base), dtype=pl.UInt32)
    )
    heard = _since(_clocked(events, EVENT_CLOCKS), rows, moment, source)
    said = _said(_clocked(consents, CONSENT_CLOCKS), rows, moment)
    moved = [c for c in source.settings.currencies if (heard["currency"] == c).any()]
    told = _joined(rows, heard, [*_balance_sums(moved), *_newest()])
    rolled = _rolled_windows(told, heard, moment, source)
    wide = _joined(rolled, said, _last_words())
    word = _consents(moment) if len(said) else _rolled(moment, "consent_marketing_", "_age_days", base)
    ages = _rolled(moment, "days_since_", "", base)
    done = wide.with_columns(*[_balance(c, source) for c in moved], *word, *(ages if heard.is_empty() else _recency(moment, ages)),
                             as_of=pl.lit(at, pl.Datetime("us", "UTC")))  # fmt: skip
    done = done.with_columns(*outflow_shares(source.settings.currencies), *booking_ratios())
    days = local_days(pl.repeat(moment, len(done), dtype=pl.Int64, eager=True), source.settings.tz)
    total = total_in_base(done.to_dict(as_series=True), days, source)
    return done.with_columns(balance_total_minor=total).select(base.drop(*_LISTS).columns)


def _clocked(rows: pl.DataFrame, clocks: Sequence[str]) -> pl.DataFrame:
    instants = [c for c in clocks if rows.schema[c].is_temporal()]
    return rows.with_columns(pl.col(instants).dt.epoch("us")) if instants else rows


def _joined(rows: pl.DataFrame, heard: pl.DataFrame, sums: Iterable[pl.Expr]) -> pl.DataFrame:
    wanted = list(sums)
    if heard.is_empty() or not wanted:
        return rows
    grouped = heard.group_by(_ROW, maintain_order=True).agg(*wanted)
    return rows.join(grouped, on=_ROW, how="left", maintain_order="left")


def _since(events: pl.DataFrame, rows: pl.DataFrame, moment: int, source: Source) -> pl.DataFrame:
    """Events about money visible at the moment and not in the base, oldest first, with their base row."""
    booked, recorded = pl.col("booked_at"), pl.col("recorded_at")
    known = events.filter((booked < moment) & (recorded <= moment), pl.col("amount_minor").is_not_null())
    bases = rows["_base"].unique().to_list()
    reach = pl.col("_base").replace_strict(
        bases, [reach_of(b, source.settings) for b in bases], return_dtype=pl.Int64
    ) if bases else pl.col("_base")  # fmt: skip
    last = _BASE - (pl.col("days_since_last_transaction") * DAY_MICROS).round().cast(pl.Int64)
    asked = rows.select("customer_id", _ROW, "_base", "_ids", _last_booked=last)
    joined = known.join(asked, on="customer_id")
    counted = (booked < reach) | pl.col("_ids").list.contains(pl.col("event_id"))
    joined = joined.filter(~((booked < _BASE) & (recorded <= _BASE) & counted)).drop("_ids")
    return joined.sort("booked_at", "recorded_at", "event_id").unique(
        [_ROW, "event_id"], keep="first", maintain_order=True
    )


def _rolled_windows(rows: pl.DataFrame, heard: pl.DataFrame, moment: int, source: Source) -> pl.DataFrame:
    """The rows with every window rolled: what the tail passed is gone, what was heard is in it.

    Of a base older than the whole window nothing is left.
    """
    settings, n = source.settings, len(rows)
    wanted, cuts = windows(settings.currencies), cut_days(moment, settings)
    tails = {days: tail_of(moment, days, settings.tz) for days in cuts}
    names = [window.name for window in wanted]
    values = np.array(rows.select(names).to_numpy().T, order="C")  # (n_windows, n_rows), NaN: null
    window, row, day, amount = _drops(rows)
    passed = day < np.array([cuts[w.days] for w in wanted])[window]
    np.subtract.at(values.ravel(), window[passed] * n + row[passed], amount[passed])
    since = rows["_base"].to_numpy()
    for number, each in enumerate(wanted):
        values[number, tails[each.days] >= since] = 0.0
    if len(heard):
        _take_in(values, heard, wanted, tails, source)
    rolled = pl.DataFrame(dict(zip(names, values, strict=True))).select(pl.all().fill_nan(None))
    return rows.drop(*_LISTS).with_columns(rolled.get_columns())


def _drops(rows: pl.DataFrame) -> tuple[Ints, Ints, Ints, "npt.NDArray[np.float64]"]:
    """(window, row, day, amount) of everything that leaves a window of these rows."""
    lists = rows["_drops"]
    flat = lists.filter(lists.list.len() > 0).explode().struct.unnest()
    row = np.repeat(np.arange(len(rows)), lists.list.len().to_numpy())
    window, day, amount = (flat[name].to_numpy() for name in ("window", "day", "amount"))
    return window.astype(np.int64), row, day.astype(np.int64), amount.astype(np.float64)


def _take_in(values: "npt.NDArray[np.float64]", heard: pl.DataFrame, wanted: Sequence[Window], tails: Mapping[int, int],
             source: Source) -> None:  # fmt: skip
    """Add to the windows, (n_windows, n_rows), what was heard; a booking without a rate makes its sums unknown."""
    adds = measured(heard.select(pl.col(_ROW).alias("customer"), *COLUMNS), source)
    booked, row = adds["booked"].to_numpy(), adds["customer"].to_numpy()
    of_measure = {key: adds[key].to_numpy().astype(np.float64) for key in {w.measure.key for w in wanted}}
    unrated = adds["unrated_count"].to_numpy() > 0
    for number, window in enumerate(wanted):
        inside = booked >= tails[window.days]
        np.add.at(values[number], row[inside], of_measure[window.measure.key][inside])
        if window.needs_rate:
            values[number, row[inside & unrated]] = np.nan


def _newest() -> list[pl.Expr]:
    """When a customer's newest event of each kind whose recency is a feature was booked."""
    booked, kind = pl.col("booked_at"), pl.col("kind")
    of_kind = {name: booked if name == "transaction" else booked.filter(kind == name) for name in LASTS}
    return [those.max().alias(f"_last_{name}") for name, those in of_kind.items()]


def _recency(moment: int, ages: Sequence[pl.Expr]) -> list[pl.Expr]:
    """The ages, those of bookings no greater than what was heard allows."""
    heard = {f"days_since_last_{name}": (moment - pl.col(f"_last_{name}")) * DAYS_A_MICRO for name in LASTS}
    named = {age.meta.output_name(): age for age in ages}
    return [pl.min_horizontal(age, heard[n]).alias(n) if n in heard else age for n, age in named.items()]


def _balance_sums(currencies: Sequence[str]) -> list[pl.Expr]:
    """What a customer's events say of his balances, oldest first, per currency that moved."""
    amount, booked = pl.col("amount_minor"), pl.col("booked_at")
    sums: list[pl.Expr] = []
    for currency in currencies:
        here = pl.col("currency") == currency
        states = here & pl.col("balance_after_minor").is_not_null()
        # A stated balance older than the base's last booking may have been overtaken by it.
        fresh = (booked >= pl.col("_last_booked")).fill_null(True)
        newer = states & fresh
        since = booked.filter(newer).last().fill_null(-(1 << 62))
        sums += [
            pl.col("balance_after_minor").filter(newer).last().alias(f"_stated_{currency}"),
            pl.col("balance_after_minor").filter(states & ~newer).last().alias(f"_doubtful_{currency}"),
            amount.filter(here & ~states & (booked > since)).sum().alias(f"_added_{currency}"),
            amount.filter(here & (fresh | (amount < 0))).sum().alias(f"_moved_{currency}"),
        ]
    return sums


def _balance(currency: str, source: Source) -> pl.Expr:
    """The newest stated balance and later amounts; without one, the base and all amounts.

    A stated balance that may be out of date is believed only when it is the lower one: doubt
    suppresses. Where an event may be about one of several accounts, amounts alone count; one booked
    before the base's last booking, which may be in its balance, only if it lowers it.
    """
    name = f"balance_{currency.lower()}_minor"
    doubtful = pl.col(f"_doubtful_{currency}").cast(pl.Float64)
    start = pl.coalesce(pl.col(f"_stated_{currency}").cast(pl.Float64), pl.min_horizontal(pl.col(name), doubtful))
    shared = pl.col("_shared") // (1 << source.settings.currencies.index(currency)) % 2 == 1
    alone = start + pl.col(f"_added_{currency}").fill_null(0)
    return pl.when(shared).then(pl.col(name) + pl.col(f"_moved_{currency}").fill_null(0)).otherwise(alone).alias(name)


def _said(consents: pl.DataFrame, rows: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Words on marketing known at the moment, in the order of `features.heard.place_of_word`."""
    known = (pl.col("at") < moment) & (pl.col("received_at") <= moment)
    words = consents.filter(pl.col("purpose") == "marketing", known)
    joined = words.join(rows.select("customer_id", _ROW), on="customer_id")
    return joined.sort("at", "received_at", pl.col("channel") != "all", pl.col("state") != "granted", "state")


def _last_words() -> list[pl.Expr]:
    words: list[pl.Expr] = []
    for channel in MARKETING_CHANNELS:
        concerns = pl.col("channel").is_in(["all", channel])
        words.append(pl.col("state").filter(concerns).last().alias(f"_state_{channel}"))
        words.append(pl.col("at").filter(concerns).last().alias(f"_at_{channel}"))
    return words


def _consents(moment: int) -> list[pl.Expr]:
    """Per channel the later of the base's word and the ledger's; ages as of the moment."""
    found: list[pl.Expr] = []
    for channel in MARKETING_CHANNELS:
        name, at = f"consent_marketing_{channel}", pl.col(f"_at_{channel}")
        age = pl.col(f"{name}_age_days")
        base_at = _BASE - (age * DAY_MICROS).round().cast(pl.Int64)
        newer = (at >= base_at).fill_null(at.is_not_null())
        said_at = pl.when(newer).then(at).otherwise(base_at)
        found.append(pl.when(newer).then(pl.col(f"_state_{channel}")).otherwise(pl.col(name)).alias(name))
        found.append(((moment - said_at) * DAYS_A_MICRO).alias(f"{name}_age_days"))
    return found


def _rolled(moment: int, start: str, end: str, base: pl.DataFrame) -> list[pl.Expr]:
    """Ages in days as of the moment, exact to the microsecond."""
    names = [n for n in base.columns if n.startswith(start) and n.endswith(end)]
    since = [_BASE - (pl.col(n) * DAY_MICROS).round().cast(pl.Int64) for n in names]
    return [((moment - s) * DAYS_A_MICRO).alias(n) for n, s in zip(names, since, strict=True)]
