"""Seats at a price: never oversold, the bound true, and nothing lost where nothing is scarce."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.lists.allocate import Prices, allocate

CHANNELS = ["sms", "call"]


def instance(n: int, n_offers: int, seed: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = n_offers * len(CHANNELS)
    return rng.integers(-5, top, (n, cells)), rng.random((n, cells)) < 0.8


def best_by_hand(values: np.ndarray, allowed: np.ndarray, seats: dict[str, int]) -> int:
    """The most any list that keeps the seats is worth: every assignment is tried."""
    best = 0
    for choice in itertools.product(range(-1, values.shape[1]), repeat=len(values)):
        if any(cell >= 0 and not allowed[row, cell] for row, cell in enumerate(choice)):
            continue
        used = [sum(cell >= 0 and cell % 2 == channel for cell in choice) for channel in (0, 1)]
        if all(used[place] <= seats.get(channel, len(values)) for place, channel in enumerate(CHANNELS)):
            best = max(best, sum(int(values[row, cell]) for row, cell in enumerate(choice) if cell >= 0))
    return best


def priced(values: np.ndarray, allowed: np.ndarray, prices: Prices) -> list[int]:
    """Each customer's choice under the prices: the best surplus above 0, ties to the lower cell."""
    cost = np.array([prices.minor[CHANNELS[cell % 2]] for cell in range(values.shape[1])])
    surplus = np.where(allowed, values - cost, -(10**9))
    return [int(row.argmax()) if row.max() > 0 else -1 for row in surplus]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 2), st.integers(0, 10_000), st.sampled_from([4, 30, 10**6]),
       st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4)))  # fmt: skip
def test_p16_no_list_that_keeps_the_seats_is_worth_more_than_the_bound(
    n: int, offers: int, seed: int, top: int, sms: int, call: int | None
) -> None:
    values, allowed = instance(n, offers, seed, top)
    seats = {"sms": sms} | ({} if call is None else {"call": call})
    prices = allocate(values, allowed, CHANNELS, seats)
    assert prices.bound_minor >= best_by_hand(values, allowed, seats)
    assert all(price >= 0 for price in prices.minor.values())
    assert call is not None or prices.minor["call"] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 3), st.integers(0, 10_000), st.integers(0, 20), st.sampled_from([5, 10**9]))
def test_under_its_price_a_scarce_channel_is_wanted_by_as_many_as_there_are_seats(
    n: int, offers: int, seed: int, seats: int, top: int
) -> None:
    """Beyond them only who is indifferent at the price; the list cuts those off."""
    values, allowed = instance(n, offers, seed, top)
    prices = allocate(values, allowed, CHANNELS, {"sms": seats})
    best = np.where(allowed, values, -(10**12)).reshape(n, offers, 2).max(axis=1)
    gain = best[:, 0] - np.maximum(best[:, 1], 0)
    assert prices.minor == {"sms": max(0, int(np.sort(gain)[::-1][seats])) if n > seats else 0, "call": 0}
    wanting = sum(cell >= 0 and cell % 2 == 0 for cell in priced(values, allowed, prices))
    assert wanting <= seats + int((gain == prices.minor["sms"]).sum())
    assert (gain > prices.minor["sms"]).sum() <= seats


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 10_000))
def test_p16_where_nothing_is_scarce_everyone_gets_his_best(n: int, offers: int, seed: int) -> None:
    values, allowed = instance(n, offers, seed, 1000)
    for seats in ({}, {"sms": n, "call": n}):
        prices = allocate(values, allowed, CHANNELS, seats)
        assert set(prices.minor.values()) == {0}
        top = np.where(allowed, values, 0).max(axis=1)
        assert prices.bound_minor == int(np.maximum(top, 0).sum())


def test_a_hand_worked_price() -> None:
    """Three want the one sms seat at 100, 60 and 50; call is worth 20 to the first and nothing else."""
    values = np.array([[100, 20], [60, 0], [50, 0]])
    allowed = np.array([[True, True], [True, False], [True, False]])
    prices = allocate(values, allowed, CHANNELS, {"sms": 1})
    # The first gains 80 by sms over call, the second 60: at a price of 60 one still wants it.
    assert prices.minor == {"sms": 60, "call": 0} and prices.bound_minor == (100 - 60) + 60
    assert priced(values, allowed, prices) == [0, -1, -1]
    assert best_by_hand(values, allowed, {"sms": 1}) == 100


@pytest.mark.parametrize("seats", [{}, {"sms": 0}])
def test_nobody_is_a_list_too(seats: dict[str, int]) -> None:
    empty = np.zeros((0, 4), np.int64)
    assert allocate(empty, empty.astype(bool), CHANNELS, seats) == Prices({"sms": 0, "call": 0}, 0)


def test_no_seat_at_all_sells_nothing() -> None:
    values, allowed = instance(20, 2, 1, 100)
    prices = allocate(values, allowed, CHANNELS, {"sms": 0, "call": 0})
    assert priced(values, allowed, prices) == [-1] * 20
    assert prices.bound_minor == 0
