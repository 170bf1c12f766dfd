"""A nightly base row brought up to now with what the ledger has heard since.

Brought up to `at`: balances, flows and their shares, consents, ages counted from an instant.
Every other windowed feature stands as of the base. Batch and online use this one function.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from features.holdings import total_in_base
from features.shares import outflow_shares
from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.transactions import FLOW_DAYS, flows
from features.windows import DAY_MICROS, local_days, tail_of

EVENT_CLOCKS = ("booked_at", "recorded_at")
CONSENT_CLOCKS = ("at", "received_at")
_BASE, _ROW = pl.col("_base"), "_row"


def overlaid(base: pl.DataFrame, at: datetime, events: pl.DataFrame, consents: pl.DataFrame,
             source: Source) -> pl.DataFrame:  # fmt: skip
    """The base rows as of `at`; same rows, same order, same columns.

    Args:
        base: Snapshot rows; as_of is the instant of the base.
        at: The new as_of, not before the base's.
        events: event_id, customer_id, kind, amount_minor, currency, balance_after_minor, booked_at,
            recorded_at; instants as microseconds or timestamps. A second row of an id is ignored.
        consents: customer_id, purpose, channel, state, at, received_at.
        source: The bank's currencies, zone and rates.
    """
    moment = pl.Series([at]).dt.epoch("us").item()
    rows = base.with_columns(_base=pl.col("as_of").dt.epoch("us"), _row=pl.int_range(len(base), dtype=pl.UInt32))
    windows = {days: tail_of(moment, days, source.settings.tz) for days in FLOW_DAYS}
    heard = _since(_clocked(events, EVENT_CLOCKS), rows, moment)
    said = _said(_clocked(consents, CONSENT_CLOCKS), rows, moment)
    moved = [c for c in source.settings.currencies if (heard["currency"] == c).any()]
    wide = _joined(_joined(rows, heard, _event_sums(moved, windows)), said, _last_words())
    money = [e for c in moved for e in _balance(c)] + _flows(source, moved, windows, rows["_base"])
    word = _consents(moment) if len(said) else _rolled(moment, "consent_marketing_", "_age_days", base)
    done = wide.with_columns(*money, *word, *_rolled(moment, "days_since_", "", base),
                             as_of=pl.lit(at, pl.Datetime("us", "UTC")))  # fmt: skip
    if money:
        done = done.with_columns(outflow_shares(source.settings.currencies))
    if moved:
        done = done.with_columns(balance_total_minor=_total(done, heard, source))
    return done.select(base.columns)


def _total(rows: pl.DataFrame, heard: pl.DataFrame, source: Source) -> pl.Series:
    """The total balance of the rows that moved, at the base's rates; of the others as it was."""
    days = local_days(rows["_base"], source.settings.tz)
    total = total_in_base(rows.to_dict(as_series=True), days, source)
    touched = rows[_ROW].is_in(heard[_ROW].unique().implode())
    return total.zip_with(touched, rows["balance_total_minor"])


def _clocked(rows: pl.DataFrame, clocks: Sequence[str]) -> pl.DataFrame:
    instants = [c for c in clocks if rows.schema[c].is_temporal()]
    return rows.with_columns(pl.col(instants).dt.epoch("us")) if instants else rows


def _joined(rows: pl.DataFrame, heard: pl.DataFrame, sums: Iterable[pl.Expr]) -> pl.DataFrame:
    if heard.is_empty():
        return rows
    grouped = heard.group_by(_ROW, maintain_order=True).agg(*sums)
    return rows.join(grouped, on=_ROW, how="left", maintain_order="left")


def _since(events: pl.DataFrame, rows: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Events visible at the moment and not in the base, oldest first, with their base row."""
    booked, recorded = pl.col("booked_at"), pl.col("recorded_at")
    visible = (booked < moment) & (recorded <= moment)
    in_base = (booked < _BASE) & (recorded <= _BASE)
    last = _BASE - (pl.col("days_since_last_transaction") * DAY_MICROS).round().cast(pl.Int64)
    asked = rows.select("customer_id", _ROW, "_base", _last_booked=last)
    joined = events.filter(visible).join(asked, on="customer_id").filter(~in_base)
    return joined.sort("booked_at", "recorded_at", "event_id").unique(
        [_ROW, "event_id"], keep="first", maintain_order=True
    )


def _event_sums(currencies: Sequence[str], windows: dict[int, int]) -> list[pl.Expr]:
    """What a customer's events add up to, oldest first, per currency that moved."""
    amount, booked = pl.col("amount_minor").fill_null(0), pl.col("booked_at")
    sums: list[pl.Expr] = []
    for currency in currencies:
        here = pl.col("currency") == currency
        states = here & pl.col("balance_after_minor").is_not_null()
        # A stated balance older than the base's last booking may have been overtaken by it.
        newer = states & (booked >= pl.col("_last_booked")).fill_null(True)
        since = booked.filter(newer).last().fill_null(-(1 << 62))
        sums += [
            pl.col("balance_after_minor").filter(newer).last().alias(f"_stated_{currency}"),
            pl.col("balance_after_minor").filter(states & ~newer).last().alias(f"_doubtful_{currency}"),
            amount.filter(here & ~states & (booked > since)).sum().alias(f"_added_{currency}"),
        ]
        for days, tail in windows.items():
            for m in flows(currency):
                counts = here & pl.col("kind").is_in(m.kinds) & (booked >= tail)
                sums.append((amount.filter(counts).sum() * m.sign).alias(f"_{m.name(days)}"))
    return sums


def _balance(currency: str) -> list[pl.Expr]:
    """The newest stated balance and later amounts; without one, the base and all amounts.

    A stated balance that may be out of date is believed only when it is the lower one: doubt
    suppresses.
    """
    name = f"balance_{currency.lower()}_minor"
    doubtful = pl.col(f"_doubtful_{currency}").cast(pl.Float64)
    start = pl.coalesce(pl.col(f"_stated_{currency}").cast(pl.Float64), pl.min_horizontal(pl.col(name), doubtful))
    return [(start + pl.col(f"_added_{currency}").fill_null(0)).alias(name)]


def _flows(source: Source, moved: Sequence[str], windows: dict[int, int], bases: pl.Series) -> list[pl.Expr]:
    """The base's flows and the events'; of a base older than the whole window nothing is left."""
    oldest, found = bases.min(), list[pl.Expr]()
    for currency in source.settings.currencies:
        for days, tail in windows.items():
            if currency not in moved and isinstance(oldest, int) and tail < oldest:
                continue
            for m in flows(currency):
                name = m.name(days)
                kept = pl.when(tail < _BASE).then(pl.col(name)).otherwise(0.0)
                added = pl.col(f"_{name}").fill_null(0) if currency in moved else 0
                found.append((kept + added).alias(name))
    return found


def _said(consents: pl.DataFrame, rows: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Words on marketing known at the moment, oldest first, the narrower of two the later."""
    known = (pl.col("at") < moment) & (pl.col("received_at") <= moment)
    words = consents.filter(pl.col("purpose") == "marketing", known)
    joined = words.join(rows.select("customer_id", _ROW), on="customer_id")
    return joined.sort("at", pl.col("channel") != "all", "received_at", "state")


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
        found.append(((moment - said_at) / DAY_MICROS).alias(f"{name}_age_days"))
    return found


def _rolled(moment: int, start: str, end: str, base: pl.DataFrame) -> list[pl.Expr]:
    """Ages in days as of the moment, exact to the microsecond."""
    names = [n for n in base.columns if n.startswith(start) and n.endswith(end)]
    since = [_BASE - (pl.col(n) * DAY_MICROS).round().cast(pl.Int64) for n in names]
    return [((moment - s) / DAY_MICROS).alias(n) for n, s in zip(names, since, strict=True)]
