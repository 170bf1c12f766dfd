"""Ids are found by bisection in Arrow's own memory."""

import pyarrow as pa
import pytest

from features.base import SortedIds


@pytest.mark.parametrize("n_rows", [0, 1, 2, 63, 64, 65, 128, 129, 1000])
def test_every_id_is_found_at_its_place_and_no_other(n_rows: int) -> None:
    """Mutant: a search that ends one block early loses the first id of each block."""
    ids = sorted((f"C{n * 7}" for n in range(n_rows)), key=str.encode)
    found = SortedIds(pa.chunked_array([pa.array(ids, pa.string())]))
    assert [found.find(name) for name in ids] == list(range(n_rows))
    strangers = [f"C{n * 7 + 1}" for n in range(n_rows)] + ["", "B", "C", "D", "Ü"]
    assert not [name for name in strangers if found.find(name) is not None]
