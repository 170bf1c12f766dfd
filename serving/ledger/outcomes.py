"""What came of a contact. An opt-out, a do-not-call and a complaint withdraw consent at once.

The outcome and the withdrawal are one transaction: the next decision and the next claim know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import pyarrow as pa
from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection

from serving.ledger import consents
from serving.ledger.contact import TRANSITIONS, Action, ContactRow, LifecycleError, State
from serving.ledger.counted import COUNTS
from serving.ledger.lifecycle import find
from serving.ledger.schema import contacts, outcomes
from serving.ledger.statement import Statement, arrow, arrow_schema, is_listed, listed


class Kind(StrEnum):
    """What a customer did, or what happened on the way to him."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    OPENED = "opened"
    CLICKED = "clicked"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    NO_RESPONSE = "no_response"
    WRONG_NUMBER = "wrong_number"
    DO_NOT_CALL = "do_not_call"
    COMPLAINED = "complained"
    OPTED_OUT = "opted_out"


WITHDRAWING = frozenset({Kind.DO_NOT_CALL, Kind.COMPLAINED, Kind.OPTED_OUT})


@dataclass(frozen=True)
class Accepted:
    """new: False where this outcome was known. withdrew: channel (or `all`) whose consent ended."""

    new: bool
    withdrew: str | None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """An outcome with the columns of its contact that cool-offs ask for."""

    contact_id: str
    kind: str
    at: int
    recorded_at: int
    customer_id: str
    unit_id: str
    offer_id: str | None
    family: str | None
    channel: str
    direction: str
    purpose: str


FIELDS = tuple(field.name for field in fields(OutcomeRow))
COLUMNS = tuple((outcomes if name in outcomes.c else contacts).c[name] for name in FIELDS)
_JOINED = outcomes.join(contacts, outcomes.c.contact_id == contacts.c.contact_id)
_INSERT_NEW = Statement(insert(outcomes), "ON CONFLICT DO NOTHING")
_OF_UNITS = Statement(
    select(*COLUMNS)
    .select_from(_JOINED)
    .where(is_listed(contacts.c.unit_id, bindparam("unit_ids")))
    .where(outcomes.c.at >= bindparam("since"))
    .order_by(contacts.c.unit_id, outcomes.c.at, outcomes.c.contact_id, outcomes.c.kind)
)


def accept(connection: Connection, contact_id: str, kind: str, at: int, now: int) -> Accepted:
    """Store an outcome; a second time changes nothing.

    LifecycleError where there is no such contact, or it was not even claimed (a withdrawal is
    taken in every state). ValueError for an unknown kind, or `at` in the future.
    """
    if kind not in tuple(Kind):
        raise ValueError(f"unknown outcome `{kind}`; expected one of {', '.join(Kind)}")
    if at > now:
        raise ValueError("the outcome's `at` is in the future; send it when it has happened")
    contact = find(connection, contact_id)
    if contact is None:
        remedy = "use the contact_id of a decision or of POST /v1/contacts"
        raise LifecycleError(f"there is no such contact; {remedy}", None, Action.OUTCOME)
    if (State(contact.state), Action.OUTCOME) not in TRANSITIONS and kind not in WITHDRAWING:
        what = f"the contact is `{contact.state}` and cannot have been `{kind}`; claim it first"
        raise LifecycleError(what, State(contact.state), Action.OUTCOME)
    new = _INSERT_NEW.run(connection, contact_id=contact_id, kind=str(kind), at=at, recorded_at=now)
    if new.rowcount == 0:
        return Accepted(False, None)
    withdrew = withdraw(connection, contact, Kind(kind), at, now) if kind in WITHDRAWING else None
    return Accepted(True, withdrew)


def withdraw(connection: Connection, contact: ContactRow, kind: Kind, at: int, now: int) -> str:
    """Withdraw marketing consent on the contact's channel, `all` on do_not_call; which it was.

    An answer to a contact is no older than the contact: told with a clock that is behind, it would lose to a grant
    given before he was ever contacted.
    """
    at = max(at, contact.decided_at)
    channel = consents.ALL if kind == Kind.DO_NOT_CALL else contact.channel
    said = (contact.customer_id, "marketing", channel, "withdrawn", f"outcome:{kind}", None, at)
    consents.record(
        connection,
        consents.ConsentRow(
            consent_id=consents.consent_id(*said), customer_id=contact.customer_id,
            purpose="marketing", channel=channel, state="withdrawn", source=f"outcome:{kind}",
            wording=None, at=at, received_at=now,
        ),
    )  # fmt: skip
    return channel


def outcomes_of_units(connection: Connection, unit_ids: Iterable[str], since: int) -> list[OutcomeRow]:
    """Outcomes at `since` or later of the units' contacts, however old the contact; by unit, at."""
    ids = listed(unit_ids)
    rows = _OF_UNITS.run(connection, unit_ids=ids, since=since).fetchall()
    return [OutcomeRow(*row) for row in rows]


def outcomes_of_contacts(connection: Connection, contact_ids: Iterable[str]) -> dict[str, list[str]]:
    """Contact -> kinds of its outcomes, oldest first; contacts without one are left out."""
    query = select(outcomes.c.contact_id, outcomes.c.kind).where(outcomes.c.contact_id.in_(list(contact_ids)))
    found: dict[str, list[str]] = {}
    for contact_id, kind in connection.execute(query.order_by(outcomes.c.at, outcomes.c.kind)):
        found.setdefault(str(contact_id), []).append(str(kind))
    return found


def outcomes_table(connection: Connection, since: int, names: Sequence[str] = FIELDS) -> pa.Table:
    """Outcomes at `since` or later of all that count for something, for the batch; those columns of OutcomeRow, in no order."""
    columns = [column for column in COLUMNS if column.name in names]
    return arrow(
        connection, select(*columns).select_from(_JOINED).where(outcomes.c.at >= since, COUNTS), arrow_schema(columns)
    )
