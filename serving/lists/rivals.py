"""What others would have made of the same cells, in the same run: greedy by value, and a contact for everyone."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from rules.terms import Terms
from serving.lists.clearing import Cleared, cell_columns, kinds_of
from serving.lists.limits import COST, Columns

BLOCK = 65_536


class Rival(BaseModel):
    """A list made another way. value_minor: before seat prices; broken: limits it does not keep."""

    contacts: int
    value_minor: int
    cost_minor: int
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Offered:
    """The run's cells as an allocator sees them: an explorer has the one he drew. All (m,)."""

    chooser: np.ndarray
    column: np.ndarray
    gross: np.ndarray


def offered(cleared: Cleared, terms: Terms) -> Offered:
    """Every cell that competes, worthless ones included."""
    market, owner = cleared.market, cleared.market.owner()
    at = np.flatnonzero((cleared.drawn[owner] < 0) | (cleared.drawn[owner] == market.cell))
    column = market.people[owner[at]] * terms.catalogue.n_cells + market.cell[at]
    return Offered(market.chooser[owner[at]], column, market.gross[at])


def greedy(cleared: Cleared, terms: Terms) -> Rival:
    """The dearest cell first, each that still fits; the field's usual way. Minimums are not looked after."""
    cells, columns = offered(cleared, terms), cell_columns(cleared.market, cleared.limits, terms)
    left = columns.room.tolist()
    needs = [[(limit, units) for limit, units in zip(limits, much, strict=True) if units > 0]
             for limits, much in zip(columns.limit.tolist(), columns.units.tolist(), strict=True)]  # fmt: skip
    worthy = np.flatnonzero(cells.gross > 0)
    order = worthy[np.lexsort((cells.column[worthy], cells.chooser[worthy], -cells.gross[worthy]))]
    done = np.zeros(int(cells.chooser.max(initial=0)) + 1, dtype=bool)
    taken: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        block = block[~done[cells.chooser[block]]]
        for at, chooser, column in zip(block.tolist(), cells.chooser[block].tolist(), cells.column[block].tolist(), strict=True):  # fmt: skip
            if not done[chooser] and all(left[limit] >= units for limit, units in needs[column]):
                done[chooser] = True
                taken.append(at)
                for limit, units in needs[column]:
                    left[limit] -= units
    return _rival(cleared, terms, columns, cells, np.array(taken, np.int64))


def everyone(cleared: Cleared, terms: Terms) -> Rival:
    """Whoever may be contacted is, by his best cell, worth it or not; no limit is looked at."""
    cells, columns = offered(cleared, terms), cell_columns(cleared.market, cleared.limits, terms)
    order = np.lexsort((cells.column, -cells.gross, cells.chooser))
    chooser = cells.chooser[order]
    first = order[np.concatenate(([True], chooser[1:] != chooser[:-1]))] if len(order) else order
    return _rival(cleared, terms, columns, cells, first)


def _rival(cleared: Cleared, terms: Terms, columns: Columns, cells: Offered, at: np.ndarray) -> Rival:
    used = columns.used_exactly(cells.column[at])
    broken = tuple(limit.name for limit, much, room in zip(cleared.limits, used, columns.room, strict=True) if much > room)  # fmt: skip
    cost = np.array([int(kind[COST]) for kind in kinds_of(terms)], np.int64)
    return Rival(contacts=len(at), value_minor=int(cells.gross[at].sum()),
                 cost_minor=int(cost[cells.column[at] % len(cost)].sum()), broken=broken)  # fmt: skip
