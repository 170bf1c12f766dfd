"""Arbitrate: which open cell a customer gets, by its worth (`rules.worth`) less its bid price - or silence, worth 0.

    value = worth - bid_price          (integer minor units: the worth is rounded first, wherever it is asked for)

A customer who is not reached does what he would have done unasked: the contact changes only what
those do who are reached, hence p_reach beside p_organic. Only those who accept a retention offer
can be kept by it, hence p_accept in the last term.
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
from rules.worth import BEYOND, CellByCell, all_cells

CHUNK = 16_384  # rows: smaller ones leave two threads waiting for the interpreter's lock, larger ones the cache
FEW = 256  # rows: below, a table of all cells is cheaper than a call for each


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


def picked(scores: pa.RecordBatch, name: str, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n_rows,) float64: of each row's list the number at its place; the lists must not be null."""
    column = scores.column(name)
    return numbers(column.values.take(pa.array((column.offset + rows) * column.type.list_size + places)))


def cell_values(scores: pa.RecordBatch, terms: Terms) -> Values:
    """The value of every cell from SCORES, closed ones included; SchemaError if SCORES do not fit."""
    check_scores(scores, terms)
    values = all_cells(scores, terms, np.arange(scores.num_rows))
    known = ~np.isnan(values)
    gross = np.where(known, values, 0.0).astype(np.int64)
    minor = np.where(known, gross - _prices(terms).astype(np.int64), 0) if any(terms.prices) else gross
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
            choose = _choose if len(rows) > FEW else _choose_few
            part, offered = choose(scores.slice(start, stop - start), rows - start, found, found.packed[rows], terms)
            choice.put(rows, part)
            if offered is not None:
                several, pool = _pool(part, offered, terms)
                pools[start] = rows[several], pool

    over_chunks(customers.num_rows, CHUNK, work)
    if pools:
        _explore(choice, [pools[start] for start in sorted(pools)], customers, scores, terms)
    return choice


def _choose_few(scores: pa.RecordBatch, rows: np.ndarray, found: Suppressed, packed: np.ndarray,
                terms: Terms) -> tuple[Choice, np.ndarray | None]:  # fmt: skip
    """What `_choose` says, by way of a table of all cells."""
    choice, priced = Choice.silence(len(rows)), any(terms.prices)
    values = all_cells(scores, terms, rows)
    allowed = np.unpackbits(packed, axis=1, count=found.n_cells, bitorder="little").view(bool)
    unknown = np.isnan(values)
    choice.unscored[:] = (allowed & unknown).any(axis=1)
    allowed &= ~unknown
    choice.scored[:] = allowed.any(axis=1)
    worth = np.where(allowed, values, 0.0)
    offered = np.where(allowed, np.maximum(values - _prices(terms), 0.0), 0.0) if priced else np.maximum(worth, 0.0)
    cell = offered.argmax(axis=1)
    best = offered[np.arange(len(rows)), cell]
    won = best > 0
    choice.cell, choice.minor = np.where(won, cell, -1), np.where(won, best, 0.0).astype(np.int64)
    choice.wanted[:] = (worth > 0).any(axis=1)
    return choice, offered.T if terms.exploration.share > 0 else None


def _choose(scores: pa.RecordBatch, rows: np.ndarray, found: Suppressed, packed: np.ndarray,
            terms: Terms) -> tuple[Choice, np.ndarray | None]:  # fmt: skip
    """The best for some rows of scores, and where there is exploration what they may be offered.

    packed: their open cells. The second is (n_cells, n_rows) float64, the value where a cell is open and
    it is positive, else 0.
    """
    n, prices, cells = len(rows), terms.prices, CellByCell(scores, terms, rows)
    choice, best, chosen = Choice.silence(n), np.zeros(n), np.full(n, -1, np.int64)
    offered = np.zeros((found.n_cells, n)) if terms.exploration.share > 0 else None
    choice.scored[:] = cells.tame  # each of these rows has an open cell
    masks = np.ascontiguousarray(packed.T)
    anybody = np.bitwise_or.reduce(masks, axis=1)
    for cell in range(found.n_cells):
        byte, bit = cell >> 3, np.uint8(1 << (cell & 7))
        if not anybody[byte] & bit:
            continue
        value, allowed = cells.worth(cell), (masks[byte] & bit) != 0
        if not cells.tame:
            known = value == value  # noqa: PLR0124  # NaN: a score is missing
            choice.unscored |= allowed & ~known
            choice.scored |= allowed & known
        if any(prices):
            choice.wanted |= (value > 0) & allowed
            value -= prices[cell]
        better = value > best
        better &= allowed
        np.copyto(best, value, where=better)
        np.copyto(chosen, cell, where=better)
        if offered is not None:
            np.copyto(offered[cell], value, where=(value > 0) & allowed)
    won = chosen >= 0
    choice.cell, choice.minor = chosen, best.astype(np.int64)
    if not any(prices):
        choice.wanted = won
    return choice, offered


def _pool(choice: Choice, offered: np.ndarray, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Who has several cells worth drawing, and which: (n_several, n_cells) bool. offered: (n_cells, n)."""
    floor = np.where(choice.cell >= 0, np.maximum(choice.minor - terms.exploration.max_loss_minor, 1), BEYOND)
    pool = offered >= floor
    several = np.flatnonzero(np.add.reduce(pool, axis=0, dtype=np.int64) > 1)
    return several, np.ascontiguousarray(pool[:, several].T)


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
    values = all_cells(scores.take(pa.array(rows)), terms, np.arange(len(rows)))[np.arange(len(rows)), cell]
    choice.minor[rows] = (values - _prices(terms)[cell]).astype(np.int64)
    choice.p_chosen[rows] = np.where(cell == choice.cell[rows], 1.0 - share + chance, chance)
    choice.cell[rows], choice.explored[rows] = cell, True


def _prices(terms: Terms) -> np.ndarray:
    return np.array(terms.prices or (0,) * terms.catalogue.n_cells, dtype=np.float64)


__all__ = ["Choice", "Values", "arbitrate", "cell_values", "check_scores", "picked"]
