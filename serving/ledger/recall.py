"""Take back what is reserved or claimed, in the caller's transaction: it stands in the feed from its commit on."""

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.engine import Connection

from serving.ledger.contact import Action, State
from serving.ledger.feed import in_feed
from serving.ledger.lifecycle import SCOPED, close_all
from serving.ledger.locks import unheld
from serving.ledger.schema import contacts

DAY_MICROS = 86_400_000_000
_OUTBOUND = and_(contacts.c.purpose == "marketing", contacts.c.direction == "outbound")
RECALLABLE_RESERVED = and_(contacts.c.state == State.RESERVED, _OUTBOUND)
RECALLABLE_CLAIMED = and_(contacts.c.state == State.CLAIMED, contacts.c.close_reason.is_(None), _OUTBOUND)


def recall(
    connection: Connection, now: int, *, customer_id: str | None = None,
    campaign_id: str | None = None, channel: str | None = None, reason: str = "operator",
) -> int:  # fmt: skip
    """Recall what is reserved or claimed for a customer or a campaign, on one channel or all; how many.

    reason: why, for those who hold a list: a slug of rules.reasons, or `operator`. Only outbound marketing is recalled,
    each contact once. INVARIANT: the caller holds the units of the contacts, so that their rows are waited for by nobody
    (`hold_recalls`). What is claimed may be on its way: it stays claimed, and counts, until it is sent or cancelled.
    """
    if (customer_id is None) == (campaign_id is None):
        raise ValueError("recall either a customer or a campaign; name exactly one of them")
    chosen = contacts.c.customer_id == customer_id
    if campaign_id is not None:
        chosen = contacts.c.campaign_id == campaign_id
    if channel is not None:
        chosen = and_(chosen, contacts.c.channel == channel)
    which = and_(chosen, or_(RECALLABLE_RESERVED, RECALLABLE_CLAIMED))
    return close_all(connection, which, Action.RECALL, in_feed(connection, now), reason)


def recall_contact(connection: Connection, contact_id: str, now: int, reason: str = "operator") -> None:
    """Recall one claimed contact, whose unit the caller holds; one that was recalled before keeps its first recall."""
    which = and_(contacts.c.contact_id == contact_id, RECALLABLE_CLAIMED)
    close_all(connection, which, Action.RECALL, in_feed(connection, now), reason)


def recall_claimed(connection: Connection, scope: str, now: int, reason: str) -> int:
    """Recall what was claimed within the last day under a switch's scope (`all`, `channel:sms` ...); how many.

    What is reserved under it is not touched: its claim will be refused while the switch holds.
    """
    kind, _, name = scope.partition(":")
    since = contacts.c.claimed_at >= now - DAY_MICROS
    of = true() if kind == "all" else SCOPED[kind] == name
    return recall_unheld(connection, and_(since, of, RECALLABLE_CLAIMED), now, reason)


def recall_unheld(connection: Connection, which: ColumnElement[bool], now: int, reason: str) -> int:
    """Recall those contacts, of RECALLABLE_RESERVED or RECALLABLE_CLAIMED, but whom a worker moves in this moment; how many."""
    ids = unheld(connection, select(contacts.c.contact_id).where(which))
    return close_all(connection, contacts.c.contact_id.in_(ids), Action.RECALL, in_feed(connection, now), reason)
