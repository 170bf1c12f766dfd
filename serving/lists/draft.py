"""A list in the making: who has which cell, what is left of each limit, and the moves that change it."""

from dataclasses import dataclass

import numpy as np

from serving.lists.dual import SCALE, SILENT, choose
from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells


@dataclass(frozen=True)
class Moves:
    """Moves worth trying, cheapest first. chooser, cell: (n,) int64, cell SILENT to fall silent; loss: forgone surplus x SCALE."""

    chooser: np.ndarray
    cell: np.ndarray
    loss: np.ndarray


class Draft:
    """The cell each chooser has under prices, and what is left of each limit: negative where it does not hold."""

    def __init__(self, cells: OpenCells, columns: Columns, price: np.ndarray) -> None:
        self.cells, self.columns, self.price = cells, columns, price
        found = choose(cells, columns.prices(price).astype(np.float64), SCALE)
        self.cell, self.gap = found.cell, found.gap
        self.paid = columns.prices(price)
        used = columns.used_exactly(cells.column[self.cell[self.cell >= 0]])
        self.left: list[int] = (columns.room - used).tolist()
        self.minima, self.minima_hold = set(columns.limit[columns.units < 0].tolist()), True
        self._uses: dict[int, list[tuple[int, int]]] = {SILENT: []}

    def value(self) -> int:
        """What the list is worth, minor units."""
        return int(self.cells.gross[self.cell[self.cell >= 0]].sum())

    def near(self, n: int) -> Moves:
        """The about n moves of least loss."""
        reach = float(np.partition(self.gap, n)[n]) if len(self.gap) > n else np.inf
        return self.moves_of(np.flatnonzero(self.gap <= max(reach, 1.0)), n)

    def users_of_scarce(self) -> Moves:
        """All moves of those who use a limit that does not hold, and to what a minimum lacks."""
        scarce = np.append(np.array(self.left) < 0, False)
        wanted = (scarce[self.columns.limit] & (self.columns.units != 0)).any(axis=1)
        hits = (
            np.add.reduceat(wanted[self.cells.column].astype(np.int64), self.cells.start[:-1])
            if len(self.gap)
            else self.gap
        )
        return self.moves_of(np.flatnonzero(hits), None)

    def moves_of(self, choosers: np.ndarray, most: int | None) -> Moves:
        """Every move of some choosers, cheapest first; the first `most` of them."""
        part = self.cells.taken(choosers)
        counts = np.diff(part.start)
        surplus = part.gross * SCALE - self.paid[part.column]
        own = self.cell[choosers]
        global_cell = np.repeat(self.cells.start[choosers] - part.start[:-1], counts) + np.arange(len(surplus))
        ends = np.where(own >= 0, self.cells.gross[own] * SCALE - self.paid[self.cells.column[own]], 0)
        cell = np.concatenate([global_cell, np.full(len(choosers), SILENT)])
        who = np.concatenate([np.repeat(choosers, counts), choosers])
        loss = np.concatenate([np.repeat(ends, counts) - surplus, ends])
        order = np.lexsort((cell, who, loss))
        order = order[cell[order] != self.cell[who[order]]]
        order = order if most is None else order[:most]
        return Moves(who[order], cell[order], loss[order])

    def uses(self, cell: int) -> list[tuple[int, int]]:
        """(limit, units) of a cell; nothing for silence."""
        column = SILENT if cell < 0 else int(self.cells.column[cell])
        if column not in self._uses:
            pairs = zip(self.columns.limit[column].tolist(), self.columns.units[column].tolist(), strict=True)
            self._uses[column] = [(limit, units) for limit, units in pairs if units]
        return self._uses[column]

    def change(self, chooser: int, cell: int) -> dict[int, int]:
        """What a move uses beyond what the chooser uses now, by limit."""
        change: dict[int, int] = {}
        for limit, units in self.uses(cell):
            change[limit] = change.get(limit, 0) + units
        for limit, units in self.uses(int(self.cell[chooser])):
            change[limit] = change.get(limit, 0) - units
        return change

    def gain(self, chooser: int, cell: int) -> int:
        """What a move adds to the list's value, minor units."""
        own = int(self.cell[chooser])
        return (int(self.cells.gross[cell]) if cell >= 0 else 0) - (int(self.cells.gross[own]) if own >= 0 else 0)

    def go(self, chooser: int, cell: int, change: dict[int, int]) -> None:
        """Make a move."""
        self.cell[chooser] = cell
        for limit, units in change.items():
            self.left[limit] -= units

    def fits(self, change: dict[int, int]) -> bool:
        """Whether every limit the move uses more of has room for it."""
        return all(units <= 0 or units <= self.left[limit] or (limit in self.minima and not self.minima_hold)
                   for limit, units in change.items())  # fmt: skip
