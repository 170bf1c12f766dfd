import numpy as np
import numpy.typing as npt
import pytest

from training.dataset import Dataset, Slice
from training.incumbent import gain_over_live, unseen_rows


def dated(owners: list[str], at: list[int], ends: list[int], label: list[float]) -> Dataset:
    """Rows without features; instants in days."""
    n = len(owners)
    blank, names = np.full(n, ""), np.asarray(owners)
    return Dataset((), np.empty((n, 0)), np.asarray(label), names, blank, blank, np.full(n, Slice.TEST, np.int8), "id",
                   at=np.asarray(at, np.int64), ends=np.asarray(ends, np.int64))  # fmt: skip


def test_unseen_is_what_was_not_ripe_when_the_live_version_was_cut() -> None:
    """Mutant: decided since the cut, a monthly retrain of sixty-day labels has nothing to compare."""
    rows = dated(["A", "B", "C", "D"], [0, 31, 59, 120], [60, 91, 119, 180], [0, 0, 1, 0])
    assert unseen_rows(rows, [rows], 90).tolist() == [False, True, True, True]
    assert unseen_rows(rows, [rows], 91).tolist() == [False, False, True, True]
    assert unseen_rows(rows, [rows], 180).tolist() == [False] * 4


def test_a_leaving_that_was_known_in_one_month_is_not_asked_for_again_in_the_next() -> None:
    """A left in January's window and in February's: the first was ripe at the cut, and learned."""
    earlier = dated(["A", "B"], [0, 0], [60, 60], [1, 0])
    rows = dated(["A", "B", "A", "B"], [31, 31, 60, 60], [91, 91, 120, 120], [1, 1, 0, 0])
    assert unseen_rows(rows, [earlier, rows], 90).tolist() == [False, True, True, True]
    assert unseen_rows(rows, [rows], 90).tolist() == [True] * 4
    assert unseen_rows(rows, [earlier, rows], 59).tolist() == [True] * 4


def ranked(n: int, share: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(2)
    label = (np.arange(n) < n * share).astype(np.float64)
    return label, label + rng.normal(0, 1, n)


def test_the_gain_is_of_the_new_over_the_live() -> None:
    label, good = ranked(400, 0.2)
    owners = np.arange(400).astype(str)
    found = gain_over_live(label, good, np.zeros(400), owners, 1)
    assert (found["live_rows"], found["live_positives"]) == (400.0, 80.0)
    assert (found["live_gain_low"] or 0.0) > 0.15
    lost = gain_over_live(label, np.zeros(400), good, owners, 1)
    assert lost["live_gain"] == -(found["live_gain"] or 0.0)


@pytest.mark.parametrize("positives", [19, 381])
def test_a_handful_of_a_class_is_counted_and_not_compared(positives: int) -> None:
    label, good = ranked(400, positives / 400)
    counted = gain_over_live(label, good, np.zeros(400), np.arange(400).astype(str), 1)
    assert counted == {"live_rows": 400.0, "live_positives": float(positives)}
    assert gain_over_live(label[:0], good[:0], good[:0], np.empty(0, np.str_), 1) == {}
