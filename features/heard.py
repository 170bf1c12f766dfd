"""What the ledger has heard of some customers: money movements and words on marketing.

Reads the tables `events` and `consents` through a connection it is given, on the driver's own
cursor: the road through SQLAlchemy costs ten times the statement. Consents are read whole: a
withdrawal that the bank's own tables have not caught up with must outlive every new base.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import sqlalchemy

_EVENTS = """
SELECT COALESCE(transaction_id, event_id), customer_id, kind, amount_minor, currency, balance_after_minor, booked_at, recorded_at
FROM events WHERE customer_id {among} AND booked_at < {mark} AND recorded_at <= {mark}
  AND (booked_at >= {mark} OR recorded_at > {mark})
"""
_CONSENTS = """
SELECT customer_id, purpose, channel, state, at, received_at
FROM consents WHERE customer_id {among} AND purpose = 'marketing' AND at < {mark} AND received_at <= {mark}
"""
EVENT_SCHEMA = {
    "event_id": pl.String,
    "customer_id": pl.String,
    "kind": pl.String,
    "amount_minor": pl.Int64,
    "currency": pl.String,
    "balance_after_minor": pl.Int64,
    "booked_at": pl.Int64,
    "recorded_at": pl.Int64,
}
CONSENT_SCHEMA = {
    "customer_id": pl.String,
    "purpose": pl.String,
    "channel": pl.String,
    "state": pl.String,
    "at": pl.Int64,
    "received_at": pl.Int64,
}
EventRow = tuple[str, str, str, int | None, str | None, int | None, int, int]
ConsentRow = tuple[str, str, str, str, int, int]


def place_of_word(at: int, received_at: int, channel: str, state: str) -> tuple[int, int, bool, bool, str]:
    """Where a word stands among a customer's on one purpose: the last of those that concern a channel holds.

    Of one instant the one that came later, then the narrower, then the no.
    """
    return at, received_at, channel != "all", state != "granted", state


def read_heard(
    connection: sqlalchemy.Connection | None, customer_ids: Sequence[str], base: int, reach: int, at: int
) -> tuple[list[EventRow], list[ConsentRow]]:
    """Events and words on marketing of those customers that are known at `at`, in no order.

    Args:
        connection: The ledger's database, only read; None where there is no ledger yet.
        customer_ids: Whom.
        base: Instant of the snapshot, microseconds as all here.
        reach: Older events are left out unless they were recorded after the base.
        at: The present.

    Returns:
        Rows with EVENT_SCHEMA's and CONSENT_SCHEMA's columns; event_id is the id of the booking
        where the event names one. An event the base has counted may be among them: see
        features/carried.py.
    """
    if connection is None:
        return [], []
    events, consents = _statements(connection.dialect.name, len(customer_ids) == 1)
    who = customer_ids[0] if len(customer_ids) == 1 else json.dumps(list(customer_ids))
    # The cursor of the driver's own connection, for the pool's wrapper around it costs as much as a statement.
    cursor: Any = connection.connection.cursor()
    cursor.execute(events, (who, at, at, reach, base))
    found = cursor.fetchall()
    cursor.execute(consents, (who, at, at))
    return found, cursor.fetchall()


@lru_cache(maxsize=8)
def _statements(dialect: str, one: bool) -> tuple[str, str]:
    mark = "?" if dialect == "sqlite" else "%s"
    # PostgreSQL would read whole tables for an IN over the list; an array made first is looked up in the index.
    listed = (
        "IN (SELECT value FROM json_each(?))"
        if dialect == "sqlite"
        else "= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(%s AS jsonb))))"
    )
    among = f"= {mark}" if one else listed
    return _EVENTS.format(among=among, mark=mark), _CONSENTS.format(among=among, mark=mark)
