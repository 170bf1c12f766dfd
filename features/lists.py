"""List columns of a snapshot: what of each customer is several, one entry after the other."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from features.segments import Ints


def in_lists(values: "pa.Array[Any]", row: Ints, n_rows: int) -> "pa.Array[Any]":
    """One list a row 0..n_rows - 1 of the values, each of which belongs to a row; rows ascend."""
    edges = pa.array(np.searchsorted(row, np.arange(n_rows + 1)), pa.int32())  # ArrowInvalid beyond 2**31 entries
    return pa.ListArray.from_arrays(edges, values)


def out_of_lists(lists: pl.Series) -> tuple[Ints, pl.DataFrame]:
    """The entries of lists of structs, (n,): the row of each, and its fields."""
    sizes = lists.list.len().to_numpy()
    return np.repeat(np.arange(len(lists)), sizes), lists.filter(sizes > 0).explode().struct.unnest()
