"""The curvature of the smoothed dual, and Newton's step from it.

Limits that many columns use are shared: between them it is exact and dense. The others are local - a
manager's seats, a branch's - and hardly meet each other: theirs is a diagonal, bordered by the shared ones.
"""

import numpy as np
from scipy.sparse import csr_matrix

from rules.chunks import over_chunks
from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells

CHUNK = 8_192  # choosers
SHARED_MAX = 64
SHARED_FROM = 1 / 100  # of the columns use it
FAINT = 1e-7  # a choice less likely than that bends nothing


class Curvature:
    """What the columns tell of it, once for all prices."""

    def __init__(self, columns: Columns) -> None:
        n, place = columns.n_limits, np.arange(len(columns.limit))
        uses = np.bincount(columns.limit[columns.units != 0], minlength=n + 1)[:n]
        order = np.argsort(-uses, kind="stable")[:SHARED_MAX]
        self.shared = np.sort(order[uses[order] >= SHARED_FROM * len(columns.limit)])
        self.local = np.setdiff1d(np.arange(n), self.shared)
        to_shared, to_local = (np.full(n + 1, len(part)) for part in (self.shared, self.local))
        to_shared[self.shared], to_local[self.local] = np.arange(len(self.shared)), np.arange(len(self.local))
        self.dense = np.zeros((len(columns.limit), len(self.shared) + 1))
        for slot in range(columns.limit.shape[1]):
            self.dense[place, to_shared[columns.limit[:, slot]]] += columns.units[:, slot]
        self.dense = self.dense[:, :-1].copy()
        self.slots = self._slots(to_local[columns.limit], columns.units.astype(np.float64))

    def _slots(self, limit: np.ndarray, units: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(local limit, units) of each column, as often as a column has local limits."""
        if not len(self.local):
            return []
        units = np.where(limit < len(self.local), units, 0.0)
        order = np.argsort(limit, axis=1, kind="stable")
        limit, units = (np.take_along_axis(part, order, axis=1) for part in (limit, units))
        width = int((units != 0).sum(axis=1).max(initial=0))
        return [(limit[:, slot].copy(), units[:, slot].copy()) for slot in range(width)]

    def step(self, active: OpenCells, share: np.ndarray, warmth: float, towards: np.ndarray, free: np.ndarray,
             stiff: np.ndarray) -> np.ndarray:  # fmt: skip
        """Newton's step (n_limits,). share: of each active cell; free: limits that may move; stiff: added to the diagonal."""
        dense, border, diagonal = (part / warmth for part in self._parts(active, share))
        s, m = self.shared, self.local
        diagonal = np.maximum(diagonal, 0.0) * (1 + 1e-6) + stiff[m]
        border[~free[m]], border[:, ~free[s]] = 0.0, 0.0
        dense[~free[s]], dense[:, ~free[s]] = 0.0, 0.0
        dense[np.diag_indices_from(dense)] += stiff[s] + 1e-6 * np.diag(dense) + ~free[s]
        step = np.zeros_like(towards)
        eased = border / diagonal[:, None]
        step[s] = np.linalg.solve(dense - border.T @ eased, towards[s] - eased.T @ towards[m])
        step[m] = np.where(free[m], towards[m] / diagonal - eased @ step[s], 0.0)
        return step

    def _parts(self, active: OpenCells, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shared by shared, local by shared, the diagonal of the local: covariances of what the choosers use."""
        n_shared, n_local = len(self.shared), len(self.local)
        found: dict[int, tuple[np.ndarray, ...]] = {}

        def work(begin: int, end: int) -> None:
            found[begin] = self._some(active, share, begin, end)

        over_chunks(active.n_choosers, CHUNK, work)
        weight, squares, border, diagonal = totals = (np.zeros(len(self.dense)), np.zeros((n_shared, n_shared)),
                                                      np.zeros((n_local, n_shared)), np.zeros(n_local))  # fmt: skip
        for begin in sorted(found):  # summed in one order, whichever thread was first
            for total, part in zip(totals, found[begin], strict=True):
                np.add(total, part, out=total)
        used = np.flatnonzero(weight)
        return self.dense[used].T @ (weight[used, None] * self.dense[used]) - squares, border, diagonal

    def _some(self, active: OpenCells, share: np.ndarray, begin: int, end: int) -> tuple[np.ndarray, ...]:
        """Of some choosers: weight of each column, squares of the means, border, diagonal."""
        first, last, n, n_local = active.start[begin], active.start[end], end - begin, len(self.local)
        told = np.flatnonzero(share[first:last] > FAINT)
        column, share, start = (
            active.column[first:last][told],
            share[first:last][told],
            active.start[begin : end + 1] - first,
        )
        mean = csr_matrix((share, column, np.searchsorted(told, start)), (n, len(self.dense))) @ self.dense
        border, diagonal = np.zeros((n_local, len(self.shared))), np.zeros(n_local)
        for limit, units in self.slots:
            at = np.flatnonzero(units.take(column))
            owner, of, much = np.searchsorted(start, told[at], "right") - 1, limit[column[at]], units[column[at]]
            border += _sums(of, share[at] * much, self.dense[column[at]], n_local)
            diagonal += np.bincount(of, share[at] * much**2, n_local)
            own = np.full(n, n_local)  # of a chooser's local limits the last: they hardly meet
            own[owner] = of
            mine = np.bincount(owner, share[at] * much, n)
            rows = np.flatnonzero(own < n_local)
            border -= _sums(own[rows], mine[rows], mean[rows], n_local)
            diagonal -= np.bincount(own[rows], mine[rows] ** 2, n_local)
        return np.bincount(column, share, len(self.dense)), mean.T @ mean, border, diagonal


def _sums(groups: np.ndarray, weight: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """(n, width): of each group the weighted sum of its rows."""
    return csr_matrix((weight, groups, np.arange(len(groups) + 1)), (len(groups), n)).T @ rows
