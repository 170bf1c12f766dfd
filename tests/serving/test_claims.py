"""No claim, no send: the life of a contact as its channel moves it, over the office."""

import json
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from serving.http.door import StoredAnswer
from serving.http.errors import Conflict, DoorError, Forbidden, NotFound, Unprocessable, as_door_error
from serving.http.messages import (
    CancelReason,
    CancelRequest,
    ClaimRequest,
    ClaimResponse,
    ConsentResponse,
    ContactResponse,
    ContactState,
    DecisionRequest,
    DecisionResponse,
    DueContact,
    DueContactsQuery,
    OutcomeKind,
    OutcomeRequest,
    OutcomeResponse,
    RecallsQuery,
    SentRequest,
    SwitchAction,
    SwitchRequest,
)
from serving.http.messages.contact import ExternalContactRequest, Purpose
from serving.ledger.book import micros
from serving.ledger.keys import Principal, Role
from serving.lists.plan import make_plan
from serving.office import Office
from tests.home import APP, BOSS, HERO, Clock, answer, ask, call, move, rows, said

SMS, EMAIL = Principal("sms-gateway", Role.CHANNEL), Principal("email-1", Role.CHANNEL)
MARKETING = Principal("campaigns", Role.MARKETING)


def reserved(office: Office) -> str:
    """An sms contact of the story's customer."""
    contact = ask(office, channels=("sms",)).choices[0].contact_id
    assert contact is not None
    return contact


def refused(pending: Future[StoredAnswer]) -> DoorError:
    """What the HTTP layer makes of the failure."""
    error = pending.exception(30)
    assert error is not None
    found = as_door_error(error)
    assert found is not None, repr(error)
    return found


def claim(office: Office, contact: str, who: Principal = SMS) -> Future[StoredAnswer]:
    return office.claim(contact, ClaimRequest(), call("POST /v1/contacts/{contact_id}/claim", who))


def sent(office: Office, contact: str, who: Principal = SMS, **more: Any) -> Future[StoredAnswer]:
    return office.sent(contact, SentRequest(**more), call("POST /v1/contacts/{contact_id}/sent", who))


def cancel(office: Office, contact: str, reason: str = "cancelled", who: Principal = SMS) -> Future[StoredAnswer]:
    return office.cancel(contact, CancelRequest(reason=CancelReason(reason)), call("POST cancel", who))


def told(office: Office, contact: str, kind: str, clock: Clock, who: Principal = SMS) -> Future[StoredAnswer]:
    return office.outcome(
        OutcomeRequest(contact_id=contact, kind=OutcomeKind(kind), at=clock.now), call("POST /v1/outcomes", who)
    )


def due(office: Office, **more: Any) -> tuple[DueContact, ...]:
    return office.due_contacts(DueContactsQuery(channel="sms", **more), call(who=SMS)).contacts


def recalled(office: Office) -> list[str]:
    return [row.contact_id for row in office.recalls(RecallsQuery(), call()).recalls]


def test_a_contact_goes_from_due_to_claimed_to_sent_to_answered(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    [row] = due(office)
    assert (row.contact_id, row.customer_id, row.channel, row.offer_id) == (contact, HERO, "sms", "wealth_usd_income")
    assert row.treatment == "wealth_usd_sms_1"
    assert isinstance(refused(told(office, contact, "opened", clock)), Conflict), (
        "what was not sent cannot have been opened"
    )
    claimed = answer(ClaimResponse, claim(office, contact))
    assert claimed.state is ContactState.CLAIMED and claimed.claim_expires_at == clock.now + timedelta(minutes=1)
    assert due(office) == ()
    assert isinstance(refused(claim(office, contact)), Conflict), "a second claim would send twice"
    clock.forward(seconds=20)
    first = answer(ContactResponse, sent(office, contact))
    assert (first.state, first.at) == (ContactState.SENT, clock.now)
    clock.forward(seconds=20)
    assert answer(ContactResponse, sent(office, contact)).at == first.at, "the same report twice changes nothing"
    assert isinstance(refused(cancel(office, contact)), Conflict)
    assert answer(OutcomeResponse, told(office, contact, "refused", clock)).new
    assert not answer(OutcomeResponse, told(office, contact, "refused", clock)).new
    clock.forward(days=8)
    after = ask(office, direction="inbound", top=3)
    assert "wealth_usd_income" not in {choice.offer_id for choice in after.choices}
    assert "recently_refused" in {
        reason for cell in office.why(after.decision_id, call()).cells for reason in cell.reasons
    }


def test_a_cancelled_contact_gives_its_cap_back(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    assert not ask(office).choices
    closed = answer(ContactResponse, cancel(office, contact, "not_sent"))
    assert (closed.state, closed.at) == (ContactState.CLOSED, clock.now)
    clock.forward(minutes=5)
    assert answer(ContactResponse, cancel(office, contact)).at == closed.at, "closed once, closed then"
    assert recalled(office) == [], "the channel knows: it gave the contact back itself"
    assert ask(office).choices


@pytest.mark.parametrize("reason", ["unreachable", "wrong_number"])
def test_a_number_that_reaches_nobody_is_not_tried_again(office: Office, clock: Clock, reason: str) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    assert answer(ContactResponse, cancel(office, contact, reason)).state is ContactState.CLOSED
    clock.forward(minutes=5)
    after = ask(office)
    assert after.channel not in (None, "sms")
    assert any(
        "cool_off" in cell.reasons for cell in office.why(after.decision_id, call()).cells if cell.channel == "sms"
    )


@pytest.mark.parametrize("reason", ["unreachable", "wrong_number"])
def test_who_gives_back_what_nobody_tried_tells_no_outcome(office: Office, clock: Clock, reason: str) -> None:
    """Mutant: an outcome with each call, also of a reserved or a closed contact."""
    untried = reserved(office)
    for who in (SMS, SMS, MARKETING):
        assert answer(ContactResponse, cancel(office, untried, reason, who)).state is ContactState.CLOSED
        clock.forward(seconds=1)
    assert rows(office, "SELECT * FROM outcomes WHERE contact_id = ?", untried) == []
    tried = reserved(office)
    claim(office, tried).result(30)
    for who in (BOSS, BOSS, SMS, SMS, MARKETING):
        cancel(office, tried, reason, who).result(30)
        clock.forward(seconds=1)
    assert len(rows(office, "SELECT * FROM outcomes WHERE contact_id = ?", tried)) == 1


def test_who_may_not_report_outcomes_tells_none_by_cancelling(office: Office, clock: Clock) -> None:
    """Mutant: no look at the role. Marketing closes a channel to a customer, though POST /v1/outcomes refuses its key."""
    contact = reserved(office)
    claim(office, contact).result(30)
    cancel(office, contact, "wrong_number", MARKETING).result(30)
    assert rows(office, "SELECT * FROM outcomes WHERE contact_id = ?", contact) == []


@pytest.mark.parametrize("who", [MARKETING, BOSS])
def test_p01_what_is_claimed_counts_whoever_else_cancels_it(office: Office, clock: Clock, who: Principal) -> None:
    """Mutant: closed for any key. The text goes out, its report is refused, and no cap counts it."""
    contact = reserved(office)
    claimed_at = clock.now
    claim(office, contact).result(30)
    clock.forward(seconds=10)
    for _ in range(2):
        stands = answer(ContactResponse, cancel(office, contact, who=who))
        assert (stands.state, stands.at) == (ContactState.CLAIMED, claimed_at)
    [recall] = office.recalls(RecallsQuery(), call()).recalls
    assert (recall.contact_id, recall.reason, recall.recalled_at) == (contact, "operator", clock.now)
    assert not ask(office).choices
    assert answer(ContactResponse, sent(office, contact)).state is ContactState.SENT
    assert not ask(office).choices, "it went out, and counts"


def test_an_offer_to_a_caller_is_closed_by_whoever_cancels_it(office: Office) -> None:
    """Mutant: recalled as if it were on its way."""
    contact = str(ask(office, direction="inbound", channels=("sms",)).choices[0].contact_id)
    assert answer(ContactResponse, cancel(office, contact, who=MARKETING)).state is ContactState.CLOSED
    assert recalled(office) == []


def test_what_came_of_a_contact_came_after_it(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    sent(office, contact).result(30)
    tell = lambda kind, days: office.outcome(OutcomeRequest(contact_id=contact, kind=kind, at=clock.now - timedelta(days=days)),
                                             call("POST /v1/outcomes", SMS))  # fmt: skip
    early = refused(tell(OutcomeKind.DELIVERED, 10))
    assert isinstance(early, Unprocessable) and str(early).startswith("`at` lies before the contact")
    assert answer(OutcomeResponse, tell(OutcomeKind.OPTED_OUT, 10)).new, "an opt-out is taken, however it is dated"


def test_an_outcome_without_an_instant_is_of_now(office: Office, clock: Clock) -> None:
    """Mutant: `at` required, and taken from whatever older instant its caller has at hand."""
    contact = reserved(office)
    claim(office, contact).result(30)
    clock.forward(seconds=10)
    request, at = OutcomeRequest(contact_id=contact, kind=OutcomeKind.REFUSED), micros(clock.now)
    first = office.outcome(request, call("POST /v1/outcomes", SMS, key="k")).result(30)
    clock.forward(seconds=10)
    assert office.outcome(request, call("POST /v1/outcomes", SMS, key="k")).result(30) == first
    assert rows(office, "SELECT at FROM outcomes WHERE contact_id = ?", contact) == [(at,)]


def test_a_channel_the_bank_does_not_have_is_named(office: Office) -> None:
    """Mutant: an empty page for a misspelt channel, polled for ever."""
    for ask_for in (lambda: office.due_contacts(DueContactsQuery(channel="fax"), call()),
                    lambda: office.recalls(RecallsQuery(channel="fax"), call())):  # fmt: skip
        with pytest.raises(Unprocessable, match="is none of this bank's; there are: "):
            ask_for()
    assert office.recalls(RecallsQuery(), call()).recalls == ()


def test_a_channel_is_known_by_the_catalogue_or_by_its_contacts(office: Office, clock: Clock) -> None:
    """Letters are none of this bank's until one was sent. Mutant: every channel there could be counts as known."""
    ours = ", ".join(office.engine.catalogue.channel_index)
    for ask_for in (lambda: office.due_contacts(DueContactsQuery(channel="mail"), call()),
                    lambda: office.recalls(RecallsQuery(channel="mail"), call())):  # fmt: skip
        with pytest.raises(Unprocessable, match=f"there are: {ours}$"):
            ask_for()
    letter = ExternalContactRequest(contact_id="m1", customer_id=HERO, channel="mail", purpose=Purpose.SERVICE, sent_at=clock.now)  # fmt: skip
    office.external_contact(letter, call()).result(30)
    assert office.recalls(RecallsQuery(channel="mail"), call()).recalls == ()
    with pytest.raises(Unprocessable, match=f"there are: {ours}, mail$"):
        office.recalls(RecallsQuery(channel="fax"), call())


def test_a_pause_keeps_what_is_reserved_until_it_is_over(office: Office, clock: Clock) -> None:
    """Mutant: a claim that closes its contact for a pause of a minute."""
    contact = reserved(office)
    switch = lambda scope, action, by: office.switch(SwitchRequest(scope=scope, action=action), call(who=by)).result(30)
    for scope in ("all", "channel:sms", "family:wealth", "offer:wealth_usd_income", "campaign:all_year"):
        switch(scope, SwitchAction.PAUSE, BOSS)
        assert due(office) == ()
        held = [refused(claim(office, contact)) for _ in range(2)]
        assert all(isinstance(one, Conflict) and one.code == "claim_refused" for one in held)
        for by in (BOSS, APP):
            switch(scope, SwitchAction.RESUME, by)
    assert recalled(office) == [] and [row.contact_id for row in due(office)] == [contact]
    assert answer(ClaimResponse, claim(office, contact)).state is ContactState.CLAIMED


def test_a_claim_without_a_snapshot_waits_for_the_next(office: Office, clock: Clock) -> None:
    contact, features = reserved(office), office.engine.home.features
    away = features.rename(features.with_name("away"))
    features.mkdir()
    assert isinstance(refused(claim(office, contact)), Conflict)
    features.rmdir()
    away.rename(features)
    assert answer(ClaimResponse, claim(office, contact)).state is ContactState.CLAIMED


def test_p12_an_opt_out_between_decision_and_claim_stops_the_send(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    clock.forward(minutes=1)
    consent = answer(ConsentResponse, office.consent(said(clock.now), call("POST /v1/consents")))
    assert (consent.new, consent.recalled) == (True, 1)
    assert due(office) == ()
    stopped = claim(office, contact).result(30)
    assert stopped.status == 409
    assert json.loads(stopped.body)["error"]["code"] == "claim_refused" and b"opted_out" in stopped.body
    assert recalled(office) == [contact]
    assert isinstance(refused(sent(office, contact)), Conflict)


def test_p12_a_list_after_an_opt_out_leaves_him_out(office: Office, clock: Clock) -> None:
    listed = make_plan(office.engine, office.ledger, ["dollars"], clock.now).decisions.to_pylist()
    assert {row["customer_id"]: row["offer_id"] for row in listed}[HERO]
    office.consent(said(clock.now), call()).result(30)
    after = make_plan(office.engine, office.ledger, ["dollars"], clock.now).decisions.to_pylist()
    assert {row["customer_id"]: row["offer_id"] for row in after}[HERO] is None


def test_p12_an_opt_out_reported_as_an_outcome_recalls_what_is_reserved_elsewhere(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    sent(office, contact).result(30)
    clock.forward(days=2)
    other = reserved(office)
    assert answer(OutcomeResponse, told(office, contact, "do_not_call", clock)).new
    assert recalled(office) == [other]
    assert claim(office, other).result(30).status == 409
    clock.forward(days=30)
    for channels in (("sms",), ("email",), ("branch",)):
        assert "opted_out" in ask(office, channels=channels).reasons


def test_p29_p12_an_outflow_between_decision_and_claim_stops_the_send(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    stopped = claim(office, contact).result(30)
    assert stopped.status == 409 and b"recent_outflow" in stopped.body
    assert recalled(office) == [contact] and due(office) == ()
    assert HERO.encode() not in stopped.body


def test_p12_what_is_on_its_way_stays_counted_whatever_comes_after(office: Office, clock: Clock) -> None:
    """A second claim after an opt-out must not close a contact that may have gone out."""
    contact = reserved(office)
    claim(office, contact).result(30)
    office.consent(said(clock.now), call()).result(30)
    assert isinstance(refused(claim(office, contact)), Conflict)
    assert not ask(office, channels=("branch",)).choices
    assert answer(ContactResponse, sent(office, contact)).state is ContactState.SENT


def test_p12_an_opt_out_between_claim_and_send_asks_for_the_contact_once(office: Office, clock: Clock) -> None:
    """Mutant: recalling what is reserved only leaves the feed empty, and whoever could still stop sends."""
    contact = reserved(office)
    claim(office, contact).result(30)
    clock.forward(seconds=10)
    first = answer(ConsentResponse, office.consent(said(clock.now), call()))
    at = clock.now
    assert first.recalled == 1 and recalled(office) == [contact]
    clock.forward(seconds=10)
    again = answer(ConsentResponse, office.consent(said(clock.now, channel="sms"), call()))
    page = office.recalls(RecallsQuery(), call())
    assert again.recalled == 0
    assert [(one.contact_id, one.reason, one.recalled_at) for one in page.recalls] == [(contact, "opted_out", at)]
    assert office.recalls(RecallsQuery(cursor=page.cursor), call()).recalls == ()
    standing = "SELECT state FROM contacts WHERE contact_id = ?"
    assert rows(office, standing, contact) == [("claimed",)]  # it counts until it is sent or given back
    assert answer(ContactResponse, sent(office, contact)).state is ContactState.SENT
    assert recalled(office) == [contact] and rows(office, standing, contact) == [("sent",)]


def test_p12_a_caller_who_still_can_stop_gives_the_recalled_contact_back(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    office.consent(said(clock.now), call()).result(30)
    assert answer(ContactResponse, cancel(office, contact, "not_sent")).state is ContactState.CLOSED
    assert recalled(office) == [contact]
    assert isinstance(refused(sent(office, contact)), Conflict)


def test_p12_a_pause_asks_for_what_is_claimed_under_it_and_nothing_else(office: Office, clock: Clock) -> None:
    """Mutant: a pause that asks for every claimed contact, or for none."""
    contact = reserved(office)
    claim(office, contact).result(30)
    pause = lambda scope: office.switch(SwitchRequest(scope=scope, action=SwitchAction.PAUSE), call()).result(30)
    pause("channel:email")
    assert recalled(office) == []
    pause("channel:sms")
    pause("all")
    assert [(one.contact_id, one.reason) for one in office.recalls(RecallsQuery(), call()).recalls] == [
        (contact, "paused")
    ]


def test_a_refused_claim_answers_the_same_bytes_again(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    office.consent(said(clock.now), call()).result(30)
    again = [office.claim(contact, ClaimRequest(), call("claim", SMS, key="k")).result(30) for _ in range(2)]
    assert again[0] == again[1] and again[0].status == 409


def opted_out(office: Office, contact: str, clock: Clock) -> object:
    return office.consent(said(clock.now), call()).result(30)


def paused(office: Office, contact: str, clock: Clock) -> object:
    return office.switch(SwitchRequest(scope="all", action=SwitchAction.PAUSE), call()).result(30)


@pytest.mark.parametrize("ends", [
    opted_out, paused,
    lambda office, contact, clock: cancel(office, contact, who=MARKETING).result(30),
    lambda office, contact, clock: cancel(office, contact, "not_sent").result(30),
    lambda office, contact, clock: sent(office, contact).result(30),
    lambda office, contact, clock: clock.forward(seconds=50),
])  # fmt: skip
def test_p12_a_claims_key_gives_the_claim_while_it_is_good(office: Office, clock: Clock, ends: Any) -> None:
    """Mutant: the stored 200. Who lost the answer sends to a customer who opted out since, or a month later."""
    contact = reserved(office)
    again = lambda: office.claim(contact, ClaimRequest(), call("claim", SMS, key="k"))
    first = again().result(30)
    clock.forward(seconds=10)
    assert again().result(30) == first
    ends(office, contact, clock)
    for _ in range(2):
        over = refused(again())
        assert isinstance(over, Conflict) and over.code == "claim_refused"


def test_p25_another_channels_key_moves_nothing(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    for pending in (claim(office, contact, EMAIL), sent(office, contact, EMAIL), cancel(office, contact, who=EMAIL),
                    told(office, contact, "opted_out", clock, EMAIL)):  # fmt: skip
        assert isinstance(refused(pending), Forbidden)
    assert [row.contact_id for row in due(office)] == [contact]
    assert answer(ClaimResponse, claim(office, contact, BOSS)).contact_id == contact


def test_an_unknown_contact_is_not_found(office: Office, clock: Clock) -> None:
    for pending in (claim(office, "x"), sent(office, "x"), cancel(office, "x"), told(office, "x", "opened", clock)):
        assert isinstance(refused(pending), NotFound)
    for read in (office.decision, office.why):
        with pytest.raises(NotFound):
            read("x", call())


def test_p01_a_send_cannot_be_dated_back_out_of_the_caps(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    late = refused(sent(office, contact, sent_at=clock.now + timedelta(seconds=1)))
    early = refused(sent(office, contact, sent_at=clock.now - timedelta(days=30)))
    assert isinstance(late, Unprocessable) and "`sent_at` is in the future" in late.message
    assert (
        isinstance(early, Unprocessable) and early.message == "`sent_at` lies before the claim; report when it went out"
    )
    skewed = answer(ContactResponse, sent(office, contact, sent_at=clock.now - timedelta(seconds=2)))
    assert skewed.at == clock.now - timedelta(seconds=2)
    assert not ask(office).choices


def test_a_claim_keeps_the_send_window(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    clock.forward(hours=12, seconds=1)
    assert isinstance(refused(claim(office, contact)), Conflict)
    assert due(office) == ()
    assert ask(office).choices, "nobody can claim it any more: no cap counts it"


def test_a_claim_is_good_until_its_window_ends(office: Office, clock: Clock) -> None:
    """Mutant: a minute whatever the window. It allowed a text 59 s into the quiet hours."""
    ends = ask(office, channels=("sms",)).choices[0]
    assert ends.send_before is not None
    clock.now = ends.send_before - timedelta(seconds=1)
    claimed = answer(ClaimResponse, claim(office, str(ends.contact_id)))
    assert claimed.claim_expires_at == claimed.send_before == ends.send_before


def test_an_offer_made_to_a_caller_is_not_sent(office: Office) -> None:
    """Mutant: only a claim looks at the direction."""
    contact = str(ask(office, direction="inbound", channels=("sms",)).choices[0].contact_id)
    assert due(office) == ()
    for pending in (claim(office, contact), sent(office, contact)):
        error = refused(pending)
        assert isinstance(error, Conflict) and "nothing to send" in error.message


def test_future_outcomes_are_refused(office: Office, clock: Clock) -> None:
    contact = reserved(office)
    claim(office, contact).result(30)
    late = OutcomeRequest(contact_id=contact, kind=OutcomeKind.OPENED, at=clock.now + timedelta(seconds=1))
    assert isinstance(refused(office.outcome(late, call())), Unprocessable)


def test_recalls_come_page_by_page_and_to_their_own_channel(office: Office, clock: Clock) -> None:
    gone: list[str] = []
    for channel in ("sms", "email", "sms"):
        gone.append(str(ask(office, channels=(channel,)).choices[0].contact_id))
        clock.forward(minutes=1)
        office.consent(said(clock.now), call()).result(30)
        clock.forward(days=2)
        office.consent(said(clock.now, "granted"), call()).result(30)
        clock.forward(minutes=1)
    cursor, read = None, list[str]()
    for _ in range(4):
        page = office.recalls(RecallsQuery(cursor=cursor, limit=1), call())
        read += [row.contact_id for row in page.recalls]
        cursor = page.cursor
    assert read == gone
    assert [row.contact_id for row in office.recalls(RecallsQuery(channel="sms"), call()).recalls] == [gone[0], gone[2]]
    with pytest.raises(Unprocessable, match="`cursor` is none of ours"):
        office.recalls(RecallsQuery(cursor="x:y"), call())


def test_due_contacts_come_page_by_page(office: Office, clock: Clock) -> None:
    people = ask_some(office, 3)
    first = office.due_contacts(DueContactsQuery(channel="sms", limit=2), call(who=SMS))
    rest = office.due_contacts(DueContactsQuery(channel="sms", limit=2, cursor=first.cursor), call(who=SMS))
    assert len(first.contacts) == 2 and rest.cursor is None
    assert sorted(row.contact_id for row in (*first.contacts, *rest.contacts)) == sorted(people)
    past = DueContactsQuery(channel="sms", due=clock.now - timedelta(hours=1))
    assert office.due_contacts(past, call(who=SMS)).contacts == ()


def ask_some(office: Office, n: int) -> list[str]:
    """n reserved sms contacts."""
    found: list[str] = []
    number = 0
    while len(found) < n:
        number += 1
        told_ = ask(office, f"C{number:07d}", channels=("sms",))
        found += [str(choice.contact_id) for choice in told_.choices]
    return found


@pytest.mark.parametrize("method", ["decision", "why"])
def test_p25_a_channel_key_reads_no_record_of_another_channels_contact(office: Office, method: str) -> None:
    """Mutant: without the check any channel key read any record, inputs and all."""
    one = ask(office)
    own, other = one.channel, "call" if one.channel != "call" else "sms"
    read = getattr(office, method)
    assert read(one.decision_id, call(who=Principal(f"{own}-gate", Role.CHANNEL)))
    with pytest.raises(Forbidden, match="its own channel only"):
        read(one.decision_id, call(who=Principal(f"{other}-desk", Role.CHANNEL)))
    for role in (Role.COMPLIANCE, Role.ADMIN):
        assert read(one.decision_id, call(who=Principal("reader", role)))


def test_p25_what_was_known_and_other_channels_cells_are_not_for_a_channel_key(office: Office) -> None:
    silent = ask(office, "NOBODY").decision_id
    one = ask(office)
    key = call(who=Principal(f"{one.channel}-gate", Role.CHANNEL))
    assert office.decision(one.decision_id, call()).inputs and office.decision(one.decision_id, key).inputs == {}
    assert {cell.channel for cell in office.why(one.decision_id, key).cells} == {one.channel}
    for method in (office.decision, office.why):  # whose key it is can be guessed, and with it the id
        with pytest.raises(Forbidden, match="its own channel only"):
            method(silent, key)


def test_p25_a_channel_key_reads_the_decision_it_asked_for_whatever_channel_was_chosen(office: Office) -> None:
    """It was told all of that; another key of its channel was not."""
    desk, other = Principal("call-desk", Role.CHANNEL), Principal("call-centre", Role.CHANNEL)
    request = DecisionRequest(customer_id=HERO)
    one = answer(DecisionResponse, office.decide(request, call("POST /v1/decisions", who=desk)))
    assert one.channel not in (None, "call"), "the choice went to the desk itself: nothing is shown"
    read = office.decision(one.decision_id, call(who=desk))
    assert read.result == one and read.inputs == {}
    told = office.why(one.decision_id, call(who=desk))
    assert told.sentences and {cell.channel for cell in told.cells} == {"call"}
    for method in (office.decision, office.why):
        with pytest.raises(Forbidden, match="its own channel only"):
            method(one.decision_id, call(who=other))
