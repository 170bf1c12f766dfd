"""Consents as they are said: each grant, denial and withdrawal with its source and wording.

A later word overrides an earlier one by `at`, not by arrival; of one `at` the one that came later does
(`features.heard.place_of_word`). A withdrawal or denial also recalls,
in the same transaction, what is reserved, or claimed and not yet sent, for the customer on that channel.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import pyarrow as pa
from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection

from features.heard import place_of_word
from serving.ledger.idempotency import ConflictError
from serving.ledger.identity import aliases_of
from serving.ledger.recall import recall
from serving.ledger.schema import consents
from serving.ledger.statement import Statement, arrow, arrow_schema, is_listed, listed

ALL = "all"  # every channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """One statement. source: form, branch, outcome ...; wording: version of the text shown."""

    consent_id: str
    customer_id: str
    purpose: str
    channel: str
    state: str
    source: str | None
    wording: str | None
    at: int
    received_at: int


FIELDS = tuple(field.name for field in fields(ConsentRow))
COLUMNS = tuple(consents.c[name] for name in FIELDS)
_INSERT = Statement(insert(consents))
_FIND = Statement(select(*COLUMNS).where(consents.c.consent_id == bindparam("consent_id")))
_OF_CUSTOMERS = Statement(
    select(*COLUMNS)
    .where(is_listed(consents.c.customer_id, bindparam("customer_ids")))
    .order_by(consents.c.customer_id, consents.c.at, consents.c.consent_id)
)


def consent_id(
    customer_id: str, purpose: str, channel: str, state: str, source: str | None,
    wording: str | None, at: int,
) -> str:  # fmt: skip
    """The id of a statement that came without one: the hash of what was said, by whom and when."""
    said = json.dumps([customer_id, purpose, channel, state, source, wording, at])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def record(connection: Connection, consent: ConsentRow) -> bool:
    """Store a statement; False where it was known. ConflictError: its id with other content."""
    row = _FIND.run(connection, consent_id=consent.consent_id).fetchone()
    if row is not None:
        known = ConsentRow(**dict(zip(FIELDS, row, strict=True)))
        if any(getattr(known, n) != getattr(consent, n) for n in FIELDS if n != "received_at"):
            raise ConflictError("this consent_id came with other content before; take a new one")
        return False
    _INSERT.run(connection, **{name: getattr(consent, name) for name in FIELDS})
    if consent.purpose == "marketing" and consent.state != "granted":
        channel = None if consent.channel == ALL else consent.channel
        if is_last_word(connection, consent):
            reason = "opted_out" if consent.state == "withdrawn" else "no_consent"
            others = aliases_of(connection, [consent.customer_id]).get(consent.customer_id, ())
            for one in (consent.customer_id, *others):  # whoever he is called: he said no
                recall(connection, consent.received_at, customer_id=one, channel=channel, reason=reason)
    return True


def is_last_word(connection: Connection, consent: ConsentRow) -> bool:
    """False where another word about the same purpose and channel, or all, stands behind it."""
    return not any(
        _place(other) > _place(consent) and other.purpose == consent.purpose and other.channel in (consent.channel, ALL)
        for other in of_customers(connection, [consent.customer_id])
    )


def _place(consent: ConsentRow) -> tuple[int, int, bool, bool, str]:
    return place_of_word(consent.at, consent.received_at, consent.channel, consent.state)


def of_customers(connection: Connection, customer_ids: Iterable[str]) -> list[ConsentRow]:
    """All statements of the customers, sorted by customer, at, consent_id."""
    ids = listed(customer_ids)
    rows = _OF_CUSTOMERS.run(connection, customer_ids=ids).fetchall()
    return [ConsentRow(**dict(zip(FIELDS, row, strict=True))) for row in rows]


def consents_table(connection: Connection, since: int, names: Sequence[str] = FIELDS) -> pa.Table:
    """Statements received at `since` or later, for the batch; those columns of ConsentRow, by consent_id."""
    columns = [consents.c[name] for name in names]
    query = select(*columns).where(consents.c.received_at >= since).order_by(consents.c.consent_id)
    return arrow(connection, query, arrow_schema(columns))
