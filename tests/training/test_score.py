from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.training.small import CHANNELS, OFFERS
from training.bundle import Bundle
from training.errors import BundleError, ScoreError
from training.score import NAMES, Models

FAMILIES = ("card", "loan")


def cells(n: int, share: float = 0.5) -> np.ndarray:
    return np.random.default_rng(3).random((n, len(OFFERS) * len(CHANNELS))) < share


def score(models: Models, customers: pa.Table, open: np.ndarray) -> pa.RecordBatch:
    return models.score(customers, open, OFFERS, FAMILIES, CHANNELS)


def test_closed_offers_and_channels_are_not_scored(live: Path, customers: pa.Table) -> None:
    open = cells(40)
    grid = open.reshape(40, len(OFFERS), len(CHANNELS))
    rows = score(Models.load(live), customers, open).to_pylist()
    for row, mine in zip(rows, grid, strict=True):
        assert [p is not None for p in row["p_interest"]] == mine.any(axis=1).tolist()
        assert [p is not None for p in row["p_reach"]] == mine.any(axis=0).tolist()
        assert [p is not None for p in row["p_harm"]] == mine.any(axis=0).tolist()
        assert row["p_organic"] == [0.0, 0.0] and row["p_churn"] == 0.1


def test_shape_of_the_answer(live: Path, customers: pa.Table) -> None:
    found = score(Models.load(live), customers, cells(40))
    assert found.schema == pa.schema([
        ("p_interest", pa.list_(pa.float64(), 2)), ("p_organic", pa.list_(pa.float64(), 2)),
        ("p_reach", pa.list_(pa.float64(), 3)), ("p_harm", pa.list_(pa.float64(), 3)),
        ("p_churn", pa.float64()), ("lifetime_value_minor", pa.float64()),
    ])  # fmt: skip
    assert found.num_rows == 40
    assert score(Models.load(live), customers.slice(0, 0), cells(0)).num_rows == 0


def test_scores_do_not_depend_on_the_other_rows(live: Path, customers: pa.Table) -> None:
    models, open = Models.load(live), cells(40)
    whole = score(models, customers, open)
    alone = [score(models, customers.slice(i, 1), open[i : i + 1]) for i in range(40)]
    assert pa.Table.from_batches(alone).combine_chunks().to_batches()[0].equals(whole)
    backwards = score(models, customers.take(list(range(39, -1, -1))), open[::-1])
    assert backwards.to_pylist() == whole.to_pylist()[::-1]
    wider = score(models, customers, cells(40, 1.0)).column("p_interest").to_pylist()
    for narrow, wide in zip(whole.column("p_interest").to_pylist(), wider, strict=True):
        assert all(p in (None, q) for p, q in zip(narrow, wide, strict=True))


def test_an_offer_with_its_own_part_uses_it_and_others_the_pooled_one(live: Path, customers: pa.Table) -> None:
    models = Models.load(live)
    parts = models.bundles["interest"].parts
    rows = score(models, customers, cells(40, 1.0)).column("p_interest").to_pylist()
    from training.encode import encode

    matrix = encode(customers, models.bundles["interest"].manifest.features)
    with_loan = np.column_stack([matrix, np.full(40, 1.0)])
    assert [row[0] for row in rows] == parts["card"].predict(matrix).tolist()
    assert [row[1] for row in rows] == parts["pooled"].predict(with_loan).tolist()


def test_an_offer_nobody_was_ever_made_gets_the_pooled_estimate(live: Path, customers: pa.Table) -> None:
    models = Models.load(live)
    rows = models.score(customers, np.ones((40, 3), bool), ["brand_new"], ["card"], CHANNELS)
    assert all(0 <= row[0] <= 1 for row in rows.column("p_interest").to_pylist())


@pytest.mark.parametrize("name", NAMES)
def test_p07_a_missing_model_is_named_and_leaves_nulls(live: Path, customers: pa.Table, name: str) -> None:
    models = Models.load(live)
    without = Models({key: bundle for key, bundle in models.bundles.items() if key != name})
    column = {"interest": "p_interest", "reach": "p_reach", "harm": "p_harm", "churn": "p_churn",
              "value": "lifetime_value_minor"}[name]  # fmt: skip
    found = score(without, customers, cells(40, 1.0))
    assert without.missing == (name,) and models.missing == ()
    values = found.column(column)
    flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
    assert flat.null_count == len(flat)


def test_no_models_at_all(tmp_path: Path) -> None:
    models = Models.load(tmp_path)
    assert models.missing == NAMES and models.revisions == {} and models.columns == ()


def test_revisions_name_the_live_bundles(live: Path, booster_bundle: Bundle) -> None:
    assert Models.load(live).revisions["reach"] == booster_bundle.sha256


@pytest.mark.parametrize("text", ["{", '{"reach": "../../etc"}', '{"reach": 1}', "[]"])
def test_unreadable_live_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "live.json").write_text(text)
    with pytest.raises(BundleError, match=r"`live.json` is not readable; promote a model again"):
        Models.load(tmp_path)


def test_wrong_shapes_and_missing_columns_are_refused(live: Path, customers: pa.Table) -> None:
    models = Models.load(live)
    with pytest.raises(ScoreError, match=r"open cells are \(40, 5\), expected \(40, 6\)"):
        score(models, customers, np.ones((40, 5), bool))
    with pytest.raises(ScoreError, match="column `age_years` is missing"):
        score(models, customers.drop_columns(["age_years"]), cells(40))
