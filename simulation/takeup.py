"""Opening, funding, maturing and closing: how holdings change."""

import numpy as np

from simulation import response
from simulation.block import Block
from simulation.cases import BEREAVEMENT, HARDSHIP
from simulation.journal import APP, BRANCH_DESK, INTERNAL, SYSTEM
from simulation.months import Month
from simulation.world import (
    DAY_US,
    LEAVING,
    LOAN,
    N_MONEY,
    OFFERS,
    PRODUCT_CURRENCY,
    PRODUCT_INDEX,
    PRODUCTS,
    RETENTION,
    SAVE_RATE,
    Flags,
    Ints,
)


def leave(block: Block, month: Month) -> None:
    """Close the accounts of those who leave the bank or die in this month."""
    rng, live = block.rng, block.active(month.number)
    chance = response.p_leaves(block.minds(month.number))
    who = np.flatnonzero(rng.random(len(live)) < chance)
    block.expected.append({"kind": 0, "expected": float(chance.sum()), "realised": float(len(who))})
    at = month.moments(rng, np.zeros(len(who), np.int64), block.people.shift_us[who], (9, 17))
    for slot in range(N_MONEY):
        money = block.journal.balance[who, slot]
        for kind, amount in (
            ("transfer_out", -np.maximum(money, 0)),
            ("transfer_in", -np.minimum(money, 0)),
        ):
            block.journal.add(who, slot, amount, kind, APP, at, block.accounts.sequence[:, slot])
    rows, product = np.nonzero(block.accounts.is_open[who])
    block.accounts.close(who[rows], product, at[rows] + 1)
    block.gone[who] = True
    dead = np.flatnonzero(live & (block.people.dies_in_month == month.number + 1))
    block.gone[dead] = True
    opened = month.start_us + rng.integers(0, 20 * DAY_US, len(dead))
    block.add_case(dead, BEREAVEMENT, opened, opened + 60 * DAY_US)


def join(block: Block, month: Month) -> None:
    """Open the first account of those who join in this month; they become active in the next."""
    joins = (block.people.joined_month == month.number) & ~block.scripted
    who = np.flatnonzero(joins)
    block.accounts.open(who, 0, block.people.joined_on[who] * DAY_US + 3_600_000_000)


def open_hardship(block: Block, month: Month, lost_job: Flags) -> None:
    """A third of those who lose their job ask the bank for relief within the month."""
    rng = block.rng
    asks = lost_job & block.active(month.number) & (rng.random(len(lost_job)) < 0.33)
    who = np.flatnonzero(asks)
    opened = month.start_us + rng.integers(0, 25 * DAY_US, len(who))
    block.add_case(who, HARDSHIP, opened, opened + rng.integers(30, 200, len(who)) * DAY_US)


def take_up_organically(block: Block, month: Month, live: Flags) -> None:
    """Draw who takes which product unasked; whoever listened to a contact about it does not."""
    rng = block.rng
    chance = response.p_organic(block.minds(month.number)) * live[:, None] * ~block.listened
    who, offer = np.nonzero(rng.random(chance.shape) < chance)
    block.expected.append({"kind": 1, "expected": float(chance.sum()), "realised": float(len(who))})
    days = rng.integers(0, month.days, len(who))
    promise(block, who, offer, month.moments(rng, days, block.people.shift_us[who], (9, 20)))


def promise(block: Block, who: Ints, offer: Ints, at: Ints) -> None:
    """Note that customers said yes: the product is opened at `at`."""
    block.promised[who, offer] = True
    block.take_ups.append((who, offer, at))


def mature(block: Block, month: Month, live: Flags) -> None:
    """Pay deposits that mature this month back to the current account, and close them."""
    for product in range(N_MONEY):
        if not PRODUCTS[product].term_months:
            continue
        due = block.accounts.matures_us[:, product]
        who = np.flatnonzero(live & block.accounts.is_open[:, product] & (due < month.end_us))
        at = np.maximum(due[who], month.start_us) + 3_600_000_000
        _shift(block, who, product, PRODUCT_CURRENCY[product], block.journal.balance[who, product], at)
        block.accounts.close(who, np.full(len(who), product), at + 2)


def settle(block: Block, month: Month, live: Flags, budget: Ints) -> None:
    """Open and fund what was promised up to this month's end, out of `budget`."""
    if not block.take_ups:
        return
    who, offer, at = (np.concatenate(part) for part in zip(*block.take_ups, strict=True))
    waits = at >= month.end_us
    block.take_ups = [(who[waits], offer[waits], at[waits])]
    for code, item in enumerate(OFFERS):
        chosen = np.flatnonzero((offer == code) & ~waits)
        customers, first = np.unique(who[chosen], return_index=True)
        moment = np.maximum(at[chosen][first], month.start_us + 60_000_000)
        block.promised[customers, code] = False
        stays = live[customers]
        customers, moment = customers[stays], moment[stays]
        if code == RETENTION:
            _retain(block, customers, moment)
        elif item.product is not None:
            _open(block, customers, PRODUCT_INDEX[item.product], moment, budget, month)


def _open(block: Block, who: Ints, product: int, at: Ints, budget: Ints, month: Month) -> None:
    # A deposit that matured this month is closed first, so the two never cross.
    new = ~block.accounts.is_open[who, product]
    after = np.where(new, block.accounts.matures_us[who, product] + 7_200_000_000, 0)
    at = np.minimum(np.maximum(at, after), month.end_us - 1_000)
    block.accounts.open(who[new], product, at[new])
    current = PRODUCT_CURRENCY[product]
    lacks = np.flatnonzero(~block.accounts.is_open[who, current])
    block.accounts.open(who[lacks], current, at[lacks])
    if product < N_MONEY:
        _fund(block, who, product, at, budget)
    elif product == LOAN:
        amount = block.needs.pay_minor[who] * 4
        block.journal.add(who, 0, amount, "transfer_in", SYSTEM, at, block.accounts.sequence[:, 0])
    fee = np.minimum(PRODUCTS[product].fee_minor, budget[who, 0])
    budget[who, 0] -= fee
    block.journal.add(who, 0, -fee, "fee", SYSTEM, at, block.accounts.sequence[:, 0])


def _fund(block: Block, who: Ints, product: int, at: Ints, budget: Ints) -> None:
    currency, entry = PRODUCT_CURRENCY[product], PRODUCTS[product].entry_minor or 0
    free = budget[who, currency]
    amount = np.maximum((free * block.rng.uniform(0.35, 0.7, len(who))).astype(np.int64), entry)
    outside = amount > free  # money comes from another bank
    amount = np.where(outside, (entry * block.rng.uniform(1.0, 1.4, len(who))).astype(np.int64), amount)
    sequence = block.accounts.sequence[:, product]
    block.journal.add(who[outside], product, amount[outside], "transfer_in", BRANCH_DESK, at[outside], sequence)
    inside = np.flatnonzero(~outside)
    budget[who[inside], currency] -= amount[inside]
    _shift(block, who[inside], currency, product, amount[inside], at[inside])


def _shift(block: Block, who: Ints, source: int, target: int, amount: Ints, at: Ints) -> None:
    sequence = block.accounts.sequence
    block.journal.add(who, source, -amount, "own_transfer", INTERNAL, at, sequence[:, source])
    block.journal.add(who, target, amount, "own_transfer", INTERNAL, at + 1, sequence[:, target])


def _retain(block: Block, who: Ints, at: Ints) -> None:
    block.journal.add(who, 0, np.full(len(who), 10_000), "refund", SYSTEM, at, block.accounts.sequence[:, 0])
    # The monthly chance of leaving falls by the saved share for a while; the mood drifts back.
    block.needs.mood[who, LEAVING] += np.log(1 - SAVE_RATE) / response.LEAVING_WEIGHT
