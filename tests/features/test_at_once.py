"""Everybody's sums at one instant equal those of the sorted road, in any batches."""

import narwhals as nw
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.at_once import Adds, sums_at_once

ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 9), st.integers(-(2**62), 2**62)), max_size=30
)
KEYS = st.sets(st.sampled_from([0, 2, 3, 7, 9, 50_000_000]), max_size=6)


@settings(deadline=None, max_examples=60)
@given(ROWS, KEYS, st.integers(1, 7))
def test_sums_by_definition(rows: list[tuple[int, int, int, int]], keys: set[int], size: int) -> None:
    """Rows of strangers, keys without rows, late rows, keys far apart; sums in int64 wrap around.

    Mutant: bands searched with "left" put a booking at a tail into the window before it.
    """
    as_of, tails = 30, {1: 25, 5: 10, 7: 10, 9: 0}
    frame = pl.DataFrame(
        {"customer": [r[0] for r in rows], "booked": [r[1] for r in rows], "recorded": [r[1] + r[2] for r in rows],
         "amount": [r[3] for r in rows]}, schema=dict.fromkeys(("customer", "booked", "recorded", "amount"), pl.Int64),
    )  # fmt: skip
    asked = {1: ["amount"], 5: ["amount", "n"], 7: ["n"], 9: ["amount"]}
    parts = (nw.from_native(part, eager_only=True) for part in frame.iter_slices(size))
    measures = {"n": Adds(~nw.col("amount").is_null())}
    found = sums_at_once(parts, np.array(sorted(keys), np.int64), "customer", as_of, tails, asked, measures)
    for days, names in asked.items():
        for name in names:
            wanted = [sum(r[3] if name == "amount" else 1 for r in rows
                          if r[0] == key and tails[days] <= r[1] < as_of and r[1] + r[2] <= as_of) for key in sorted(keys)]  # fmt: skip
            assert found[name, days].tolist() == [(w + 2**63) % 2**64 - 2**63 for w in wanted]
