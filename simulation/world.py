"""The constants of the simulated bank: what it sells, where it speaks, what money is worth.

Every number a reader may want to change stands here. Money is in minor units of the named
currency (JPY has no decimals: one minor unit is one yen); the base currency is CNY. `needs` are
what customers feel and nobody sees (simulation/needs.py); an offer's weights say which needs make
a customer say yes (simulation/response.py).
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# A block is simulated whole even when fewer customers are wanted, so the first customers of two
# banks of one seed are the same people whatever the size. Small blocks keep small banks quick.
BLOCK_CUSTOMERS: Final = 2_000
CUSTOMERS_MAX: Final = 9_999_999  # seven digits in a customer id

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US

BASE_CURRENCY: Final = "CNY"
CURRENCIES: Final = ("CNY", "USD", "EUR", "JPY")
DECIMALS: Final = (2, 2, 2, 0)
CNY_PER_UNIT: Final = (1.0, 7.2, 7.8, 0.048)  # at the start; daily rates move about it

NEEDS: Final = ("wealth", "spend", "strain", "dollar", "euro", "travel", "leaving")
WEALTH, SPEND, STRAIN, DOLLAR, EURO, TRAVEL, LEAVING = range(len(NEEDS))

BRANCHES: Final = tuple(f"B{number:02d}" for number in range(1, 13))
MANAGERS_PER_BRANCH: Final = 3
# Zones with their shift from UTC in hours (summer time left out) and their shares of customers.
ZONES: Final = ("Asia/Shanghai", "Europe/London", "America/New_York", None)
ZONE_SHIFT_HOURS: Final = (8, 0, -5, 8)
ZONE_SHARES: Final = (0.93, 0.025, 0.025, 0.02)


@dataclass(frozen=True)
class Product:
    """One row of the products table; `term_months` only for deposits, `rate` is yearly interest."""

    id: str
    family: str
    currency: str
    risk_grade: int | None = None
    entry_minor: int | None = None
    rate: float = 0.0
    term_months: int = 0
    fee_minor: int = 0  # booked once, when it is taken


# The first nine hold money; the order is the order of the columns of every balance array.
PRODUCTS: Final = (
    Product("current_cny", "current", "CNY", rate=0.002),
    Product("current_usd", "current", "USD", rate=0.005),
    Product("current_eur", "current", "EUR", rate=0.003),
    Product("current_jpy", "current", "JPY", rate=0.001),
    Product("deposit_cny", "deposit", "CNY", 1, 100_000, rate=0.018, term_months=12),
    Product("deposit_usd", "deposit", "USD", 1, 10_000, rate=0.038, term_months=6),
    Product("wealth_usd", "wealth", "USD", 3, 500_000, rate=0.045),
    Product("wealth_cny", "wealth", "CNY", 3, 5_000_000, rate=0.034),
    Product("wealth_eur", "wealth", "EUR", 2, 400_000, rate=0.030),
    Product("card_gold", "card", "CNY", fee_minor=48_000),
    Product("card_cashback", "card", "CNY"),
    Product("loan_personal", "loan", "CNY"),
    Product("insurance_travel", "insurance", "CNY", fee_minor=28_000),
)
PRODUCT_INDEX: Final = MappingProxyType({p.id: i for i, p in enumerate(PRODUCTS)})
N_MONEY: Final = 9
PRODUCT_CURRENCY: Final = tuple(CURRENCIES.index(p.currency) for p in PRODUCTS)
LOAN, CARD_GOLD = PRODUCT_INDEX["loan_personal"], PRODUCT_INDEX["card_gold"]


@dataclass(frozen=True)
class Offer:
    """One offer and its law of response.

    `yes_logit` is the logit of P(accept | reached) of a customer with average needs; `needs` the
    weights; `organic_logit` the same for taking it unasked within 30 days. `margin_minor` is what
    one take-up earns, in fen.
    """

    id: str
    family: str
    product: str | None
    margin_minor: int
    yes_logit: float
    organic_logit: float
    needs: MappingProxyType[str, float]
    persons_only: bool = False
    repeatable: bool = True  # may be taken again while it is held
    needs_salary: bool = False


def _needs(**weights: float) -> MappingProxyType[str, float]:
    return MappingProxyType(weights)


OFFERS: Final = (
    Offer("deposit_cny_12m", "deposit", "deposit_cny", 60_000, -3.5, -5.9,
          _needs(wealth=1.2, strain=-0.7, spend=-0.4)),
    Offer("deposit_usd_6m", "deposit", "deposit_usd", 90_000, -3.7, -5.9,
          _needs(dollar=1.5, wealth=0.4)),
    Offer("wealth_usd_income", "wealth", "wealth_usd", 240_000, -3.4, -6.0,
          _needs(dollar=1.4, wealth=0.7)),
    Offer("wealth_cny_balanced", "wealth", "wealth_cny", 180_000, -3.5, -6.0,
          _needs(wealth=1.2, strain=-0.6)),
    Offer("wealth_eur_bond", "wealth", "wealth_eur", 190_000, -3.6, -6.0,
          _needs(euro=1.5, wealth=0.5)),
    Offer("card_gold", "card", "card_gold", 90_000, -3.5, -6.0,
          _needs(spend=1.1, wealth=0.7, travel=0.4), True, False),
    Offer("card_cashback", "card", "card_cashback", 50_000, -3.1, -5.5,
          _needs(spend=1.6, strain=0.2), True, False),
    Offer("loan_personal", "loan", "loan_personal", 160_000, -3.5, -5.8,
          _needs(strain=1.6, wealth=-0.6), True, False, True),
    Offer("insurance_travel", "insurance", "insurance_travel", 25_000, -3.2, -5.6,
          _needs(travel=1.7), True, False),
    Offer("retention_bonus", "retention", None, -10_000, -2.0, -99.0, _needs(leaving=0.9)),
)  # fmt: skip
OFFER_INDEX: Final = MappingProxyType({offer.id: i for i, offer in enumerate(OFFERS)})
RETENTION: Final = OFFER_INDEX["retention_bonus"]
SAVE_RATE: Final = 0.45  # share of leavers whom an accepted retention bonus keeps


@dataclass(frozen=True)
class Channel:
    """A way to reach customers and what it does to them.

    `reach_logit` and `harm_logit` are those of an average, unannoyed customer; `irritation` is
    what one marketing contact adds to annoyance; `share` the legacy CRM's habit.
    """

    id: str
    cost_minor: int
    reach_logit: float
    harm_logit: float
    irritation: float
    share: float


CHANNELS: Final = (
    Channel("sms", 10, 0.10, -6.1, 1.0, 0.38),
    Channel("email", 2, -0.75, -6.5, 0.6, 0.24),
    Channel("app", 1, -0.10, -6.7, 0.5, 0.22),
    Channel("call", 600, -0.20, -5.3, 1.4, 0.11),
    Channel("branch", 1_500, 0.80, -6.6, 0.5, 0.05),
)
SMS, EMAIL, APP, CALL, BRANCH = range(len(CHANNELS))
N_OFFERS: Final = len(OFFERS)
N_CHANNELS: Final = len(CHANNELS)
OFFER_IDS: Final = tuple(offer.id for offer in OFFERS)
CHANNEL_IDS: Final = tuple(channel.id for channel in CHANNELS)

ANNOYANCE_HALF_LIFE_DAYS: Final = 30.0
# Chance that 3 in 100 bookings reach the books late, by hours to days.
LATE_SHARE: Final = 0.03
LATE_DAYS_MAX: Final = 5.0
CONTROL_SHARE: Final = 0.05  # the legacy CRM never markets to these, drawn at random
EXPLORE_SHARE: Final = 0.35  # share of the legacy choice of offer that is uniform at random

# Public holidays of mainland China: first day, number of days, name.
HOLIDAYS: Final = (
    ("2025-01-01", 1, "new_year"), ("2025-01-28", 8, "spring_festival"),
    ("2025-04-04", 3, "qingming"), ("2025-05-01", 5, "labour_day"),
    ("2025-05-31", 3, "dragon_boat"), ("2025-10-01", 8, "national_day"),
    ("2026-01-01", 3, "new_year"), ("2026-02-15", 9, "spring_festival"),
    ("2026-04-04", 3, "qingming"), ("2026-05-01", 5, "labour_day"),
    ("2026-06-19", 3, "dragon_boat"), ("2026-09-25", 3, "mid_autumn"),
    ("2026-10-01", 7, "national_day"), ("2027-01-01", 1, "new_year"),
)  # fmt: skip
