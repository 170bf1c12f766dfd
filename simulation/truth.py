"""Score decisions against the truth: expected profit, the best possible, regret and uplift.

With r = p_reached[channel], a = p_accept[offer], b = p_organic[offer], h = p_harm[channel],
V = lifetime value, the expected profit of a cell against silence is, in fen,

    r (a - b) margin - cost - h V                                   every offer
    + r a p_churn V save_rate                                       the retention bonus

(simulation/response.py says why the effect is r (a - b) and not r a - b.) Silence is worth 0.
Cells are numbered offer by offer, channel by channel: cell = offer x channels + channel, offers
and channels in the order of simulation.world.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulation.errors import SimulationError
from simulation.response import harm
from simulation.world import (
    ANNOYANCE_HALF_LIFE_DAYS,
    CHANNEL_IDS,
    CHANNELS,
    N_CHANNELS,
    N_OFFERS,
    OFFER_IDS,
    OFFERS,
    RETENTION,
    SAVE_RATE,
    Flags,
    Floats,
    Ints,
)

__all__ = ["PolicyScore", "Prices", "Truth", "annoyance_after", "read_truth", "score"]


@dataclass(frozen=True)
class Prices:
    """What a take-up earns (offers,) and a contact costs (channels,), fen; else world.py's."""

    margin_minor: Floats = field(default_factory=lambda: np.array([float(o.margin_minor) for o in OFFERS]))
    cost_minor: Floats = field(default_factory=lambda: np.array([float(c.cost_minor) for c in CHANNELS]))
    save_rate: float = SAVE_RATE


@dataclass(frozen=True)
class Truth:
    """How every customer answers at the end of the data; rows in the order of customer_id.

    All zero for who left the bank or died. `temper` and `annoyance` are what p_harm came from.
    """

    customer_id: pa.Array
    active: Flags
    p_reached: Floats  # (n, channels) P(reached | contacted on it)
    p_accept: Floats  # (n, offers) P(accepts | reached)
    p_organic: Floats  # (n, offers) P(takes it within 30 days | no contact)
    p_harm: Floats  # (n, channels) P(complains or opts out | contacted on it)
    p_churn: Floats  # (n,) P(leaves within 90 days)
    lifetime_value_minor: Floats  # (n,) fen
    annoyance: Floats
    temper: Floats

    def __len__(self) -> int:
        return len(self.active)

    def rows_of(self, customer_ids: pa.Array | Sequence[str]) -> Ints:
        """The row of each customer.

        Raises:
            SimulationError: Some are not customers of this bank.
        """
        rows = pc.index_in(pa.array(customer_ids, pa.string()), value_set=self.customer_id)
        if rows.null_count:
            raise SimulationError(f"{rows.null_count} customers are not in the truth; score the same bank")
        return rows.to_numpy().astype(np.int64)

    def uplift(self) -> Floats:
        """P(takes it | contacted) - P(takes it | not), (n, offers, channels)."""
        return self.p_reached[:, None, :] * (self.p_accept - self.p_organic)[:, :, None]

    def values_minor(self, prices: Prices | None = None) -> Floats:
        """Expected profit of every cell against silence, (n, offers x channels), fen."""
        prices = prices or Prices()
        value = self.uplift() * prices.margin_minor[None, :, None] - prices.cost_minor
        value -= (self.p_harm * self.lifetime_value_minor[:, None])[:, None, :]
        saved = self.p_accept[:, RETENTION] * self.p_churn * self.lifetime_value_minor
        value[:, RETENTION, :] += self.p_reached * (saved * prices.save_rate)[:, None]
        return value.reshape(len(self), N_OFFERS * N_CHANNELS)

    def p_harm_at(self, annoyance: Floats) -> Floats:
        """p_harm had the customers this annoyance (n,) instead of their own, (n, channels)."""
        return np.where(self.active[:, None], harm(self.temper, annoyance), 0.0)


@dataclass(frozen=True)
class PolicyScore:
    """What decisions are worth under the truth, fen; best: each customer's best open cell or 0."""

    customers: int
    contacts: int
    profit_minor: float
    best_minor: float

    @property
    def regret_minor(self) -> float:
        """What the best possible decisions would earn more."""
        return self.best_minor - self.profit_minor

    @property
    def share_of_best(self) -> float:
        """Profit over best; 1.0 when nothing can be earned and nothing is lost."""
        if self.best_minor == 0:
            return 1.0 if self.profit_minor == 0 else float("-inf")
        return self.profit_minor / self.best_minor


def read_truth(directory: Path) -> Truth:
    """The truth of the bank that `simulate` wrote to the directory.

    Raises:
        SimulationError: There is no truth.
    """
    folder = directory / "truth" / "customers"
    if not folder.is_dir():
        raise SimulationError(f"`{directory}` has no truth/customers; point to a simulated bank")
    table = pa.concat_tables(pq.read_table(part) for part in sorted(folder.glob("part-*.parquet")))

    def column(name: str) -> Floats:
        return table[name].to_numpy()

    def columns(prefix: str, names: Sequence[str]) -> Floats:
        return np.stack([column(f"{prefix}_{name}") for name in names], axis=1)

    return Truth(
        customer_id=table["customer_id"].combine_chunks(),
        active=table["active"].to_numpy().astype(np.bool_),
        p_reached=columns("p_reached", CHANNEL_IDS), p_accept=columns("p_accept", OFFER_IDS),
        p_organic=columns("p_organic", OFFER_IDS), p_harm=columns("p_harm", CHANNEL_IDS),
        p_churn=column("p_churn"), lifetime_value_minor=column("lifetime_value_minor"),
        annoyance=column("annoyance"), temper=column("temper"),
    )  # fmt: skip


def score(
    truth: Truth, decisions: pa.Table, open_cells: Flags | None = None, prices: Prices | None = None
) -> PolicyScore:
    """What decisions are worth, beside the best that was possible for the same customers.

    Args:
        truth: Of the bank the decisions are about.
        decisions: customer_id, offer_id, channel: strings, one row per customer; offer_id null:
            silence. Customers without a row are left out of both sums.
        open_cells: Which cells were allowed, (rows of decisions, cells); None: all of them.
        prices: Margins and costs; None: those of simulation.world.

    Raises:
        SimulationError: A customer, offer or channel is unknown, or customers repeat.
    """
    rows = truth.rows_of(decisions["customer_id"].combine_chunks())
    if len(np.unique(rows)) != len(rows):
        raise SimulationError("decisions name a customer twice; give one row per customer")
    offer = _code(decisions["offer_id"], OFFER_IDS, "offer")
    channel = _code(decisions["channel"], CHANNEL_IDS, "channel")
    values = truth.values_minor(prices)[rows]
    speaks = np.flatnonzero(offer >= 0)
    if (channel[speaks] < 0).any():
        raise SimulationError("a decision has an offer without a channel; name the channel")
    gained = values[speaks, offer[speaks] * N_CHANNELS + channel[speaks]].sum()
    allowed = values if open_cells is None else np.where(open_cells, values, 0.0)
    best = np.maximum(allowed.max(axis=1, initial=0.0), 0.0).sum()
    return PolicyScore(len(rows), len(speaks), float(gained), float(best))


def annoyance_after(annoyance: Floats, channel: Ints, days: float) -> Floats:
    """Annoyance `days` after one more marketing contact on each customer's channel (-1: none)."""
    irritation = np.array([*(c.irritation for c in CHANNELS), 0.0])[channel]
    return (annoyance + irritation) * 0.5 ** (days / ANNOYANCE_HALF_LIFE_DAYS)


def _code(column: pa.ChunkedArray, names: Sequence[str], what: str) -> Ints:
    codes = pc.index_in(column, value_set=pa.array(names, pa.string()))
    unknown = codes.null_count - column.null_count
    if unknown:
        raise SimulationError(f"{unknown} decisions name an unknown {what}; expected one of {', '.join(names)}")
    return codes.fill_null(-1).to_numpy().astype(np.int64)
