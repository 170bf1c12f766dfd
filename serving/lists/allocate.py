"""Allocate: seats are scarce; the Lagrangian dual puts a price on each channel's seat.

    bound(price) = sum over customers of max(0, best open value - price of its channel)
                   + sum over channels of price x seats

is an upper bound of every list that keeps the seats, whatever the prices (weak duality), hence the
certificate. Prices are integer minor units; ties go to the lower cell.
Source: Everett, Generalized Lagrange multiplier method (1963).
"""

from dataclasses import dataclass

import numpy as np

CLOSED = np.iinfo(np.int64).min // 4
CYCLES = 30  # it stops where a cycle changes no price; a list of 20,000 needs about ten


@dataclass(frozen=True)
class Prices:
    """minor: price per channel. bound_minor: no list that keeps the seats is worth more."""

    minor: dict[str, int]
    bound_minor: int


def allocate(values: np.ndarray, allowed: np.ndarray, channels: list[str], seats: dict[str, int]) -> Prices:
    """Seat prices under which the priced choice keeps every limit.

    values: (n, n_cells) int64; allowed: same shape; seats: channel -> contacts, missing: unbounded.
    """
    n_offers = values.shape[1] // len(channels)
    grid = np.where(allowed, values, CLOSED).reshape(len(values), n_offers, len(channels))
    best = grid.max(axis=1)  # (n, n_channels): within a channel the price is the same for all offers
    price = np.zeros(len(channels), dtype=np.int64)
    for _ in range(CYCLES):
        before = price.copy()
        for place, channel in enumerate(channels):
            if channel in seats:
                price[place] = _lowest(best, price, place, seats[channel])
        if (price == before).all():
            break
    surplus = np.maximum((best - price).max(axis=1, initial=0), 0).sum() if len(best) else 0
    paid = sum(int(price[place]) * seats[channel] for place, channel in enumerate(channels) if channel in seats)
    return Prices(dict(zip(channels, price.tolist(), strict=True)), int(surplus) + paid)


def _lowest(best: np.ndarray, price: np.ndarray, place: int, seats: int) -> int:
    """The lowest price of one channel at which it is chosen at most `seats` times, others fixed."""
    others = np.delete(best - price, place, axis=1).max(axis=1, initial=0)
    rival = np.maximum(others, 0)
    gain = best[:, place] - rival  # the channel is chosen while its price is below this
    wanting = np.sort(gain[gain > 0])[::-1]
    return 0 if len(wanting) <= seats else int(wanting[seats])
