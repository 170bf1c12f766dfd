"""Allocate: scarce seats, budgets and volumes given to the choosers among whom they are worth most.

Prices first (`dual`), a list from the prices (`repair`), and the bound no list can exceed. A minimum
that cannot be kept is lowered to what is possible, and said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.lists.dual import SCALE, SILENT, bound, find_prices
from serving.lists.limits import Columns, Limit, LimitError
from serving.lists.open_cells import OpenCells
from serving.lists.repair import FEW_CELLS, List

LOWER = 0.99  # of the prices, for a second list of few: one chooser's cost may be a part of a budget worth minding


@dataclass(frozen=True)
class Short:
    """A minimum that no list can keep together with the other limits. possible: no list gives more.

    held_by: the limits that keep it from being more; empty: there are no more customers to whom it may be offered.
    beside: the other minimums, where they take what this one lacks of what is possible.
    """

    limit: str
    asked: int
    possible: int
    kept: int
    held_by: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people."""
        return f"limit `{self.limit}` asks for at least {self.asked:,}; at most {self.possible:,} are possible, the list keeps {self.kept:,}"


@dataclass(frozen=True)
class Allocation:
    """Who gets what, and the proof. cell: (n_choosers,) int64 into the open cells, -1 for silence.

    price: (n_limits,) int64, thousandths of a minor unit. room: what each limit was held to, minima lowered
    where they had to be. bound_minor: no list that keeps the limits is worth more. value_minor: this one.
    """

    cell: np.ndarray
    price: np.ndarray
    room: np.ndarray
    bound_minor: int
    value_minor: int
    short: tuple[Short, ...] = ()


def allocate(cells: OpenCells, columns: Columns, limits: Sequence[Limit]) -> Allocation:
    """The list of (nearly) most value that keeps every limit, with its prices and its bound."""
    lowered: dict[int, Short] = {}
    fits = _fitting(cells, columns)
    part = cells if fits.all() else cells.only(fits)
    for attempt in range(len(limits) + 2):
        price = find_prices(cells, columns)
        made = _made(part, columns, price if part is cells else find_prices(part, columns))
        lacking = [place for place, left in enumerate(made.left) if left < 0 and limits[place].minimum]
        if not lacking:
            short = _as_given(columns, limits, lowered, made.left)
            columns = _held_to(columns, short)
            lacked = tuple(found for _, found in sorted(short.items()) if found.kept < found.asked)
            cell = made.cell if part is cells else _among_all(cells, fits, made.cell)
            return Allocation(cell, price, columns.room, bound(cells, columns, price), made.value(), lacked)
        for place in lacking:
            lowered[place] = _most(cells, columns, limits, place, made.left[place], last=attempt > 0)
        columns = _held_to(columns, lowered)
    raise LimitError("the minimums cannot be kept together; take one out")


def _held_to(columns: Columns, lowered: Mapping[int, Short]) -> Columns:
    """The columns with each of those minimums asking for what is kept of it."""
    room = columns.room.copy()
    for place, found in lowered.items():
        room[place] = -found.kept
    return replace(columns, room=room)


def _as_given(
    columns: Columns, limits: Sequence[Limit], lowered: Mapping[int, Short], left: Sequence[int]
) -> dict[int, Short]:
    """The lowered minimums as the list keeps them, which may be more than they were lowered to."""
    given = {place: min(found.asked, left[place] - int(columns.room[place])) for place, found in lowered.items()}
    others = {place: tuple(o.name for n, o in enumerate(limits) if o.minimum and n != place) for place in lowered}
    return {place: replace(found, kept=given[place], possible=max(found.possible, given[place]),
                           beside=others[place] if given[place] < min(found.asked, found.possible) else ())
            for place, found in lowered.items()}  # fmt: skip


def _fitting(cells: OpenCells, columns: Columns) -> np.ndarray:
    """(n,) bool: which cells a list can hold: a call at 600 is open under a budget of 300, and spoils the prices of the rest."""
    fits = (columns.units <= 0) | (columns.units <= np.append(columns.room, 0)[columns.limit])
    return np.all(fits, axis=1)[cells.column]


def _among_all(cells: OpenCells, fits: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """(n_choosers,) the cells of a list made of the fitting ones, counted among all."""
    found = np.full(cells.n_choosers, SILENT)
    owner = np.repeat(np.arange(cells.n_choosers), np.diff(cells.start))
    found[np.unique(owner[fits])] = np.append(np.flatnonzero(fits), SILENT)[cell]
    return found


def _made(cells: OpenCells, columns: Columns, price: np.ndarray) -> List:
    """The list made from the prices; of few cells the better of two, the other from prices a little lower."""
    made = List(cells, columns, price)
    made.make()
    if len(cells.gross) > FEW_CELLS or not price.any():
        return made
    other = List(cells, columns, np.rint(price * LOWER).astype(np.int64))
    other.make()
    return other if min(other.left) >= min(0, *made.left) and other.value() > made.value() else made


def _most(cells: OpenCells, columns: Columns, limits: Sequence[Limit], place: int, left: int, last: bool) -> Short:
    """How much of a minimum is possible, found by a list that is worth nothing but that; what this list gave if `last`."""
    given, asked = -int(columns.room[place]) + left, limits[place].at_least or 0
    counted = -(np.where(columns.limit == place, columns.units, 0)).sum(axis=1)
    room = np.where([limit.minimum for limit in limits], 0, columns.room)
    units = np.where(np.append([limit.minimum for limit in limits], False)[columns.limit], 0, columns.units)
    only = Columns(columns.limit, units, room)
    worth = replace(cells, gross=counted[cells.column] * 1_000)  # so that prices may lie between counts
    price = find_prices(worth, only)
    possible = bound(worth, only, price) // 1_000
    found = List(worth, only, price)
    chosen = found.make()
    kept = given if last else min(asked, int(counted[cells.column[chosen[chosen >= 0]]].sum()))
    held_by = tuple(limits[n].name for n in _in_the_way(found, worth, price))
    return Short(limits[place].name, asked, possible, max(kept, 0), held_by)


def _in_the_way(found: List, worth: OpenCells, price: np.ndarray) -> list[int]:
    """The limits that keep those from a cell of worth who got none: the priced ones, where none has a price the full ones."""
    owner = np.repeat(np.arange(worth.n_choosers), np.diff(worth.start))
    wanted = np.unique(worth.column[(worth.gross > 0) & (found.cell[owner] < 0)])
    uses = np.unique(found.columns.limit[wanted][found.columns.units[wanted] > 0])
    uses = uses[uses < len(price)]
    full = uses[np.array(found.left)[uses] < 1] if len(uses) else uses
    return (uses[price[uses] > 0] if (price[uses] > 0).any() else full).tolist()


__all__ = ["SCALE", "Allocation", "Short", "allocate"]
