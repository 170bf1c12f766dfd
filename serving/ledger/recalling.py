"""Take back what a campaign reserved, some at a time: nobody waits for the whole of it."""

import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.engine import Connection

from serving.ledger.book import NOTHING, Ledger
from serving.ledger.lifecycle import RECALLABLE_CLAIMED, RECALLABLE_RESERVED, recall_all
from serving.ledger.schema import contacts

CHUNK = 500  # contacts a transaction, as in expiry


def recall_campaign(
    ledger: Ledger, campaign_id: str, reason: str = "operator", pause: Callable[[float], object] = time.sleep
) -> int:
    """Recall every reserved or claimed outbound marketing contact of a campaign; how many. LedgerError as any write.

    One that a worker moves in this moment is asked again: in the end it is sent, or recalled. What is
    reserved after the call began may stay: pause the campaign first.
    """
    # One after the other: each has an index of its own. What is reserved may be claimed meanwhile, never the reverse.
    return sum(_recall_each(ledger, and_(contacts.c.campaign_id == campaign_id, open_), reason, pause)
               for open_ in (RECALLABLE_RESERVED, RECALLABLE_CLAIMED))  # fmt: skip


def _recall_each(ledger: Ledger, which: ColumnElement[bool], reason: str, pause: Callable[[float], object]) -> int:
    n_recalled = 0
    while True:
        done = ledger.write(lambda c: _some(c, which, ledger.now_micros(), reason), touches=NOTHING).result()
        n_recalled += done
        if done:
            continue
        with ledger.read() as connection:
            if not connection.execute(select(func.count()).where(which)).scalar_one():
                return n_recalled
        pause(0.02)


def _some(connection: Connection, which: ColumnElement[bool], now: int, reason: str) -> int:
    ids = select(contacts.c.contact_id).where(which).order_by(contacts.c.contact_id).limit(CHUNK)
    if connection.dialect.name == "postgresql":  # a worker that moves one of them is not waited for: no circle
        ids = ids.with_for_update(skip_locked=True)
    return recall_all(connection, contacts.c.contact_id.in_(ids), now, reason)
