"""What a snapshot has counted beside bookings, as facts that stand under the local day from which they are visible.

A row that changes later is two facts: a case is its opening and its closing, a consent its word and its
expiry, a note what it says and its last day. A fact is made of what a feature reads and of nothing else,
so that a case closed today, a contact that is sent at last or a receipt that comes a day late leaves the
snapshots before it alone. Customers, accounts, holders and products have no dates, and no facts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl

from features.cases import OPEN
from features.contacts import ANSWERS, MARKETING, REACTIONS
from features.source import Source

SEED = 5
FACT_SCHEMA = {"booked": pl.Date, "seen": pl.Date, "rows": pl.UInt32, "digest": pl.UInt64}
DATED = ("contacts", "outcomes", "cases", "consents", "notes", "reachability")
EVER = date.min  # the day of what every snapshot has counted
Day = Callable[[pl.Expr], pl.Expr]  # the local day of an instant


@dataclass(frozen=True)
class Fact:
    """What a row of a table says from one day on: the columns that say it, and for which rows."""

    table: str
    says: str
    columns: tuple[str, ...]
    seen: Callable[[Day], pl.Expr]  # null: not yet
    when: pl.Expr | None = None  # None: for all


def _at(column: str) -> Callable[[Day], pl.Expr]:
    return lambda day: day(pl.col(column))


def _expiry(day: Day) -> pl.Expr:
    """A word is none from `expires_at` itself on, which at midnight still belongs to the day that ends there."""
    expires = pl.col("expires_at")
    last = (expires - pl.duration(microseconds=1)).cast(pl.Datetime("us", "UTC"))
    return pl.when(expires.is_not_null()).then(pl.max_horizontal(day(last), day(pl.col("at"))))


def _end(day: Day) -> pl.Expr:
    """A note holds through the day `until`; the midnight that ends it no longer counts it."""
    until = pl.col("until")
    return pl.when(until.is_not_null()).then(pl.max_horizontal(until, day(pl.col("at"))))


_ABOUT = pl.col("kind").is_in(list(OPEN))
_CONSENT, _NOTE = ("customer_id", "purpose", "channel", "at"), ("customer_id", "flag", "at")
FACTS = (
    Fact("contacts", "sent", ("contact_id", "customer_id", "offer_id", "channel", "sent_at"), _at("sent_at"), MARKETING),
    Fact("outcomes", "answered", ("contact_id", "customer_id", "kind", "at"), _at("at"),
         pl.col("kind").is_in({*REACTIONS, *ANSWERS})),
    Fact("cases", "opened", ("case_id", "customer_id", "kind", "opened_at"), _at("opened_at"), _ABOUT),
    Fact("cases", "closed", ("case_id", "customer_id", "kind", "closed_at"), _at("closed_at"), _ABOUT),
    Fact("consents", "said", (*_CONSENT, "state"), _at("at")),
    Fact("consents", "expired", (*_CONSENT, "expires_at"), _expiry),
    Fact("notes", "written", _NOTE, _at("at")),
    Fact("notes", "ended", (*_NOTE, "until"), _end),
    Fact("reachability", "found", ("customer_id", "channel", "state", "at"), _at("at")),
)  # fmt: skip


def reads(table: str) -> tuple[str, ...]:
    """The tables that the facts of a table are made of; where one is missing there are none."""
    return ("outcomes", "contacts") if table == "outcomes" else (table,)


def facts(table: str, source: Source) -> pl.DataFrame:
    """FACT_SCHEMA of one of the DATED tables, of which the home holds what it `reads`; `booked` is `seen`."""
    zone, found = source.settings.zone, list[pl.DataFrame]()
    for fact in (f for f in FACTS if f.table == table):
        rows = _rows(table, source) if fact.when is None else _rows(table, source).filter(fact.when)
        seen = fact.seen(lambda instant: instant.dt.convert_time_zone(zone).dt.date())
        said = pl.struct(pl.lit(fact.table + " " + fact.says).alias("fact"), *fact.columns)
        each = rows.select(booked=seen, digest=said.hash(seed=SEED)).drop_nulls("booked")
        days = each.group_by("booked").agg(rows=pl.len(), digest=pl.col("digest").sum())
        found.append(days.with_columns(seen="booked").select(*FACT_SCHEMA).collect(engine="streaming"))
    return pl.concat(found)


def there(source: Source) -> pl.DataFrame:
    """FACT_SCHEMA: which of the DATED tables the bank has, or what it says in its assumptions instead.

    For all time, for without the table every row of every snapshot says something else.
    """
    # A table declared empty says what one without a row says.
    given = {table: source.has(table) or source.assumed_empty(table) for table in DATED}
    states = {table: "imported" if there_is else source.assumed(table) for table, there_is in given.items()}
    told = pl.Series([f"{table} {state}" for table, state in states.items() if state], dtype=pl.String)
    return pl.DataFrame({"digest": told.hash(seed=SEED)}).select(
        booked=pl.lit(EVER), seen=pl.lit(EVER), rows=pl.lit(1, pl.UInt32), digest="digest"
    )


def _rows(table: str, source: Source) -> pl.LazyFrame:
    rows = source.scan(table)
    if table != "outcomes":
        return rows
    # An outcome names nobody: it is the contact's customer who answered.
    return rows.join(source.scan("contacts").select("contact_id", "customer_id"), on="contact_id")
