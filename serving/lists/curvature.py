"""The curvature of the smoothed dual, and Newton's step from it.

Limits that many columns use are shared: between them it is exact and dense. The others are local - a
manager's seats, a branch's - and hardly meet each other: theirs is a diagonal, bordered by the shared ones.
"""

import numpy as np

from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells

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
        n_shared, n_local, n = len(self.shared), len(self.local), active.n_choosers
        told = np.flatnonzero(share > FAINT)
        owner = np.repeat(np.arange(n), np.diff(active.start))[told]
        column, share = active.column[told], share[told]
        weight = np.bincount(column, share, len(self.dense))
        mean = np.empty((n, n_shared))
        for place in range(n_shared):
            mean[:, place] = np.bincount(owner, share * self.dense[:, place].take(column), n)
        used = np.flatnonzero(weight)
        dense = self.dense[used].T @ (weight[used, None] * self.dense[used]) - mean.T @ mean
        border, diagonal = np.zeros((n_local + 1, n_shared)), np.zeros(n_local + 1)
        for limit, units in self.slots:
            index = limit[used, None] * n_shared + np.arange(n_shared)
            product = (weight * units)[used, None] * self.dense[used]
            border += np.bincount(index.ravel(), product.ravel(), border.size).reshape(border.shape)
            diagonal += np.bincount(limit[used], (weight * units**2)[used], n_local + 1)
            own = np.full(n, n_local)
            counts = units[column] != 0
            own[owner[counts]] = limit[column[counts]]
            mine = np.bincount(owner[counts], (share * units[column])[counts], n)
            rows = np.flatnonzero(own < n_local)
            own, mine = own[rows], mine[rows]
            diagonal -= np.bincount(own, mine**2, n_local + 1)
            for place in range(n_shared):
                border[:, place] -= np.bincount(own, mine * mean[rows, place], n_local + 1)
        return dense, border[:-1], diagonal[:-1]
