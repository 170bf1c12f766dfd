"""What a customer is worth to the bank, as the simulated world knows it."""

from typing import Final

import numpy as np

from simulation.block import Block
from simulation.savings import FEN_PER_MINOR
from simulation.world import CURRENCIES, LOAN, N_MONEY, SPEND, STRAIN, Floats

YEARS: Final = 4.0
MARGIN_ON_BALANCES: Final = 0.008  # a year
PER_PURCHASE_MINOR: Final = 150
PER_PRODUCT_MINOR: Final = 8_000  # a year, cards and insurance
PER_LOAN_MINOR: Final = 60_000  # a year


def lifetime_value_minor(block: Block) -> Floats:
    """Contribution of the next four years in fen at today's habits, (n,); 0 for who is gone.

    4 x (0.8 % of all money + CNY 1.50 a purchase + CNY 80 a card or policy + CNY 600 a loan).
    """
    totals = np.stack([block.total_minor(c) for c in range(len(CURRENCIES))], axis=1)
    money = totals @ FEN_PER_MINOR
    purchases = 12 * 4.6 * np.exp(0.55 * block.needs.now[:, SPEND])
    small = np.count_nonzero(block.accounts.is_open[:, N_MONEY:], axis=1)
    yearly: Floats = (
        MARGIN_ON_BALANCES * np.maximum(money, 0)
        + PER_PURCHASE_MINOR * purchases
        + PER_PRODUCT_MINOR * small
        + PER_LOAN_MINOR * block.accounts.is_open[:, LOAN] * np.exp(-0.2 * block.needs.now[:, STRAIN])
    )
    return np.rint(np.where(block.gone, 0.0, YEARS * yearly))
