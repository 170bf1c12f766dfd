"""Arrays cut into segments, one a key: places by binary search, ranges laid out, sums between places."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LAID_OUT = 4_000_000  # places laid out at a time
_BITS = 64


def reached(clock: Ints, start: Ints, end: Ints, at: Ints) -> Ints:
    """Per segment [start, end) of an array that ascends in it: the first place whose value is above `at`, (n,)."""
    low, high = start.copy(), end.copy()
    while (low < high).any():
        middle = (low + high) >> 1
        within = low < high
        below = within & (clock[np.minimum(middle, len(clock) - 1)] <= at)
        low, high = np.where(below, middle + 1, low), np.where(within & ~below, middle, high)
    return low


def sums_between(values: Ints, first: Ints, last: Ints) -> Ints:
    """Sums of values[first:last] of several ranges. Exact: int64 wraps around and back."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    return running[last] - running[first]


def laid_out(first: Ints, last: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(range, place) of every place of the ranges [first, last), ascending, about LAID_OUT at a time."""
    sizes = np.maximum(last - first, 0)
    ends = np.cumsum(sizes)
    done = 0
    while done < len(sizes):
        before = int(ends[done - 1]) if done else 0
        upto = max(int(np.searchsorted(ends, before + LAID_OUT, "right")), done + 1)
        some = sizes[done:upto]
        which = np.repeat(np.arange(done, upto), some)
        place = np.arange(len(which)) + np.repeat(first[done:upto] - (ends[done:upto] - some - before), some)
        yield which, place
        done = upto


def distinct_codes(keys: Ints, codes: Ints, n_keys: int) -> Ints:
    """How many different codes (0 or more, small) stand under each key 0..n_keys - 1; keys ascend, (n_keys,)."""
    counts = np.zeros(n_keys, np.int64)
    if not len(keys):
        return counts
    first = first_places(keys)
    for low in range(0, int(codes.max()) + 1, _BITS):
        bit = (codes - low).astype(np.uint64)  # below 0 it is above every bit
        words = np.where(bit < _BITS, np.uint64(1) << bit, np.uint64(0))
        counts[keys[first]] += np.bitwise_count(np.bitwise_or.reduceat(words, first))
    return counts


def first_places(keys: Ints) -> Ints:
    """The first place of each key that is there; keys ascend."""
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else keys


def last_places(keys: Ints) -> Ints:
    """The last place of each key that is there; keys ascend."""
    return np.flatnonzero(np.concatenate((keys[1:] != keys[:-1], [True]))) if len(keys) else keys
