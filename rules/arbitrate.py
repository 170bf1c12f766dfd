"""Arbitrate: the value of every open cell, and which one a customer gets - or silence, worth 0.

    p_accept = p_interest(offer) x p_reach(channel)
    EV = (p_accept - p_reach x p_organic) x margin - cost(channel) - p_harm(channel) x lifetime_value
         + p_churn x lifetime_value x save_rate            (retention offers alone)
    value = round(EV x context x lever - bid_price)        (integer minor units, half to even)

A customer who is not reached does what he would have done unasked: the contact changes only what
those do who are reached, hence p_reach beside p_organic. Only those who accept a retention offer
can be kept by it, hence p_accept in the last term.
Every step is one float64 operation in this order, so that one row and a million give equal bits.
Source: the field's P x C x V x L (propensity, context, value, lever), kept apart in `factors`.
"""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from rules.chunks import over_chunks
from rules.draws import share_of
from rules.errors import SchemaError
from rules.masks import numbers
from rules.suppress import Suppressed
from rules.terms import Terms
from rules.types import scores_schema

CHUNK = 4096  # rows: smaller ones leave two threads waiting for the interpreter's lock, larger ones the cache
_EVERY = slice(None)
BEYOND = 2.0**63  # no int64: such a value is never chosen


@dataclass
class Values:
    """The value of each cell. minor: (n, n_cells) int64 after the bid price; gross: before it.

    known: (n, n_cells) bool, False where a score the value needs is null.
    """

    minor: np.ndarray
    gross: np.ndarray
    known: np.ndarray


@dataclass
class Choice:
    """What each customer gets, (n,) each.

    cell: int64, -1 for silence. minor: int64, the cell's value, 0 for silence. p_chosen: probability of
    this choice. explored: bool. scored, unscored: bool, an open cell has a value, has none. wanted: bool,
    an open cell was worth something before the bid price.
    """

    cell: np.ndarray
    minor: np.ndarray
    p_chosen: np.ndarray
    explored: np.ndarray
    scored: np.ndarray
    unscored: np.ndarray
    wanted: np.ndarray

    @classmethod
    def silence(cls, n: int) -> "Choice":
        """Nothing for anybody."""
        cell, minor, p_chosen = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.ones(n)
        return cls(cell, minor, p_chosen, *(np.zeros(n, dtype=bool) for _ in range(4)))

    def put(self, rows: np.ndarray, other: "Choice") -> None:
        """Write other's rows, in order, over these."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


def matrix(scores: pa.RecordBatch, name: str) -> np.ndarray:
    """(n, k) float64 of a fixed-size list column, NaN where null."""
    column = scores.column(name)
    flat = numbers(column.values.slice(column.offset * column.type.list_size, len(column) * column.type.list_size))
    table = flat.reshape(len(column), column.type.list_size)
    if column.null_count:
        table = np.where(np.asarray(column.is_null())[:, None], np.nan, table)
    return table


def picked(scores: pa.RecordBatch, name: str, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n_rows,) float64: of each row's list the number at its place; the lists must not be null."""
    column = scores.column(name)
    return numbers(column.values.take(pa.array((column.offset + rows) * column.type.list_size + places)))


def cell_values(scores: pa.RecordBatch, terms: Terms) -> Values:
    """The value of every cell from SCORES, closed ones included; SchemaError if SCORES do not fit."""
    check_scores(scores, terms)
    values = _values(scores, terms)
    known = ~np.isnan(values)
    gross = np.where(known, np.rint(values), 0.0).astype(np.int64)
    minor = np.where(known, np.rint(values - _prices(terms)), 0.0).astype(np.int64) if any(terms.prices) else gross
    return Values(minor, gross, known)


def check_scores(scores: pa.RecordBatch, terms: Terms) -> None:
    """SchemaError if SCORES do not fit the catalogue."""
    catalogue = terms.catalogue
    if not scores.schema.equals(scores_schema(len(catalogue.offers), len(catalogue.channels))):
        raise SchemaError("the scores do not fit the catalogue: retrain or roll back the models")


def arbitrate(customers: pa.RecordBatch, scores: pa.RecordBatch, found: Suppressed, terms: Terms) -> Choice:
    """The best open cell of positive value, ties to the lower cell; explorers get another of them.

    customers, scores, found: (n,), the same rows. p_chosen of the best cell is (1 - share) + share / k and of
    every other cell drawn from share / k, k the number of cells worth drawing; silence has 1. Only customers
    with an open cell are worked on.
    """
    choice = Choice.silence(customers.num_rows)
    pools: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def work(start: int, stop: int) -> None:
        rows = start + np.flatnonzero(found.decisive[start:stop] < 0)
        if len(rows):
            values = _values(scores.slice(start, stop - start), terms, rows - start)
            allowed = np.unpackbits(found.packed[rows], axis=1, count=found.n_cells, bitorder="little").view(bool)
            part, offered = _choose(values, allowed, terms)
            choice.put(rows, part)
            if terms.exploration.share > 0:
                several, pool = _pool(part, offered, terms)
                pools[start] = rows[several], pool

    over_chunks(customers.num_rows, CHUNK, work)
    if pools:
        _explore(choice, [pools[start] for start in sorted(pools)], customers, scores, terms)
    return choice


def _choose(values: np.ndarray, allowed: np.ndarray, terms: Terms) -> tuple[Choice, np.ndarray]:
    """The best for some customers, and the value of all they may be offered. values, allowed: (n, n_cells)."""
    choice, priced = Choice.silence(len(values)), any(terms.prices)
    unknown = np.isnan(values)
    if unknown.any():
        choice.unscored[:] = (allowed & unknown).any(axis=1)
        allowed &= ~unknown
    choice.scored[:] = allowed.any(axis=1)
    offered = _offered(values - _prices(terms) if priced else values, allowed)
    cell = offered.argmax(axis=1)
    best = offered[np.arange(len(values)), cell]
    won = best > 0
    choice.cell, choice.minor = np.where(won, cell, -1), np.where(won, best, 0.0).astype(np.int64)
    choice.wanted[:] = (_offered(values, allowed) > 0).any(axis=1) if priced else won
    return choice, offered


def _offered(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Rounded values where allowed, else nothing that is positive."""
    rounded = np.fmax(np.rint(values), 0.0)  # NaN is nothing, too
    if rounded.max() >= BEYOND:
        rounded[rounded >= BEYOND] = 0.0
    rounded *= allowed.astype(np.float64)  # far faster than choosing value by value
    return rounded


def _pool(choice: Choice, offered: np.ndarray, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Who has several cells worth drawing, and which: (n_several, n_cells) bool. Exact while values are below 2^53."""
    floor = np.where(choice.cell >= 0, np.maximum(choice.minor - terms.exploration.max_loss_minor, 1), BEYOND)
    pool = offered >= floor[:, None]
    several = np.flatnonzero(np.add.reduce(pool, axis=1, dtype=np.int64) > 1)
    return several, pool[several]


def _explore(choice: Choice, pools: list[tuple[np.ndarray, np.ndarray]], customers: pa.RecordBatch,
             scores: pa.RecordBatch, terms: Terms) -> None:  # fmt: skip
    """Draw for those who may explore. Not in the chunks: the draws are Python and would hold the lock."""
    rows, pool = (np.concatenate(parts) for parts in zip(*pools, strict=True))
    who = customers.select(["unit_id", "customer_id", "local_day"]).take(pa.array(rows)).to_pydict()
    dated = np.array([day is not None for day in who["local_day"]], dtype=bool)
    names = [f"{unit}\x1f{name}\x1f{day}" for unit, name, day in zip(*who.values(), strict=True) if day is not None]
    rows, pool, share = rows[dated], pool[dated], terms.exploration.share
    drawn, size = share_of(terms.secret, "explore", terms.revision, names), pool.sum(axis=1)
    chance = share / size
    choice.p_chosen[rows] = 1.0 - share + chance
    lucky = drawn < share
    rows, pool, size, drawn, chance = rows[lucky], pool[lucky], size[lucky], drawn[lucky], chance[lucky]
    turn = np.minimum((drawn / share * size).astype(np.int64), size - 1)
    cell = (pool & (np.cumsum(pool, axis=1) - 1 == turn[:, None])).argmax(axis=1)
    values = _values(scores.take(pa.array(rows)), terms)[np.arange(len(rows)), cell]
    choice.minor[rows] = np.rint(values - _prices(terms)[cell]).astype(np.int64)
    choice.p_chosen[rows] = np.where(cell == choice.cell[rows], 1.0 - share + chance, chance)
    choice.cell[rows], choice.explored[rows] = cell, True


def _prices(terms: Terms) -> np.ndarray:
    return np.array(terms.prices or (0,) * terms.catalogue.n_cells, dtype=np.float64)


def _values(scores: pa.RecordBatch, terms: Terms, rows: np.ndarray | slice = _EVERY) -> np.ndarray:
    """(n_rows, n_cells) float64 before rounding and bid price, NaN where a score the value needs is null."""
    offers, channels = terms.catalogue.offers, terms.catalogue.channels
    lifetime, churn = (numbers(scores.column(name))[rows] for name in ("lifetime_value_minor", "p_churn"))
    margin = np.repeat([float(o.margin_minor) for o in offers], len(channels))
    cost = np.tile([float(c.cost_minor) for c in channels], len(offers))
    with np.errstate(invalid="ignore"):
        reach = np.tile(matrix(scores, "p_reach")[rows], (1, len(offers)))
        accept = np.repeat(matrix(scores, "p_interest")[rows], len(channels), axis=1)
        accept *= reach
        value = np.repeat(matrix(scores, "p_organic")[rows], len(channels), axis=1)
        value *= reach
        np.subtract(accept, value, out=value)
        value *= margin
        value -= cost
        value -= np.tile(matrix(scores, "p_harm")[rows] * lifetime[:, None], (1, len(offers)))
        for place, offer in enumerate(offers):
            if offer.save_rate is not None:
                cells = slice(place * len(channels), (place + 1) * len(channels))
                value[:, cells] += accept[:, cells] * (churn * lifetime * offer.save_rate)[:, None]
        if any(o.lever != 1.0 for o in offers):
            value *= np.repeat([o.lever for o in offers], len(channels))
    return value


__all__ = ["Choice", "Values", "arbitrate", "cell_values", "check_scores", "matrix", "picked"]
