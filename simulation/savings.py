"""How much money customers like to keep, and what they own when the data begin."""

from dataclasses import dataclass

import numpy as np

from simulation.months import Month
from simulation.people import People
from simulation.world import (
    CNY_PER_UNIT,
    DAY_US,
    DECIMALS,
    DOLLAR,
    EURO,
    LEAVING,
    N_MONEY,
    PRODUCT_INDEX,
    PRODUCTS,
    SPEND,
    STRAIN,
    TRAVEL,
    WEALTH,
    Flags,
    Floats,
    Ints,
)

FEN_PER_MINOR = np.array([cny * 100 / 10**d for cny, d in zip(CNY_PER_UNIT, DECIMALS, strict=True)])
# The need behind each currency and the amount (minor units) an average holder keeps in it.
_FOREIGN = {1: ((DOLLAR, 0.9), 350_000), 2: ((EURO, 0.9), 250_000), 3: ((TRAVEL, 0.8), 250_000)}


@dataclass(frozen=True)
class Opening:
    """What a block owns when the data begin: (n, products), balances (n, money products)."""

    is_open: Flags
    opened_us: Ints
    matures_us: Ints
    balance_minor: Ints


def target_minor(currency: int, needs: Floats, pay_minor: Ints, luck: Floats) -> Ints:
    """What each customer likes to keep in a currency over all accounts, (n,), minor units."""
    going = np.exp(-0.7 * np.maximum(needs[:, LEAVING], 0))
    if currency == 0:
        liking = 0.8 + 0.9 * needs[:, WEALTH] - 0.7 * needs[:, STRAIN]
        return (pay_minor * luck * np.exp(liking) * going).astype(np.int64)
    (need, weight), usual = _FOREIGN[currency]
    liking = weight * needs[:, need] + 0.3 * needs[:, WEALTH]
    return (usual * luck * np.exp(liking) * going).astype(np.int64)


def wants_account(currency: int, needs: Floats) -> Floats:
    """P(a customer of a settled bank has a current account in the foreign currency), (n,)."""
    (need, weight), _ = _FOREIGN[currency]
    # Travellers have euro and yen, whether they like to keep them or not.
    travels = 0.6 * (currency > 1) * needs[:, TRAVEL] + 0.5 * (currency == 3)
    return _sigma(-1.2 + 1.6 * weight * needs[:, need] + travels)


def draw_opening(rng: np.random.Generator, people: People, needs: Floats, months: tuple[Month, ...]) -> Opening:
    """Draw the holdings of those who were customers before the data begin."""
    n, settled = len(people), people.joined_month < 0
    chance = np.zeros((n, len(PRODUCTS)))
    chance[:, 0] = 1
    for currency in (1, 2, 3):
        chance[:, currency] = wants_account(currency, needs)
    for name, logit in _held_logits(needs).items():
        chance[:, PRODUCT_INDEX[name]] = _sigma(logit)
    is_open = (rng.random(chance.shape) < chance) & settled[:, None]
    for product in range(4, N_MONEY):  # money products need the current account of their currency
        is_open[:, product] &= is_open[:, ("CNY", "USD", "EUR").index(PRODUCTS[product].currency)]
    is_open[:, 9:] &= ~people.is_firm[:, None]
    since = months[0].start_us
    joined = people.joined_on[:, None] * DAY_US
    age = rng.random(chance.shape) * (since - joined)
    opened = np.where(is_open, since - DAY_US - (age * 0.9).astype(np.int64), 0)
    opened[:, 0] = np.where(is_open[:, 0], people.joined_on * DAY_US, 0)
    terms = np.array([round(p.term_months * 30.4375) for p in PRODUCTS])
    left = (1 + rng.random(chance.shape) * (terms - 1)).astype(np.int64)
    matures = np.where(is_open & (terms > 0), since + left * DAY_US, 0)
    opened = np.where(matures > 0, np.maximum(matures - terms * DAY_US, joined), opened)
    balance = _opening_balances(rng, people, needs, is_open)
    return Opening(is_open, opened, matures, balance)


def _held_logits(needs: Floats) -> dict[str, Floats]:
    wealth, spend, travel = needs[:, WEALTH], needs[:, SPEND], needs[:, TRAVEL]
    return {
        "deposit_cny": -1.6 + 1.0 * wealth,
        "deposit_usd": -1.4 + 0.9 * needs[:, DOLLAR],
        "wealth_usd": -2.4 + 0.8 * needs[:, DOLLAR] + 0.5 * wealth,
        "wealth_cny": -2.8 + 1.0 * wealth,
        "wealth_eur": -2.4 + 0.8 * needs[:, EURO],
        "card_gold": -2.2 + 0.8 * spend + 0.5 * wealth,
        "card_cashback": -1.8 + 0.8 * spend,
        "loan_personal": -2.5 + 0.9 * needs[:, STRAIN],
        "insurance_travel": -2.5 + 0.9 * travel,
    }


def _opening_balances(rng: np.random.Generator, people: People, needs: Floats, is_open: Flags) -> Ints:
    balance = np.zeros((len(people), N_MONEY), dtype=np.int64)
    for currency in range(4):
        target = target_minor(currency, needs, people.salary_minor, people.luck)
        near = target * np.exp(rng.normal(0, 0.3, len(people)))
        slots = [s for s in range(N_MONEY) if PRODUCTS[s].currency == PRODUCTS[currency].currency]
        weight = is_open[:, slots] * (0.5 + rng.random((len(people), len(slots))))
        share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
        balance[:, slots] = (near[:, None] * share).astype(np.int64)
    return balance


def _sigma(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))
