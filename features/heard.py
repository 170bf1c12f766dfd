"""What the ledger has heard of some customers: money movements since a base, and consents.

Reads the tables `events` and `consents` through a connection it is given. Consents are read whole:
a withdrawal that the bank's own tables have not caught up with must outlive every new base.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl
import sqlalchemy

_EVENTS = """
SELECT event_id, customer_id, kind, amount_minor, currency, balance_after_minor,
       booked_at, recorded_at
FROM events WHERE customer_id IN :ids AND booked_at < :at AND recorded_at <= :at
  AND (booked_at >= :base OR recorded_at > :base)
"""
_CONSENTS = """
SELECT customer_id, purpose, channel, state, at, received_at
FROM consents WHERE customer_id IN :ids AND at < :at AND received_at <= :at
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
IDS_A_QUERY = 500  # databases bound the number of parameters of a statement
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def read_heard(
    connection: sqlalchemy.Connection | None,
    customer_ids: Sequence[str],
    base: datetime,
    at: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events since the base and all consents of those customers, known at `at`.

    Args:
        connection: The ledger's database, only read; None where there is no ledger yet.
        customer_ids: Whom.
        base: Instant of the snapshot; events it already holds are left out.
        at: The present.
    """
    bound = {"at": _micros(at), "base": _micros(base)}
    events = _query(connection, _EVENTS, customer_ids, bound, EVENT_SCHEMA)
    del bound["base"]
    return events, _query(connection, _CONSENTS, customer_ids, bound, CONSENT_SCHEMA)


def _query(
    connection: sqlalchemy.Connection | None,
    text: str,
    ids: Sequence[str],
    bound: dict[str, int],
    schema: Mapping[str, type[pl.DataType]],
) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    if connection is not None:
        statement = sqlalchemy.text(text).bindparams(sqlalchemy.bindparam("ids", expanding=True))
        for start in range(0, len(ids), IDS_A_QUERY):
            some = list(ids[start : start + IDS_A_QUERY])
            rows += [tuple(row) for row in connection.execute(statement, {**bound, "ids": some})]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
