"""The Lagrangian dual: a price for every limit, and with it a bound no list can exceed.

    D(price) = sum over choosers of max(0, best over open cells of gross - price of its column)
               + sum over limits of price x room

holds for every price (weak duality). It is smoothed by an entropy of temperature t, whose minimum moves
to the true one as t falls; each step is Newton's, on those choosers alone who are within some t of
another choice. The smooth one differs from D's least value by no more than t x entropy.
Sources: Everett, Generalized Lagrange multiplier method (1963); Nesterov, Smooth minimization of
non-smooth functions (2005).
"""

from dataclasses import dataclass

import numpy as np

from rules.chunks import over_chunks
from serving.lists.curvature import Curvature
from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells

SCALE = 1_000  # prices are whole thousandths of a minor unit
CHUNK = 16_384  # choosers: their cells stay in the second-level cache
FEWER = 8_192  # where more is worked out for each
MANY = 1_000_000  # cells
SAMPLE, GROWTH = 4_000, 8  # choosers the first prices are sought on, and how fast that number grows
NEAR, MOVE = 24.0, 6.0  # temperatures: who is near another choice, and how far one step may go
COOLER = 0.35
STEPS, TRIES = 5, 30  # Newton steps with one set of near choosers, and how many sets at one temperature
FINE = 5e-7  # the smooth value may differ from the true by so much of it
COLDEST = 0.02  # minor units
SILENT = -1
NOISE = 4.0
ENOUGH, FAR = 1e-2, 64.0  # of the entropy part; boxes behind a wall that are reckoned with


@dataclass(frozen=True)
class Priced:
    """What each chooser takes under prices, (n_choosers,) each.

    best: float64, its surplus, 0 for silence. gap: how much less the next choice is worth. cell: int64, SILENT (-1).
    """

    best: np.ndarray
    gap: np.ndarray
    cell: np.ndarray


def choose(cells: OpenCells, paid: np.ndarray, scale: float = 1.0) -> Priced:
    """The cell of most surplus, gross x scale - paid, for each chooser; silence is 0, ties go to the first cell.

    paid: (n_columns,) float64. Exact where both are whole numbers below 2^53.
    """
    n = cells.n_choosers
    found = Priced(np.zeros(n), np.zeros(n), np.full(n, SILENT, np.int64))

    def work(begin: int, end: int) -> None:
        first, last = cells.start[begin], cells.start[end]
        start = cells.start[begin:end] - first
        surplus = cells.gross[first:last] * float(scale)
        surplus -= paid.take(cells.column[first:last])
        top = np.maximum.reduceat(surplus, start)
        at = np.flatnonzero(surplus == np.repeat(top, np.diff(cells.start[begin : end + 1])))
        at = at[np.searchsorted(at, start)]  # the first cell of the best surplus
        surplus[at] = -np.inf
        second = np.maximum(np.maximum.reduceat(surplus, start), 0.0)
        won = top > 0
        found.best[begin:end] = np.maximum(top, 0.0)
        found.gap[begin:end] = np.where(won, top - second, -top)
        found.cell[begin:end] = np.where(won, at + first, SILENT)

    over_chunks(n, CHUNK, work)
    return found


def bound(cells: OpenCells, columns: Columns, price: np.ndarray) -> int:
    """No list that keeps the limits is worth more minor units. price: (n_limits,) int64, thousandths, none negative."""
    best = choose(cells, columns.prices(price).astype(np.float64), SCALE).best
    return bound_of(int(best.astype(np.int64).sum()), columns, price)


def bound_of(surplus: int, columns: Columns, price: np.ndarray) -> int:
    """The bound, minor units, from the sum of all choosers' best cells under the prices, thousandths."""
    return (surplus + sum(map(int, price * columns.room))) // SCALE


def find_prices(cells: OpenCells, columns: Columns) -> np.ndarray:
    """(n_limits,) int64, thousandths of a minor unit: prices near the least of D.

    They are sought on every k-th chooser first, with the room for every k-th, and then on more and more;
    a sample cools no further than its own noise.
    """
    price = np.zeros(columns.n_limits)
    if not columns.n_limits or not cells.n_choosers:
        return price.astype(np.int64)
    warmth = begun = float(np.maximum(cells.gross, 0).mean()) / 2 + 1.0
    n, size = cells.n_choosers, SAMPLE
    while size * 2 < n:
        part = np.arange(0, n, -(-n // size))
        search = Search(cells.taken(part), columns, columns.room * (len(part) / n))
        price, warmth = search.run(price, warmth, NOISE * begun / len(part) ** 0.5)
        size *= GROWTH
    price, _ = Search(cells, columns, columns.room.astype(np.float64)).run(price, warmth, COLDEST)
    return np.rint(price * SCALE).astype(np.int64)


@dataclass
class Smooth:
    """The smoothed dual at a price: its value, the entropy part of it, the slope, and who is torn how much.

    share: of each active cell; float32 where they are many, which is twice as fast and finer than their noise.
    """

    value: float
    entropy: float
    slope: np.ndarray
    share: np.ndarray


class Search:
    """The least of D over some choosers. room: (n_limits,) float64."""

    def __init__(self, cells: OpenCells, columns: Columns, room: np.ndarray) -> None:
        self.cells, self.columns, self.room = cells, columns, room
        self.curvature = Curvature(columns)
        most = np.ones(columns.n_limits + 1)
        np.maximum.at(most, columns.limit, np.abs(columns.units))
        self.most = most[:-1]
        idle = room * (1 + 1e-12) >= cells.n_choosers * self.most  # all choosers together cannot fill it
        self.ceiling = np.where(idle, 0.0, 4.0 * float(np.abs(cells.gross).max(initial=1)) + 1.0)

    def run(self, price: np.ndarray, warmth: float, coldest: float) -> tuple[np.ndarray, float]:
        """(prices, the last temperature), cooling until coldest or the smooth value is as good as the true one."""
        while True:
            least = MOVE * warmth / self.most
            box, n_tries = least, 0
            while True:
                there, settled, smooth = self._settle(price, warmth, box)
                moved, price, n_tries = np.abs(there - price), there, n_tries + 1
                if settled or n_tries == TRIES:
                    break
                box = np.maximum(np.where(moved > 0.9 * box, 4 * box, 2 * moved), least)
            if warmth * smooth.entropy <= FINE * abs(smooth.value) or warmth * COOLER < coldest:
                return price, warmth
            warmth *= COOLER

    def _settle(self, begun: np.ndarray, warmth: float, box: np.ndarray) -> tuple[np.ndarray, bool, Smooth]:
        """Some Newton steps inside the box around the prices; whether they end where nothing is to be gained.

        Whom no price inside the box, and some temperatures, can bring to another choice does not take part.
        """
        found, near = self._near(begun, warmth, box)
        fixed = found.cell[~near & (found.cell >= 0)]
        price, active = begun, self.cells.taken(np.flatnonzero(near))
        count = np.bincount(self.cells.column[fixed], minlength=len(self.columns.limit)).astype(np.float64)
        away = _Rest(float(self.cells.gross[fixed].sum()), self.room - self.columns.used(count))
        smooth = self._smooth(active, price, warmth, away)
        low, high = np.maximum(begun - box, 0.0), np.minimum(begun + box, self.ceiling)
        for _ in range(STEPS):
            step, gain = self._newton(active, price, warmth, smooth, low, high)
            if gain <= (enough := ENOUGH * warmth * smooth.entropy + 1e-12 * abs(smooth.value)):
                there, edge = price + step, 0.1 * box  # a small box promises little, too: more may lie behind its wall
                at_wall = ((there <= low + edge) & (low > 0) & (smooth.slope > 0)) | (
                    (there >= high - edge) & (high < self.ceiling) & (smooth.slope < 0)
                )
                behind = FAR * float((np.abs(smooth.slope) * box)[at_wall].sum())
                return (price, True, smooth) if behind <= enough else (there, False, smooth)
            price, smooth, better = self._along(active, price, warmth, smooth, step, away)
            if not better:
                return price, True, smooth
        return price, False, smooth

    def _near(self, price: np.ndarray, warmth: float, box: np.ndarray) -> tuple[Priced, np.ndarray]:
        """What everyone takes, and who could come within some temperatures of another choice inside the box."""
        paid, move = self.columns.prices(price), _bounded(self.columns, box)
        found = choose(self.cells, paid)
        eager = choose(self.cells, paid - move)
        rival = np.where(eager.cell == found.cell, eager.best - eager.gap, eager.best)
        own = np.where(found.cell >= 0, move[self.cells.column[found.cell]], 0.0)
        silent = np.where(found.cell >= 0, 0.0, rival)  # silence moves for nobody
        rival = np.where(found.cell >= 0, np.maximum(rival, 0.0), np.where(eager.cell >= 0, silent, -eager.gap))
        return found, rival + own >= found.best - NEAR * warmth

    def _smooth(self, active: OpenCells, price: np.ndarray, warmth: float, away: "_Rest") -> Smooth:
        share, paid = (
            np.empty(len(active.gross), np.float32 if len(active.gross) > MANY else np.float64),
            self.columns.prices(price),
        )
        found: dict[int, tuple[float, float, np.ndarray]] = {}

        def work(begin: int, end: int) -> None:
            found[begin] = self._smooth_some(active, paid, warmth, share, begin, end)

        over_chunks(active.n_choosers, FEWER, work)
        parts = [found[begin] for begin in sorted(found)]  # summed in one order, whichever thread was first
        value = away.gross + float(price @ away.room) + sum(part[0] for part in parts)
        used = self.columns.used(sum((part[2] for part in parts), np.zeros(len(paid))))
        return Smooth(value, sum(part[1] for part in parts), away.room - used, share)

    def _smooth_some(self, active: OpenCells, paid: np.ndarray, warmth: float, shares: np.ndarray, begin: int,
                     end: int) -> tuple[float, float, np.ndarray]:  # fmt: skip
        """Of some choosers: what they add to the value, their entropy, contacts by column; their shares are written."""
        first, last = active.start[begin], active.start[end]
        column, heads = active.column[first:last], active.start[begin:end] - first
        counts = np.diff(active.start[begin : end + 1])
        surplus = active.gross[first:last] - paid.take(column)
        top = np.maximum(np.maximum.reduceat(surplus, heads), 0.0)
        surplus -= np.repeat(top, counts)
        surplus /= warmth
        share, silent = shares[first:last], np.exp(-top / warmth)
        np.exp(surplus.astype(share.dtype), out=share)
        total = np.add.reduceat(share, heads, dtype=np.float64) + silent
        share *= np.repeat((1.0 / total).astype(share.dtype), counts)
        log_total = np.log(total)
        # entropy = log total - mean surplus / t, over all choices of a chooser, silence included
        surplus *= share
        entropy = float(log_total.sum() - surplus.sum() + (silent / total * top).sum() / warmth)
        return float(top.sum() + warmth * log_total.sum()), entropy, np.bincount(column, share, len(paid))

    def _newton(self, active: OpenCells, price: np.ndarray, warmth: float, smooth: Smooth, low: np.ndarray,
                high: np.ndarray) -> tuple[np.ndarray, float]:  # fmt: skip
        """The step and what it promises."""
        slope = smooth.slope
        free = ((price > low) | (slope < 0)) & ((price < high) | (slope > 0))
        stiff = 2 * np.abs(slope) / np.maximum(high - low, 1e-12) + 1e-9
        step = self.curvature.step(active, smooth.share, warmth, np.where(free, -slope, 0.0), free, stiff)
        step = np.clip(price + step, low, high) - price
        if slope @ step > 0:  # the curvature of limits that meet in a unit is not exact
            step = np.clip(price - np.where(free, slope / stiff, 0.0), low, high) - price
        return step, float(-(slope @ step))

    def _along(self, active: OpenCells, price: np.ndarray, warmth: float, smooth: Smooth, step: np.ndarray,
               away: "_Rest") -> tuple[np.ndarray, Smooth, bool]:  # fmt: skip
        """Go as much of the step as lowers the smooth value by what the slope promises of it."""
        share, promised = 1.0, float(smooth.slope @ step)
        for _ in range(12):
            there = self._smooth(active, price + share * step, warmth, away)
            if there.value <= smooth.value + 1e-4 * share * promised:
                return price + share * step, there, True
            share *= 0.4
        return price, smooth, False


@dataclass(frozen=True)
class _Rest:
    """What the choosers who are far from another choice add: their gross, and the room they leave."""

    gross: float
    room: np.ndarray


def _bounded(columns: Columns, box: np.ndarray) -> np.ndarray:
    """(n_columns,) how far what each column pays can move inside the box."""
    return (np.append(box, 0.0)[columns.limit] * np.abs(columns.units)).sum(axis=1)
