"""What happened before us becomes ledger rows: contacts, outcomes, units, and money movements.

Movements of the currencies that event suppressions watch are kept as events, so that an outflow
that began before the import and goes on after it is counted as one. Idempotent by the import's
feed report.
"""

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pyarrow as pa
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from features.home import Home
from features.identity import links, units
from features.source import Source
from features.tables import OUTFLOW_KINDS, TABLES
from rules.policy import ContactPolicy
from serving.engine import Engine
from serving.ledger.book import Ledger, micros, unit_of
from serving.ledger.database import count_anew
from serving.ledger.events import FIELDS, EventRow, known_bookings, policy_fold, refold
from serving.ledger.identity import Link, follow_links
from serving.ledger.schema import events, meta
from serving.ledger.seed import Progress, seed
from serving.ledger.statement import Statement

CHUNK = 1_000
_KNOWN_FEED = select(meta.c.value).where(meta.c.name == "seeded_feed")
_SEEDED = Statement(insert(meta), "ON CONFLICT (name) DO UPDATE SET value = excluded.value")
_EVENT = Statement(insert(events), "ON CONFLICT DO NOTHING")


def is_seeded(home: Home, ledger: Ledger) -> bool:
    """Whether the ledger holds the last import."""
    with ledger.read() as connection:
        return connection.execute(_KNOWN_FEED).scalar() == _feed(home)


def ensure_seeded(home: Home, ledger: Ledger, engine: Engine, progress: Progress | None = None) -> bool:
    """Bring the last import into the ledger unless it is there already; whether anything was done."""
    if is_seeded(home, ledger):
        return False
    revision = _feed(home)
    source = Source(home)
    everyone = units(source)
    contacts, outcomes = _table(home, "contacts"), _table(home, "outcomes")
    seed(ledger, contacts, outcomes, everyone.to_arrow(), engine.families, progress)
    said = [Link(*link) for link in links(source)]
    ledger.write(lambda connection: follow_links(connection, said, ledger.now_micros())).result()
    _enter_movements(home, ledger, engine.policy)
    ledger.write(count_anew).result()
    ledger.write(lambda connection: _SEEDED.run(connection, name="seeded_feed", value=revision)).result()
    return True


def _feed(home: Home) -> str:
    feed = home.data / "feed.json"
    return hashlib.sha256(feed.read_bytes()).hexdigest() if feed.is_file() else "none"


def _table(home: Home, name: str) -> pa.Table:
    parts = sorted(home.table(name).glob("part-*.parquet"))
    if not parts:
        return TABLES[name].schema.empty_table()
    return pl.read_parquet(parts).to_arrow().cast(TABLES[name].schema)


def _enter_movements(home: Home, ledger: Ledger, policy: ContactPolicy) -> None:
    watched = sorted({currency for rule in policy.event_suppressions for currency in rule.currencies})
    if not watched or not any(home.table("transactions").glob("part-*.parquet")):
        return
    since = micros(home.now() - timedelta(days=max(rule.reach_days for rule in policy.event_suppressions)))
    rows = _bookings(home, watched, since).iter_rows()
    movements = [EventRow(event_id=r[0], customer_id=r[1], kind=r[2], amount_minor=r[3], currency=r[4], balance_after_minor=r[5],
                          booked_at=r[6], recorded_at=r[7], received_at=r[7], transaction_id=r[0], account_id=r[8]) for r in rows]  # fmt: skip
    series: dict[tuple[str, str], list[EventRow]] = defaultdict(list)
    for movement in movements:
        series[movement.customer_id, movement.currency or ""].append(movement)
    keys = list(series)
    for start in range(0, len(keys), CHUNK):
        chunk = {key: series[key] for key in keys[start : start + CHUNK]}
        ledger.write(lambda connection, chunk=chunk: _enter(connection, chunk, policy, since)).result()


def _bookings(home: Home, currencies: list[str], since: int) -> pl.DataFrame:
    """Bookings of any kind since then, and before then the last of each account: what balances are told by."""
    # Of one instant in the order of `Movement.place`.
    order = ("booked_at", "recorded_at", pl.col("kind").is_in(OUTFLOW_KINDS), "transaction_id")
    rows = (
        pl.scan_parquet(home.table("transactions") / "part-*.parquet")
        .filter(pl.col("currency").is_in(currencies))
        .with_columns(pl.col("booked_at", "recorded_at").dt.epoch("us"))
        .select("transaction_id", "customer_id", "kind", "amount_minor", "currency", "balance_after_minor",
                "booked_at", "recorded_at", "account_id")
    )  # fmt: skip
    earlier = rows.filter(pl.col("booked_at") < since, pl.col("account_id").is_not_null())
    last = earlier.sort(*order).unique(["customer_id", "currency", "account_id"], keep="last", maintain_order=True)
    found = pl.concat([rows.filter(pl.col("booked_at") >= since), last])
    return found.sort("customer_id", "currency", *order).collect()


def _enter(
    connection: Connection, chunk: dict[tuple[str, str], list[EventRow]], policy: ContactPolicy, since: int
) -> None:
    fold = policy_fold(policy)
    unit = unit_of(connection, {customer for customer, _ in chunk})
    told = known_bookings(connection, {row.event_id for rows in chunk.values() for row in rows})
    for (customer, currency), imported in chunk.items():
        # A booking that an event told of keeps the event's id, so that it opens the same stretch.
        rows = [replace(row, event_id=told.get(row.event_id, row.event_id)) for row in imported]
        _EVENT.run_many(connection, [{name: getattr(row, name) for name in FIELDS} for row in rows])
        refold(connection, customer, currency, unit[customer], since, fold)
