"""P10 at the ledger's doors: the first instant at which a pause, cap, order or suppression of the shipped policy no longer holds.

Causes go in as channels, other systems and the core bank report them; the reading is `why-not`, which
decides anew for that instant. Switches end by hand, with two keys (test_promises.py).
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from rules import suppressions
from rules.caps import Cap
from rules.cooloffs import CoolOff
from rules.order import Order
from rules.policy import ContactPolicy
from rules.suppressions import EventSuppression
from serving import whynot
from serving.http.messages import (
    ContactResponse,
    ExternalContactRequest,
    OutcomeKind,
    OutcomeRequest,
    OutcomeResponse,
    Purpose,
)
from serving.office import Office
from tests import bank
from tests.home import COUPLE, HERO, HERO_DOLLARS, Clock, answer, call, move

INSTANT = timedelta(microseconds=1)
POLICY: ContactPolicy = bank.policy()
OFFERS = {"wealth": "wealth_usd_income", "deposit": "deposit_usd_6m", "loan": "loan_personal"}


class Ends(NamedTuple):
    """Which cell a part closes, from when, until when."""

    customer: str
    offer: str
    channel: str
    begins: datetime
    ends: datetime


def contacted(office: Office, clock: Clock, channel: str, offer: str = OFFERS["wealth"], customer: str = HERO) -> str:
    """Another system's contact of this instant."""
    name = f"x-{next(_turn)}"
    request = ExternalContactRequest(
        contact_id=name,
        customer_id=customer,
        channel=channel,
        purpose=Purpose.MARKETING,
        offer_id=offer,
        sent_at=clock.now,
    )
    return answer(ContactResponse, office.external_contact(request, call("POST /v1/contacts"))).contact_id


_turn = iter(range(10**6))


def after_answers(pause: CoolOff, office: Office, clock: Clock) -> Ends:
    began = clock.now
    for _ in range(pause.count):
        contact = contacted(office, clock, "sms")
        if pause.outcomes[0] != "ignored":
            said = OutcomeRequest(contact_id=contact, kind=OutcomeKind(pause.outcomes[0]), at=clock.now)
            assert answer(OutcomeResponse, office.outcome(said, call("POST /v1/outcomes"))).new
    if pause.outcomes[0] == "ignored":
        began += timedelta(days=pause.ignored_after_days)
    return Ends(HERO, OFFERS["wealth"], "sms", began, began + timedelta(days=pause.lasts_days))


def after_contacts(cap: Cap, office: Office, clock: Clock) -> Ends:
    """A cap looks forward as well: it holds a window before what is on its way."""
    who, asks = (COUPLE if cap.level == "unit" else (HERO, HERO))[:2]
    width = timedelta(days=cap.window_days)
    channel = "branch" if cap.channel in ("all", "each") else cap.channel
    for _ in range(cap.max):
        contacted(office, clock, channel, customer=who)
    return Ends(asks, OFFERS["wealth"], channel, clock.now, clock.now + width)


def after_a_contact(order: Order, office: Office, clock: Clock) -> Ends:
    other = order.after or order.with_
    assert other is not None and other.family is not None and order.never is not None and order.never.family is not None
    contacted(office, clock, "branch", OFFERS[other.family])
    return Ends(HERO, OFFERS[order.never.family], "branch", clock.now, clock.now + timedelta(days=order.within_days))


def after_an_outflow(rule: EventSuppression, office: Office, clock: Clock) -> Ends:
    """Two ignored contacts before it: the longest that this customer can bring about with two."""
    longer = rule.lengthened
    assert longer is not None
    for _ in range(longer.ignored):
        contacted(office, clock, "email")
    clock.forward(days=longer.after_days + 1)
    move(office, "cash_withdrawal", -HERO_DOLLARS + 10_000, 10_000, clock.now)
    lasts = timedelta(days=rule.lasts_days + longer.days(longer.ignored))
    return Ends(HERO, OFFERS["deposit"], "branch", clock.now, clock.now + lasts)


def caused(part: CoolOff | Cap | Order | EventSuppression, office: Office, clock: Clock) -> Ends:
    if isinstance(part, CoolOff):
        return after_answers(part, office, clock)
    if isinstance(part, Cap):
        return after_contacts(part, office, clock)
    if isinstance(part, Order):
        return after_a_contact(part, office, clock)
    return after_an_outflow(part, office, clock)


def holds(office: Office, part: str, cell: Ends, at: datetime) -> bool:
    with office.ledger.read() as connection:
        found = whynot.why_not(office.engine, connection, cell.customer, cell.offer, cell.channel, at)
    return any(part in reason.rules for reason in found.reasons)


PARTS = (*POLICY.cool_offs, *POLICY.caps, *POLICY.orders, *POLICY.event_suppressions)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.id)
def test_p10_it_holds_from_its_cause_to_its_end_and_not_one_instant_longer(
    office: Office, clock: Clock, part: CoolOff | Cap | Order | EventSuppression
) -> None:
    assert not any(holds(office, part.id, Ends(who, OFFERS[f], c, clock.now, clock.now), clock.now)
                   for who in (HERO, *COUPLE) for f in OFFERS for c in ("sms", "branch")), "nothing has happened yet"  # fmt: skip
    cell = caused(part, office, clock)
    assert holds(office, part.id, cell, cell.begins)
    assert holds(office, part.id, cell, cell.ends - INSTANT)
    assert not holds(office, part.id, cell, cell.ends)
    if not isinstance(part, Cap | Order):
        assert not holds(office, part.id, cell, cell.begins - INSTANT)


def test_p10_every_part_that_closes_for_a_while_is_in_the_table() -> None:
    """What else the policy has are rules over facts, which end with the fact, and the clock's own hours (P19)."""
    timed = {name for name in type(POLICY).model_fields if isinstance(getattr(POLICY, name), tuple)}
    assert timed == {"rules", "caps", "cool_offs", "orders", "event_suppressions", "quiet_hours"}


def test_p10_mutant_that_forgets_the_end_is_seen(office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: a stretch counts as long as it was not closed by an inflow."""
    [rule] = POLICY.event_suppressions
    cell = caused(rule, office, clock)
    monkeypatch.setattr(
        suppressions, "days_left", lambda openings, at: float(any(o <= at and c is None for o, _, c in openings))
    )
    monkeypatch.setattr("rules.state.days_left", suppressions.days_left)
    assert holds(office, rule.id, cell, cell.ends)
