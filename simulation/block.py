"""One block of customers on its way through the months: everything about them that moves."""

from dataclasses import dataclass, field

import numpy as np

from simulation.accounts import Accounts
from simulation.consent import Consents
from simulation.journal import Journal
from simulation.months import Month
from simulation.needs import Needs
from simulation.people import People, draw_people
from simulation.response import Minds, minds_of
from simulation.savings import draw_opening
from simulation.world import (
    N_OFFERS,
    PRODUCT_CURRENCY,
    Flags,
    Floats,
    Ints,
)


@dataclass
class Block:
    """The state of a block: arrays have a row per customer, (n,) unless said."""

    rng: np.random.Generator
    people: People
    needs: Needs
    accounts: Accounts
    journal: Journal
    consents: Consents
    annoyance: Floats
    gone: Flags  # left the bank or died
    scripted: Flags  # named customers; their rows come from cast.py
    promised: Flags  # (n, offers): taken, the account opens within days
    listened: Flags  # (n, offers): reached about the offer this month
    take_ups: list[tuple[Ints, Ints, Ints]] = field(default_factory=list[tuple[Ints, Ints, Ints]])
    cases: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list[tuple[Ints, Ints, Ints, Ints]])
    expected: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def active(self, month: int) -> Flags:
        """Who joined before the month of this number and is still there, (n,); nobody scripted."""
        return (self.people.joined_month < month) & ~self.gone & ~self.scripted

    def minds(self, month: int) -> Minds:
        """What answers in the month of this number depend on, in the present state."""
        return minds_of(
            self.people, self.needs.now, self.needs.employed | self.needs.retired,
            self.people.works & self.consents.reachable(), self.annoyance, self.funds_minor,
            self.accounts.holds_offer | self.promised, self.active(month),
        )  # fmt: skip

    @property
    def funds_minor(self) -> Ints:
        """Free money (current accounts) in each currency, (n, currencies), minor units."""
        return np.maximum(self.journal.balance[:, :4], 0)

    def total_minor(self, currency: int) -> Ints:
        """All money in a currency, (n,), minor units."""
        slots = [s for s in range(self.journal.balance.shape[1]) if PRODUCT_CURRENCY[s] == currency]
        return self.journal.balance[:, slots].sum(axis=1)

    def add_case(self, who: Ints, kind: int, opened: Ints, closed: Ints) -> None:
        """Open a case of a kind (index into cases.CASE_KINDS); instants in microseconds."""
        self.cases.append((who, np.full(len(who), kind), opened, closed))


def begin_block(rng: np.random.Generator, first: int, n: int, months: tuple[Month, ...], n_scripted: int) -> Block:
    """A block before its first month; the first `n_scripted` of it do nothing by themselves."""
    people = draw_people(rng, first, n, months)
    needs = Needs.begin(rng, people)
    opening = draw_opening(rng, people, needs.now, months)
    return Block(
        rng=rng, people=people, needs=needs,
        accounts=Accounts.begin(opening.is_open, opening.opened_us, opening.matures_us),
        journal=Journal(opening.balance_minor),
        consents=Consents.begin(rng, people),
        annoyance=np.zeros(n), gone=np.zeros(n, np.bool_), scripted=np.arange(n) < n_scripted,
        promised=np.zeros((n, N_OFFERS), np.bool_), listened=np.zeros((n, N_OFFERS), np.bool_),
    )  # fmt: skip
