"""The books of one block: every booking, and balances that always add up."""

from typing import Final

import numpy as np
import pyarrow as pa

from features.tables import TRANSACTION_KINDS
from simulation.columns import customer_ids, ids, instants, rank_within, table_of, words
from simulation.world import (
    CURRENCIES,
    DAY_US,
    LATE_DAYS_MAX,
    LATE_SHARE,
    PRODUCT_CURRENCY,
    SECOND_US,
    Ints,
)

PLACES: Final = ("system", "app", "branch", "pos", "atm", "online", "internal")
# `internal`: between two accounts of one customer; the money stays in the bank.
SYSTEM, APP, BRANCH_DESK, POS, ATM, ONLINE, INTERNAL = range(len(PLACES))
_KIND = {kind: code for code, kind in enumerate(TRANSACTION_KINDS)}
_SLOTS_PER_CUSTOMER: Final = 10_000  # account key = customer x 10,000 + product x 100 + sequence


class Journal:
    """Bookings of a block, kept as columns; `balance` (n, money products) is the present one."""

    def __init__(self, opening: Ints) -> None:
        """Begin with opening balances, (n, money products), minor units, of the first accounts."""
        self.balance = opening.copy()
        self._opening = opening.copy()
        self._rows: list[tuple[Ints, Ints, Ints, Ints, Ints, Ints]] = []

    def add(
        self,
        who: Ints,
        slot: int,
        amount: Ints,
        kind: str,
        place: int | Ints,
        at: Ints,
        sequence: Ints,
    ) -> None:
        """Book amounts (signed minor units, zeros dropped) on one product's accounts of `who`.

        `sequence` (n block customers,) tells which account of that product is the open one.
        """
        real = np.flatnonzero(amount)
        who, amount, at = who[real], amount[real], at[real]
        np.add.at(self.balance[:, slot], who, amount)
        account = who * _SLOTS_PER_CUSTOMER + slot * 100 + sequence[who]
        places = np.full(len(real), place) if isinstance(place, int) else place[real]
        self._rows.append((account, who, amount, np.full(len(real), _KIND[kind]), places, at))

    def table(self, rng: np.random.Generator, first: int, keep: tuple[int, int], until_us: int) -> pa.Table:
        """The transactions of the customers keep[0] .. keep[1] - 1 of the block, by booked_at."""
        account, who, amount, kind, place, at = (np.concatenate(part) for part in zip(*self._rows, strict=True))
        balance = self._running(account, amount, at)
        recorded = _recorded(rng, at, until_us)
        order = np.lexsort((account, at))
        order = order[(who[order] >= keep[0]) & (who[order] < keep[1])]
        account, who, amount, kind, place, at = (column[order] for column in (account, who, amount, kind, place, at))
        slot, sequence = account % _SLOTS_PER_CUSTOMER // 100, account % 100
        customer = who + first
        return table_of("transactions", {
            "transaction_id": ids("T", (customer + 1, 7), (rank_within(who), 6)),
            "account_id": account_ids(customer, slot, sequence),
            "customer_id": customer_ids(customer),
            "amount_minor": pa.array(amount),
            "currency": words(CURRENCIES, np.array(PRODUCT_CURRENCY)[slot]),
            "kind": words(TRANSACTION_KINDS, kind),
            "channel": words(PLACES, place),
            "balance_after_minor": pa.array(balance[order]),
            "booked_at": instants(at),
            "recorded_at": instants(recorded[order]),
        })  # fmt: skip

    def _running(self, account: Ints, amount: Ints, at: Ints) -> Ints:
        order = np.lexsort((at, account))
        grouped, money = account[order], amount[order]
        sums = np.cumsum(money)
        starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
        sizes = np.diff(np.r_[starts, len(grouped)])
        before = sums[starts] - money[starts]
        slot, sequence = grouped[starts] % _SLOTS_PER_CUSTOMER // 100, grouped[starts] % 100
        opening = self._opening[grouped[starts] // _SLOTS_PER_CUSTOMER, slot]
        # Only the first account of a product can be older than the data.
        base = np.where(sequence == 0, opening, 0) - before
        balance = np.empty_like(sums)
        balance[order] = sums + np.repeat(base, sizes)
        return balance


def account_ids(customer: Ints, product: Ints, sequence: Ints) -> pa.Array:
    """Account ids: numbers of customer and product, then which of his accounts of it."""
    return ids("A", (customer + 1, 7), (product, 2), (sequence, 2))


def _recorded(rng: np.random.Generator, at: Ints, until_us: int) -> Ints:
    prompt = rng.integers(0, 90 * SECOND_US, len(at))
    late = rng.random(len(at)) < LATE_SHARE
    delay = rng.integers(DAY_US // 12, int(LATE_DAYS_MAX * DAY_US), len(at))
    # The source cannot know at the end of the data what it learns after it.
    return np.minimum(at + np.where(late, delay, prompt), until_us)
