import numpy as np

from simulation.columns import customer_ids, ids, rank_within, words


def test_ids_have_equal_length_and_leading_zeros() -> None:
    made = ids("X", (np.array([0, 42, 999]), 3), (np.array([1, 2, 3]), 2))
    assert made.to_pylist() == ["X00001", "X04202", "X99903"]
    assert ids("X", (np.array([], dtype=np.int64), 3)).to_pylist() == []


def test_customer_ids_begin_at_one() -> None:
    assert customer_ids(np.array([0, 1_999_999])).to_pylist() == ["C0000001", "C2000000"]


def test_words_of_no_code_or_no_name_are_null() -> None:
    assert words(("a", None), np.array([0, 1, -1])).to_pylist() == ["a", None, None]


def test_rank_counts_earlier_rows_of_the_same_group() -> None:
    assert rank_within(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]
    assert rank_within(np.array([], dtype=np.int64)).tolist() == []
