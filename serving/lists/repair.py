"""From prices to a list: a few choosers move until every limit holds, then what is left over is filled.

What a list misses of the bound is the surplus its choosers forgo and the priced room it leaves:
    bound - value = sum over choosers of (best surplus - surplus taken) + sum over limits of price x unused
so the moves worth trying are those of choosers who forgo little. Integers throughout; ties go to the
chooser, then the cell, that stands first.
"""

import numpy as np

from serving.lists.draft import Draft, Moves
from serving.lists.dual import SCALE, SILENT
from serving.lists.swaps import chain, swap

MOVES_MAX = 40_000  # moves looked at in one pool
ROUNDS = 4
FEW_CELLS = 30_000  # a list of so few is made a second way, too


class List(Draft):
    """A draft that is made to hold, then filled."""

    def make(self) -> np.ndarray:
        """(n_choosers,) int64: the cell of each chooser, SILENT (-1) for none; every limit holds where that is possible.

        Few choosers are begun anew from an empty list as well, what minimums lack first: the better list is kept.
        """
        moves = self.near(MOVES_MAX)
        self.mend(moves)
        if min(self.left, default=0) < 0:
            self.mend(self.users_of_scarce())
        if any(left < 0 and limit not in self.minima for limit, left in enumerate(self.left)):
            self.minima_hold = False  # seats are facts, volumes are wishes: `allocate` lowers what is then lacking
            self.mend(self.users_of_scarce())
        self.polish(moves)
        if len(self.cells.gross) <= FEW_CELLS and self.columns.n_limits:
            self.begin_anew()
        return self.cell

    def polish(self, moves: Moves) -> None:
        """Fill, chain and swap until nothing more is found."""
        self.fill(moves)
        chain(self, moves)
        for _ in range(ROUNDS):
            if not swap(self, moves):
                return

    def begin_anew(self) -> None:
        """Fill an empty list, with what minimums lack and then by surplus, polish it, and keep it if it is the better one."""
        old, old_left, old_hold, rank = self.cell.copy(), list(self.left), self.minima_hold, self.rank()
        self.cell[:], self.left, self.minima_hold = SILENT, self.columns.room.tolist(), True
        surplus = self.cells.gross * SCALE - self.paid[self.cells.column]
        order = np.argsort(-surplus, kind="stable").tolist()
        owner = np.repeat(np.arange(self.cells.n_choosers), np.diff(self.cells.start)).tolist()
        for lacking in (True, False) if self.minima else (False,):
            for cell in order:
                who = owner[cell]
                if self.cell[who] != SILENT or not (self.lacks(cell) if lacking else self.cells.gross[cell] > 0):
                    continue
                if self.fits(change := self.change(who, cell)):
                    self.go(who, cell, change)
        self.polish(self.moves_of(np.arange(self.cells.n_choosers), None))
        if self.rank() <= rank:
            self.cell, self.left, self.minima_hold = old, old_left, old_hold

    def rank(self) -> tuple[int, int]:
        """What makes a list the better one: that less is lacking, then what it is worth."""
        return sum(left for left in self.left if left < 0), self.value()

    def lacks(self, cell: int) -> bool:
        """Whether a minimum that does not hold yet counts that cell."""
        return any(units < 0 and self.left[limit] < 0 for limit, units in self.uses(cell))

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
