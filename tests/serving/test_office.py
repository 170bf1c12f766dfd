"""The office: one contact and not two, one answer and not two, and no road past the rules."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from pyarrow import ipc
from pydantic_core import to_json
from sqlalchemy.engine import Connection

from features.settings import write_whole
from features.snapshot import write_snapshot
from serving.decisions import commit, decide_one, decision_id_of
from serving.http.door import Call, StoredAnswer
from serving.http.errors import Conflict, Forbidden, Unprocessable, as_door_error
from serving.http.messages import (
    BatchDecisionRequest,
    BatchDecisionResponse,
    ClaimRequest,
    DecisionRequest,
    DecisionResponse,
    Direction,
    EventKind,
    EventRequest,
    ExternalContactRequest,
    OutcomeKind,
    OutcomeRequest,
    OutcomeResponse,
    Purpose,
    SwitchAction,
    SwitchRequest,
    SwitchResponse,
    SwitchState,
)
from serving.http.routes import ROUTES
from serving.ledger.book import micros
from serving.ledger.idempotency import ConflictError
from serving.office import Office, open_office
from tests.home import (
    APP,
    BOSS,
    COUPLE,
    DOLLAR_OFFERS,
    HERO,
    Clock,
    answer,
    ask,
    call,
    move,
    office_at,
    rows,
    run_until,
    said,
)


def n_contacts(office: Office, unit: str, direction: str = "outbound") -> int:
    counted = "SELECT count(*) FROM contacts WHERE unit_id = ? AND direction = ? AND source = 'decision' AND state <> 'closed'"
    return rows(office, counted, unit, direction)[0][0]


# ---- one contact and not two ---------------------------------------------------------------------


class DecidesOutside(Office):
    """The bug: two requests decide before either of them writes."""

    barrier: Barrier

    def decide(self, request: DecisionRequest, call: Call) -> Future[StoredAnswer]:
        now = self.ledger.now_micros()
        decision_id = decision_id_of(call.principal.name, call.route, call.idempotency_key or "")
        with self.ledger.read() as connection:
            decided = decide_one(self.engine, connection, request, decision_id, self._now())
        self.barrier.wait(30)
        return self.ledger.write(lambda c: StoredAnswer(to_json(commit(c, decided, now))))


def asks_of_the_couple(office: Office, n: int) -> list[DecisionResponse]:
    def task(turn: int) -> Callable[[], DecisionResponse]:
        return lambda: ask(office, COUPLE[turn % 2], key=f"race-{turn}")

    return run_until([task(turn) for turn in range(n)])


def test_p01_p11_requests_at_once_for_one_household_make_one_contact(office: Office) -> None:
    said_ = asks_of_the_couple(office, 8)
    assert n_contacts(office, "H0000002") == 1
    assert sum(bool(decision.choices) for decision in said_) == 1
    assert all("cap_household" in decision.reasons for decision in said_ if not decision.choices)


def test_p01_the_recount_catches_an_office_that_decides_outside_the_transaction(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    ask(office, HERO)  # the engine is warm: what is shown below is the transaction's doing alone
    mutant = DecidesOutside(office.engine, office.ledger)
    mutant.barrier = Barrier(2)
    run_until([lambda: ask(mutant, COUPLE[0], key="a"), lambda: ask(mutant, COUPLE[1], key="b")])
    assert n_contacts(office, "H0000002") == 2
    office.close()


def test_p11_a_household_counts_once_across_batch_and_single_requests(office: Office) -> None:
    request = BatchDecisionRequest(decisions=tuple(DecisionRequest(customer_id=c) for c in (*COUPLE, HERO, COUPLE[0])))
    decided = answer(BatchDecisionResponse, office.decide_batch(request, call("POST /v1/decisions/batch"))).decisions
    assert [bool(one.choices) for one in decided] == [True, False, True, False]
    assert [one.customer_id for one in decided] == [*COUPLE, HERO, COUPLE[0]]
    assert not ask(office, COUPLE[1]).choices
    assert n_contacts(office, "H0000002") == 1


# ---- one answer and not two ----------------------------------------------------------------------


def test_p03_the_same_key_gets_the_same_bytes_and_no_second_contact(office: Office, clock: Clock) -> None:
    def once() -> bytes:
        return office.decide(DecisionRequest(customer_id=HERO), call("POST /v1/decisions", key="k1")).result(30).body

    twins = run_until([once] * 6)
    clock.forward(hours=5)
    assert set(twins) == {once()}
    assert n_contacts(office, HERO) == 1


def test_p03_the_same_key_with_another_body_is_refused_and_writes_nothing(office: Office) -> None:
    ask(office, key="k1")
    other = office.decide(DecisionRequest(customer_id=COUPLE[0]), call("POST /v1/decisions", key="k1", body="other"))
    error = other.exception(30)
    assert isinstance(error, ConflictError)
    refused = as_door_error(error)
    assert isinstance(refused, Unprocessable) and refused.code == "key_reused"
    assert n_contacts(office, "H0000002") == 0


def test_p03_a_customer_twice_in_one_batch_is_decided_in_order(office: Office) -> None:
    request = BatchDecisionRequest(decisions=(DecisionRequest(customer_id=HERO),) * 2)
    pending = office.decide_batch(request, call("POST /v1/decisions/batch", key="b"))
    first, second = answer(BatchDecisionResponse, pending).decisions
    assert first.choices and not second.choices and "cap_household" in second.reasons
    assert first.decision_id != second.decision_id
    again = office.decide_batch(request, call("POST /v1/decisions/batch", key="b")).result(30).body
    assert again == pending.result(0).body


def test_an_unknown_channel_spoils_the_whole_batch_before_anything_is_written(office: Office) -> None:
    request = BatchDecisionRequest(
        decisions=(DecisionRequest(customer_id=HERO), DecisionRequest(customer_id=HERO, channels=("fax",)))
    )
    with pytest.raises(Unprocessable, match="`channels` names one that is not in the catalogue; there are: sms"):
        office.decide_batch(request, call()).result(30)
    assert n_contacts(office, HERO) == 0 and rows(office, "SELECT count(*) FROM decisions") == [(0,)]


def test_p04_every_answer_has_its_record_and_every_contact_its_row(office: Office, clock: Clock) -> None:
    customers = [r[0] for r in rows(office, "SELECT DISTINCT customer_id FROM units ORDER BY 1 LIMIT 40")]
    log: list[DecisionResponse] = []
    for turn, customer in enumerate([*customers, HERO, "NOBODY"]):
        log.append(ask(office, customer, direction=("outbound", "inbound")[turn % 2]))
        clock.forward(minutes=1)
    recorded = {r[0] for r in rows(office, "SELECT decision_id FROM decisions")}
    reserved = {r[0] for r in rows(office, "SELECT contact_id FROM contacts WHERE source = 'decision'")}
    assert {one.decision_id for one in log} == recorded
    assert {choice.contact_id for one in log for choice in one.choices} == reserved
    assert reserved and {"NOBODY"} == {one.customer_id for one in log if one.reasons == ("regulatory_unknown",)} & {
        "NOBODY"
    }
    for one in log:
        record = office.decision(one.decision_id, call())
        assert record.result == one and record.customer_id == one.customer_id


# ---- no model, no snapshot, stale data -----------------------------------------------------------


def _no_models(home: Path, clock: Clock) -> None:
    (home / "models" / "live.json").unlink()


def _damaged_model(home: Path, clock: Clock) -> None:
    next((home / "models").glob("*/*.logistic.json")).write_text("{}")


def _no_snapshot(home: Path, clock: Clock) -> None:
    for path in (home / "features").glob("*.arrow"):
        path.unlink()


def _older_snapshot(home: Path, clock: Clock) -> None:
    """As an older version wrote it: two columns short."""
    for path in (home / "features").glob("*.arrow"):
        with ipc.open_file(path) as file:
            table = file.read_all()
        write_snapshot(path, table.drop(["_drops", "notes_count"]))


def _foreign_snapshot(home: Path, clock: Clock) -> None:
    for path in (home / "features").glob("*.arrow"):
        write_whole(path, b"no snapshot")


def _no_folder(home: Path, clock: Clock) -> None:
    (home / "features").rename(home / "elsewhere")  # as where a volume goes


def _stale_snapshot(home: Path, clock: Clock) -> None:
    clock.forward(days=12)


@pytest.mark.parametrize(
    ("remove", "at_start", "problem"),
    [(_no_models, True, "no live model"), (_damaged_model, True, "is not what was promoted"),
     (_older_snapshot, False, "lacks `notes_count`"), (_foreign_snapshot, False, "is no snapshot"),
     (_no_snapshot, False, "no feature snapshot"), (_no_folder, False, "no feature snapshot"),
     (_stale_snapshot, False, "older than")],
)  # fmt: skip
def test_p07_what_is_missing_silences_marketing_and_nothing_else(
    bank: Path, clock: Clock, remove: Callable[[Path, Clock], None], at_start: bool, problem: str
) -> None:
    office = office_at(bank, clock)
    contact = ask(office).choices[0].contact_id
    clock.forward(days=2)
    second = ask(office).choices[0].contact_id
    remove(bank, clock)
    if at_start:
        office.close()
        office = office_at(bank, clock)
    for direction in ("outbound", "inbound"):
        silent = ask(office, direction=direction)
        assert silent.degraded and not silent.choices and silent.reasons
    ready = office.ready()
    assert ready.ready and ready.degraded and problem in " ".join(ready.problems)
    if not at_start:  # nobody can say that he still may be contacted; a missing model says nothing of that
        assert _claim_refused(office, str(second)) == "regulatory_unknown"
    assert _outcome(office, str(contact), "opted_out", clock) is True
    assert office.consent(said(clock.now), call()).result(30).status == 200
    assert move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now).opened == ("outflow",)
    office.close()


def _claim_refused(office: Office, contact: str) -> str:
    """The reason of a claim's 409; the contact stays reserved."""
    with pytest.raises(Conflict) as refused:
        office.claim(contact, ClaimRequest(), call()).result(30)
    assert refused.value.code == "claim_refused"
    assert rows(office, "SELECT state FROM contacts WHERE contact_id = ?", contact) == [("reserved",)]
    return refused.value.message.partition("(")[2].partition(")")[0]


def test_p07_a_folder_of_features_that_comes_back_ends_the_silence(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    _no_folder(bank, clock)
    assert ask(office).degraded
    (bank / "elsewhere").rename(bank / "features")
    told = ask(office)
    assert told.choices and not told.degraded and not office.ready().degraded
    office.close()


def _outcome(office: Office, contact: str, kind: str, clock: Clock) -> bool:
    request = OutcomeRequest(contact_id=contact, kind=OutcomeKind(kind), at=clock.now)
    return answer(OutcomeResponse, office.outcome(request, call())).new


# ---- no road past the rules ----------------------------------------------------------------------

CAUSES_A_CONTACT = {"decide", "decide_batch", "claim"}
TELLS_OF_ONE = {"external_contact", "sent"}  # it happened already: it is counted, not caused
CAUSES_NONE = {
    "event",
    "cancel",
    "outcome",
    "consent",
    "switch",
    "due_contacts",
    "recalls",
    "decision",
    "why",
    "worklist",
    "move_tasks",
    "changes",
    "change",
    "propose",
    "approve",
    "reject",
    "withdraw",
    "activate",
    "rollback",
}


def test_p14_every_route_is_known_to_cause_a_contact_or_not() -> None:
    """A new route stands in one of the three sets, or this fails."""
    assert {route.door for route in ROUTES} == CAUSES_A_CONTACT | TELLS_OF_ONE | CAUSES_NONE


def pause(office: Office, scope: str) -> None:
    office.switch(SwitchRequest(scope=scope, action=SwitchAction.PAUSE), call()).result(30)


@pytest.mark.parametrize(
    "scope", ["all", "channel:{channel}", "family:wealth", "offer:wealth_usd_income", "campaign:all_year"]
)
def test_p14_p30_a_pause_binds_every_route_that_causes_a_contact(office: Office, clock: Clock, scope: str) -> None:
    before = ask(office)
    first = before.choices[0]
    scope = scope.format(channel=first.channel)
    assert rows(office, "SELECT campaign_id FROM contacts WHERE contact_id = ?", first.contact_id) == [("all_year",)]
    pause(office, scope)
    assert _claim_refused(office, str(first.contact_id)) == "paused"
    clock.forward(days=3)
    if scope == "campaign:all_year":
        pause(office, "campaign:dollars")  # whose dollars are offered there as well
    for direction in ("outbound", "inbound"):
        request = DecisionRequest(customer_id=HERO, direction=Direction(direction))
        batch = office.decide_batch(BatchDecisionRequest(decisions=(request,)), call("POST /v1/decisions/batch"))
        for one in (ask(office, direction=direction), answer(BatchDecisionResponse, batch).decisions[0]):
            told = {f"channel:{c.channel}" for c in one.choices} | {f"offer:{c.offer_id}" for c in one.choices}
            told |= {f"family:{office.engine.families[c.offer_id]}" for c in one.choices}
            assert scope not in told
            if scope == "all" or (scope.startswith("campaign") and direction == "outbound"):
                assert not one.choices and one.reasons[0] == "paused"


def test_p30_one_pauses_and_two_resume(office: Office) -> None:
    def turn(action: str, who: Any) -> SwitchResponse:
        request = SwitchRequest(scope="channel:sms", action=SwitchAction(action), note="test")
        return answer(SwitchResponse, office.switch(request, call(who=who)))

    assert turn("pause", BOSS).state is SwitchState.PAUSED
    asked = turn("resume", APP)
    assert asked.state is SwitchState.RESUMING and [s.scope for s in asked.paused] == ["channel:sms"]
    alone = office.switch(SwitchRequest(scope="channel:sms", action=SwitchAction.RESUME), call(who=APP)).exception(30)
    assert alone is not None and "someone else has to agree" in str(alone)
    assert turn("resume", BOSS) == SwitchResponse(scope="channel:sms", state=SwitchState.RUNNING, paused=())


@pytest.mark.parametrize("scope", ["channel:smss", "family:wealt", "offer:card", "campaign:nope"])
def test_a_pause_that_would_stop_nothing_is_refused(office: Office, scope: str) -> None:
    kind = scope.partition(":")[0]
    with pytest.raises(Unprocessable, match=rf"`scope`: there is no such {kind}; there are: "):
        office.switch(SwitchRequest(scope=scope, action=SwitchAction.PAUSE), call()).result(30)


# ---- service, inbound, marketing -----------------------------------------------------------------


def external(office: Office, clock: Clock, name: str, purpose: str, who: Any = BOSS, **more: Any) -> None:
    request = ExternalContactRequest(contact_id=name, customer_id=HERO, channel="sms", purpose=Purpose(purpose),
                                     **({"sent_at": clock.now} | more))  # fmt: skip
    office.external_contact(request, call(who=who)).result(30)


def test_p18_service_messages_spend_no_cap_and_marketing_does(office: Office, clock: Clock) -> None:
    for n in range(6):
        external(office, clock, f"bill-{n}", "service")
    assert ask(office, key="after-service").offer_id
    clock.forward(days=2)
    external(office, clock, "ad", "marketing", offer_id="card_gold")
    assert rows(office, "SELECT family, state, source FROM contacts WHERE contact_id = 'ad'") == [
        ("card", "sent", "external")
    ]
    silent = ask(office)
    assert not silent.choices and "cap_household" in silent.reasons


def test_p18_inbound_answers_spend_no_outbound_cap(office: Office) -> None:
    for _ in range(4):
        assert ask(office, direction="inbound").choices
    assert n_contacts(office, HERO, "inbound") == 4
    assert ask(office).choices and not ask(office).choices
    assert ask(office, direction="inbound").choices, "nor does an outbound contact close the inbound door"


def test_p18_inbound_answers_ignore_quiet_hours(office: Office, clock: Clock) -> None:
    clock.forward(hours=13)  # 23:00 in Shanghai
    quiet = ask(office, channels=("sms", "call"))
    assert not quiet.choices and "quiet_hours" in quiet.reasons
    assert ask(office, direction="inbound", channels=("sms",)).choices


def test_inbound_choices_differ_and_are_ranked(office: Office) -> None:
    choices = ask(office, direction="inbound", top=3).choices
    assert len({choice.offer_id for choice in choices}) == 3
    values = [choice.expected_value_minor for choice in choices]
    assert values == sorted(values, reverse=True) and all(choice.send_after is None for choice in choices)


def test_p18_an_inbound_offer_can_be_answered_at_once(office: Office, clock: Clock) -> None:
    contact = str(ask(office, direction="inbound").choices[0].contact_id)
    assert _outcome(office, contact, "refused", clock) is True
    assert _outcome(office, contact, "refused", clock) is False
    told = ask(office, direction="inbound", top=3)
    assert "wealth_usd_income" not in {choice.offer_id for choice in told.choices}, "the family rests"


# ---- the instant of saying no --------------------------------------------------------------------


def test_p12_an_opt_out_acts_on_the_very_next_decision_though_the_clock_stands_still(
    office: Office, clock: Clock
) -> None:
    office.consent(said(clock.now), call()).result(30)
    silent = ask(office)
    assert not silent.choices and "opted_out" in silent.reasons


def test_an_objection_to_profiling_acts_on_the_next_decision_inbound_too(office: Office, clock: Clock) -> None:
    office.consent(said(clock.now, "denied", purpose="profiling"), call()).result(30)
    for direction in ("outbound", "inbound"):
        silent = ask(office, direction=direction)
        assert not silent.choices and "no_profiling" in silent.reasons
    clock.forward(hours=1)
    office.consent(said(clock.now, "granted", purpose="profiling"), call()).result(30)
    assert ask(office).offer_id in DOLLAR_OFFERS


# ---- what is told of the future, or of what nobody knows -----------------------------------------


def test_future_instants_are_refused(office: Office, clock: Clock) -> None:
    late = clock.now + timedelta(seconds=1)
    event = EventRequest(
        event_id="e",
        customer_id=HERO,
        kind=EventKind.SALARY,
        amount_minor=1,
        currency="CNY",
        booked_at=late,
        recorded_at=late,
    )
    granted = office.consent(said(late, "granted"), call())
    for pending, field in ((office.event(event, call()), "booked_at"), (granted, "at")):
        with pytest.raises(Unprocessable, match=rf"`{field}` is in the future; report it when it has happened"):
            pending.result(30)
    with pytest.raises(Unprocessable, match="`sent_at` is in the future"):
        external(office, clock, "ad", "marketing", sent_at=late)


@pytest.mark.parametrize("state", ["withdrawn", "denied"])
def test_p12_a_no_told_by_a_clock_that_is_ahead_is_heard_now(office: Office, clock: Clock, state: str) -> None:
    """Refused, it would be lost; taken as of its instant, it would act minutes from now."""
    office.consent(said(clock.now + timedelta(minutes=10), state), call()).result(30)
    silent = ask(office)
    assert not silent.choices and "opted_out" in silent.reasons
    clock.forward(minutes=5)
    office.consent(said(clock.now, "granted"), call()).result(30)
    assert ask(office).choices, "what he says after it holds"


def test_p12_an_opt_out_of_a_contact_told_by_a_clock_that_is_ahead_is_heard_now(office: Office, clock: Clock) -> None:
    contact = str(ask(office, direction="inbound").choices[0].contact_id)
    late = OutcomeRequest(contact_id=contact, kind=OutcomeKind.DO_NOT_CALL, at=clock.now + timedelta(minutes=10))
    office.outcome(late, call()).result(30)
    silent = ask(office)
    assert not silent.choices and "opted_out" in silent.reasons


def test_an_event_in_a_currency_the_bank_does_not_keep_is_refused(office: Office, clock: Clock) -> None:
    with pytest.raises(Unprocessable, match="`currency` is not kept by this bank; it keeps CNY, USD, EUR, JPY"):
        move(office, "cash_deposit", 1, 1, clock.now, currency="GBP")


def test_an_event_that_names_money_without_an_amount_is_not_silently_dropped(office: Office, clock: Clock) -> None:
    event = EventRequest(event_id="e", customer_id=HERO, kind=EventKind.CASH_WITHDRAWAL, currency="USD", balance_after_minor=0,
                         booked_at=clock.now, recorded_at=clock.now)  # fmt: skip
    with pytest.raises(Unprocessable, match="`amount_minor` is missing beside `currency`"):
        office.event(event, call()).result(30)


def test_an_event_twice_is_one_event(office: Office, clock: Clock) -> None:
    assert move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now, name="e1").new
    again = move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now, name="e1")
    assert not again.new and again.opened == () and len(rows(office, "SELECT 1 FROM events WHERE event_id = 'e1'")) == 1
    with pytest.raises(ConflictError):
        move(office, "cash_withdrawal", -1_000_000, 200_000, clock.now, name="e1")


def test_p25_a_channel_key_enters_contacts_of_its_own_channel_only(office: Office, clock: Clock) -> None:
    with pytest.raises(Forbidden):
        external(office, clock, "ad", "marketing", who=APP)


def test_the_record_and_the_row_hash_are_those_of_the_ledger(office: Office) -> None:
    one = ask(office)
    record = office.decision(one.decision_id, call())
    assert rows(office, "SELECT row_sha256, terms, as_of FROM decisions") == [
        (record.row_sha256, record.terms, micros(one.as_of))
    ]
    why = office.why(one.decision_id, call())
    assert (why.offer_id, why.channel) == (one.offer_id, one.channel) and why.p_chosen is not None
    won = next(cell for cell in why.cells if (cell.offer_id, cell.channel) == (one.offer_id, one.channel))
    assert won.open and won.expected_value_minor == one.choices[0].expected_value_minor


def test_the_account_of_a_decision_outlives_the_pause_it_was_made_under(office: Office, clock: Clock) -> None:
    pause(office, "channel:sms")
    one = ask(office, direction="inbound")
    for who in (APP, BOSS):
        office.switch(SwitchRequest(scope="channel:sms", action=SwitchAction.RESUME), call(who=who)).result(30)
    cells = office.why(one.decision_id, call()).cells
    assert {"paused"} <= {reason for cell in cells if cell.channel == "sms" for reason in cell.reasons}


def test_a_second_serving_process_is_refused_and_the_first_goes_on(bank: Path, clock: Clock) -> None:
    first = open_office(bank)
    with pytest.raises(ValueError, match="another process serves this ledger"):
        open_office(bank)
    assert first.ready().ready
    first.close()


def test_contacts_made_before_the_import_count(office: Office, clock: Clock) -> None:
    """The seeded history: whoever was called this month is not called again."""
    month = micros(clock.now - timedelta(days=30))
    called = rows(office, "SELECT DISTINCT customer_id FROM contacts WHERE source = 'import' AND state = 'sent' AND purpose = 'marketing'"
                  " AND direction = 'outbound' AND channel = 'call' AND sent_at > ? ORDER BY 1 LIMIT 10", month)  # fmt: skip
    assert len(called) == 10
    for (customer,) in called:
        told = ask(office, customer, channels=("call",))
        assert not told.choices
        assert {"cap_channel", "no_consent", "opted_out", "do_not_contact", "deceased", "fraud_lock"} & set(
            told.reasons
        )


def test_a_read_connection_cannot_write(office: Office) -> None:
    def wrong(connection: Connection) -> None:
        connection.exec_driver_sql("DELETE FROM contacts")

    with pytest.raises(ValueError), office.ledger.read() as connection:
        wrong(connection)


def test_nobody_known_is_silence_and_not_an_error(office: Office) -> None:
    told = ask(office, "X-4711")
    assert told.reasons == ("regulatory_unknown",) and not told.choices and not told.degraded
    why = office.why(told.decision_id, call())
    assert why.cells == () and why.offer_id is None and why.sentences
