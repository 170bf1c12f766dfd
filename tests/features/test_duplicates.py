"""Second rows of one key, found on disk, are those a dictionary finds."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import duplicates
from features.duplicates import KeyBook

KEYS = st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=8), max_size=4)


def repeated(batches: list[list[tuple[str, int]]]) -> list[int]:
    with TemporaryDirectory() as scratch:
        book, done = KeyBook(Path(scratch) / "keys", ["id", "n"]), 0
        for rows in batches:
            frame = pl.DataFrame(rows, schema={"id": pl.String, "n": pl.Int64}, orient="row")
            book.add(frame, np.arange(done, done + len(rows), dtype=np.uint64))
            done += len(rows)
        return book.repeated().tolist()


def oracle(batches: list[list[tuple[str, int]]]) -> list[int]:
    rows = [row for batch in batches for row in batch]
    return [place for place, row in enumerate(rows) if row in rows[:place]]


ROWS = st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), max_size=5), max_size=3)


def contradicted(batches: list[list[tuple[str, int]]], whole: bool = True) -> tuple[list[int], list[int]]:
    """Places of what contradicts another row of its id, and of what repeats an id."""
    with TemporaryDirectory() as scratch:
        book, done = KeyBook(Path(scratch) / "keys", ["id"], whole=whole), 0
        for rows in batches:
            frame = pl.DataFrame(rows, schema={"id": pl.String, "n": pl.Int64}, orient="row")
            book.add(frame, np.arange(done, done + len(rows), dtype=np.uint64))
            done += len(rows)
        return book.contradicted().tolist(), book.repeated().tolist()


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_every_row_of_a_key_whose_rows_differ_is_found(batches: list[list[tuple[str, int]]]) -> None:
    rows = [row for batch in batches for row in batch]
    says = {key: {n for one, n in rows if one == key} for key, _ in rows}
    again = [place for place, (key, _) in enumerate(rows) if key in [k for k, _ in rows[:place]]]
    assert contradicted(batches) == ([place for place, (key, _) in enumerate(rows) if len(says[key]) > 1], again)
    assert contradicted(batches, whole=False) == ([], again)


@settings(deadline=None, max_examples=60)
@given(KEYS)
def test_every_row_but_the_first_of_its_key_is_found(batches: list[list[tuple[str, int]]]) -> None:
    assert repeated(batches) == oracle(batches)


def test_keys_that_share_half_their_hash_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the low half left out, all keys whose high halves agree are one."""
    true = pl.DataFrame.hash_rows

    def half(frame: pl.DataFrame, seed: int = 0) -> pl.Series:
        return pl.repeat(7, len(frame), dtype=pl.UInt64, eager=True) if seed == 1 else true(frame, seed=seed)

    monkeypatch.setattr(pl.DataFrame, "hash_rows", half)
    batches = [[("a", 1), ("b", 1), ("a", 1)], [("b", 1), ("c", 1)]]
    assert repeated(batches) == oracle(batches) == [2, 3]
    monkeypatch.setattr(duplicates, "SAME", ("high",))
    assert repeated(batches) != oracle(batches), "the mutant is caught"
