"""A column says what a cell uses of every limit; a minimum is kept as the room of what must not lack."""

import numpy as np

from serving.lists.limits import COST, Limit, make_columns

KINDS: list[dict[str, str | int]] = [
    {"offer": "card", "channel": "sms", COST: 8},
    {"offer": "card", "channel": "app", COST: 0},
]
PEOPLE: list[dict[str, str | None]] = [{"home_branch": "east"}, {"home_branch": None}]
LIMITS = [Limit(name="sms", where={"channel": "sms"}, at_most=5), Limit(name="budget", unit="cost_minor", at_most=100),
          Limit(name="east", where={"home_branch": "east"}, at_most=2), Limit(name="cards", where={"offer": "card"}, at_least=3)]  # fmt: skip


def test_each_kind_of_customer_and_cell_uses_what_its_attributes_say() -> None:
    columns = make_columns(LIMITS, KINDS, PEOPLE)
    used = [columns.used_exactly(np.array([column])).tolist() for column in range(4)]
    assert used == [[1, 8, 1, -1], [0, 0, 1, -1], [1, 8, 0, -1], [0, 0, 0, -1]]
    assert columns.room.tolist() == [5, 100, 2, -3]


def test_a_column_pays_the_prices_of_what_it_uses() -> None:
    columns = make_columns(LIMITS, KINDS, PEOPLE)
    assert columns.prices(np.array([10, 2, 100, 7])).tolist() == [10 + 16 + 100 - 7, 100 - 7, 10 + 16 - 7, -7]
    assert columns.used(np.array([1.0, 0.5, 0.0, 2.0])).tolist() == [1.0, 8.0, 1.5, -3.5]


def test_where_nothing_is_limited_nothing_is_paid() -> None:
    columns = make_columns([], KINDS, [{}])
    assert columns.n_limits == 0 and columns.prices(np.zeros(0)).tolist() == [0, 0]
