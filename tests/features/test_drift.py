"""Drift of features: by hand, and as a command with its picture."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from features.commands import features_app
from features.drift import DriftAnswer, drift, word
from features.intake import import_tables
from features.snapshot import Snapshot, write_snapshot
from features.store import FeatureStore, StoreError
from tests.feature_bank import made_up_bank, small_home, write_tables


def snapshot(folder: Path, name: str, **columns: object) -> Snapshot:
    path = folder / f"{name}.arrow"
    write_snapshot(path, pa.table(columns))
    return Snapshot(datetime(2025, 1, 1, tzinfo=UTC), path, 0)


def test_by_hand(tmp_path: Path) -> None:
    """Half the customers move from A to B: (0.25 - 0.5) ln(0.25 / 0.5) + (0.75 - 0.5) ln(0.75 / 0.5)."""
    one = snapshot(tmp_path, "one", customer_id=["1"] * 4, branch=["A", "A", "B", "B"], same=[1.0, 2.0, 2.0, None],
                   zeros=[0.0] * 4, gone=[1.0] * 4, empty=pa.nulls(4, pa.float64()), _ids=[["x"]] * 4)  # fmt: skip
    two = snapshot(tmp_path, "two", customer_id=["1"] * 4, branch=["A", "B", "B", "B"], same=[2.0, None, 1.0, 2.0],
                   zeros=[0.0, 0.0, 7.0, -7.0], fresh=[True] * 4, empty=[1.0, 2.0, 3.0, None])  # fmt: skip
    answer = drift(one, two)
    found = {f.name: f for f in answer.features}
    assert found["branch"].psi == pytest.approx(-0.25 * math.log(0.5) + 0.25 * math.log(1.5), abs=1e-6)
    assert found["same"].psi == 0.0 and (found["same"].missing_before, found["same"].missing_after) == (0.25, 0.25)
    assert found["zeros"].psi is not None and found["zeros"].psi > 1, "beside a value all had is another bin"
    assert found["empty"].psi is None and (found["empty"].missing_before, found["empty"].missing_after) == (1.0, 0.25)
    assert (answer.lost, answer.new) == (["gone"], ["fresh"])
    assert [f.name for f in answer.features] == ["zeros", "branch", "same", "empty"]
    assert [word(p) for p in (None, 0.09, 0.1, 0.25)] == ["", "", "look", "ASK"]


def test_the_command_draws_it(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home")
    import_tables(home, write_tables(made_up_bank(41, transactions=400), tmp_path / "source"))
    for day in ("2025-03-01", "2025-12-01"):
        FeatureStore(home).build(datetime.fromisoformat(f"{day}T00:00:00Z"))
    run, picture = CliRunner().invoke, tmp_path / "drift.svg"
    done = run(features_app, ["drift", "2025-03-01", "2025-12-01", "--svg", str(picture), "--json"], obj=home.path)
    answer = DriftAnswer.model_validate_json(done.stdout)
    assert len(answer.features) > 80 and not answer.lost and answer.picture == str(picture)
    assert picture.read_text().startswith("<svg") and "tenure_days" in picture.read_text()
    text = run(features_app, ["drift", "2025-03-01", "2025-12-01"], obj=home.path).stdout
    assert "20250301T000000Z (" in text and "tenure_days" in text
    same = run(features_app, ["drift", "2025-12-01", "2025-12-02"], obj=home.path)
    assert isinstance(same.exception, StoreError) and "both mean the snapshot of" in str(same.exception)
    none = run(features_app, ["drift", "2024-01-01", "2025-12-01"], obj=home.path)
    assert isinstance(none.exception, StoreError)
