"""What a cell is worth, before its bid price: for a few customers all cells at once, for many cell by cell.

    p_accept = p_interest(offer) x p_reach(channel)
    EV = (p_accept - p_reach x p_organic) x margin - cost(channel) - p_harm(channel) x lifetime_value
         + p_churn x lifetime_value x save_rate            (retention offers alone: x p_accept)
    worth = round(EV x context x lever)                    (integer minor units, half to even)

Every step is one float64 operation in this order, so that one row and a million give equal bits.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rules.masks import numbers
from rules.terms import Terms

BEYOND = 2.0**53  # no exact whole number: such a value is nothing, and never chosen


def matrix(scores: pa.RecordBatch, name: str) -> np.ndarray:
    """(n, k) float64 of a fixed-size list column, NaN where null."""
    column = scores.column(name)
    flat = numbers(column.values.slice(column.offset * column.type.list_size, len(column) * column.type.list_size))
    table = flat.reshape(len(column), column.type.list_size)
    if column.null_count:
        table = np.where(np.asarray(column.is_null())[:, None], np.nan, table)
    return table


class Scored(NamedTuple):
    """SCORES of some customers as numbers, NaN where null: lists (n, n_offers) or (n, n_channels), singles (n,)."""

    p_interest: np.ndarray
    p_organic: np.ndarray
    p_reach: np.ndarray
    p_harm: np.ndarray
    p_churn: np.ndarray
    lifetime_value_minor: np.ndarray


def each_of(scored: Scored) -> list[Scored]:
    """The scores of each customer alone: lists (n_offers,) or (n_channels,), singles ()."""
    return [Scored(*parts) for parts in zip(*scored, strict=True)]


def all_cells(scores: pa.RecordBatch, terms: Terms, rows: np.ndarray) -> np.ndarray:
    """(n_rows, n_cells) float64, rounded; NaN where a score the value needs is null."""
    lists = (matrix(scores, name)[rows] for name in Scored._fields[:4])
    singles = (numbers(scores.column(name))[rows] for name in Scored._fields[4:])
    return worth_of(Scored(*lists, *singles), terms)


def worth_of(scored: Scored, terms: Terms) -> np.ndarray:
    """(n, n_cells) float64, rounded; NaN where a score the value needs is null."""
    of = _constants(terms)
    lifetime = scored.lifetime_value_minor[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        reach = scored.p_reach[:, of.channel]
        accept = scored.p_interest[:, of.offer]
        accept *= reach
        value = scored.p_organic[:, of.offer]
        value *= reach
        np.subtract(accept, value, out=value)
        value *= of.margin
        value -= of.cost
        value -= (scored.p_harm * lifetime)[:, of.channel]
        for cells, save_rate in of.saves:
            value[:, cells] += accept[:, cells] * (scored.p_churn[:, None] * lifetime * save_rate)
        if of.lever is not None:
            value *= of.lever
    return rounded(value)


class _Constants(NamedTuple):
    """What the catalogue says of each cell, (n_cells,). saves: the cells of each retention offer, and its save rate."""

    offer: np.ndarray
    channel: np.ndarray
    margin: np.ndarray
    cost: np.ndarray
    saves: tuple[tuple[slice, float], ...]
    lever: np.ndarray | None


@lru_cache(maxsize=32)
def _constants(terms: Terms) -> _Constants:
    offers, channels = terms.catalogue.offers, terms.catalogue.channels
    offer, channel = np.divmod(np.arange(terms.catalogue.n_cells), len(channels))
    saves = tuple((slice(place * len(channels), (place + 1) * len(channels)), each.save_rate)
                  for place, each in enumerate(offers) if each.save_rate is not None)  # fmt: skip
    lever = np.repeat([o.lever for o in offers], len(channels)) if any(o.lever != 1.0 for o in offers) else None
    return _Constants(offer, channel, np.array([float(o.margin_minor) for o in offers])[offer],
                      np.array([float(c.cost_minor) for c in channels])[channel], saves, lever)  # fmt: skip


def rounded(value: np.ndarray) -> np.ndarray:
    """In place: whole, 0 beyond what is exact; NaN stays NaN."""
    np.rint(value, out=value)
    if not (np.abs(value) < BEYOND).all():
        value[np.abs(value) >= BEYOND] = 0.0
    return value


class CellByCell:
    """The worth of one cell after another for the same rows: vectors that stay in the cache, not tables."""

    def __init__(self, scores: pa.RecordBatch, terms: Terms, rows: np.ndarray) -> None:
        self._offers, self._channels = terms.catalogue.offers, terms.catalogue.channels
        interest, organic, reach, harm = (np.ascontiguousarray(matrix(scores, name)[rows].T)
                                          for name in ("p_interest", "p_organic", "p_reach", "p_harm"))  # fmt: skip
        lifetime, churn = (numbers(scores.column(name))[rows] for name in ("lifetime_value_minor", "p_churn"))
        with np.errstate(invalid="ignore", over="ignore"):
            self._interest, self._organic, self._reach, self._harm = interest, organic, reach, harm * lifetime
            self._kept = {o.save_rate: churn * lifetime * o.save_rate for o in self._offers if o.save_rate is not None}
        self._value, self._accept = np.empty(len(rows)), np.empty(len(rows))
        self.tame = self._bound() < BEYOND

    def _bound(self) -> float:
        """No value is greater than this; NaN where a score is null."""
        top = [np.abs(part).max(initial=0.0) for part in (self._interest, self._organic, self._reach, self._harm)]
        kept = sum(np.abs(part).max(initial=0.0) for part in self._kept.values())
        margin, cost = (max(abs(float(m)) for m in each) for each in (
            [o.margin_minor for o in self._offers], [c.cost_minor for c in self._channels]))  # fmt: skip
        lever = max(abs(o.lever) for o in self._offers)
        return float(((top[0] + top[1]) * top[2] * margin + cost + top[3] + top[0] * top[2] * kept) * lever)

    def worth(self, cell: int) -> np.ndarray:
        """(n_rows,) float64 as `all_cells` has it; overwritten by the next call."""
        place, where = divmod(cell, len(self._channels))
        offer, reach, value, accept = self._offers[place], self._reach[where], self._value, self._accept
        with np.errstate(invalid="ignore", over="ignore"):
            np.multiply(self._interest[place], reach, out=accept)
            np.multiply(self._organic[place], reach, out=value)
            np.subtract(accept, value, out=value)
            value *= float(offer.margin_minor)
            value -= float(self._channels[where].cost_minor)
            value -= self._harm[where]
            if offer.save_rate is not None:
                accept *= self._kept[offer.save_rate]
                value += accept
            if any(o.lever != 1.0 for o in self._offers):
                value *= offer.lever
        return np.rint(value, out=value) if self.tame else rounded(value)


__all__ = ["BEYOND", "CellByCell", "Scored", "all_cells", "each_of", "matrix", "rounded", "worth_of"]
