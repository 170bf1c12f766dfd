"""P29: the dollars leave, and nothing about dollars is said any more, in any channel, at any door."""

from collections.abc import Generator
from pathlib import Path

import pytest

from rules.reasons import ReasonCode
from serving.lists.plan import Plan, make_plan
from serving.office import Office
from tests.home import (
    CHANNELS,
    DOLLAR_OFFERS,
    HERO,
    HERO_DOLLARS,
    Clock,
    ask,
    call,
    copied,
    move,
    office_at,
)

LEFT = 1_150_000


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Generator[Office]:
    """A second home of the same bank, in which another story is told."""
    opened = office_at(copied(tmp_path / "other"), clock)
    yield opened
    opened.close()


def dollars_in_list(office: Office, clock: Clock) -> tuple[str | None, set[str]]:
    """(offer, reasons of silence) of the customer in a list of the dollar campaign; nothing is written."""
    plan: Plan = make_plan(office.engine, office.ledger, ["dollars"], clock.now)
    [row] = [row for row in plan.decisions.to_pylist() if row["customer_id"] == HERO]
    return row["offer_id"], {ReasonCode(number).slug for number in row["reasons"]}


def closed_for(office: Office, decision_id: str) -> dict[str, set[str]]:
    """Dollar offer -> the reasons that close it in every channel, from the record."""
    cells = office.why(decision_id, call()).cells
    found: dict[str, set[str]] = {}
    for cell in cells:
        if cell.offer_id in DOLLAR_OFFERS:
            found[cell.offer_id] = found.get(cell.offer_id, set(cell.reasons)) & set(cell.reasons)
    return found


def test_p29_the_dollars_leave_and_come_back(office: Office, clock: Clock) -> None:
    before = ask(office)
    assert before.offer_id == "wealth_usd_income"
    assert ask(office, direction="inbound").offer_id in DOLLAR_OFFERS
    clock.forward(days=2)
    assert dollars_in_list(office, clock)[0] in DOLLAR_OFFERS

    told = move(office, "cash_withdrawal", -LEFT, HERO_DOLLARS - LEFT, clock.now)
    assert told.opened == ("outflow",)
    for direction in ("outbound", "inbound"):  # the clock stands still: the very next decision
        for channels in (None, *((channel,) for channel in CHANNELS)):
            said = ask(office, direction=direction, channels=channels, top=3 if direction == "inbound" else 1)
            assert not {choice.offer_id for choice in said.choices} & set(DOLLAR_OFFERS), (direction, channels)
            for reasons in closed_for(office, said.decision_id).values():
                assert "recent_outflow" in reasons
            record = office.decision(said.decision_id, call())
            assert record.inputs["customers"]["suppressed_outflow_usd_days_left"] == 45.0
    offered, reasons = dollars_in_list(office, clock)
    assert offered is None and "recent_outflow" in reasons

    clock.forward(days=3)
    assert "recent_outflow" in dollars_in_list(office, clock)[1], "time alone does not bring it back so soon"
    back = move(office, "cash_deposit", LEFT, HERO_DOLLARS, clock.now)
    assert back.closed == ("outflow",)
    assert ask(office, direction="inbound").offer_id in DOLLAR_OFFERS
    clock.forward(days=1)
    assert dollars_in_list(office, clock)[0] in DOLLAR_OFFERS
    assert ask(office).offer_id in DOLLAR_OFFERS
    assert "recent_outflow" in {r for rs in closed_for(office, said.decision_id).values() for r in rs}, (
        "the proof stays"
    )


def test_p29_three_withdrawals_of_30_percent_count_like_one_of_90(office: Office, other: Office, clock: Clock) -> None:
    part = HERO_DOLLARS * 3 // 10
    first = move(office, "cash_withdrawal", -part, HERO_DOLLARS - part, clock.now)
    assert first.opened == () and ask(office, direction="inbound").offer_id in DOLLAR_OFFERS
    for n, kind in ((2, "transfer_out"), (3, "fx_sale")):
        clock.forward(days=2)
        move(office, kind, -part, HERO_DOLLARS - n * part, clock.now)
    whole = move(other, "cash_withdrawal", -3 * part, HERO_DOLLARS - 3 * part, clock.now)
    assert whole.opened == ("outflow",)
    by_parts, at_once = (ask(o, direction="inbound", key="same") for o in (office, other))
    assert (by_parts.offer_id, by_parts.reasons) == (at_once.offer_id, at_once.reasons)
    assert by_parts.offer_id not in DOLLAR_OFFERS
    assert closed_for(office, by_parts.decision_id) == closed_for(other, at_once.decision_id)
    # USD 1,200 are left, enough for the deposit: it is the outflow that closes it, and nothing else.
    assert closed_for(office, by_parts.decision_id)["deposit_usd_6m"] == {"recent_outflow"}
    inputs = [o.decision(a.decision_id, call()).inputs["customers"] for o, a in ((office, by_parts), (other, at_once))]
    assert inputs[0]["suppressed_outflow_usd_days_left"] == inputs[1]["suppressed_outflow_usd_days_left"] == 45.0
    assert dollars_in_list(office, clock)[0] is dollars_in_list(other, clock)[0] is None


def test_p29_an_outflow_told_late_silences_all_the_same(office: Office, clock: Clock) -> None:
    """Booked days ago, known only now; a smaller one told out of order before it."""
    booked = clock.now
    clock.forward(days=2)
    move(office, "cash_withdrawal", -40_000, HERO_DOLLARS - LEFT - 40_000, clock.now)
    assert move(office, "cash_withdrawal", -LEFT, HERO_DOLLARS - LEFT, booked).opened == ("outflow",)
    said = ask(office, direction="inbound", top=3)
    assert not {choice.offer_id for choice in said.choices} & set(DOLLAR_OFFERS)


def test_an_euro_outflow_leaves_dollar_offers_open(office: Office, clock: Clock) -> None:
    move(office, "cash_withdrawal", -900_000, 0, clock.now, currency="EUR")
    assert ask(office).offer_id in DOLLAR_OFFERS
