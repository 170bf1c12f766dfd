"""Which rows measure and which rows choose: by time, by group, or at random with equal shares of the label.

    fitting part  ->  folds: every fold is predicted by models that have not seen it
    test part     ->  measures, once, what the folds have chosen

By time the test part is the latest fifth, and a fold is predicted from earlier rows only. A group
never lies on both sides of any line: where time cuts through one, its earlier rows are left out.
Rows of one instant stay together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from training.encode import Matrix
from training.errors import DatasetError

TEST_SHARE = 0.2
FOLDS = 5
_TIME_BLOCKS = (0.4, 0.55, 0.7, 0.85)  # shares of the fitting part after which a held-out block begins

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """Rows to fit on and rows to predict, as places in the fitting part."""

    fit: Rows
    hold: Rows


@dataclass(frozen=True)
class Axis:
    """What the split has to respect: strata (n,), and time and group where the table has them."""

    strata: Rows
    time: Matrix | None = None
    group: Rows | None = None

    @property
    def kind(self) -> str:
        """time, group or random."""
        return "time" if self.time is not None else "group" if self.group is not None else "random"

    def rows(self, places: Rows) -> "Axis":
        """The same of some rows."""
        time, group = self.time, self.group
        return Axis(self.strata[places], None if time is None else time[places],
                    None if group is None else group[places])  # fmt: skip


def test_part(axis: Axis, seed: int) -> tuple[Rows, Rows]:
    """Places of the fitting part and of the test part, each in row order.

    Raises:
        DatasetError: All rows are of one instant, or there are fewer than five groups.
    """
    n = len(axis.strata)
    if axis.time is not None:
        fit, hold = _around(axis, _boundary(axis.time, 1 - TEST_SHARE, "rows"), np.inf)
        return fit, hold
    first = next(iter(_spread(axis, FOLDS, seed)))
    return first.fit, np.setdiff1d(np.arange(n), first.fit)


def folds(axis: Axis, seed: int) -> list[Fold]:
    """Folds of the fitting part: five, or four later and later blocks where there is time.

    Raises:
        DatasetError: As test_part.
    """
    if axis.time is None:
        return _spread(axis, FOLDS, seed)
    edges = [_boundary(axis.time, share, "rows before the test part") for share in _TIME_BLOCKS]
    blocks = [_around(axis, at, end) for at, end in zip(edges, [*edges[1:], np.inf], strict=True) if at < end]
    return [Fold(fit, hold) for fit, hold in blocks if len(fit) and len(hold)]


def without_groups(axis: Axis, places: Rows, held: Rows) -> Rows:
    """Those of the places whose group has no row among `held`."""
    if axis.group is None:
        return places
    return places[~np.isin(axis.group[places], axis.group[held])]


def _around(axis: Axis, start: float, end: float) -> tuple[Rows, Rows]:
    time = axis.time
    if time is None:
        raise AssertionError("a boundary in time needs time")
    hold = np.flatnonzero((time >= start) & (time < end))
    return without_groups(axis, np.flatnonzero(time < start), hold), hold


def _spread(axis: Axis, parts: int, seed: int) -> list[Fold]:
    blank = np.zeros(len(axis.strata))
    if axis.group is None:
        least = int(np.bincount(axis.strata)[np.unique(axis.strata)].min())
        if least < parts:
            raise DatasetError(f"the rarest class has {least} rows; at least {parts} are needed to hold some out")
        split = StratifiedKFold(parts, shuffle=True, random_state=seed).split(blank, axis.strata)
    else:
        n_groups = len(np.unique(axis.group))
        if n_groups < parts:
            raise DatasetError(f"{n_groups} groups cannot be split; at least {parts} are needed to hold some out")
        split = StratifiedGroupKFold(parts, shuffle=True, random_state=seed).split(blank, axis.strata, axis.group)
    return [Fold(np.sort(fit), np.sort(hold)) for fit, hold in split]


def _boundary(time: Matrix, share: float, which: str) -> float:
    """The instant before which at most `share` of the rows lie; rows of that instant come after it."""
    ordered = np.sort(time)
    at = float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])
    if at > ordered[0]:
        return at
    later = ordered[ordered > at]
    if len(later) == 0:
        raise DatasetError(f"all {which} are of one time; leave --time out or give a column that orders them")
    return float(later[0])
