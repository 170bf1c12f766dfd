"""A month in yuan: pay, bills, purchases, cash, and money that comes and goes to keep the target.

Everything that leaves the current account in a month is paid from what was there on its first day
plus the overdraft, so no running balance ever falls below the overdraft, whatever the order.
"""

import numpy as np

from simulation.block import Block
from simulation.journal import APP, ATM, BRANCH_DESK, ONLINE, POS, SYSTEM
from simulation.months import Month
from simulation.savings import target_minor
from simulation.world import (
    CURRENCIES,
    LEAVING,
    LOAN,
    N_MONEY,
    PRODUCTS,
    SPEND,
    STRAIN,
    Flags,
    Ints,
)

_RATES = np.array([product.rate for product in PRODUCTS[:N_MONEY]])


def budget_minor(block: Block) -> Ints:
    """What may leave the current accounts this month, (n, currencies), minor units of each.

    What lies there on the first day; in yuan also an overdraft of a third of a month's pay. Money
    that comes in during the month can be spent in the next one.
    """
    free = block.journal.balance[:, : len(CURRENCIES)].copy()
    free[:, 0] += np.where(block.needs.employed, block.needs.pay_minor // 3, 0)
    return np.maximum(free, 0)


def credit_interest(block: Block, month: Month, live: Flags) -> None:
    """Credit a quarter's interest on every account in the quarter's first minutes."""
    if month.month % 3 != 1:
        return
    amounts = np.maximum(block.journal.balance, 0) * _RATES / 4
    for slot in range(N_MONEY):
        who = np.flatnonzero(live & block.accounts.is_open[:, slot])
        at = month.start_us + block.rng.integers(0, 60_000_000, len(who))
        money = amounts[who, slot].astype(np.int64)
        block.journal.add(who, slot, money, "interest", SYSTEM, at, block.accounts.sequence[:, slot])


def live_in_yuan(block: Block, month: Month, live: Flags, budget: Ints) -> None:
    """Book the month's yuan side of life; takes what it spends from `budget` in place."""
    paid, budget = _pay(block, month, live), budget[:, 0]
    _bill(block, month, live, budget)
    spent = _purchase(block, month, live, budget) + _withdraw(block, month, live, budget)
    _balance_out(block, month, live, budget, paid - spent)


def _pay(block: Block, month: Month, live: Flags) -> Ints:
    rng, needs, people = block.rng, block.needs, block.people
    n = len(people)
    paid = np.zeros(n, dtype=np.int64)
    who = np.flatnonzero(live & (needs.employed | needs.retired) & ~people.is_firm)
    amount = (needs.pay_minor[who] * np.clip(rng.normal(1, 0.03, len(who)), 0.9, 1.2)).astype(np.int64)
    at = month.moments(rng, people.payday[who], people.shift_us[who], (9, 11))
    _book(block, who, amount, "salary", SYSTEM, at)
    paid[who] += amount
    who = np.repeat(np.flatnonzero(live & people.is_firm), 3)
    amount = (needs.pay_minor[who] / 3 * rng.gamma(8, 1 / 8, len(who))).astype(np.int64)
    at = month.moments(rng, rng.integers(0, month.days, len(who)), people.shift_us[who], (9, 18))
    _book(block, who, amount, "transfer_in", ONLINE, at)
    np.add.at(paid, who, amount)
    return paid


def _bill(block: Block, month: Month, live: Flags, budget: Ints) -> None:
    rng, shift = block.rng, block.people.shift_us
    owes = np.flatnonzero(live & block.accounts.is_open[:, LOAN])
    _pay_from(block, budget, owes, block.needs.pay_minor[owes] // 8, "loan_payment", SYSTEM,
              month.moments(rng, np.full(len(owes), 19), shift[owes], (9, 10)))  # fmt: skip
    # Reminders and unpaid debits cost fees: the strained pay more of them.
    strained = 0.16 * np.exp(0.6 * block.needs.now[:, STRAIN])
    who = np.flatnonzero(live & (rng.random(len(live)) < strained))
    fee = rng.integers(2, 30, len(who)) * 100
    at = month.moments(rng, rng.integers(0, month.days, len(who)), shift[who])
    _pay_from(block, budget, who, fee, "fee", SYSTEM, at)


def _purchase(block: Block, month: Month, live: Flags, budget: Ints) -> Ints:
    rng, z, n = block.rng, block.needs.now, len(live)
    mean = 4.6 * np.exp(0.55 * z[:, SPEND] - 0.25 * z[:, LEAVING]) * np.where(block.needs.employed, 1, 0.75)
    count = np.minimum(rng.poisson(np.where(live, mean, 0)), 40)
    who = np.repeat(np.arange(n), count)
    usual = block.people.salary_minor * np.where(block.people.is_firm, 0.03, 0.06)
    amount = usual[who] * np.exp(0.1 * z[who, SPEND] + rng.normal(-0.4, 0.9, len(who)))
    wanted = np.bincount(who, amount, n)
    # A tenth stays for the cash machine; who is short buys less of everything.
    scale = np.minimum(1, 0.9 * budget / np.maximum(wanted, 1))
    amount = (amount * scale[who]).astype(np.int64)
    amount[amount < 300] = 0
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who])
    place = np.where(rng.random(len(who)) < 0.45, ONLINE, POS)
    _book(block, who, -amount, "purchase", place, at)
    # One purchase in eighty comes back within the month's last days.
    back = np.flatnonzero((rng.random(len(who)) < 1 / 80) & (at < month.end_us - 6 * 86_400_000_000))
    later = at[back] + rng.integers(86_400_000_000, 5 * 86_400_000_000, len(back))
    _book(block, who[back], amount[back], "refund", ONLINE, later)
    spent = np.bincount(who, amount, n).astype(np.int64)
    budget -= spent
    return spent


def _withdraw(block: Block, month: Month, live: Flags, budget: Ints) -> Ints:
    rng, n = block.rng, len(live)
    who = np.flatnonzero(live & (rng.random(n) < 0.4))
    amount = block.people.salary_minor[who] * rng.uniform(0.03, 0.15, len(who))
    amount = (amount / 10_000).astype(np.int64) * 10_000
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who])
    taken = _pay_from(block, budget, who, amount, "cash_withdrawal", ATM, at)
    return np.bincount(who, taken, n).astype(np.int64)


def _balance_out(block: Block, month: Month, live: Flags, budget: Ints, surplus: Ints) -> None:
    """Rent, family and other banks: a quarter of the way back to the target every month."""
    rng, n = block.rng, len(live)
    target = target_minor(0, block.needs.now, block.needs.pay_minor, block.people.luck)
    gap = block.total_minor(0) - target
    move = np.where(live, surplus + 0.25 * (gap - surplus), 0) * rng.uniform(0.8, 1.2, n)
    out = np.minimum(np.maximum(move, 0), budget).astype(np.int64)
    # Whoever is about to leave pays more and more through other banks.
    parts = 1 + rng.poisson(np.minimum(0.35 * np.exp(0.9 * block.needs.now[:, LEAVING]), 9))
    who = np.repeat(np.flatnonzero(out > 10_000), parts[out > 10_000])
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who])
    place = np.where(rng.random(len(who)) < 0.8, APP, BRANCH_DESK)
    _book(block, who, -(out[who] // parts[who]), "transfer_out", place, at)
    budget -= out
    short = np.flatnonzero(move < -20_000)
    is_cash = rng.random(len(short)) < 0.25
    at = month.moments(rng, rng.integers(0, month.days, len(short)), block.people.shift_us[short])
    for kind, chosen, place_in in (
        ("transfer_in", ~is_cash, APP),
        ("cash_deposit", is_cash, BRANCH_DESK),
    ):
        _book(
            block,
            short[chosen],
            (-move[short[chosen]]).astype(np.int64),
            kind,
            place_in,
            at[chosen],
        )


def _pay_from(block: Block, budget: Ints, who: Ints, wanted: Ints, kind: str, place: int, at: Ints) -> Ints:
    paid = np.minimum(wanted, budget[who])
    budget[who] -= paid
    _book(block, who, -paid, kind, place, at)
    return paid


def _book(block: Block, who: Ints, amount: Ints, kind: str, place: int | Ints, at: Ints) -> None:
    block.journal.add(who, 0, amount, kind, place, at, block.accounts.sequence[:, 0])
