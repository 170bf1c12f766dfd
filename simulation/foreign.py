"""A month in dollars, euro and yen: exchanged, sent, carried in and out, and spent on travels."""

import numpy as np

from simulation.block import Block
from simulation.journal import APP, ATM, BRANCH_DESK, ONLINE, POS
from simulation.months import Month
from simulation.savings import target_minor, wants_account
from simulation.world import DOLLAR, SPEND, TRAVEL, Flags, Floats, Ints

USD, EUR, JPY = 1, 2, 3
_INS = ("transfer_in", "fx_purchase", "cash_deposit")
_OUTS = ("transfer_out", "fx_sale", "cash_withdrawal")
_PLACES = (ONLINE, APP, BRANCH_DESK)


def live_abroad(block: Block, month: Month, live: Flags, budget: Ints, fen_per_minor: Floats) -> None:
    """Book the month's foreign side of life; what leaves an account is taken from `budget`."""
    travels = _travels(block, live)
    for currency in (USD, EUR, JPY):
        _open_accounts(block, month, live, currency)
        holder = live & block.accounts.is_open[:, currency]
        free = budget[:, currency]
        free -= _spend(block, month, holder, currency, free, travels)
        fen = float(fen_per_minor[currency])
        _move(block, month, holder, currency, free, budget[:, 0], fen)


def _open_accounts(block: Block, month: Month, live: Flags, currency: int) -> None:
    # Each month one in fifty of those who would have the account in a settled bank opens it.
    chance = 0.02 * wants_account(currency, block.needs.now)
    opens = live & ~block.accounts.is_open[:, currency] & (block.rng.random(len(live)) < chance)
    who = np.flatnonzero(opens)
    block.accounts.open(who, currency, np.full(len(who), month.start_us))


def _travels(block: Block, live: Flags) -> Ints:
    """Where each customer spends this month: EUR, JPY or 0 for at home, (n,)."""
    rng, n = block.rng, len(live)
    goes = rng.random(n) < 1 / (1 + np.exp(1.9 - 1.4 * block.needs.now[:, TRAVEL]))
    has_eur, has_jpy = block.accounts.is_open[:, EUR], block.accounts.is_open[:, JPY]
    prefers_jpy = np.where(has_eur & has_jpy, rng.random(n) < 0.5, has_jpy)
    return np.where(goes & live & (has_eur | has_jpy), np.where(prefers_jpy, JPY, EUR), 0)


def _spend(block: Block, month: Month, holder: Flags, currency: int, free: Ints, travels: Ints) -> Ints:
    rng, n = block.rng, len(holder)
    shops = 0.25 * np.exp(0.5 * block.needs.now[:, SPEND]) if currency == USD else 4.0 * (travels == currency)
    who = np.repeat(np.arange(n), rng.poisson(np.where(holder, shops, 0)))
    usual = (6_000, 7_000, 9_000)[currency - 1]
    amount = usual * np.exp(rng.normal(0, 0.8, len(who)))
    scale = np.minimum(1, 0.8 * free / np.maximum(np.bincount(who, amount, n), 1))
    amount = (amount * scale[who]).astype(np.int64)
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who])
    _book(block, who, currency, -amount, "purchase", ONLINE if currency == USD else POS, at)
    return np.bincount(who, amount, n).astype(np.int64)


def _move(block: Block, month: Month, holder: Flags, currency: int, free: Ints, budget: Ints, fen: float) -> None:
    """Bring the currency nearer to the target in some months: in by three ways, out by three."""
    rng, needs, n = block.rng, block.needs.now, len(holder)
    target = target_minor(currency, needs, block.needs.pay_minor, block.people.luck)
    total = block.total_minor(currency)
    flees = total > 2.5 * target
    moves = holder & (rng.random(n) < np.where(flees, 0.6, 0.35))
    gap = (target - total) * rng.uniform(0.5, 0.9, n)
    regular = holder & (rng.random(n) < 0.25 / (1 + np.exp(1.5 - 1.5 * needs[:, DOLLAR]))) & (currency == USD)
    gap = np.where(moves & (np.abs(gap) > 0.1 * target), gap, 0)
    gap = np.where(regular & (gap == 0), 0.15 * target, gap)
    way = rng.choice(3, n, p=(0.4, 0.4, 0.2))
    for code in range(3):
        _bring(
            block,
            month,
            np.flatnonzero((gap > 0) & (way == code)),
            currency,
            gap,
            code,
            budget,
            fen,
        )
        out = np.flatnonzero((gap < 0) & (way == code))
        amount = np.where(flees, free * rng.uniform(0.85, 1.0, n), np.minimum(-gap, free)).astype(np.int64)
        _take(block, month, out, currency, amount[out], code, fen)


def _bring(
    block: Block,
    month: Month,
    who: Ints,
    currency: int,
    gap: Floats,
    way: int,
    budget: Ints,
    fen: float,
) -> None:
    rng = block.rng
    amount = gap[who].astype(np.int64)
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who], (9, 18))
    if _INS[way] == "fx_purchase":
        amount = np.minimum(amount, (0.6 * budget[who] / fen).astype(np.int64))
        cost = np.ceil(amount * fen).astype(np.int64)
        budget[who] -= cost
        _book(block, who, 0, -cost, "fx_sale", APP, at)
    _book(block, who, currency, amount, _INS[way], _PLACES[way], at)


def _take(block: Block, month: Month, who: Ints, currency: int, amount: Ints, way: int, fen: float) -> None:
    rng = block.rng
    at = month.moments(rng, rng.integers(0, month.days, len(who)), block.people.shift_us[who], (9, 18))
    if _OUTS[way] == "fx_sale":
        _book(block, who, 0, (amount * fen).astype(np.int64), "fx_purchase", APP, at)
    place = ATM if _OUTS[way] == "cash_withdrawal" and currency == USD else _PLACES[way]
    _book(block, who, currency, -amount, _OUTS[way], place, at)


def _book(block: Block, who: Ints, slot: int, amount: Ints, kind: str, place: int, at: Ints) -> None:
    block.journal.add(who, slot, amount, kind, place, at, block.accounts.sequence[:, slot])
