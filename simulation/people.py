"""The people and firms of one block: who they are and what they are like, drawn once."""

from dataclasses import dataclass

import numpy as np

from simulation.months import Month
from simulation.world import (
    BRANCHES,
    CONTROL_SHARE,
    DAY_US,
    DOLLAR,
    MANAGERS_PER_BRANCH,
    N_CHANNELS,
    N_OFFERS,
    NEEDS,
    SECOND_US,
    SPEND,
    STRAIN,
    TRAVEL,
    WEALTH,
    ZONE_SHARES,
    ZONE_SHIFT_HOURS,
    Flags,
    Floats,
    Ints,
)


@dataclass(frozen=True)
class People:
    """One block of customers; every array has a row per customer, (n,) unless said.

    `number` counts from 0 over the whole bank. -1 stands for none in household (number of its
    first member), twin_of (number of the earlier record of the same person), manager, tolerance,
    grade and birth_on. Days count from 1970.
    """

    number: Ints
    is_firm: Flags
    age_years: Floats
    birth_on: Ints
    joined_on: Ints
    joined_month: Ints  # -1: before the data begin
    household: Ints
    twin_of: Ints
    branch: Ints
    manager: Ints
    zone: Ints
    speaks_english: Flags
    do_not_contact: Flags
    no_profiling: Flags
    staff: Flags
    vulnerable: Flags
    fraud_lock: Flags
    dies_in_month: Ints  # a month that never comes: lives
    tolerance: Ints
    assessed_days_ago: Ints
    grade: Ints
    salary_minor: Ints  # a month's pay; a firm's monthly revenue
    payday: Ints
    traits: Floats  # (n, needs): the lasting part of what they feel
    temper: Floats  # how soon contacts annoy
    taste: Floats  # (n, offers): liking no booking tells
    taste_organic: Floats  # (n, offers)
    taste_channel: Floats  # (n, channels)
    works: Flags  # (n, channels): messages truly arrive
    in_control: Flags  # never marketed to by the legacy CRM
    contact_factor: Floats  # how often the legacy CRM calls on them, 1 on average
    luck: Floats  # size of cash flows against others of the same pay

    @property
    def shift_us(self) -> Ints:
        """The local clock's shift from UTC, microseconds."""
        return np.array(ZONE_SHIFT_HOURS, dtype=np.int64)[self.zone] * 3600 * SECOND_US

    def __len__(self) -> int:
        return len(self.number)


def draw_people(rng: np.random.Generator, first: int, n: int, months: tuple[Month, ...]) -> People:
    """The customers `first` .. `first + n - 1` (0-based)."""
    is_firm = rng.random(n) < 0.06
    household, twin_of = _draw_ties(rng, first, is_firm)
    age = np.where(rng.random(n) < 0.015, rng.uniform(14, 18, n), 18 + 67 * rng.beta(1.6, 2.4, n))
    traits = _draw_traits(rng, age)
    joined_month, joined_on = _draw_joining(rng, n, months)
    since_on = months[0].start_us // DAY_US
    birth_on = np.where(is_firm | (rng.random(n) < 0.01), -1, since_on - (age * 365.25).astype(np.int64))
    twins = twin_of >= 0
    birth_on[twins] = birth_on[np.flatnonzero(twins) - 1]
    branch = rng.integers(0, len(BRANCHES), n)
    branch[household >= 0] = household[household >= 0] % len(BRANCHES)
    managed = traits[:, WEALTH] + rng.normal(0, 0.5, n) > 1.0
    manager = branch * MANAGERS_PER_BRANCH + rng.integers(0, MANAGERS_PER_BRANCH, n)
    zone = rng.choice(len(ZONE_SHARES), n, p=ZONE_SHARES)
    tolerance = np.clip(np.rint(2.9 + 0.5 * traits[:, WEALTH] + rng.normal(0, 1, n)), 1, 5)
    grade = np.clip(np.rint(4.5 + 1.3 * traits[:, STRAIN] - traits[:, WEALTH] + rng.normal(0, 1, n)), 1, 10)
    pay = 900_000 * np.exp(0.45 * rng.normal(0, 1, n) + 0.1 * traits[:, WEALTH])
    taste = rng.normal(0, 0.6, (n, N_OFFERS))
    return People(
        number=np.arange(first, first + n),
        is_firm=is_firm, age_years=age, birth_on=birth_on,
        joined_on=joined_on, joined_month=joined_month, household=household, twin_of=twin_of,
        branch=branch, manager=np.where(managed, manager, -1), zone=zone,
        speaks_english=(zone == 1) | (zone == 2) | (rng.random(n) < 0.03),
        do_not_contact=rng.random(n) < 0.02, no_profiling=rng.random(n) < 0.015,
        staff=rng.random(n) < 0.01, vulnerable=rng.random(n) < 0.015,
        fraud_lock=rng.random(n) < 0.003,
        dies_in_month=np.where(is_firm, 10**6, rng.geometric(3e-5 * 1.07**(age - 18))),
        tolerance=np.where(is_firm | (rng.random(n) < 0.25), -1, tolerance).astype(np.int64),
        assessed_days_ago=rng.integers(0, 1_300, n),
        grade=np.where(rng.random(n) < 0.1, -1, grade).astype(np.int64),
        salary_minor=np.where(is_firm, 6 * pay, pay).astype(np.int64),
        payday=rng.choice(np.array([4, 9, 14, 24]), n),
        traits=traits, temper=rng.normal(0, 0.7, n), taste=taste,
        taste_organic=0.5 * taste + rng.normal(0, 0.5, (n, N_OFFERS)),
        taste_channel=rng.normal(0, 0.7, (n, N_CHANNELS)),
        works=rng.random((n, N_CHANNELS)) < 0.975,
        in_control=rng.random(n) < CONTROL_SHARE,
        contact_factor=np.exp(rng.normal(-0.125, 0.5, n)), luck=np.exp(rng.normal(0, 0.25, n)),
    )  # fmt: skip


def _draw_traits(rng: np.random.Generator, age: Floats) -> Floats:
    traits = rng.normal(0, 0.8, (len(age), len(NEEDS)))
    traits[:, WEALTH] += 0.02 * (age - 45)
    traits[:, SPEND] -= 0.012 * (age - 45)
    traits[:, TRAVEL] += 0.3 * traits[:, WEALTH]
    traits[:, DOLLAR] += 0.25 * traits[:, WEALTH]
    return traits


def _draw_joining(rng: np.random.Generator, n: int, months: tuple[Month, ...]) -> tuple[Ints, Ints]:
    # One in twelve joins while the data run, seven tenths of a percent a month: a share that
    # does not depend on the run's length keeps the first months the same for every `until`.
    month = rng.geometric(0.007, n) - 1
    day = rng.integers(0, 28, n)
    since_on = months[0].start_us // DAY_US
    before = since_on - 30 - (rng.beta(1.2, 2.0, n) * 7_000).astype(np.int64)
    joins_later = (month < len(months)) & (month > 0)
    starts = np.array([m.start_us // DAY_US for m in months])
    joined_on = np.where(joins_later, starts[np.clip(month, 0, len(months) - 1)] + day, before)
    return np.where(joins_later, month, -1), joined_on


def _draw_ties(rng: np.random.Generator, first: int, is_firm: Flags) -> tuple[Ints, Ints]:
    """Households of two neighbours, and persons who stand in the books twice."""
    n = len(is_firm)
    household, twin_of = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    left = np.arange(1, n - 1, 2)  # 1 and 2 of the first block are C0000002 and C0000003
    persons = ~is_firm[left] & ~is_firm[left + 1]
    u = rng.random(len(left))
    couples, twins = left[persons & (u < 0.42)], left[persons & (u > 0.985)]
    household[couples] = household[couples + 1] = first + couples
    twin_of[twins + 1] = first + twins
    return household, twin_of
