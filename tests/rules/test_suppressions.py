"""Event suppressions: what opens one, what ends it, and that it always ends."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.policy import ContactPolicy
from rules.state import AnswerFact, ContactFact, SuppressionFact, customer_state
from rules.suppressions import EventSuppression, Lengthened, Movement, Opening, days_left
from tests import bank, state_oracle

DAY = 86_400_000_000
[RULE] = bank.policy().event_suppressions


def out(day: float, amount: int, balance: int, name: str = "") -> Movement:
    return Movement(int(day * DAY), int(day * DAY), name or f"m{day}", amount, 0, balance)


def back(day: float, amount: int, balance: int) -> Movement:
    return Movement(int(day * DAY), int(day * DAY), f"i{day}", 0, amount, balance)


def stretches(movements: list[Movement]) -> list[tuple[float, float, float | None]]:
    return [
        (o.opened_at / DAY, o.ends_at / DAY, None if o.closed_at is None else o.closed_at / DAY)
        for o in RULE.openings(movements)
    ]


@pytest.mark.parametrize(("movements", "want"), [
    ([out(1, 900_000, 100_000)], [(1, 46, None)]),
    ([out(1, 300_000, 700_000), out(3, 300_000, 400_000), out(5, 300_000, 100_000)], [(3, 50, None)]),  # 60 % by day 3, 90 % by day 5
    ([out(1, 300_000, 700_000), out(20, 300_000, 400_000)], []),  # more than 14 days apart: 43 % is not half
    ([out(1, 40_000, 0)], []),  # below least_minor
    ([out(1, 900_000, 100_000), back(3, 449_999, 549_999)], [(1, 46, None)]),
    ([out(1, 900_000, 100_000), back(3, 450_000, 550_000)], [(1, 46, 3)]),  # half came back
    ([out(1, 900_000, 100_000), back(3, 200_000, 300_000), back(4, 250_000, 550_000)], [(1, 46, 4)]),
    # A trifle that leaves forgets nothing of what came back, and what leaves later is to come back as well.
    ([out(1, 1_080_000, 120_000), back(2, 500_000, 620_000), out(3, 1_000, 619_000), back(4, 40_499, 659_499)], [(1, 48, None)]),
    ([out(1, 1_080_000, 120_000), back(2, 500_000, 620_000), out(3, 1_000, 619_000), back(4, 40_500, 659_500)], [(1, 48, 4)]),
    ([out(1, 900_000, 100_000), back(3, 440_000, 540_000), out(20, 900_000, 0), back(21, 450_000, 450_000)], [(1, 65, None)]),
    ([out(1, 900_000, 100_000), back(3, 440_000, 540_000), out(20, 900_000, 0), back(21, 460_000, 460_000)], [(1, 65, 21)]),
    # Nor what is too little to be the event again.
    ([out(1, 900_000, 100_000), back(3, 440_000, 540_000), out(20, 100_000, 440_000), back(21, 20_000, 460_000)], [(1, 46, None)]),
    ([out(1, 900_000, 100_000), out(60, 90_000, 10_000)], [(1, 46, None), (60, 105, None)]),
    ([out(1, 900_000, 100_000), back(3, 900_000, 1_000_000), out(5, 950_000, 50_000)], [(1, 46, 3), (5, 50, None)]),
])  # fmt: skip
def test_what_opens_and_what_ends_it(movements: list[Movement], want: list[tuple[float, float, float | None]]) -> None:
    assert stretches(movements) == want
    assert stretches(list(reversed(movements))) == want  # order of arrival does not matter


@pytest.mark.parametrize("inflow", ["a", "z"])
@pytest.mark.parametrize(("inflow_known", "outflow_known", "holds"), [(1, 2, True), (2, 2, True), (2, 1, False)])
def test_of_one_booking_instant_the_record_decides_and_else_what_left_is_last(
    inflow: str, inflow_known: int, outflow_known: int, holds: bool
) -> None:
    """Mutant: sorted by id within an instant. Whether 900,000 that left silence depended on the alphabet."""
    came = Movement(DAY, inflow_known, inflow, 0, 900_000, 1_000_000)
    went = Movement(DAY, outflow_known, "m", 900_000, 0, 100_000)
    [opening] = RULE.openings([went, came])
    assert (opening.closed_at is None) == holds


def test_p29_three_withdrawals_of_a_third_count_like_one_of_all() -> None:
    thrice = stretches([out(1, 300_000, 700_000), out(2, 300_000, 400_000), out(3, 300_000, 100_000)])
    once = stretches([out(3, 900_000, 100_000)])
    assert thrice[0][1] == once[0][1] == 48  # both hold until 45 days after the last of it


def test_p10_it_ends_at_the_first_instant_after_its_days() -> None:
    [opening] = RULE.openings([out(1, 900_000, 100_000)])
    stretch = [(opening.opened_at, opening.ends_at, opening.closed_at)]
    assert days_left(stretch, opening.opened_at - 1) == 0
    assert days_left(stretch, opening.opened_at) == 45
    assert days_left(stretch, opening.ends_at - 1) > 0
    assert days_left(stretch, opening.ends_at) == 0


def test_stretches_known_before_are_carried_on() -> None:
    before = [Opening(DAY, 46 * DAY, None, "m1", 900_000)]
    assert RULE.openings([back(3, 500_000, 600_000)], before)[0].closed_at == 3 * DAY


def test_mutant_a_share_of_the_single_withdrawal_alone_misses_the_story() -> None:
    class Single(type(RULE.event)):
        def happened(self, outflow_minor: int, balance_minor: int) -> bool:
            return super().happened(min(outflow_minor, 300_000), balance_minor)

    mutant = EventSuppression.model_construct(**(dict(RULE) | {"event": Single(**dict(RULE.event))}))
    thrice = [out(1, 300_000, 700_000), out(2, 300_000, 400_000)]
    assert RULE.openings(thrice)
    assert not mutant.openings(thrice)


LONGER = Lengthened(by_days=10, at_most_days=90, within_days=30, after_days=7)
LONG = RULE.model_copy(update={"lengthened": LONGER})


def ignored(day: float, family: str = "wealth") -> ContactFact:
    return ContactFact("A", "sms", family, int(day * DAY), int(day * DAY), "wealth_usd_income", "", f"k{day}", True)


def left(
    at: float,
    contacts: list[ContactFact],
    answers: list[AnswerFact],
    movements: list[Movement],
    rule: EventSuppression = LONG,
) -> float:
    policy = ContactPolicy(id="p", title={"en": "x", "zh": "x"}, source="tests", event_suppressions=(rule,))  # type: ignore[arg-type]
    rows = [SuppressionFact("outflow", "USD", o.opened_at, o.ends_at, o.closed_at) for o in rule.openings(movements)]
    return customer_state(policy, bank.catalogue(), "A", (round(at * DAY),) * 2, contacts, answers, rows)[
        rule.column("USD")
    ]


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_the_fold_says_what_the_slow_sums_say(data: st.DataObject) -> None:
    """Mutants: what came back is forgotten with a renewal; what left is the most of 14 days; one sum for two stretches."""
    rule = data.draw(st.sampled_from([RULE, LONG, RULE.model_copy(update={"exit": None})]))
    a_move = st.tuples(st.integers(0, 150), st.integers(0, 1), st.sampled_from([100, 60, 30, 5, -100, -45, -20]),
                       st.sampled_from([0, 40, 200]))  # fmt: skip
    moves = [Movement(day * DAY, day * DAY + late, f"m{n}", max(amount, 0) * 10_000, max(-amount, 0) * 10_000, balance * 10_000)
             for n, (day, late, amount, balance) in enumerate(data.draw(st.lists(a_move, max_size=14)))]  # fmt: skip
    truth = [(row["opened_at"], row["ends_at"], row["closed_at"], row["cause"], row["outflow_minor"])
             for row in state_oracle.stretches(rule, moves)]  # fmt: skip
    told = rule.openings(data.draw(st.permutations(moves)))
    assert [(o.opened_at, o.ends_at, o.closed_at, o.cause, o.outflow_minor) for o in told] == truth


FLED = [out(101, 900_000, 100_000)]  # rests until day 146


@pytest.mark.parametrize(("contacts", "days"), [
    ([], 45), ([ignored(90)], 55), ([ignored(90), ignored(95)], 65), ([ignored(90, "card")], 45),
    ([ignored(71)], 45), ([ignored(71.1)], 55), ([ignored(101)], 55), ([ignored(102)], 45),  # the 30 days before, the opening included
    ([ignored(75 + k) for k in range(12)], 135),  # at most 90 more
])  # fmt: skip
def test_each_ignored_contact_before_the_event_lengthens_it(contacts: list[ContactFact], days: float) -> None:
    end = 101 + days
    assert left(end - 0.001, contacts, [], FLED) > 0
    assert left(end, contacts, [], FLED) == 0
    assert left(110, contacts, [], FLED) == pytest.approx(days - 9)


def test_an_answered_contact_lengthens_nothing_and_a_late_answer_is_heard() -> None:
    opened = AnswerFact("opened", 92 * DAY, "wealth", "wealth_usd_income", "sms", "k90")
    assert left(146, [ignored(90)], [], FLED) > 0
    assert left(146, [ignored(90)], [opened], FLED) == 0


def test_money_that_comes_back_ends_the_lengthened_part_too() -> None:
    home = [*FLED, back(150, 900_000, 1_000_000)]
    assert left(149.9, [ignored(90)], [], home) > 0
    assert left(150, [ignored(90)], [], home) == 0
    again = [*FLED, out(148, 90_000, 10_000), back(150, 900_000, 910_000)]  # a second outflow while lengthened
    assert left(149.9, [ignored(90)], [], again) > 0
    assert left(150, [ignored(90)], [], again) == 0
    part = [*again[:2], back(150, 45_000, 55_000)]  # half of the second, and nothing of the first
    assert left(150, [ignored(90)], [], part) > 0


@pytest.mark.parametrize("rule", [*bank.policy().event_suppressions, LONG], ids=["shipped", "lengthened"])
def test_p10_every_suppression_ends_at_the_latest_by_lasts_days_and_the_most_it_can_be_lengthened(
    rule: EventSuppression,
) -> None:
    many = [ignored(90 + k / 10) for k in range(50)]
    last = 101 + rule.lasts_days + rule.tail_days
    assert left(last - 1 / DAY, many, [], FLED, rule) > 0
    assert left(last, many, [], FLED, rule) == 0


@pytest.mark.parametrize(("changes", "said"), [
    ({"lasts_days": 700, "lengthened": LONGER}, "days back, `lengthened` included; the ledger is read for 730"),
    ({"lasts_days": 400, "lengthened": LONGER.model_copy(update={"within_days": 320})}, "looks 817 days back"),
    ({"lasts_days": 5, "lengthened": LONGER}, "after_days is more than lasts_days"),
])  # fmt: skip
def test_a_suppression_without_a_near_end_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EventSuppression(**(dict(RULE) | changes))
