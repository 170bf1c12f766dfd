"""Which products each customer of a block holds, since when, and until when."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from simulation.columns import customer_ids, day_of, days, table_of, words
from simulation.journal import account_ids
from simulation.people import People
from simulation.world import (
    CURRENCIES,
    DAY_US,
    OFFERS,
    PRODUCT_CURRENCY,
    PRODUCT_INDEX,
    PRODUCTS,
    Flags,
    Ints,
)

_OFFER_PRODUCT = np.array([PRODUCT_INDEX[o.product] if o.product else -1 for o in OFFERS])
_PRODUCT_IDS = tuple(product.id for product in PRODUCTS)
_PRODUCT_CURRENCY = np.array(PRODUCT_CURRENCY)
_TERM_DAYS = np.array([round(product.term_months * 30.4375) for product in PRODUCTS])


@dataclass
class Accounts:
    """Holdings of a block, arrays (n, products). Instants in microseconds, 0: none."""

    is_open: Flags
    opened_us: Ints
    matures_us: Ints
    sequence: Ints  # how many accounts of the product came before the present one
    closed: list[tuple[Ints, Ints, Ints, Ints, Ints, Ints]] = field(
        default_factory=list[tuple[Ints, Ints, Ints, Ints, Ints, Ints]]
    )

    @classmethod
    def begin(cls, is_open: Flags, opened_us: Ints, matures_us: Ints) -> "Accounts":
        """The holdings before the first month."""
        return cls(is_open.copy(), opened_us.copy(), matures_us.copy(), np.zeros(is_open.shape, np.int64))

    @property
    def holds_offer(self) -> Flags:
        """Who has the product of each offer, (n, offers); an offer without product: nobody."""
        return self.is_open[:, _OFFER_PRODUCT] & (_OFFER_PRODUCT >= 0)

    def open(self, who: Ints, product: int, at: Ints) -> None:
        """Open an account for customers who have none of that product."""
        was_before = self.opened_us[who, product] != 0
        self.sequence[who, product] += was_before
        self.is_open[who, product] = True
        self.opened_us[who, product] = at
        term = _TERM_DAYS[product]
        self.matures_us[who, product] = (at // DAY_US + term) * DAY_US if term else 0

    def close(self, who: Ints, product: Ints, at: Ints) -> None:
        """Close open accounts, given as pairs of customer and product."""
        self.closed.append((
            who, product, self.sequence[who, product], self.opened_us[who, product],
            at, self.matures_us[who, product],
        ))  # fmt: skip
        self.is_open[who, product] = False

    def tables(self, people: People, keep: tuple[int, int], rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
        """The accounts and holders of the customers keep[0] .. keep[1] - 1 of the block."""
        who, product = np.nonzero(self.is_open)
        still = (
            who, product, self.sequence[who, product], self.opened_us[who, product],
            np.zeros(len(who), np.int64), self.matures_us[who, product],
        )  # fmt: skip
        columns = [np.concatenate(part) for part in zip(still, *self.closed, strict=True)]
        limit, joint = rng.integers(2, 12, len(people)), rng.random(len(people)) < 0.3
        kept = (columns[0] >= keep[0]) & (columns[0] < keep[1])
        columns = [column[kept] for column in columns]
        order = np.lexsort((columns[2], columns[1], columns[0]))
        who, product, sequence, opened, closed, matures = (column[order] for column in columns)
        is_card = np.isin(product, [PRODUCT_INDEX["card_gold"], PRODUCT_INDEX["card_cashback"]])
        account = account_ids(people.number[who], product, sequence)
        accounts = table_of("accounts", {
            "account_id": account,
            "product": words(_PRODUCT_IDS, product),
            "currency": words(CURRENCIES, _PRODUCT_CURRENCY[product]),
            "opened_on": days(day_of(opened)),
            "closed_on": days(day_of(closed), closed == 0),
            "matures_on": days(day_of(matures), matures == 0),
            "limit_minor": pa.array(limit[who] * 1_000_000, mask=~is_card),
        })  # fmt: skip
        return accounts, _holders(people, keep, account, who, product, joint)


def _holders(
    people: People, keep: tuple[int, int], account: pa.Array, who: Ints, product: Ints, joint: Flags
) -> pa.Table:
    # A couple may share the first one's account in yuan.
    shared = (product == 0) & (people.household[who] == people.number[who]) & joint[who] & (who + 1 < keep[1])
    partner = people.number[who[shared]] + 1
    everyone = np.concatenate([people.number[who], partner])
    accounts = pa.concat_arrays([account, account.filter(pa.array(shared))])
    roles = np.repeat(np.array([0, 1]), [len(who), len(partner)])
    return table_of("holders", {
        "account_id": accounts,
        "customer_id": customer_ids(everyone),
        "role": words(("owner", "joint"), roles),
    })  # fmt: skip
