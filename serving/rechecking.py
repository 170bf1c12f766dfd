"""A list that was handed over, asked again what a claim would ask: what may not go out is recalled, or held for now.

Asked in groups, for a list may have a million contacts; a test compares with contacts asked one by one.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.engine import Connection

from serving.claims import forbidden_each, instant, passes
from serving.engine import Engine
from serving.ledger.book import ContactRow, Ledger
from serving.ledger.contact import COLUMNS
from serving.ledger.recall import RECALLABLE_CLAIMED, RECALLABLE_RESERVED
from serving.ledger.recalling import recall_these
from serving.ledger.schema import contacts
from serving.lists.recalls import Held, write_recalls
from serving.unnamed import recall_unnamed

GROUP = 500  # contacts asked at a time


class RecallFile(NamedTuple):
    """Where it stands, how many contacts it takes back for good, and how many it holds for now."""

    path: Path
    recalled: int
    held: int


def recall_file(engine: Engine, ledger: Ledger, run: str) -> RecallFile:
    """The run's recalls.csv as of now; ListError where there is no such list, LedgerError as any write.

    engine: of the set in force. What a claim would refuse for good is recalled first.
    """
    recall_unnamed(engine, ledger, instant(ledger.now_micros()), run)
    held = recall_forbidden(engine, ledger, run)
    with ledger.read() as connection:
        path, recalled = write_recalls(connection, engine.home.lists, run, held)
    return RecallFile(path, recalled, len(held))


def recall_forbidden(engine: Engine, ledger: Ledger, run: str) -> list[Held]:
    """Recall the run's open contacts that a claim would refuse for good; those it would refuse for now, by contact_id."""
    held, after = list[Held](), ""
    while True:
        now = ledger.now_micros()
        with ledger.read() as connection:
            rows = _open(connection, run, after, now)
            found = forbidden_each(engine, connection, rows, now)
        if not rows:
            return held
        after = rows[-1].contact_id
        gone: dict[str, list[str]] = defaultdict(list)
        for row, why in zip(rows, found, strict=True):
            if passes(engine, why, now):
                held.append(Held(row.contact_id, row.customer_id, row.channel, why[0]))
            elif why:
                gone[why[0]].append(row.contact_id)
        for reason, ids in gone.items():
            recall_these(ledger, ids, reason)


def _open(connection: Connection, run: str, after: str, now: int) -> list[ContactRow]:
    """The next group of the run's contacts that could still go out, by contact_id."""
    could_go = or_(RECALLABLE_RESERVED & (contacts.c.send_before > now), RECALLABLE_CLAIMED)
    query = (select(*COLUMNS).where(contacts.c.decision_id == run, contacts.c.contact_id > after, could_go)
             .order_by(contacts.c.contact_id).limit(GROUP))  # fmt: skip
    return [ContactRow._make(row) for row in connection.execute(query)]
