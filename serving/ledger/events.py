"""What the customer does with his money, and the suppressions that opens or closes, at once.

The event, and every suppression it changes, are one transaction. Order and repetition of arrival do
not matter: a late event is put in its place and the stretches are folded anew, so any order ends
with the same stretches. The rule's own arithmetic is `rules.suppressions`; here it is only fed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import pyarrow as pa
from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.engine import Connection

from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from rules.policy import ContactPolicy
from rules.suppressions import Movement, Opening
from serving.ledger.balances import known_balances, place_in_instant, running_totals
from serving.ledger.idempotency import ConflictError
from serving.ledger.schema import events, suppressions
from serving.ledger.statement import Statement, arrow, arrow_schema, is_listed, listed

# No suppression lasts longer than 730 days, and none looks further back than 90 for its event.
REACH_MICROS = (730 + 90) * 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event. amount_minor signed, + in, - out; null, as currency: it is not about money.

    transaction_id, account_id: the booking and the account in the bank's own tables; null: nobody
    said, and then the event_id is taken for the booking's.
    """

    event_id: str
    customer_id: str
    kind: str
    amount_minor: int | None
    currency: str | None
    balance_after_minor: int | None
    booked_at: int
    recorded_at: int
    received_at: int
    transaction_id: str | None = None
    account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRow:
    """A stretch of an event suppression: open iff opened_at <= t < min(ends_at, closed_at).

    cause: the event that opened it; outflow_minor: what had left then and since, null unknown. closed_at =
    opened_at: a late event showed that it never held.
    """

    suppression_id: str
    rule_id: str
    customer_id: str
    unit_id: str
    currency: str
    opened_at: int
    ends_at: int
    closed_at: int | None
    cause: str
    outflow_minor: int | None


@dataclass(frozen=True)
class Stretch:
    """What a fold says of one stretch; the fields are SuppressionRow's."""

    rule_id: str
    opened_at: int
    ends_at: int
    closed_at: int | None
    cause: str
    outflow_minor: int | None = None


# (currency, movements in the order of booking with the balance of all accounts, stretches that stood before them) -> all stretches
Fold = Callable[[str, Sequence[EventRow], Sequence[Stretch]], Iterable[Stretch]]


@dataclass(frozen=True)
class Accepted:
    """new: False where the event was known. opened, closed: suppression ids it changed."""

    new: bool
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


FIELDS = tuple(field.name for field in fields(EventRow))
COLUMNS = tuple(events.c[name] for name in FIELDS)
_SUPPRESSION_FIELDS = tuple(field.name for field in fields(SuppressionRow))
_SUPPRESSION_COLUMNS = tuple(suppressions.c[name] for name in _SUPPRESSION_FIELDS)
_INSERT = Statement(insert(events))
_FIND = Statement(select(*COLUMNS).where(events.c.event_id == bindparam("event_id")))
_OF_BOOKING = Statement(
    select(*COLUMNS)
    .where((events.c.transaction_id == bindparam("booking")) | (events.c.event_id == bindparam("booking")))
    .order_by(events.c.event_id)
)
_BOOKED = Statement(
    select(events.c.transaction_id, events.c.event_id).where(
        is_listed(events.c.transaction_id, bindparam("transaction_ids"))
    )
)
_MOVEMENTS = Statement(
    select(*COLUMNS)
    .where(events.c.customer_id == bindparam("customer_id"))
    .where(events.c.currency == bindparam("currency"), events.c.booked_at >= bindparam("since"))
)
_KNOWN = Statement(
    select(*_SUPPRESSION_COLUMNS)
    .where(suppressions.c.customer_id == bindparam("customer_id"))
    .where(suppressions.c.currency == bindparam("currency"))
    .order_by(suppressions.c.opened_at, suppressions.c.suppression_id)
)
_UPSERT = Statement(
    insert(suppressions),
    "ON CONFLICT (suppression_id) DO UPDATE SET opened_at = excluded.opened_at,"
    " ends_at = excluded.ends_at, closed_at = excluded.closed_at,"
    " outflow_minor = excluded.outflow_minor",
)
_OF_UNITS = Statement(
    select(*_SUPPRESSION_COLUMNS)
    .where(is_listed(suppressions.c.unit_id, bindparam("unit_ids")))
    .where(suppressions.c.ends_at > bindparam("at"))
    .order_by(suppressions.c.unit_id, suppressions.c.opened_at, suppressions.c.suppression_id)
)


def accept(connection: Connection, event: EventRow, unit_id: str, now: int, fold: Fold) -> Accepted:
    """Store an event and move the customer's suppressions in its currency accordingly.

    A booking counts once, under whichever id it was told first. ConflictError where its id, or its
    transaction_id, came with other content; ValueError where it lies in the future.
    """
    if _is_known(connection, event):
        return Accepted(False)
    if max(event.booked_at, event.recorded_at) > now:
        raise ValueError("the event is booked or recorded in the future; send it when it happened")
    if (event.amount_minor is None) != (event.currency is None):
        raise ValueError("an event about money needs amount_minor and currency; give both or none")
    _INSERT.run(connection, **{name: getattr(event, name) for name in FIELDS})
    if event.currency is None:
        return Accepted(True)
    since = event.booked_at - REACH_MICROS
    opened, closed = refold(connection, event.customer_id, event.currency, unit_id, since, fold)
    return Accepted(True, opened, closed)


def _is_known(connection: Connection, event: EventRow) -> bool:
    row = _FIND.run(connection, event_id=event.event_id).fetchone()
    if row is not None:
        known = EventRow(**dict(zip(FIELDS, row, strict=True)))
        if known.transaction_id == known.event_id:  # as the import enters it
            return _is_same_booking(known, event)
        if replace(known, received_at=0) != replace(event, received_at=0):
            raise ConflictError("this event_id came with other content before; take a new one")
        return True
    booking = event.transaction_id or event.event_id
    row = _OF_BOOKING.run(connection, booking=booking).fetchone()
    return row is not None and _is_same_booking(EventRow(**dict(zip(FIELDS, row, strict=True))), event)


def _is_same_booking(known: EventRow, event: EventRow) -> bool:
    """True; ConflictError where the two cannot be one booking. Clocks and balances may differ by source."""
    for name in ("customer_id", "amount_minor", "currency"):
        if getattr(known, name) != getattr(event, name):
            raise ConflictError(f"this booking came with another {name} before; send the id of its own booking")
    return True


def known_bookings(connection: Connection, transaction_ids: Iterable[str]) -> dict[str, str]:
    """transaction_id -> event_id of those bookings an event has told of already."""
    rows = _BOOKED.run(connection, transaction_ids=listed(transaction_ids)).fetchall()
    return {str(transaction_id): str(event_id) for transaction_id, event_id in rows}


def refold(
    connection: Connection, customer_id: str, currency: str, unit_id: str, since: int, fold: Fold
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say anew what the movements since an instant open and close; (opened, closed) suppression ids.

    Whatever told of the movements: events as they came in and the bookings of an import count together.
    """
    who = {"customer_id": customer_id, "currency": currency}
    rows = _MOVEMENTS.run(connection, **who, since=since).fetchall()
    told = sorted((EventRow(**dict(zip(FIELDS, row, strict=True))) for row in rows), key=_place)
    movements = _over_all_accounts(told, known_balances(connection, before=since, **who))
    refolded = {movement.event_id for movement in movements}
    known = {row.suppression_id: row for row in _known(connection, **who)}
    # What older movements or the import opened is given to the fold; what these movements opened
    # the fold says anew.
    before = [_stretch(row) for row in known.values() if row.cause not in refolded]
    now_true = {
        row.suppression_id: row
        for stretch in fold(currency, movements, before)
        for row in [_row(stretch, customer_id, unit_id, currency)]
    }
    never_true = {
        name: replace(row, closed_at=row.opened_at)
        for name, row in known.items()
        if name not in now_true and row.cause in refolded
    }
    written = now_true | never_true
    changed = [row for name, row in written.items() if _facts(row) != _facts(known.get(name))]
    _UPSERT.run_many(connection, [_values(row) for row in changed])
    opened = [row.suppression_id for row in changed if not _held(known.get(row.suppression_id))]
    closed = [row.suppression_id for row in changed if row.closed_at is not None]
    return tuple(name for name in opened if _held(written[name])), tuple(closed)


def _place(row: EventRow) -> tuple[int, int, bool, str]:
    return row.booked_at, *place_in_instant(row.recorded_at, row.kind, row.event_id)


def _over_all_accounts(movements: Sequence[EventRow], known: dict[str, int]) -> list[EventRow]:
    """The movements with the balance of all accounts in the currency, as the fold takes them; known: before the first."""
    totals = running_totals(((row.account_id, row.balance_after_minor) for row in movements), known)
    return [replace(row, balance_after_minor=total) for row, total in zip(movements, totals, strict=True)]


def policy_fold(policy: ContactPolicy) -> Fold:
    """The fold of a contact policy: every event suppression that names the currency."""

    def fold(currency: str, movements: Sequence[EventRow], before: Sequence[Stretch]) -> list[Stretch]:
        moves = [_movement(row) for row in movements]
        return [
            Stretch(rule.id, o.opened_at, o.ends_at, o.closed_at, o.cause, o.outflow_minor)
            for rule in policy.event_suppressions
            if currency in rule.currencies
            for o in rule.openings(moves, [_opening(s) for s in before if s.rule_id == rule.id])
        ]

    return fold


def _movement(row: EventRow) -> Movement:
    amount = abs(row.amount_minor or 0)
    return Movement(
        row.booked_at,
        row.recorded_at,
        row.event_id,
        outflow_minor=amount if row.kind in OUTFLOW_KINDS else 0,
        inflow_minor=amount if row.kind in INFLOW_KINDS else 0,
        # A balance nobody told could be nothing: then every outflow is all of it, and silences.
        balance_minor=row.balance_after_minor or 0,
    )


def _opening(stretch: Stretch) -> Opening:
    # What left is unknown: nothing that comes back is enough for an early end.
    left = 2**62 if stretch.outflow_minor is None else stretch.outflow_minor
    return Opening(stretch.opened_at, stretch.ends_at, stretch.closed_at, stretch.cause, left)


def suppressions_of_units(connection: Connection, unit_ids: Iterable[str], at: int) -> list[SuppressionRow]:
    """Stretches of the units' customers that end after `at`, closed ones among them; by unit."""
    ids = listed(unit_ids)
    rows = _OF_UNITS.run(connection, unit_ids=ids, at=at).fetchall()
    return [SuppressionRow(**dict(zip(_SUPPRESSION_FIELDS, row, strict=True))) for row in rows]


def suppressions_table(connection: Connection, since: int) -> pa.Table:
    """Stretches of all that end after `since`, for the batch; SuppressionRow's columns."""
    query = select(*_SUPPRESSION_COLUMNS).where(suppressions.c.ends_at > since).order_by(suppressions.c.suppression_id)
    return arrow(connection, query, arrow_schema(_SUPPRESSION_COLUMNS))


def events_table(connection: Connection, since: int) -> pa.Table:
    """Events received at `since` or later, for the batch; EventRow's columns.

    event_id is the id of the booking where the event names one: by it features drop what a
    snapshot has counted.
    """
    booking = func.coalesce(events.c.transaction_id, events.c.event_id).label("event_id")
    query = select(booking, *COLUMNS[1:]).where(events.c.received_at >= since).order_by(events.c.event_id)
    return arrow(connection, query, arrow_schema(COLUMNS))


def _known(connection: Connection, customer_id: str, currency: str) -> list[SuppressionRow]:
    rows = _KNOWN.run(connection, customer_id=customer_id, currency=currency).fetchall()
    return [SuppressionRow(**dict(zip(_SUPPRESSION_FIELDS, row, strict=True))) for row in rows]


def _row(stretch: Stretch, customer_id: str, unit_id: str, currency: str) -> SuppressionRow:
    opening = json.dumps([stretch.rule_id, customer_id, currency, stretch.cause])
    return SuppressionRow(
        suppression_id=hashlib.sha256(opening.encode()).hexdigest()[:32], rule_id=stretch.rule_id,
        customer_id=customer_id, unit_id=unit_id, currency=currency, opened_at=stretch.opened_at,
        ends_at=stretch.ends_at, closed_at=stretch.closed_at, cause=stretch.cause,
        outflow_minor=stretch.outflow_minor,
    )  # fmt: skip


def _stretch(row: SuppressionRow) -> Stretch:
    return Stretch(row.rule_id, row.opened_at, row.ends_at, row.closed_at, row.cause, row.outflow_minor)


def _values(row: SuppressionRow) -> dict[str, str | int | None]:
    return {name: getattr(row, name) for name in _SUPPRESSION_FIELDS}


def _facts(row: SuppressionRow | None) -> Stretch | None:
    return None if row is None else _stretch(row)


def _held(row: SuppressionRow | None) -> bool:
    return row is not None and (row.closed_at is None or row.closed_at > row.opened_at)
