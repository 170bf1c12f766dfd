"""From prices to a list: a few choosers move until every limit holds, then what is left over is filled.

What a list misses of the bound is the surplus its choosers forgo and the priced room it leaves:
    bound - value = sum over choosers of (best surplus - surplus taken) + sum over limits of price x unused
so the moves worth trying are those of choosers who forgo little. Integers throughout; ties go to the
chooser, then the cell, that stands first.
"""

from dataclasses import dataclass

import numpy as np

from serving.lists.dual import SCALE, SILENT, choose
from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells

MOVES_MAX = 40_000  # moves looked at in one pool
ROUNDS = 4
FEW_CELLS = 30_000  # a list of so few is made a second way, too
CHAINS = 20_000  # pairs of moves tried
GIVERS = 60  # choosers asked to give up what another wants


@dataclass(frozen=True)
class Moves:
    """Moves worth trying, cheapest first. chooser, cell: (n,) int64, cell SILENT to fall silent; loss: forgone surplus x SCALE."""

    chooser: np.ndarray
    cell: np.ndarray
    loss: np.ndarray


class List:
    """A list in the making: the cell each chooser has, and what is used of each limit."""

    def __init__(self, cells: OpenCells, columns: Columns, price: np.ndarray) -> None:
        self.cells, self.columns, self.price = cells, columns, price
        found = choose(cells, columns.prices(price).astype(np.float64), SCALE)
        self.cell, self.gap = found.cell, found.gap
        self.paid = columns.prices(price)
        used = columns.used_exactly(cells.column[self.cell[self.cell >= 0]])
        self.left: list[int] = (columns.room - used).tolist()
        self.minima, self.minima_hold = set(columns.limit[columns.units < 0].tolist()), True
        self._uses: dict[int, list[tuple[int, int]]] = {SILENT: []}

    def make(self) -> np.ndarray:
        """(n_choosers,) int64: the cell of each chooser, SILENT (-1) for none; every limit holds where that is possible.

        Few choosers are begun anew from an empty list as well, dearest surplus first: the better list is kept.
        """
        moves = self.near(MOVES_MAX)
        self.mend(moves)
        if min(self.left, default=0) < 0:
            self.mend(self.users_of_scarce())
        if any(left < 0 and limit not in self.minima for limit, left in enumerate(self.left)):
            self.minima_hold = False  # seats are facts, volumes are wishes: `allocate` lowers what is then lacking
            self.mend(self.users_of_scarce())
        self.polish(moves)
        if len(self.cells.gross) <= FEW_CELLS and not self.minima and self.columns.n_limits:
            self.begin_anew()
        return self.cell

    def polish(self, moves: Moves) -> None:
        """Fill, chain and swap until nothing more is found."""
        self.fill(moves)
        self.chain(moves)
        for _ in range(ROUNDS):
            if not self.swap(moves):
                return

    def value(self) -> int:
        """What the list is worth, minor units."""
        return int(self.cells.gross[self.cell[self.cell >= 0]].sum())

    def begin_anew(self) -> None:
        """Fill an empty list by surplus, polish it, and keep it if it is worth more."""
        old, old_left, worth = self.cell.copy(), list(self.left), self.value()
        self.cell[:], self.left = SILENT, self.columns.room.tolist()
        surplus = self.cells.gross * SCALE - self.paid[self.cells.column]
        owner = np.repeat(np.arange(self.cells.n_choosers), np.diff(self.cells.start))
        for cell in np.argsort(-surplus, kind="stable").tolist():
            if (
                self.cell[owner[cell]] == SILENT
                and self.cells.gross[cell] > 0
                and self.fits(change := self.change(int(owner[cell]), cell))
            ):
                self.go(int(owner[cell]), cell, change)
        self.polish(self._moves(np.arange(self.cells.n_choosers), None))
        if self.value() <= worth:
            self.cell, self.left = old, old_left

    def near(self, n: int) -> Moves:
        """The about n moves of least loss."""
        reach = float(np.partition(self.gap, n)[n]) if len(self.gap) > n else np.inf
        return self._moves(np.flatnonzero(self.gap <= max(reach, 1.0)), n)

    def users_of_scarce(self) -> Moves:
        """All moves of those who use a limit that does not hold, and to what a minimum lacks."""
        scarce = np.append(np.array(self.left) < 0, False)
        wanted = (scarce[self.columns.limit] & (self.columns.units != 0)).any(axis=1)
        hits = (
            np.add.reduceat(wanted[self.cells.column].astype(np.int64), self.cells.start[:-1])
            if len(self.gap)
            else self.gap
        )
        return self._moves(np.flatnonzero(hits), None)

    def _moves(self, choosers: np.ndarray, most: int | None) -> Moves:
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

    def mend(self, moves: Moves) -> None:
        """Take moves, the least wasteful first, that bring a limit nearer to holding and break none."""
        broken = {
            limit for limit, left in enumerate(self.left) if left < 0 and (self.minima_hold or limit not in self.minima)
        }
        for _ in range(ROUNDS):
            before = len(broken), sum(self.left[limit] for limit in broken)
            order = self._mending(moves, broken)
            for chooser, cell in zip(moves.chooser[order].tolist(), moves.cell[order].tolist(), strict=True):
                if not broken:
                    return
                if self.cell[chooser] == cell:
                    continue
                change = self.change(chooser, cell)
                if any(change.get(limit, 0) < 0 for limit in broken) and self.fits(change):
                    self.go(chooser, cell, change)
                    broken = {limit for limit in broken if self.left[limit] < 0}
            if (len(broken), sum(self.left[limit] for limit in broken)) == before:
                return

    def _mending(self, moves: Moves, broken: set[int]) -> np.ndarray:
        """Those moves that use less of a broken limit, in the order of what they waste.

        That is the value they give up beyond what the broken limits' freed units are worth: room freed of a limit
        that holds is worth its price too, but may find no taker.
        """
        own = self.cell[moves.chooser]
        value = [np.where(cell >= 0, self.cells.gross[cell], 0) * SCALE for cell in (own, moves.cell)]
        waste, frees = value[0] - value[1], np.zeros(len(own), bool)
        for limit in sorted(broken):
            units = np.append((self.columns.units * (self.columns.limit == limit)).sum(axis=1), 0)
            used = [units[np.where(cell >= 0, self.cells.column[cell], -1)] for cell in (own, moves.cell)]
            waste -= int(self.price[limit]) * (used[0] - used[1])
            frees |= used[0] > used[1]
        found = np.flatnonzero(frees)
        return found[np.argsort(waste[found], kind="stable")]

    def fill(self, moves: Moves) -> None:
        """Take moves that add value and fit, those that add most first, as long as there are any."""
        if min(self.left, default=0) < 0:
            return
        for _ in range(ROUNDS):
            own, new = self.cell[moves.chooser], moves.cell
            gains = np.where(new >= 0, self.cells.gross[new], 0) - np.where(own >= 0, self.cells.gross[own], 0)
            better = np.flatnonzero(gains > 0)
            better = better[np.argsort(-gains[better], kind="stable")]
            moved = False
            for chooser, cell in zip(moves.chooser[better].tolist(), moves.cell[better].tolist(), strict=True):
                if self.gain(chooser, cell) > 0 and self.fits(change := self.change(chooser, cell)):
                    self.go(chooser, cell, change)
                    moved = True
            if not moved:
                return

    def chain(self, moves: Moves) -> None:
        """Take pairs of moves, of which the second fits because of the first, that add value together.

        Tried where priced room is left over: one who may take it frees what another waits for.
        """
        by_limit: dict[int, list[tuple[int, int]]] = {}
        for chooser, cell in zip(moves.chooser[:CHAINS].tolist(), moves.cell[:CHAINS].tolist(), strict=True):
            for limit, _ in self.uses(cell):
                by_limit.setdefault(limit, []).append((chooser, cell))
        spent = 0
        for limit in np.argsort(-self.price * np.maximum(self.left, 0), kind="stable").tolist():
            if not self.price[limit] or self.left[limit] <= 0:
                continue
            for chooser, cell in by_limit.get(limit, [])[:400]:
                if self.left[limit] <= 0 or spent > CHAINS:
                    break
                spent += self._pair(chooser, cell, by_limit)

    def swap(self, moves: Moves) -> int:
        """Take moves that add value though a limit is full, where another chooser gives it up for less; how many."""
        if min(self.left, default=0) < 0:
            return 0
        own = self.cell[moves.chooser]
        gains = np.where(moves.cell >= 0, self.cells.gross[moves.cell], 0) - np.where(
            own >= 0, self.cells.gross[own], 0
        )
        rows = list(zip(moves.chooser.tolist(), moves.cell.tolist(), own.tolist(), strict=True))
        givers: dict[int, list[tuple[int, int, int]]] = {}
        for place in np.argsort(-gains, kind="stable").tolist():
            chooser, cell, now = rows[place]
            for limit, units in self.change(chooser, cell).items():
                if units < 0:
                    givers.setdefault(limit, []).append((chooser, cell, now))
        better = np.flatnonzero(gains > 0)
        swapped = spent = 0
        for place in better[np.argsort(-gains[better], kind="stable")].tolist():
            if spent > CHAINS:
                break
            chooser, cell, now = rows[place]
            if self.cell[chooser] == now:
                done, tried = self._swap(chooser, cell, givers)
                swapped, spent = swapped + done, spent + tried
        return swapped

    def _swap(self, chooser: int, cell: int, givers: dict[int, list[tuple[int, int, int]]]) -> tuple[int, int]:
        """(1 where the move was made, how many givers were tried)."""
        change, gain = self.change(chooser, cell), self.gain(chooser, cell)
        full = [limit for limit, units in change.items() if units > 0 and units > self.left[limit]]
        if not full:
            self.go(chooser, cell, change)
            return 1, 1
        tried = 0
        for other, instead, now in givers.get(full[0], [])[:GIVERS]:
            tried += 1
            if other == chooser or self.cell[other] != now:
                continue
            if gain + self.gain(other, instead) <= 0:
                break  # the next ones give it up for more
            freed = self.change(other, instead)
            if not self.fits(freed):
                continue
            self.go(other, instead, freed)
            if self.fits(change):
                self.go(chooser, cell, change)
                return 1, tried
            self.go(other, now, {limit: -units for limit, units in freed.items()})
        return 0, tried

    def _pair(self, chooser: int, cell: int, by_limit: dict[int, list[tuple[int, int]]]) -> int:
        """Try one first move with the likeliest second ones; how many were tried."""
        change = self.change(chooser, cell)
        if not change or not self.fits(change):
            return 1
        own, first = int(self.cell[chooser]), self.gain(chooser, cell)
        self.go(chooser, cell, change)
        tried = 1
        for freed in [limit for limit, units in change.items() if units < 0]:
            for other, second in by_limit.get(freed, [])[:60]:
                tried += 1
                if other != chooser and self.cell[other] != second and first + self.gain(other, second) > 0:
                    more = self.change(other, second)
                    if self.fits(more):
                        self.go(other, second, more)
                        return tried
        if first <= 0:
            self.go(chooser, own, {limit: -units for limit, units in change.items()})
        return tried
