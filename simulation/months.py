"""Months: the beat of the simulation, and instants within them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from simulation.errors import SimulationError
from simulation.world import DAY_US, SECOND_US, Ints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Month:
    """One calendar month in UTC: its place in the run, first instant (microseconds), length."""

    number: int
    year: int
    month: int
    start_us: int
    days: int

    @property
    def end_us(self) -> int:
        """First instant after the month, microseconds."""
        return self.start_us + self.days * DAY_US

    @property
    def label(self) -> str:
        """For instance `2025_03`."""
        return f"{self.year}_{self.month:02d}"

    def moments(self, rng: np.random.Generator, day: Ints, shift_us: Ints, hours: tuple[int, int] = (8, 22)) -> Ints:
        """An instant (microseconds) on each day (0-based) between two local hours.

        The local clock is folded into the UTC day, so an instant never leaves the month.
        """
        low, high = hours[0] * 3600 * SECOND_US, hours[1] * 3600 * SECOND_US
        local = rng.integers(low, high, size=day.shape[0])
        return self.start_us + np.minimum(day, self.days - 1) * DAY_US + (local - shift_us) % DAY_US


def months_between(since: datetime, until: datetime) -> tuple[Month, ...]:
    """The calendar months from `since` to `until`, both midnight UTC on a first of a month.

    Raises:
        SimulationError: One is not, or there is no month between them.
    """
    for name, moment in (("since", since), ("until", until)):
        if moment.utcoffset() != timedelta(0) or (moment.day, *moment.timetuple()[3:6]) != (
            1,
            0,
            0,
            0,
        ):
            raise SimulationError(f"{name} is `{moment.isoformat()}`; give midnight UTC on the first of a month")
    if since >= until:
        raise SimulationError(f"since `{since.date()}` is not before until `{until.date()}`; swap them")
    months: list[Month] = []
    start = since
    while start < until:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        months.append(Month(len(months), start.year, start.month, micros(start), (end - start).days))
        start = end
    return tuple(months)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware instant."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
