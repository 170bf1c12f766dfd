"""Each bug, put back on purpose, is seen by the test that keeps the promise."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.home import Home
from tests.training import (
    test_alarms,
    test_bundle,
    test_experiment,
    test_labels,
    test_promotion,
    test_score,
    test_splits,
)
from tests.training.small import write_small
from tests.training.test_train import naming
from training import alarms, bundle, experiment, labels, promotion, splits
from training.errors import BundleError
from training.registry import Registry
from training.score import Models, read_live
from training.splits import Axis

Seen = (AssertionError, pytest.fail.Exception)


@pytest.mark.parametrize("name", ["churn", "interest"])
def test_p07_mutant_a_missing_model_that_is_guessed_is_seen(
    live: Path, customers: pa.Table, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "_single", lambda self, name, inputs: np.zeros(inputs.n))
    monkeypatch.setattr(Models, "_listed", lambda self, name, inputs, items, wanted: np.zeros(wanted.shape))
    with pytest.raises(Seen):
        test_score.test_p07_a_missing_model_is_named_and_leaves_nulls(live, customers, name)


def test_p23_mutant_a_history_of_the_newest_is_seen(
    new_home: Callable[[str], Home], customers: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back leads to what is live already."""

    def newest(models: Path) -> dict[str, list[str]]:
        return {name: [sha] for name, sha in read_live(models).items()}

    monkeypatch.setattr(promotion, "read_history_of", newest)
    with pytest.raises(Seen):
        test_promotion.test_p23_rollback_gives_the_former_scores_byte_for_byte(new_home, customers)


@pytest.mark.parametrize("where", ["parameter", "picture", "bundle"])
def test_p26_mutant_a_customer_in_a_run_is_seen(new_home: Callable[[str], Home], tmp_path: Path, where: str) -> None:
    home = new_home("home")
    path = write_small(home.path / "drafts", "reach")
    if where == "bundle":
        text = (path / "golden.json").read_text()[:-1] + ', "of": "K0007"}'
        path = test_bundle.sealed(path, "golden.json", text)
    pictures = tmp_path / "plots"
    pictures.mkdir()
    (pictures / "shap.svg").write_text("<svg>K0014</svg>" if where == "picture" else "<svg/>")
    Registry.open(home.mlflow_uri).log(path, {"example": "K0007" if where == "parameter" else "nobody"}, {}, pictures)
    assert naming(Path(home.mlflow_uri.removeprefix("sqlite:///")).parent)


def test_p27_mutant_a_bundle_that_is_not_verified_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the calibrator is changed: LightGBM itself may die of a changed byte, as P27 says."""
    path = write_small(tmp_path, "reach")
    (path / "pooled.calibrator.json").write_text((path / "pooled.calibrator.json").read_text().replace("1.2", "9.2"))
    with pytest.raises(BundleError, match="sha256 differs"):
        bundle.load_bundle(path)
    trusting = bundle.Manifest.model_validate_json((path / "manifest.json").read_text())
    monkeypatch.setattr(bundle, "verify_bundle", lambda path: trusting)
    assert bundle.load_bundle(path).parts


def test_p27_mutant_a_first_load_without_a_child_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "ensure_probed", lambda paths: None)
    with pytest.raises(Seen):
        test_bundle.test_p27_a_model_that_scores_otherwise_is_refused(tmp_path)


def test_p27_mutant_a_pickle_in_serving_is_seen(live: Path) -> None:
    loading = "import pickle; pickle.loads(pickle.dumps(Path)); models = Models.load"
    command = [sys.executable, "-c", test_bundle.SERVE.replace("models = Models.load", loading), str(live)]
    child = subprocess.run(command, cwd=test_bundle.ROOT, capture_output=True, text=True, check=False)
    assert child.returncode != 0 and "a pickle was loaded" in child.stderr


def test_p28_mutant_a_young_label_that_counts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_ripe", lambda end, cut, label: label)
    with pytest.raises(Seen):
        test_labels.test_unripe_label_is_absent_even_when_the_answer_came_early()


def test_p28_mutant_a_split_that_does_not_look_at_the_clock_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def anyhow(axis: Axis, start: float, end: float) -> tuple[splits.Rows, splits.Rows]:
        place = np.arange(len(axis.strata))
        return place[place % 3 > 0], place[place % 3 == 0]

    monkeypatch.setattr(splits, "_around", anyhow)
    with pytest.raises(Seen):
        test_splits.test_p28_no_split_learns_from_later_rows_or_from_a_group_it_measures()


def test_p28_mutant_an_alarm_that_never_rings_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "KNOWS_AUC", 1.1)
    with pytest.raises(Seen):
        test_alarms.test_p28_a_planted_leak_is_named("value")


def test_p28_mutant_an_experiment_without_an_embargo_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    in_time = experiment.in_time
    monkeypatch.setattr(
        test_experiment, "in_time", lambda data, strata, end, seed: in_time(data, strata, end * 0, seed)
    )
    with pytest.raises(Seen):
        test_experiment.test_p28_nothing_is_learned_that_was_not_known_when_the_later_rows_begin()


def test_p28_mutant_an_outcome_counted_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "OUTCOME_DAYS", 45)
    with pytest.raises(Seen):
        test_experiment.test_p28_it_reads_as_the_tables_say()


def test_the_mutants_have_something_to_spoil() -> None:
    """Unspoiled, the promises hold: else every mutant above would be caught by accident."""
    test_labels.test_unripe_label_is_absent_even_when_the_answer_came_early()
    test_experiment.test_p28_it_reads_as_the_tables_say()
