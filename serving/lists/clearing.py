"""The clearing house of a run: every open cell of every customer, priced together, and who gets which.

Explorers are drawn first, under the prices of everybody's cells; the cell drawn is then the only one they
compete with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.arbitrate import Choice, Values
from rules.terms import Terms
from rules.units import Allotted
from serving.lists.allocate import SCALE, Allocation, allocate
from serving.lists.dual import bound, find_prices
from serving.lists.limits import COST, Columns, Limit, LimitError, make_columns
from serving.lists.open_cells import OpenCells

_OF_CELL = ("offer", "channel", "family", "campaigns")
_OWN, HAS, LACKS = "campaign:", "yes", "no"


def own(campaign: str) -> str:
    """The attribute of cells that says whether the campaign has them."""
    return _OWN + campaign


def is_of_cell(attribute: str) -> bool:
    """Whether a limit's attribute is one of cells; others are the customer's."""
    return attribute in _OF_CELL or attribute.startswith(_OWN)


def kinds_of(terms: Terms) -> list[dict[str, str | int]]:
    """What limits may count by, of each cell. campaigns: those that have it, with all they share cells with.

    Where there are several campaigns, also whether each of them has it: `own`.
    """
    catalogue, pool, audiences = terms.catalogue, pools_of(terms), terms.audiences or ()
    owned = {own(one.campaign_id): frozenset(one.cells(catalogue)) for one in audiences} if len(audiences) > 1 else {}
    return [{"offer": offer.id, "channel": channel.id, "family": offer.family, COST: channel.cost_minor,
             "campaigns": pool.get((offer.id, channel.id), ""),
             **{name: HAS if (offer.id, channel.id) in cells else LACKS for name, cells in owned.items()}}
            for offer in catalogue.offers for channel in catalogue.channels]  # fmt: skip


def pools_of(terms: Terms) -> dict[tuple[str, str], str]:
    """(offer, channel) -> `a+b`: the campaigns that share cells, directly or through others, share what they limit."""
    pools: list[tuple[set[str], set[tuple[str, str]]]] = []
    for audience in terms.audiences or ():
        names, cells = {audience.campaign_id}, set(audience.cells(terms.catalogue))
        for other in [pool for pool in pools if pool[1] & cells]:
            pools.remove(other)
            names, cells = names | other[0], cells | other[1]
        pools.append((names, cells))
    return {cell: "+".join(sorted(names)) for names, cells in pools for cell in cells}


@dataclass(frozen=True)
class Market:
    """Every open cell with a known value. Customers in the order of the run.

    counts: (n,) how many cells each has; cell: (m,) uint16; gross: (m,) int64; chooser: (n,) int64;
    people: (n,) int64 into customers, the distinct attributes that limits name.
    """

    counts: np.ndarray
    cell: np.ndarray
    gross: np.ndarray
    chooser: np.ndarray
    people: np.ndarray
    customers: list[dict[str, str | None]]

    def owner(self) -> np.ndarray:
        """(m,) int64: the customer of each cell."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass
class Stalls:
    """The market while it is being set up, chunk by chunk."""

    counts: list[np.ndarray] = field(default_factory=list)
    cell: list[np.ndarray] = field(default_factory=list)
    gross: list[np.ndarray] = field(default_factory=list)
    chooser: list[np.ndarray] = field(default_factory=list)
    n: int = 0

    def add(self, allowed: np.ndarray, values: Values, chooser: np.ndarray) -> None:
        """A chunk's open cells. allowed: (n, n_cells) bool; chooser: (n,) row numbers of the chunk."""
        rows, cell = np.nonzero(allowed)
        self.counts.append(np.bincount(rows, minlength=len(allowed)))
        self.cell.append(cell.astype(np.uint16))
        self.gross.append(values.gross[rows, cell])
        self.chooser.append(chooser + self.n)
        self.n += len(allowed)

    def market(self, features: pa.Table, limits: Sequence[Limit]) -> Market:
        """The whole; the attributes that limits name are columns of features."""
        names = sorted({name for limit in limits for name in limit.where if not is_of_cell(name)})
        if missing := [name for name in names if name not in features.column_names]:
            raise LimitError(
                f"a limit counts by `{missing[0]}`, which neither cells nor customers have; mend the limit"
            )
        people, customers = np.zeros(self.n, np.int64), [dict[str, str | None]()]
        if names:
            parts = [
                pc.dictionary_encode(features.column(name).cast(pa.string()), null_encoding="encode").combine_chunks()
                for name in names
            ]
            codes = np.stack([np.asarray(part.indices) for part in parts], axis=1)
            distinct, people = np.unique(codes, axis=0, return_inverse=True)
            texts = [part.dictionary.to_pylist() for part in parts]
            customers = [
                {name: texts[k][code] for k, (name, code) in enumerate(zip(names, row, strict=True))}
                for row in distinct.tolist()
            ]
        counts, cell, gross, chooser = (
            np.concatenate(part) for part in (self.counts, self.cell, self.gross, self.chooser)
        )
        return Market(counts, cell, gross, chooser, people.ravel(), customers)


@dataclass(frozen=True)
class Cleared:
    """What the clearing house decided. drawn: (n,) the cell an explorer competes with, -1 for others.

    cell: (n,) what each customer gets, -1 for nothing. bid_milli: (n,) thousandths, what it costs in seats.
    all_bound_minor: no list over all open cells, nobody exploring, is worth more.
    """

    market: Market
    limits: tuple[Limit, ...]
    allocation: Allocation
    drawn: np.ndarray
    cell: np.ndarray
    bid_milli: np.ndarray
    all_bound_minor: int


Bounding = Callable[[OpenCells, Columns, np.ndarray], int]  # what `dual.bound` says, wherever it is added up


def seat_prices(market: Market, limits: Sequence[Limit], terms: Terms) -> np.ndarray:
    """Prices of the limits over all open cells, thousandths."""
    return find_prices(_offered(market, limits, terms, None)[0], cell_columns(market, limits, terms))


def cell_prices(price: np.ndarray, limits: Sequence[Limit], terms: Terms) -> tuple[int, ...]:
    """Bid prices by cell, whole minor units: what limits by offer, channel and family make each cell cost; () for none.

    What depends on the customer (a manager's seats) is not in them; a minimum gives a cell no price below 0.
    """
    common = [
        (limit, int(p)) for limit, p in zip(limits, price.tolist(), strict=True) if all(map(is_of_cell, limit.where))
    ]
    if not any(p for _, p in common):
        return ()
    columns = make_columns([limit for limit, _ in common], kinds_of(terms), [{}])
    paid = columns.prices(np.array([p for _, p in common], np.int64))
    return tuple(np.maximum(np.rint(paid / SCALE), 0).astype(np.int64).tolist())


def clear(
    market: Market, limits: Sequence[Limit], terms: Terms, drawn: np.ndarray, bounding: Bounding = bound
) -> Cleared:
    """Allocate. drawn: (n,) the only cell an explorer may get, -1 for everybody else."""
    columns = cell_columns(market, limits, terms)
    cells, of = _offered(market, limits, terms, drawn)
    found = allocate(cells, columns, limits)
    got = of[found.cell[found.cell >= 0]]
    rows, n = market.owner()[got], len(market.counts)
    cell, bid = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    cell[rows] = market.cell[got]
    bid[rows] = columns.prices(found.price)[market.people[rows] * terms.catalogue.n_cells + market.cell[got]]
    held = replace(columns, room=found.room)
    all_bound = bounding(_offered(market, limits, terms, None)[0], held, found.price)  # under the prices that are told
    return Cleared(market, tuple(limits), found, drawn, cell, bid, all_bound)


def seats_given(cell: np.ndarray, bid_milli: np.ndarray, wish: Choice, gross: np.ndarray, share: float) -> Allotted:
    """The choice of some customers. cell, bid_milli: what the clearing house gave them, as Cleared has it.

    wish: their best, or drawn, cells under prices; gross: (n, n_cells) of them. p_chosen is the wish's where it came
    true; else what is left to a choice that an exploring draw displaces.
    """
    bid = bid_milli / SCALE
    worth = gross[np.arange(len(cell)), np.maximum(cell, 0)]
    minor = np.where(cell >= 0, np.rint(worth - bid), 0).astype(np.int64)
    torn = np.where(wish.p_chosen < 1.0, 1.0 - share, 1.0)
    p_chosen = np.where(cell == wish.cell, wish.p_chosen, torn)
    choice = replace(wish, cell=cell, minor=minor, p_chosen=p_chosen, explored=wish.explored & (cell >= 0))
    return Allotted(choice, np.where(cell >= 0, bid, 0.0))


def priced_terms(terms: Terms, prices: tuple[int, ...]) -> Terms:
    """The terms under those bid prices; the same object where nothing is scarce."""
    return terms.priced(prices) if any(prices) else terms


def cell_columns(market: Market, limits: Sequence[Limit], terms: Terms) -> Columns:
    """The columns of a market's cells: of a cell, its customer's kind x number of cells + its own number."""
    return make_columns(limits, kinds_of(terms), market.customers)


def _offered(market: Market, limits: Sequence[Limit], terms: Terms, drawn: np.ndarray | None) -> tuple[OpenCells, np.ndarray]:  # fmt: skip
    """The cells that compete, by chooser, and where each stands in the market; worthless ones only for a minimum."""
    owner = market.owner()
    kept = np.ones(len(owner), dtype=bool) if any(limit.minimum for limit in limits) else market.gross > 0
    if drawn is not None:
        kept &= (drawn[owner] < 0) | (drawn[owner] == market.cell)
    at = np.flatnonzero(kept)
    chooser = market.chooser[owner[at]]
    if (chooser[1:] < chooser[:-1]).any():
        order = np.argsort(chooser, kind="stable")
        at, chooser = at[order], chooser[order]
    heads = np.flatnonzero(np.concatenate(([True], chooser[1:] != chooser[:-1]))) if len(at) else at
    column = market.people[owner[at]] * terms.catalogue.n_cells + market.cell[at]
    return OpenCells(np.append(heads, len(at)), column.astype(np.int32), market.gross[at]), at


__all__ = [
    "Bounding",
    "Cleared",
    "Market",
    "Stalls",
    "cell_columns",
    "cell_prices",
    "clear",
    "is_of_cell",
    "kinds_of",
    "own",
    "priced_terms",
    "seat_prices",
    "seats_given",
]
