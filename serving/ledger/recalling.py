"""Take back what campaigns reserved, some at a time: nobody waits for the whole of it."""

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, or_, select

from serving.ledger.book import NOTHING, Ledger
from serving.ledger.recall import DAY_MICROS, RECALLABLE_CLAIMED, RECALLABLE_RESERVED, recall_unheld
from serving.ledger.schema import contacts
from serving.ledger.statement import is_listed, listed

CHUNK = 500  # contacts a transaction, as in expiry
_OPEN = (RECALLABLE_RESERVED, RECALLABLE_CLAIMED)  # each has an index of its own
_SPOKEN = tuple(contacts.c[name] for name in ("campaign_id", "offer_id", "family", "channel", "treatment"))


class Spoken(NamedTuple):
    """What a contact says, where, and in whose name."""

    campaign_id: str | None
    offer_id: str | None
    family: str | None
    channel: str
    treatment: str | None


def recall_campaign(
    ledger: Ledger, campaign_id: str, reason: str = "operator", pause: Callable[[float], object] = time.sleep
) -> int:
    """Recall every reserved or claimed outbound marketing contact of a campaign; how many. LedgerError as any write.

    One that a worker moves in this moment is asked again: in the end it is sent, or recalled. What is
    reserved after the call began may stay: pause the campaign first.
    """
    # One after the other: what is reserved may be claimed meanwhile, never the reverse.
    return sum(
        _recall_each(ledger, and_(contacts.c.campaign_id == campaign_id, open_), reason, pause) for open_ in _OPEN
    )


def recall_spoken(
    ledger: Ledger, may_go: Callable[[Spoken], bool], reason: str, run: str | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> int:  # fmt: skip
    """Recall the contacts of a list, null: those claimed within the last day, that may not go out; how many."""
    since = contacts.c.claimed_at >= ledger.now_micros() - DAY_MICROS
    among = (
        [and_(contacts.c.decision_id == run, open_) for open_ in _OPEN] if run else [and_(since, RECALLABLE_CLAIMED)]
    )
    n_recalled = 0
    for which in among:
        with ledger.read() as connection:
            found = [Spoken(*row) for row in connection.execute(select(*_SPOKEN).where(which).distinct())]
        for said in found:
            if not may_go(said):
                alike = and_(
                    which, *(column.is_not_distinct_from(it) for column, it in zip(_SPOKEN, said, strict=True))
                )
                n_recalled += _recall_each(ledger, alike, reason, pause)
    return n_recalled


def recall_superseded(
    ledger: Ledger, run: str, but: Collection[str] = (), pause: Callable[[float], object] = time.sleep
) -> int:
    """Recall what a run reserved and nobody claimed, but those contacts; how many. LedgerError as any write.

    For a run that is made anew, and one that is given up.
    """
    mine = and_(contacts.c.decision_id == run, RECALLABLE_RESERVED)
    return _recall_each(ledger, mine, "superseded", pause, but)


def recall_these(
    ledger: Ledger, contact_ids: Collection[str], reason: str, pause: Callable[[float], object] = time.sleep
) -> int:
    """Recall those contacts, reserved or claimed; how many. LedgerError as any write. Some hundreds are a good call."""
    which = and_(is_listed(contacts.c.contact_id, bindparam("these", listed(list(contact_ids)))), or_(*_OPEN))
    return _recall_each(ledger, which, reason, pause)


def _recall_each(
    ledger: Ledger, which: ColumnElement[bool], reason: str, pause: Callable[[float], object], but: Collection[str] = ()
) -> int:
    """Recall those contacts until none is left but `but`; they may be a whole list, and are looked for beside the writer."""
    kept, n_recalled = set(but), 0
    while True:
        with ledger.read() as connection:
            left = sorted(set(connection.execute(select(contacts.c.contact_id).where(which)).scalars()) - kept)
        if not left:
            return n_recalled
        done = 0
        for start in range(0, len(left), CHUNK):
            part = and_(which, is_listed(contacts.c.contact_id, bindparam("ids", listed(left[start : start + CHUNK]))))
            done += ledger.write(
                lambda c, part=part: recall_unheld(c, part, ledger.now_micros(), reason), touches=NOTHING
            ).result()
        n_recalled += done
        if not done:  # a worker moves them in this moment
            pause(0.02)
