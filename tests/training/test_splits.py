import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import DatasetError
from training.splits import Axis, folds
from training.splits import test_part as split_off

SETTINGS = settings(max_examples=40, deadline=None)


def axis(n: int, seed: int, time: bool, group: bool) -> Axis:
    rng = np.random.default_rng(seed)
    return Axis(
        strata=rng.integers(0, 2, n),
        time=rng.integers(0, 30, n).astype(float) if time else None,
        group=rng.integers(0, n // 3, n) if group else None,
    )


@SETTINGS
@given(n=st.integers(60, 200), seed=st.integers(0, 999), time=st.booleans(), group=st.booleans())
def test_p28_no_split_learns_from_later_rows_or_from_a_group_it_measures(
    n: int, seed: int, time: bool, group: bool
) -> None:
    """Mutants: `time <= start` for `<` in _around, or folds that ignore the group, fail here."""
    it = axis(n, seed, time, group)
    fit, held = split_off(it, seed)
    inner = it.rows(fit)
    lines = [(it, fit, held), *((inner, fold.fit, fold.hold) for fold in folds(inner, seed))]
    for whole, learned, measured in lines:
        assert len(learned) and len(measured) and not set(learned) & set(measured)
        assert (np.diff(learned) > 0).all() and (np.diff(measured) > 0).all()
        if whole.time is not None:
            assert whole.time[learned].max() < whole.time[measured].min()
        if whole.group is not None:
            assert not set(whole.group[learned]) & set(whole.group[measured])
    if not time:
        places = np.sort(np.concatenate([fold.hold for fold in folds(inner, seed)]))
        np.testing.assert_array_equal(places, np.arange(len(fit)))


def test_the_test_part_is_a_fifth_and_the_latest_in_time() -> None:
    it = Axis(np.arange(1000) % 2, time=np.random.default_rng(1).permutation(1000).astype(float))
    fit, held = split_off(it, 1)
    assert len(held) == 200 and it.time is not None and it.time[held].min() == 800
    random = Axis(np.repeat([0, 1, 2, 3], [700, 200, 50, 50]))
    fit, held = split_off(random, 1)
    np.testing.assert_array_equal(np.bincount(random.strata[held]), [140, 40, 10, 10])
    other, _ = split_off(random, 2)
    assert not np.array_equal(fit, other)
    np.testing.assert_array_equal(fit, split_off(random, 1)[0])


@pytest.mark.parametrize(
    ("it", "said"),
    [
        (Axis(np.arange(20) % 2, time=np.zeros(20)), "all rows are of one time"),
        (Axis(np.arange(20) % 2, group=np.arange(20) % 4), "4 groups cannot be split"),
        (Axis(np.repeat([0, 1], [17, 3])), "the rarest class has 3 rows; at least 5 are needed"),
    ],
)
def test_what_cannot_be_split_is_one_line(it: Axis, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        split_off(it, 1)
