"""Take back what a campaign reserved, some at a time: nobody waits for the whole of it."""

import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.engine import Connection

from serving.ledger.book import NOTHING, Ledger
from serving.ledger.contact import Action, State
from serving.ledger.schema import contacts

CHUNK = 500  # contacts a transaction, as in expiry


def recall_campaign(
    ledger: Ledger, campaign_id: str, reason: str = "operator", pause: Callable[[float], object] = time.sleep
) -> int:
    """Close every reserved outbound marketing contact of a campaign; how many. LedgerError as any write.

    One that a worker moves in this moment is asked again: in the end it is claimed, or recalled. What is
    reserved after the call began may stay: pause the campaign first.
    """
    n_closed = 0
    while True:
        done = ledger.write(lambda c: _some(c, campaign_id, ledger.now_micros(), reason), touches=NOTHING).result()
        n_closed += done
        if done:
            continue
        with ledger.read() as connection:
            if not _left(connection, campaign_id):
                return n_closed
        pause(0.02)


def _open(campaign_id: str) -> list[ColumnElement[bool]]:
    return [contacts.c.campaign_id == campaign_id, contacts.c.state == State.RESERVED,
            contacts.c.purpose == "marketing", contacts.c.direction == "outbound"]  # fmt: skip


def _some(connection: Connection, campaign_id: str, now: int, reason: str) -> int:
    ids = select(contacts.c.contact_id).where(and_(*_open(campaign_id))).order_by(contacts.c.contact_id).limit(CHUNK)
    if connection.dialect.name == "postgresql":  # a worker that moves one of them is not waited for: no circle
        ids = ids.with_for_update(skip_locked=True)
    values = {"state": State.CLOSED, "closed_at": now, "close_reason": str(Action.RECALL), "recall_reason": reason}
    return connection.execute(update(contacts).where(contacts.c.contact_id.in_(ids)).values(values)).rowcount


def _left(connection: Connection, campaign_id: str) -> int:
    return connection.execute(select(func.count()).where(and_(*_open(campaign_id)))).scalar_one()
