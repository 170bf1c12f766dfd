"""What customers feel and nobody sees: needs that drift, and the life events that move them.

needs[t] = traits + mood[t];  mood[t] = 0.93 mood[t-1] + noise + shocks of life events.
The money they move (simulation/spending.py, foreign.py) and what they answer
(simulation/response.py) both come from the needs, so transactions foretell answers.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from simulation.months import Month
from simulation.people import People
from simulation.world import (
    DAY_US,
    DOLLAR,
    LEAVING,
    NEEDS,
    SPEND,
    STRAIN,
    TRAVEL,
    WEALTH,
    Flags,
    Floats,
    Ints,
)

PERSISTENCE: Final = 0.93
MOOD_SPREAD: Final = 0.6


@dataclass(frozen=True)
class LifeEvent:
    """A turn in a life: its monthly chance, whom it meets, what it does to needs and pay."""

    kind: str
    chance: float
    ages: tuple[int, int]
    shocks: dict[int, float]
    pay_factor: float = 1.0


LIFE_EVENTS: Final = (
    LifeEvent("marriage", 0.004, (22, 45), {SPEND: 0.8, TRAVEL: 0.8}),
    LifeEvent("child", 0.004, (23, 43), {STRAIN: 1.1, SPEND: 0.5, TRAVEL: -0.8}),
    LifeEvent("job_change", 0.008, (20, 58), {SPEND: 0.3, LEAVING: 0.4}, 1.2),
    LifeEvent("retirement", 0.012, (58, 68), {WEALTH: 0.9, TRAVEL: 0.6, SPEND: -0.3}, 0.5),
    LifeEvent("move", 0.005, (18, 80), {LEAVING: 1.2, STRAIN: 0.4}),
    LifeEvent("job_loss", 0.003, (20, 60), {STRAIN: 1.2, LEAVING: 0.3, SPEND: -0.8}),
    LifeEvent("dollars_leave", 0.006, (0, 999), {DOLLAR: -2.2}),
    LifeEvent("dollars_come", 0.004, (0, 999), {DOLLAR: 2.0}),
)
EVENT_KINDS: Final = tuple(event.kind for event in LIFE_EVENTS)
JOB_LOSS, RETIREMENT = EVENT_KINDS.index("job_loss"), EVENT_KINDS.index("retirement")
_ANY_CUSTOMER = {"dollars_leave", "dollars_come"}
_FINDS_WORK = 0.25  # monthly chance after a loss of job


@dataclass
class Needs:
    """The moving state of a block's needs: mood (n, needs), pay (n,), who works (n,)."""

    people: People
    mood: Floats
    pay_minor: Ints
    employed: Flags
    retired: Flags
    happened: list[tuple[Ints, Ints, Ints]] = field(default_factory=list[tuple[Ints, Ints, Ints]])

    @classmethod
    def begin(cls, rng: np.random.Generator, people: People) -> "Needs":
        """The needs before the first month."""
        n = len(people)
        old = people.age_years >= 62
        employed = (rng.random(n) < 0.93) & (people.age_years >= 20) & ~people.is_firm
        pay = np.where(old, people.salary_minor // 2, people.salary_minor)
        mood = rng.normal(0, MOOD_SPREAD, (n, len(NEEDS)))
        return cls(people, mood, pay, employed, old)

    @property
    def now(self) -> Floats:
        """Needs of this month, (n, needs), about standard normal."""
        return self.people.traits + self.mood

    def step(self, rng: np.random.Generator, month: Month) -> Flags:
        """Move to this month; back comes who lost the job in it, (n,)."""
        n = len(self.people)
        noise = MOOD_SPREAD * np.sqrt(1 - PERSISTENCE**2)
        self.mood = PERSISTENCE * self.mood + rng.normal(0, noise, self.mood.shape)
        jobless = ~self.employed & (self.pay_minor > 0) & ~self.people.is_firm & ~self.retired
        self.employed |= jobless & (self.people.age_years >= 20) & (rng.random(n) < _FINDS_WORK)
        lost_job = np.zeros(n, dtype=np.bool_)
        for code, event in enumerate(LIFE_EVENTS):
            met = self._meets(rng.random(n), event)
            self._shock(met, event)
            who = np.flatnonzero(met)
            at = month.start_us + rng.integers(0, 28 * DAY_US, len(who))
            self.happened.append((who, np.full(len(who), code), at))
            if code == JOB_LOSS:
                lost_job = met
        return lost_job

    def _meets(self, u: Floats, event: LifeEvent) -> Flags:
        low, high = event.ages
        met = (u < event.chance) & (self.people.age_years >= low) & (self.people.age_years <= high)
        if event.kind in _ANY_CUSTOMER:
            return met
        met &= ~self.people.is_firm
        works = self.employed & ~self.retired
        return met & works if event.kind in {"job_change", "job_loss", "retirement"} else met

    def _shock(self, met: Flags, event: LifeEvent) -> None:
        for need, size in event.shocks.items():
            self.mood[met, need] += size
        self.pay_minor = np.where(met, (self.pay_minor * event.pay_factor).astype(np.int64), self.pay_minor)
        if event.kind == "job_loss":
            self.employed &= ~met
        if event.kind == "retirement":
            self.retired |= met
