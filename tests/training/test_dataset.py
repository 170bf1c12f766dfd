import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.dataset import Slice, sample_rows, snapshot_id, time_slices, weighted_sample
from training.encode import Feature

DAY = 86_400_000_000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 60), st.integers(0, 9)),
        min_size=5,
        max_size=200,
    )
)
def test_nothing_learned_from_reaches_into_a_later_slice(rows: list[tuple[int, int, int]]) -> None:
    as_of = np.asarray([row[0] * DAY for row in rows])
    end = as_of + np.asarray([row[1] * DAY for row in rows])
    slices = time_slices(as_of, end, [f"unit{row[2]}" for row in rows])
    validation = np.isin(slices, [Slice.TUNE, Slice.CALIBRATE])
    test = slices == Slice.TEST
    for earlier, later in ((slices == Slice.TRAIN, validation | test), (validation, test)):
        if earlier.any() and later.any():
            assert end[earlier].max() <= as_of[later].min()


def test_slices_of_evenly_spread_rows() -> None:
    as_of = np.arange(100) * DAY
    slices = time_slices(as_of, as_of + 5 * DAY, [str(i) for i in range(100)])
    assert (slices[:56] == Slice.TRAIN).all() and (slices[56:60] == Slice.EMBARGO).all()
    assert np.isin(slices[60:76], [Slice.TUNE, Slice.CALIBRATE]).all()
    assert (slices[76:80] == Slice.EMBARGO).all() and (slices[80:] == Slice.TEST).all()


def test_a_unit_is_wholly_in_tune_or_wholly_in_calibrate() -> None:
    as_of = np.arange(400) * DAY
    owners = np.asarray([f"unit{i % 7}" for i in range(400)])
    slices = time_slices(as_of, as_of, owners)
    assert {Slice.TUNE, Slice.CALIBRATE} <= set(slices.tolist())
    assert not set(owners[slices == Slice.TUNE]) & set(owners[slices == Slice.CALIBRATE])


def test_rows_of_one_instant_stay_together() -> None:
    as_of = np.repeat([1, 2, 3, 4], 50) * DAY
    slices = time_slices(as_of, as_of, ["one"] * 200)
    assert all(len(set(slices[as_of == moment].tolist())) == 1 for moment in np.unique(as_of))


def test_sample_is_the_same_whatever_the_order_and_within_the_bound() -> None:
    rows = pl.DataFrame({"key": [f"C{i}" for i in range(1000)]})
    small = sample_rows(rows, "key", 100)
    assert len(small) == 100
    assert set(sample_rows(rows.reverse(), "key", 100)["key"]) == set(small["key"])
    assert sample_rows(rows, "key", 1000).equals(rows)


def test_snapshot_id_names_rows_and_schema() -> None:
    rows = pl.DataFrame({"customer_id": ["K1", "K2"], "accepted": [True, False]})
    features = [Feature(name="age_years", kind="number")]
    first = snapshot_id(rows, features)
    assert first == snapshot_id(rows.clone(), features)
    assert first != snapshot_id(rows.with_columns(accepted=pl.lit(True)), features)
    assert first != snapshot_id(rows, [Feature(name="age_years", kind="flag")])


def test_a_weighted_sample_keeps_the_rare_and_gives_the_rates_of_all() -> None:
    """Mutant: with every row standing for itself the rate comes out five times too high."""
    n = 20_000
    rows = pl.DataFrame(
        {"key": [f"C{i}" for i in range(n)], "y": [i % 100 == 0 for i in range(n)], "x": np.arange(n) % 7}
    )
    drawn = weighted_sample(rows, "key", 4000, pl.col("y"), "w")
    assert len(drawn) == n and drawn.drop("w").equals(rows)
    kept = drawn.drop_nulls("w")
    assert len(kept) == 4000 and kept["y"].sum() == 200
    assert kept["w"].sum() == pytest.approx(n)
    rate = (kept["y"] * kept["w"]).sum() / kept["w"].sum()
    assert rate == pytest.approx(0.01) and kept["y"].mean() == 0.05
    assert abs((kept["x"] * kept["w"]).sum() / n - rows["x"].mean()) < 0.1
    assert weighted_sample(rows, "key", n, pl.col("y"), "w")["w"].unique().to_list() == [1.0]


def test_a_weighted_sample_of_many_rare_rows_leaves_room_for_the_others() -> None:
    rows = pl.DataFrame({"key": [f"C{i}" for i in range(1000)], "y": [i % 10 != 0 for i in range(1000)]})
    kept = weighted_sample(rows, "key", 100, pl.col("y"), "w").drop_nulls("w")
    assert dict(kept.group_by("y").agg(pl.col("w").sum()).iter_rows()) == pytest.approx({True: 900.0, False: 100.0})
