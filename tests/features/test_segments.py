"""Places, sums and ranges in segmented arrays, against plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import segments
from features.segments import distinct_codes, laid_out, reached, sums_between

SEGMENTS = st.lists(st.lists(st.integers(-5, 5), max_size=6), max_size=6)


@settings(deadline=None)
@given(SEGMENTS, st.integers(-6, 6))
def test_reached_is_the_first_place_above(parts: list[list[int]], at: int) -> None:
    """Mutant: `<` for `<=` in the comparison counts a value equal to `at` as above it."""
    sizes = [len(part) for part in parts]
    end = np.cumsum(sizes, dtype=np.int64)
    start = end - np.array(sizes, np.int64)
    clock = np.array([value for part in parts for value in sorted(part)], np.int64)
    found = reached(clock, start, end, np.full(len(parts), at))
    assert found.tolist() == [s + sum(v <= at for v in part) for s, part in zip(start.tolist(), parts, strict=True)]


def test_sums_wrap_around_and_back() -> None:
    values = np.array([2**62, 2**62, 2**62, -5], np.int64)
    assert sums_between(values, np.array([3, 0, 2]), np.array([4, 1, 2])).tolist() == [-5, 2**62, 0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), st.integers(1, 7))
def test_ranges_are_laid_out_whole_and_in_order(ranges: list[tuple[int, int]], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LAID_OUT", at_once)
        first, last = (np.array([r[n] for r in ranges], np.int64) for n in (0, 1))
        found = [
            pair for which, place in laid_out(first, last) for pair in zip(which.tolist(), place.tolist(), strict=True)
        ]
    assert found == [(n, place) for n, (low, high) in enumerate(ranges) for place in range(low, high)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 150)), max_size=40))
def test_distinct_codes_counts_what_a_set_holds(rows: list[tuple[int, int]]) -> None:
    """Codes reach over several words of 64 bits. Mutant: `1 << bit` with bit modulo 64 counts 3 and 67 once."""
    keys, codes = (np.array([row[n] for row in sorted(rows)], np.int64) for n in (0, 1))
    wanted = [len({code for key, code in rows if key == asked}) for asked in range(5)]
    assert distinct_codes(keys, codes, 5).tolist() == wanted
