"""The feed of recalls: read by cursor, and never written behind one."""

from sqlalchemy import func, literal_column, select, true
from sqlalchemy.engine import Connection

from serving.ledger.contact import COLUMNS, Action, ContactRow
from serving.ledger.locks import hold_recalls
from serving.ledger.schema import contacts
from serving.ledger.statement import Statement

# Written out and not bound: the index of recalls is a partial one.
_IS_RECALLED = contacts.c.close_reason == literal_column(f"'{Action.RECALL}'")
_NEWEST_RECALL = Statement(select(func.max(contacts.c.closed_at)).where(_IS_RECALLED))


def in_feed(connection: Connection, now: int) -> int:
    """The instant of a recall: now, or just after every recall before it.

    INVARIANT: no recall is committed with an instant that a reader's cursor may have passed, however the clock stands
    or goes back and whichever worker commits first. So one transaction recalls at a time, until it ends.
    """
    hold_recalls(connection)
    [newest] = _NEWEST_RECALL.run(connection).fetchone()
    return now if newest is None else max(now, newest + 1)


def recalls(connection: Connection, after: tuple[int, str] = (-1, ""), limit: int = 100, channel: str | None = None,
            ) -> list[ContactRow]:  # fmt: skip
    """Recalled contacts, closed or on their way, in the order of (closed_at, contact_id), those beyond `after`; of one channel or all."""
    at, contact_id = after
    later = (contacts.c.closed_at > at) | ((contacts.c.closed_at == at) & (contacts.c.contact_id > contact_id))
    query = (
        select(*COLUMNS)
        .where(_IS_RECALLED, later, true() if channel is None else contacts.c.channel == channel)
        .order_by(contacts.c.closed_at, contacts.c.contact_id)
        .limit(limit)
    )
    return [ContactRow(**row) for row in connection.execute(query).mappings()]
