"""What callers report: outcomes, money events, consents, contacts of other systems, switches.

Each acts from the very next decision and claim on; each is one transaction of the caller's.
"""

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from features.tables import INFLOW_KINDS, MARKETING_CHANNELS, OUTFLOW_KINDS
from rules.reasons import ReasonCode
from serving.bids import Worker
from serving.causing import caused_by_event
from serving.claims import contact_of, instant
from serving.engine import Engine
from serving.http.errors import Unprocessable
from serving.http.guard import check_channel
from serving.http.messages import (
    ConsentRequest,
    ConsentResponse,
    ConsentState,
    ContactResponse,
    ContactState,
    EventRequest,
    EventResponse,
    ExternalContactRequest,
    Message,
    OutcomeRequest,
    OutcomeResponse,
    Switch,
    SwitchAction,
    SwitchRequest,
    SwitchResponse,
    SwitchState,
)  # fmt: skip
from serving.ledger import consents, events, outcomes, switches
from serving.ledger.book import ContactRow, State, micros, unit_of
from serving.ledger.keys import Principal
from serving.ledger.lifecycle import CLAIM_AHEAD_MICROS
from serving.ledger.lifecycle import enter_external as enter_external_row
from serving.ledger.recall import RECALLABLE_CLAIMED, RECALLABLE_RESERVED, recall_claimed
from serving.ledger.schema import contacts

MOVES_MONEY = frozenset((*OUTFLOW_KINDS, *INFLOW_KINDS))


def enter_outcome(connection: Connection, request: OutcomeRequest, principal: Principal, now: int) -> Message:
    """The outcome, stored; an opt-out withdraws consent in the same transaction."""
    withdraws = outcomes.Kind(request.kind.value) in outcomes.WITHDRAWING
    at = _by_now(micros(request.at), now, "at", withdraws=withdraws) if request.at else now
    contact = contact_of(connection, request.contact_id, principal)
    if at < contact.decided_at - CLAIM_AHEAD_MICROS and not withdraws:
        raise Unprocessable("`at` lies before the contact was decided on; report when it happened")
    accepted = outcomes.accept(connection, request.contact_id, request.kind.value, at, now)
    return OutcomeResponse(contact_id=request.contact_id, kind=request.kind, new=accepted.new)


def enter_event(
    engine: Engine, connection: Connection, request: EventRequest, now: int, seats: Worker | None = None
) -> Message:
    """The event, stored, the suppressions it opened and closed, and the decision it caused. seats: of this process."""
    currencies = engine.home.settings.currencies
    if request.currency is not None and request.currency not in currencies:
        raise Unprocessable(f"`currency` is not kept by this bank; it keeps {', '.join(currencies)}")
    money = request.amount_minor is not None
    if request.currency is not None and not money:  # it would be acknowledged and then act on nothing
        raise Unprocessable("`amount_minor` is missing beside `currency`; send the amount that moved")
    if not money and request.kind.value in MOVES_MONEY:  # as above, and the whole event refused afterwards
        raise Unprocessable("`amount_minor` is missing; this kind moves money: send the amount and its currency")
    row = events.EventRow(
        event_id=request.event_id, customer_id=request.customer_id, kind=request.kind.value, amount_minor=request.amount_minor,
        currency=request.currency if money else None, balance_after_minor=request.balance_after_minor if money else None,
        booked_at=_past(micros(request.booked_at), now, "booked_at"), recorded_at=_past(micros(request.recorded_at), now, "recorded_at"),
        received_at=now, transaction_id=request.transaction_id, account_id=request.account_id)  # fmt: skip
    unit = unit_of(connection, [request.customer_id])[request.customer_id]
    accepted = events.accept(connection, row, unit, now, events.policy_fold(engine.policy))
    rule = {row.suppression_id: row.rule_id for row in events.suppressions_of_units(connection, [unit], 0)}
    opened, closed = (tuple(sorted({rule[name] for name in names})) for names in (accepted.opened, accepted.closed))
    money = (request.kind.value, request.amount_minor, request.currency)
    decision = None
    if accepted.new:
        decision = caused_by_event(engine, connection, row.customer_id, row.event_id, money, row.booked_at, now, seats)
    return EventResponse(event_id=request.event_id, new=accepted.new, opened=opened, closed=closed, caused=decision)


def enter_consent(connection: Connection, request: ConsentRequest, now: int) -> Message:
    """The consent, stored; a refusal takes back what is reserved, and asks for what is claimed and not yet sent."""
    at = _by_now(micros(request.at), now, "at", withdraws=request.state is not ConsentState.GRANTED)
    said = (request.customer_id, request.purpose.value, request.channel.value, request.state.value, request.source, request.wording, at)  # fmt: skip
    row = consents.ConsentRow(
        consent_id=request.consent_id or consents.consent_id(*said), customer_id=said[0], purpose=said[1], channel=said[2],
        state=said[3], source=said[4], wording=said[5], at=at, received_at=now)  # fmt: skip
    before = _recallable(connection, request.customer_id)
    new = consents.record(connection, row)
    recalled = before - _recallable(connection, request.customer_id)
    return ConsentResponse(consent_id=row.consent_id, new=new, recalled=recalled)


def enter_external(
    engine: Engine, connection: Connection, request: ExternalContactRequest, principal: Principal, now: int
) -> Message:
    """Another system's contact, entered as sent: it counts from now on."""
    check_channel(principal, request.channel)
    at = _past(micros(request.sent_at), now, "sent_at")
    if request.channel not in MARKETING_CHANNELS:
        raise Unprocessable(f"`channel` is not known; it is one of {', '.join(MARKETING_CHANNELS)}")
    unit = unit_of(connection, [request.customer_id])[request.customer_id]
    row = ContactRow(
        contact_id=request.contact_id, customer_id=request.customer_id, unit_id=unit, channel=request.channel, decided_at=at,
        send_after=at, send_before=at, offer_id=request.offer_id, family=request.family or engine.families.get(request.offer_id or ""),
        campaign_id=request.campaign_id, purpose=request.purpose.value, direction=request.direction.value, state=State.SENT,
        source="external", sent_at=at)  # fmt: skip
    enter_external_row(connection, row)
    return ContactResponse(contact_id=request.contact_id, state=ContactState.SENT, at=request.sent_at)


def turn_switch(
    engine: Engine, connection: Connection, request: SwitchRequest, principal: Principal, now: int
) -> Message:
    """Pause at once; resume when two different keys have asked."""
    if request.action is SwitchAction.PAUSE:
        _check_scope(engine, request.scope)
        switches.pause(connection, request.scope, principal.name, request.note or "", now)
        recall_claimed(connection, request.scope, now, ReasonCode.PAUSED.slug)
        state = SwitchState.PAUSED
    else:
        resumed = switches.resume(connection, request.scope, principal.name, request.note or "", now)
        state = SwitchState.RUNNING if resumed else SwitchState.RESUMING
    return SwitchResponse(scope=request.scope, state=state, paused=tuple(paused_switches(connection)))


def _check_scope(engine: Engine, scope: str) -> None:
    """Unprocessable for a pause that would stop nothing: a name mistyped in an emergency."""
    kind, _, name = scope.partition(":")
    known = {"channel": engine.catalogue.channel_index, "offer": engine.catalogue.offer_index, "campaign": engine.campaigns,
             "family": {family.id for family in engine.catalogue.families}}  # fmt: skip
    if kind in known and name not in known[kind]:
        raise Unprocessable(f"`scope`: there is no such {kind}; there are: {', '.join(sorted(known[kind])) or 'none'}")


def _past(at: int, now: int, field: str) -> int:
    if at > now:
        raise Unprocessable(f"`{field}` is in the future; report it when it has happened")
    return at


def _by_now(at: int, now: int, field: str, *, withdraws: bool) -> int:
    """`_past`, but who says no is heard though the clock of the channel that tells it is ahead: he said it by now."""
    return min(at, now) if withdraws else _past(at, now, field)


def paused_switches(connection: Connection) -> list[Switch]:
    """Everything that is paused, by scope."""
    found: list[Switch] = []
    for scope in sorted(switches.paused(connection)):
        entries = switches.history(connection, scope)
        began = next(change for change in reversed(entries) if change.action == "pause")
        state = SwitchState.RESUMING if entries[-1].action == "ask" else SwitchState.PAUSED
        found.append(Switch(scope=scope, state=state, since=instant(began.at), by=began.principal))
    return found


def _recallable(connection: Connection, customer_id: str) -> int:
    mine = (contacts.c.customer_id == customer_id) & (RECALLABLE_RESERVED | RECALLABLE_CLAIMED)
    return connection.execute(select(func.count()).where(mine)).scalar_one()
