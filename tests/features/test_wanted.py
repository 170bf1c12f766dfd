"""Whose rows are found by a hash are theirs, whatever else has that hash."""

from collections.abc import Callable

import polars as pl
import pytest

from features import wanted as room
from features.wanted import Wanted

CODES = pl.DataFrame({"customer_id": ["C1", "C2", "银行3", None], "customer": [7, 3, 5, 9]})
ROWS = pl.DataFrame(
    {"customer_id": ["C2", "stranger", "C1", None, "银行3", "C2", "C3"], "amount": [10, 20, 30, 40, 50, 60, 70]}
)
THEIRS = [(10, 3), (30, 7), (50, 5), (60, 3)]


def found(rows: pl.DataFrame, codes: pl.DataFrame = CODES) -> list[tuple[int, int]]:
    """amount, customer of those of the rows that are theirs, by amount."""
    wanted = Wanted(codes)
    met = wanted.met(wanted.joined(rows.lazy()).collect())
    assert met.columns == ["amount", "customer"]
    return sorted(met.rows())


def test_each_row_of_a_wanted_customer_has_his_code_and_no_other_is_found():
    assert found(ROWS) == THEIRS
    assert found(ROWS.head(0)) == []
    assert found(ROWS, CODES.head(0)) == []


@pytest.mark.parametrize(
    "hashed", [lambda: pl.lit(1, pl.UInt64), lambda: pl.col("customer_id").str.len_bytes().cast(pl.UInt64)]
)
def test_ids_of_one_hash_stay_apart_strangers_and_wanted_ones_alike(
    monkeypatch: pytest.MonkeyPatch, hashed: Callable[[], pl.Expr]
):
    monkeypatch.setattr(room, "_hash", lambda column: hashed().fill_null(1).alias("_hash"))
    assert found(ROWS) == THEIRS
