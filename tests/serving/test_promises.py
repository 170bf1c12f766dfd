"""Promises of the ledger seen from its doors: bookings once, recalls with a reason, ends that are finite, pauses at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rules.policy import ContactPolicy
from serving.http.errors import Conflict
from serving.http.messages import (
    ClaimRequest,
    EventKind,
    EventRequest,
    EventResponse,
    RecallsQuery,
    SwitchAction,
    SwitchRequest,
    SwitchResponse,
)  # fmt: skip
from serving.ledger import events
from serving.ledger.book import micros
from serving.ledger.idempotency import ConflictError
from serving.office import Office, open_office
from tests.home import (
    APP,
    BOSS,
    COUPLE,
    HERO,
    NOW,
    Clock,
    answer,
    ask,
    call,
    copied,
    move,
    office_at,
    rows,
    run_until,
    said,
)
from tests.postgres import database, move_home

# ---- a booking counts once -----------------------------------------------------------------------


def told(office: Office, clock: Clock, name: str, booking: str | None, amount: int = -1_150_000) -> EventResponse:
    event = EventRequest(event_id=name, customer_id=HERO, kind=EventKind.CASH_WITHDRAWAL, amount_minor=amount, currency="USD",
                         balance_after_minor=50_000, booked_at=clock.now, recorded_at=clock.now, transaction_id=booking,
                         account_id="A-1" if booking else None)  # fmt: skip
    return answer(EventResponse, office.event(event, call("POST /v1/events")))


@pytest.mark.parametrize(
    ("first", "second"), [(("e1", "t1"), ("e2", "t1")), (("t1", None), ("e2", "t1")), (("e1", "t1"), ("t1", None))]
)
def test_a_booking_told_under_two_ids_is_one_event_and_one_suppression(
    office: Office, clock: Clock, first: tuple[str, str | None], second: tuple[str, str | None]
) -> None:
    assert told(office, clock, *first).new
    clock.forward(minutes=1)
    again = told(office, clock, *second)
    assert not again.new and again.opened == ()
    assert rows(office, "SELECT count(*) FROM events WHERE event_id IN ('e1', 'e2', 't1')") == [(1,)]
    assert rows(office, "SELECT count(*) FROM suppressions WHERE customer_id = ?", HERO) == [(1,)]
    with pytest.raises(ConflictError, match="another amount_minor"):
        told(office, clock, "e3", "t1", amount=-5)


def test_the_mutant_without_the_booking_counts_it_twice(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_OF_BOOKING", events._FIND)
    monkeypatch.setattr(
        events, "_is_known", lambda c, e: events._FIND.run(c, event_id=e.event_id).fetchone() is not None
    )
    assert told(office, clock, "t1", None).new
    assert told(office, clock, "e2", "t1").new, "with the bug the second is taken for another booking"


def test_features_count_a_booking_by_its_own_id(office: Office, clock: Clock) -> None:
    """What the overlay compares with the bookings a snapshot has counted is the transaction's id."""
    told(office, clock, "e1", "t1")
    with office.ledger.read() as connection:
        table = events.events_table(connection, micros(NOW - timedelta(hours=1)))
        assert table.column("event_id").to_pylist() == ["t1"]
        from features.heard import read_heard

        heard, _ = read_heard(connection, [HERO], 0, 0, micros(clock.now) + 1)
        assert "t1" in {row[0] for row in heard} and "e1" not in {row[0] for row in heard}


# ---- recalls say why -----------------------------------------------------------------------------


def test_p12_a_recall_says_why(office: Office, clock: Clock) -> None:
    ask(office, HERO)
    office.consent(said(clock.now), call()).result(30)
    clock.forward(hours=1)
    contact = str(ask(office, COUPLE[0]).choices[0].contact_id)
    office.claim(contact, ClaimRequest(), call()).result(30)
    office.switch(SwitchRequest(scope="all", action=SwitchAction.PAUSE), call()).result(30)
    found = office.recalls(RecallsQuery(), call()).recalls
    assert [one.reason for one in found] == ["opted_out", "paused"]


# ---- dead reservations ---------------------------------------------------------------------------


def test_p01_a_cap_never_counts_a_reservation_that_cannot_be_claimed(office: Office, clock: Clock) -> None:
    """A text a day per household: unclaimed, it stops counting after twelve hours, not after a day."""
    first = ask(office, COUPLE[0])
    assert first.choices and not ask(office, COUPLE[1]).choices
    clock.forward(hours=24, minutes=-1)  # still the day of the first one, had it gone out at its end
    second = ask(office, COUPLE[1])
    assert second.choices
    assert rows(
        office, "SELECT state, close_reason FROM contacts WHERE contact_id = ?", first.choices[0].contact_id
    ) == [("closed", "expired")]
    assert office.claim(str(first.choices[0].contact_id), ClaimRequest(), call()).exception(30) is not None


# ---- every pause has an end ----------------------------------------------------------------------


def test_p10_the_event_suppression_ends_at_its_first_free_instant(office: Office, clock: Clock) -> None:
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    ((opened, ends, closed),) = rows(
        office, "SELECT opened_at, ends_at, closed_at FROM suppressions WHERE customer_id = ?", HERO
    )
    rule = next(rule for rule in policy_of(office).event_suppressions if rule.id == "outflow")
    assert closed is None and opened == micros(clock.now) and 0 < ends - opened <= 730 * 86_400_000_000
    with office.ledger.read() as connection:
        held = [s for s in events.suppressions_of_units(connection, [HERO], ends - 1) if s.rule_id == rule.id]
        assert len(held) == 1, "it holds to the last microsecond"
        assert events.suppressions_of_units(connection, [HERO], ends) == [], "and not one longer"


def policy_of(office: Office) -> ContactPolicy:
    return office.engine.policy


def test_p10_every_suppression_and_pause_of_the_policy_is_finite(office: Office) -> None:
    policy = policy_of(office)
    assert policy.event_suppressions
    for rule in policy.event_suppressions:
        assert 0 < rule.reach_days <= 730 + 90


# ---- pauses are at once, on every worker ---------------------------------------------------------


def paused_elsewhere(one: Office, other: Office, clock: Clock) -> tuple[float, bool, bool]:
    """(seconds from the pause's answer to the other worker's to a claim, whether it refused that, whether it still decides)."""
    contact = str(ask(other, HERO).choices[0].contact_id)
    ask(one, COUPLE[0])  # warm
    one.switch(SwitchRequest(scope="all", action=SwitchAction.PAUSE), call()).result(30)
    began = time.monotonic()
    refused = isinstance(other.claim(contact, ClaimRequest(), call()).exception(30), Conflict)
    seconds = time.monotonic() - began
    clock.forward(days=3)
    return seconds, refused, bool(ask(other, HERO).choices)


def test_p30_p03_p11_two_workers_on_postgresql(tmp_path: Path) -> None:
    """One pause binds both within a second; a key is one key, a household one household, on both."""
    home, clock = copied(tmp_path / "bank"), Clock()
    with database() as url:
        move_home(home, url)
        one, other = office_at(home, clock), office_at(home, clock)
        try:
            both = run_until([lambda w=w: w.decide_batch(_both(), call("POST /v1/decisions/batch", key="k")).result(60).body
                              for w in (one, other, one, other)])  # fmt: skip
            assert len(set(both)) == 1, "the twin on the other worker waits, and reads the same bytes"
            counted = (
                "SELECT count(*) FROM contacts WHERE unit_id = 'H0000002' AND source = 'decision' AND state <> 'closed'"
            )
            with one.ledger.read() as connection:
                assert connection.exec_driver_sql(counted).scalar() == 1
            clock.forward(days=3)
            seconds, refused, decides = paused_elsewhere(one, other, clock)
            assert seconds < 1 and refused and not decides  # the claim that is refused takes some 0.05 s of it
            states = [_turn(worker, who) for worker, who in ((one, APP), (other, APP), (other, BOSS))]
            assert states == ["resuming", "someone else has to agree", "running"]
            assert ask(one, HERO).choices
        finally:
            one.close()
            other.close()


def _both() -> Any:
    from serving.http.messages import BatchDecisionRequest, DecisionRequest

    return BatchDecisionRequest(decisions=tuple(DecisionRequest(customer_id=c) for c in COUPLE))


def _turn(office: Office, who: Any) -> str:
    pending = office.switch(SwitchRequest(scope="all", action=SwitchAction.RESUME), call(who=who))
    error = pending.exception(30)
    if error is not None:
        return str(error).partition("; ")[2]
    return str(answer(SwitchResponse, pending).state)


def test_p30_the_mutant_that_remembers_switches_is_seen(
    bank: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug: a worker reads the switches when it starts, and not in the decision's transaction."""
    from serving import claims, decisions

    for room in (claims, decisions):
        monkeypatch.setattr(room, "paused", lambda _: frozenset[str]())
    office = open_office(bank, serving=False)
    office.ledger._clock._clock = clock
    _, refused, decides = paused_elsewhere(office, office, clock)
    office.close()
    assert not refused and decides


# ---- pauses under load ---------------------------------------------------------------------------


def last_open_after_pause(one: Office, other: Office, clock: Clock) -> float:
    """Seconds from the answer to a pause on one worker until the last open decision of another that is under load.

    Callers' decisions: they spend no cap, so the customer is offered something until the pause and never after.
    """
    stop, told = threading.Event(), list[tuple[float, bool]]()

    def load() -> None:
        while not stop.is_set():
            is_open = bool(ask(other, HERO, "inbound").choices)
            told.append((time.monotonic(), is_open))

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load) for _ in range(3)]
        while len(told) < 6:
            time.sleep(0.01)
        one.switch(SwitchRequest(scope="all", action=SwitchAction.PAUSE), call()).result(30)
        paused_at = time.monotonic()
        time.sleep(1.5)
        stop.set()
        for done in running:
            done.result()
    assert any(is_open for at, is_open in told if at <= paused_at), "the load was offered something before"
    assert sum(at > paused_at for at, _ in told) > 3, "and decided on"
    return max((at - paused_at for at, is_open in told if is_open), default=0.0)


def test_p30_a_pause_binds_a_worker_under_load_within_a_second(tmp_path: Path) -> None:
    """Two workers on PostgreSQL. Measured 0.00-0.10 s: a pause is read in each decision's own transaction."""
    home, clock = copied(tmp_path / "bank"), Clock()
    with database() as url:
        move_home(home, url)
        one, other = office_at(home, clock), office_at(home, clock)
        try:
            seconds = last_open_after_pause(one, other, clock)
        finally:
            one.close()
            other.close()
    assert seconds < 1


def test_p30_the_mutant_that_asks_for_switches_now_and_then_is_seen(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug: switches are read once in five seconds, as a cache would."""
    from serving import decisions

    honest, read = decisions.paused, list[tuple[float, frozenset[str]]]()

    def cached(connection: Any) -> frozenset[str]:
        if not read or time.monotonic() - read[-1][0] > 5:
            read.append((time.monotonic(), honest(connection)))
        return read[-1][1]

    monkeypatch.setattr(decisions, "paused", cached)
    assert last_open_after_pause(office, office, clock) > 1
