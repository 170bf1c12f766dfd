import threading

import numpy as np

from tests.training.small import draw_matrix, small_booster
from training.encode import Matrix
from training.singlerow import FALLBACKS, SingleRow, open_single_row


class _Wrong(SingleRow):
    """The mutant: one bit of one score differs."""

    def predict(self, matrix: Matrix) -> Matrix:
        found = super().predict(matrix)
        found[3] = np.nextafter(found[3], 1.0)
        return found


class _Missing(SingleRow):
    """Another build of the library, without the entry."""

    def __init__(self, booster: object, n_features: int) -> None:
        raise AttributeError("undefined symbol")


def test_single_rows_have_the_bits_of_booster_predict() -> None:
    scorer, rows = small_booster(), draw_matrix(2000, seed=8)
    fast = open_single_row(scorer.booster, 4)
    assert fast is not None
    assert fast.predict(rows).tobytes() == np.asarray(scorer.booster.predict(rows, num_threads=1)).tobytes()
    assert fast.predict(rows[::7]).tobytes() == fast.predict(rows)[::7].tobytes()  # strided rows are copied first


def test_a_wrong_bit_or_a_missing_entry_falls_back_and_is_counted() -> None:
    booster, before = small_booster().booster, FALLBACKS[0]
    assert open_single_row(booster, 4, _Wrong) is None
    assert open_single_row(booster, 4, _Missing) is None
    assert FALLBACKS[0] == before + 2


def test_threads_do_not_share_buffers() -> None:
    scorer, rows = small_booster(), draw_matrix(3000, seed=9)
    fast = open_single_row(scorer.booster, 4)
    assert fast is not None
    expected, wrong = fast.predict(rows), list[int]()

    def read() -> None:
        for _ in range(5):
            if fast.predict(rows).tobytes() != expected.tobytes():
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
