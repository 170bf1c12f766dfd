"""List columns: what is laid into them comes out as it was."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from features.lists import in_lists, out_of_lists


@pytest.mark.parametrize("rows", [[], [0, 0, 2], [1, 3, 3, 3], [4]])
def test_what_goes_into_lists_comes_out(rows: list[int]) -> None:
    """Rows without an entry, at either end too, have an empty list."""
    values = pa.StructArray.from_arrays([pa.array(range(len(rows)), pa.int64())], names=["n"])
    lists = in_lists(values, np.array(rows, np.int64), 5)
    assert [len(entries) for entries in lists.to_pylist()] == [rows.count(row) for row in range(5)]
    row, flat = out_of_lists(pl.Series(lists))
    assert row.tolist() == rows
    assert flat["n"].to_list() == list(range(len(rows)))
