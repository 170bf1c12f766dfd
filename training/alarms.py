"""What keeps a model out whatever its figures: hindsight, a segment it gets wrong, an age band treated worse.

Each alarm is one line for the gate; it stands in the manifest of the model, so that the gate needs no data.
Age bands are never a feature made for this: they are read from birth dates and only measure. Gender is no
column of the bank's tables and cannot be measured.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from training.clustered import by_unit
from training.dataset import Dataset, Names
from training.encode import Matrix
from training.evaluate import Metrics
from training.leaks import other_rows_rate

KNOWS_AUC = 0.99  # one column that alone ranks this well was written after the fact
SEGMENT_RATIO = 2.0  # a segment's mean score may be off by this factor
FAIR_GAP = 0.05  # how far the error of one age band may be from another's
_SURE = 4.0  # standard errors beyond which a gap is no accident
_ROWS, _FEW = 20_000, 20


def future_feature(data: Dataset) -> str | None:
    """The line about the first column that alone ranks the label as only hindsight can; None: none does.

    Categories are ranked by their rate among other rows: the place of a code says nothing.
    """
    rows = (
        data
        if len(data.label) <= _ROWS
        else data.rows(np.arange(len(data.label)) % (len(data.label) // _ROWS + 1) == 0)
    )
    if min(rows.label.sum(), (1 - rows.label).sum()) < _FEW:
        return None
    matrix = rows.matrix.copy()
    for place, feature in enumerate(rows.features):
        if feature.kind == "enum":
            matrix[:, place] = other_rows_rate(matrix[:, place], rows.label)
    null = np.isnan(matrix)
    best = np.zeros(len(rows.names))
    for unknown in (-np.inf, np.inf):  # that a value is unknown may be what gives the label away
        areas = _areas(rows.label > 0, np.where(null, unknown, matrix))
        best = np.maximum(best, np.maximum(areas, 1 - areas))
    for name, area in zip(rows.names, best, strict=False):
        if area > KNOWS_AUC:
            return (f"feature `{name}` alone ranks the label with auc {area:.4f}"
                    " (most 0.99); it is written after the fact: take it out")  # fmt: skip
    return None


def _areas(positive: npt.NDArray[np.bool_], matrix: Matrix) -> Matrix:
    """The AUC of each column, from the ranks of the positives (Mann-Whitney), ties half."""
    n = int(positive.sum())
    ranks = rankdata(matrix, axis=0)[positive].sum(axis=0)
    return (ranks - n * (n + 1) / 2) / (n * (len(positive) - n))


def segment_alarm(data: Dataset, p: Matrix) -> str | None:
    """The line about the first offer, channel or age band whose scores miss its rate; None: all hold."""
    for name, mine in _segments(data, p):
        off, error, expected, seen = _miss(data.rows(mine), p[mine])
        ratio = max(expected, seen) / max(min(expected, seen), 1e-9)
        if ratio > SEGMENT_RATIO and abs(off) > _SURE * error:
            return f"segment `{name}` is scored {expected:.4f}, its rate is {seen:.4f}; calibrate or split it"
    return None


def fairness(data: Dataset, p: Matrix) -> tuple[Metrics, str | None]:
    """How unlike the age bands are treated, and the line where the gap is beyond the bound and no accident.

    fairness_gap: the largest difference between two bands of (mean score - rate). opportunity_gap: the
    largest difference of the share of positives among the best-scored tenth (equal opportunity; only
    shown, for products are not for all ages alike).
    """
    bands = [
        (name, data.rows(mine), p[mine]) for name, mine in _by("band", data.bands) if data.label[mine].sum() >= _FEW
    ]
    if len(bands) < 2:
        return {}, None
    cut = float(np.quantile(p, 0.9))
    found = {name: (*_miss(rows, mine)[:2], float((mine[rows.label == 1] >= cut).mean())) for name, rows, mine in bands}
    high, low = max(found, key=lambda b: found[b][0]), min(found, key=lambda b: found[b][0])
    gap, error = found[high][0] - found[low][0], float(np.hypot(found[high][1], found[low][1]))
    taken = [share for _, _, share in found.values()]
    figures: Metrics = {"fairness_gap": round(gap, 6), "opportunity_gap": round(max(taken) - min(taken), 6)}
    if gap <= FAIR_GAP or gap <= _SURE * error:
        return figures, None
    return figures, (f"fairness gap {gap:.4f} > {FAIR_GAP}: {high} is scored too high,"
                     f" {low} too low; calibrate within the bands")  # fmt: skip


def _segments(data: Dataset, p: Matrix) -> Iterator[tuple[str, np.ndarray]]:
    for name, mine in (*_by("item", data.items), *_by("band", data.bands)):
        if max(data.label[mine].sum(), p[mine].sum()) >= _FEW:
            yield name, mine


def _by(what: str, names: Names) -> list[tuple[str, np.ndarray]]:
    found = sorted(set(names.tolist()) - {""})
    return [(name if what == "item" else f"age {name}", names == name) for name in found]


def _miss(rows: Dataset, p: Matrix) -> tuple[float, float, float, float]:
    """(mean score - rate, its standard error, mean score, rate), by the rows each row stands for.

    The error is the larger of two: of rows that fall out as scored, and of units whose rows fall out together
    (cluster-robust, Liang and Zeger 1986): a customer who leaves is a leaver at every cut of the months before.
    """
    w = rows.weight / rows.weight.sum()
    expected, seen = float((w * p).sum()), float((w * rows.label).sum())
    apart = (w**2 * np.maximum(p * (1 - p), seen * (1 - seen))).sum()
    together = (by_unit(w * (p - rows.label), rows.owners) ** 2).sum()
    return expected - seen, float(np.sqrt(max(apart, together))), expected, seen
