"""Exchange rates of the simulated world: a daily walk about the constants of world.py."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simulation.columns import days, table_of, words
from simulation.months import Month
from simulation.world import CNY_PER_UNIT, CURRENCIES, DAY_US, DECIMALS, Floats, Ints

_DAYS_BEFORE = 31  # rates are known this long before the first booking
_DAILY_MOVE = 0.003


@dataclass(frozen=True)
class Rates:
    """Daily worth of one unit of each currency in CNY: days (d,), cny_per_unit (d, currencies)."""

    day: Ints
    cny_per_unit: Floats

    @classmethod
    def draw(cls, seed: int, months: tuple[Month, ...]) -> "Rates":
        """The rates of one bank, of every day from a month before it to its end."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 1)))
        first = months[0].start_us // DAY_US - _DAYS_BEFORE
        day = np.arange(first, months[-1].end_us // DAY_US + 1)
        moves = rng.normal(0, _DAILY_MOVE, (len(day), len(CURRENCIES)))
        moves[:, 0] = 0
        path = np.zeros_like(moves)
        for row in range(1, len(day)):
            path[row] = 0.995 * path[row - 1] + moves[row]
        return cls(day, np.array(CNY_PER_UNIT) * np.exp(path))

    def fen_per_minor(self, month: Month) -> Floats:
        """Fen for one minor unit of each currency on the month's first day, (currencies,)."""
        row = int(month.start_us // DAY_US - self.day[0])
        return self.cny_per_unit[row] * 100 / 10.0 ** np.array(DECIMALS)

    def table(self) -> pa.Table:
        """The fx_rates table: units of currency for one CNY, per day and currency."""
        n = len(CURRENCIES)
        return table_of("fx_rates", {
            "day": days(np.repeat(self.day, n)),
            "currency": words(CURRENCIES, np.tile(np.arange(n), len(self.day))),
            "per_base": pa.array(np.round(1 / self.cny_per_unit, 8).ravel()),
        })  # fmt: skip
