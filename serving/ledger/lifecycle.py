"""The moves of a contact through its one life-cycle, for every channel, caller and campaign (serving/ledger/contact.py).

What other systems sent enters as sent. All run on the caller's connection, in the caller's transaction.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, and_, bindparam, case, insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.contact import COLUMNS, FIELDS, TRANSITIONS, Action, ContactRow, LifecycleError, State
from serving.ledger.counted import COUNTS
from serving.ledger.errors import LedgerError
from serving.ledger.feed import in_feed
from serving.ledger.idempotency import ConflictError
from serving.ledger.locks import unheld
from serving.ledger.schema import contacts, outcomes
from serving.ledger.statement import Entry, Statement, arrow, arrow_schema, enter_all, is_listed

CLAIM_AHEAD_MICROS = 60_000_000  # a claim is good for the next minute, no longer

# What a switch may name beside `all`.
SCOPED = {
    "channel": contacts.c.channel,
    "family": contacts.c.family,
    "offer": contacts.c.offer_id,
    "campaign": contacts.c.campaign_id,
}

_INSERT = Statement(insert(contacts))
_INSERT_NEW = Statement(insert(contacts), "ON CONFLICT DO NOTHING")
_FIND = Statement(select(*COLUMNS).where(contacts.c.contact_id == bindparam("contact_id")))
_OF_UNIT = Statement(
    select(*COLUMNS)
    .where(contacts.c.unit_id == bindparam("unit_id"), contacts.c.send_before >= bindparam("since"))
    .order_by(contacts.c.send_after, contacts.c.contact_id)
)
_OF_UNITS = Statement(
    select(*COLUMNS)
    .where(is_listed(contacts.c.unit_id, bindparam("unit_ids")))
    .where(contacts.c.send_before >= bindparam("since"))
    .order_by(contacts.c.unit_id, contacts.c.send_after, contacts.c.contact_id)
)
_MOVED = ("state", "send_before", "claimed_at", "sent_at", "closed_at", "close_reason", "recall_reason")
# From the state it was read in only: where two workers move a contact at once, one of them moves nothing.
_MOVE = Statement(
    update(contacts)
    .where(contacts.c.contact_id == bindparam("id"), contacts.c.state == bindparam("was"))
    .values({name: bindparam(name) for name in _MOVED})
)
_CLOSE_DEAD = Statement(
    update(contacts)
    .where(contacts.c.unit_id == bindparam("unit"), contacts.c.state == bindparam("was"))
    .where(contacts.c.send_before <= bindparam("now"))
    .values(state=bindparam("state"), closed_at=bindparam("now"), close_reason=bindparam("close_reason"))
)


def reserve(connection: Connection, contact: ContactRow) -> None:
    """Enter a contact as reserved: from here on it counts. RowError where its id is taken."""
    enter_all(connection, [reserving(contact)])


def reserving(contact: ContactRow) -> Entry:
    """What `reserve` enters."""
    return Entry(_INSERT, FIELDS, _reservable(contact))


def offering(contact: ContactRow, now: int) -> Entry:
    """What is entered of an offer to a caller: claimed, for it was made by answering, and there is nothing left to send."""
    return Entry(_INSERT, FIELDS, _reservable(contact)._replace(state=State.CLAIMED, claimed_at=now))


def reserve_many(connection: Connection, rows: Sequence[ContactRow]) -> None:
    """Enter contacts as reserved, all or none; about 1,000 are a good transaction."""
    _INSERT.run_many(connection, [_reservable(row).values() for row in rows])


def _reservable(row: ContactRow) -> ContactRow:
    if row.state != State.RESERVED:
        raise ValueError(f"cannot reserve a contact that is `{row.state}`; use enter_external")
    return row


def enter_sent(connection: Connection, rows: Sequence[ContactRow]) -> int:
    """Enter contacts that others made, as sent; how many are new. An id that is known is left."""
    for row in rows:
        if row.state != State.SENT or row.source == "decision":
            raise ValueError(f"contact enters as `{row.state}` from `{row.source}`; only sent ones "
                             "from import or external do")  # fmt: skip
    return _INSERT_NEW.run_many(connection, [row.values() for row in rows])


def enter_external(connection: Connection, row: ContactRow) -> bool:
    """Enter one contact that another system made; False where it was known.

    ConflictError where its id came with other content (unit and decided_at aside).
    """
    known = find(connection, row.contact_id)
    if known is None:
        enter_sent(connection, [row])
        return True
    if known._replace(unit_id="", decided_at=0) != row._replace(unit_id="", decided_at=0):
        raise ConflictError("this contact_id came with other content before; take a new one")
    return False


def find(connection: Connection, contact_id: str) -> ContactRow | None:
    """The contact with this id; null where there is none."""
    row = _FIND.run(connection, contact_id=contact_id).fetchone()
    return None if row is None else ContactRow._make(row)


def contacts_of_units(connection: Connection, unit_ids: Iterable[str], since: int) -> list[ContactRow]:
    """Contacts of the units whose send window ends at `since` or later, in every state.

    Sorted by unit, send_after, contact_id. Closed ones are among them: they do not count.
    """
    asked = sorted(set(unit_ids))
    if len(asked) == 1:
        rows = _OF_UNIT.run(connection, unit_id=asked[0], since=since).fetchall()
    else:
        rows = _OF_UNITS.run(connection, unit_ids=json.dumps(asked), since=since).fetchall()
    return list(map(ContactRow._make, rows))


def contacts_table(
    connection: Connection, since: int, now: int | None = None, names: Sequence[str] = FIELDS
) -> pa.Table:
    """Contacts of all whose send window ends, or whose last outcome that counts came, at `since` or later.

    Columns of ContactRow by name, instants int64 microseconds, in every state and in no order. now: what is
    reserved and can no longer be claimed shows as closed, whether it was closed yet or not.
    """
    columns = [contacts.c[name] for name in names]
    answered = select(outcomes.c.contact_id).where(outcomes.c.at >= since, COUNTS)
    recent = (contacts.c.send_before >= since) | contacts.c.contact_id.in_(answered)
    shown = [column if column is not contacts.c.state or now is None else _standing(now) for column in columns]
    return arrow(connection, select(*shown).where(recent), arrow_schema(columns))


def _standing(now: int) -> ColumnElement[str]:
    is_dead = and_(contacts.c.state == State.RESERVED, contacts.c.send_before <= now)
    return case((is_dead, str(State.CLOSED)), else_=contacts.c.state).label("state")


def claim(connection: Connection, contact_id: str, now: int) -> ContactRow:
    """Claim a contact for sending in the next minute; the row as it then stands.

    The caller has re-run regulatory, suppression and pauses in this transaction. LifecycleError
    where it is not reserved, is due in more than a minute, or its window is over.
    """
    row = _movable(connection, contact_id, Action.CLAIM)
    if now < row.send_after - CLAIM_AHEAD_MICROS:
        raise _refused(row, Action.CLAIM, "is not due; claim at most a minute before send_after")
    if now >= row.send_before:
        raise _refused(row, Action.CLAIM, "is past its send_before; it will expire")
    return _move(connection, row, row._replace(state=State.CLAIMED, claimed_at=now))


def sent(connection: Connection, contact_id: str, at: int) -> ContactRow:
    """Confirm that a claimed contact went out at `at`; the row as it then stands.

    One that went out late is still counted where it went out: send_before moves along.
    """
    row = _movable(connection, contact_id, Action.SENT)
    if row.state == State.SENT:
        return row
    late = max(row.send_before, at)
    return _move(connection, row, row._replace(state=State.SENT, sent_at=at, send_before=late))


def close(connection: Connection, contact_id: str, action: Action, now: int, reason: str | None = None) -> ContactRow:
    """Close a contact that will not be sent (EXPIRE, CANCEL, RECALL, NOT_SENT); it counts no more.

    reason: why it is recalled. A closed one stays as it is, first reason and all, and one that was recalled on its
    way keeps its recall; LifecycleError where it was sent.
    """
    row = _movable(connection, contact_id, action)
    if row.state == State.CLOSED:
        return row
    closed = row._replace(state=State.CLOSED)
    if row.close_reason is None:
        at = in_feed(connection, now) if action == Action.RECALL else now
        closed = closed._replace(closed_at=at, close_reason=str(action), recall_reason=reason)
    return _move(connection, row, closed)


def expire(connection: Connection, now: int, limit: int = 1_000) -> int:
    """Close reserved contacts whose window is over, at most `limit`; how many were closed.

    Claimed ones stay: they may have gone out, and what may have gone out counts.
    """
    over = and_(contacts.c.state == State.RESERVED, contacts.c.send_before <= now)
    ids = select(contacts.c.contact_id).where(over).order_by(contacts.c.send_before).limit(limit)
    return close_all(connection, contacts.c.contact_id.in_(unheld(connection, ids)), Action.EXPIRE, now)


def expire_unit(connection: Connection, unit_id: str, now: int) -> int:
    """Close what is reserved for the unit and can no longer be claimed; how many.

    Whoever reserves calls it in the same transaction: what was not counted can then not be claimed
    either, by no worker and no clock.
    """
    done = _CLOSE_DEAD.run(
        connection, unit=unit_id, was=State.RESERVED, now=now, state=State.CLOSED, close_reason=Action.EXPIRE
    )
    return max(int(done.rowcount), 0)


def due(connection: Connection, channel: str, now: int, after: str = "", limit: int = 100,
        stopped: Collection[str] = ()) -> list[ContactRow]:  # fmt: skip
    """Reserved contacts of a channel that may be claimed now, by contact_id, ids above `after`; none of a scope that is stopped."""
    if "all" in stopped:
        return []
    scopes = (scope.partition(":") for scope in stopped)
    open_ = [SCOPED[kind].is_distinct_from(name) for kind, _, name in scopes]
    query = (
        select(*COLUMNS)
        .where(contacts.c.state == State.RESERVED, contacts.c.channel == channel)
        .where(contacts.c.direction == "outbound")  # what a caller was offered is not sent
        .where(contacts.c.send_after <= now + CLAIM_AHEAD_MICROS, contacts.c.send_before > now)
        .where(contacts.c.contact_id > after, *open_)
        .order_by(contacts.c.contact_id)
        .limit(limit)
    )
    return [ContactRow(**row) for row in connection.execute(query).mappings()]


def _movable(connection: Connection, contact_id: str, action: Action) -> ContactRow:
    row = find(connection, contact_id)
    if row is None:
        raise LifecycleError("there is no such contact; use the contact_id of a decision", None, action)
    if (State(row.state), action) not in TRANSITIONS:
        raise _refused(row, action, f"is `{row.state}`, which `{action}` does not follow; leave it as it is")
    return row


def _refused(row: ContactRow, action: Action, why: str) -> LifecycleError:
    return LifecycleError(f"the contact {why}", State(row.state), action)


def _move(connection: Connection, was: ContactRow, row: ContactRow) -> ContactRow:
    values = {name: getattr(row, name) for name in _MOVED}
    if _MOVE.run(connection, id=row.contact_id, was=was.state, **values).rowcount != 1:
        raise LedgerError("the contact was moved by another worker in this moment; ask again")
    return row


def close_all(connection: Connection, which: Any, action: Action, now: int, reason: str | None = None) -> int:
    """Close those contacts, whatever they are; claimed ones stay claimed, and bear why; how many."""
    state = case((contacts.c.state == State.CLAIMED, str(State.CLAIMED)), else_=str(State.CLOSED))
    values = {"state": state, "closed_at": now, "close_reason": str(action), "recall_reason": reason}
    return connection.execute(update(contacts).where(which).values(values)).rowcount
