"""What caps, cool-offs and precedents count of some units: outbound marketing not closed, and answers, as plain rows.

The database picks the rows and works out their stretch; a history of contacts that count for nothing costs nothing.
"""

from collections.abc import Iterable

from sqlalchemy import and_, bindparam, case, func, literal_column, select
from sqlalchemy.engine import Connection

from rules.facts import UNCOUNTED
from serving.ledger.contact import State
from serving.ledger.schema import contacts, outcomes
from serving.ledger.statement import Statement, is_listed, listed

# (unit_id, lapses_at, customer_id, channel, family, starts, ends, offer_id, campaign_id, contact_id, sent).
# lapses_at: of a reserved one, the instant from which it counts no more; null: it stays. starts, ends: when it goes or
# went out, in microseconds UTC. sent: 1 where it is known to have gone out.
CountedRow = tuple[str, int | None, str, str, str, int, int, str, str, str, int]
# (customer_id, kind, at, family, offer_id, channel, contact_id)
AnswerRow = tuple[str, str, int, str, str, str, str]

COUNTS = and_(*(outcomes.c.kind != kind for kind in UNCOUNTED))  # an outcome that moves some column

_c = contacts.c
_IS_SENT = and_(_c.state == State.SENT, _c.sent_at.is_not(None))
_OF_UNITS = Statement(
    select(
        _c.unit_id,
        case((_c.state == State.RESERVED, _c.send_before)),
        _c.customer_id,
        _c.channel,
        func.coalesce(_c.family, ""),
        func.coalesce(_c.sent_at, _c.send_after),
        func.coalesce(_c.sent_at, _c.send_before),
        func.coalesce(_c.offer_id, ""),
        func.coalesce(_c.campaign_id, ""),
        _c.contact_id,
        case((_IS_SENT, literal_column("1")), else_=literal_column("0")),
    )
    .where(is_listed(_c.unit_id, bindparam("unit_ids")), _c.send_before >= bindparam("since"))
    .where(_c.purpose == "marketing", _c.direction == "outbound", _c.state != State.CLOSED)
    .order_by(_c.unit_id, _c.send_after, _c.contact_id)
)
_o = outcomes.c
_ANSWERS = Statement(
    select(
        _c.customer_id,
        _o.kind,
        _o.at,
        func.coalesce(_c.family, ""),
        func.coalesce(_c.offer_id, ""),
        _c.channel,
        _o.contact_id,
    )
    .select_from(outcomes.join(contacts, _o.contact_id == _c.contact_id))
    .where(is_listed(_c.unit_id, bindparam("unit_ids")), _o.at >= bindparam("since"), COUNTS)
    .order_by(_c.unit_id, _o.at, _o.contact_id, _o.kind)
)


def counted_of_units(connection: Connection, unit_ids: Iterable[str], since: int) -> list[CountedRow]:
    """The units' contacts whose send window ends at `since` or later; by unit, send_after, contact_id.

    One that was reserved and has lapsed is among them: it does not count, and may wait to be closed.
    """
    ids = listed(unit_ids)
    return _OF_UNITS.run(connection, unit_ids=ids, since=since).fetchall()


def answers_of_units(connection: Connection, unit_ids: Iterable[str], since: int) -> list[AnswerRow]:
    """Outcomes at `since` or later that count, of the units' contacts, however old the contact; by unit, at."""
    ids = listed(unit_ids)
    return _ANSWERS.run(connection, unit_ids=ids, since=since).fetchall()
