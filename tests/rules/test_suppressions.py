"""Event suppressions: what opens one, what ends it, and that it always ends."""

import pytest

from rules.suppressions import EventSuppression, Movement, Opening, days_left
from tests import bank

DAY = 86_400_000_000
[RULE] = bank.policy().event_suppressions


def out(day: float, amount: int, balance: int, name: str = "") -> Movement:
    return Movement(int(day * DAY), name or f"m{day}", amount, 0, balance)


def back(day: float, amount: int, balance: int) -> Movement:
    return Movement(int(day * DAY), f"i{day}", 0, amount, balance)


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
    ([out(1, 900_000, 100_000), out(60, 90_000, 10_000)], [(1, 46, None), (60, 105, None)]),
    ([out(1, 900_000, 100_000), back(3, 900_000, 1_000_000), out(5, 950_000, 50_000)], [(1, 46, 3), (5, 50, None)]),
])  # fmt: skip
def test_what_opens_and_what_ends_it(movements: list[Movement], want: list[tuple[float, float, float | None]]) -> None:
    assert stretches(movements) == want
    assert stretches(list(reversed(movements))) == want  # order of arrival does not matter


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
