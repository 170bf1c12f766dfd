"""The whole road on a bank of 240 customers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from features.home import Home
from features.intake import import_tables
from features.store import FeatureStore
from tests.training.small import END, prepare_home, write_bank
from training.commands import ModelReport, TrainAnswer, models_app, parse_instant, train_app
from training.errors import DatasetError, TrainingError
from training.promotion import promote, rollback
from training.registry import CHAMPION, FAMILIES, Registry
from training.score import NAMES, Models
from training.train import train_all

CUT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def answer(small_bank: Home) -> TrainAnswer:
    """What `nbo train all --as-of 2026-03-01T00:00Z --promote --json` prints."""
    command = ["all", "--as-of", "2026-03-01T00:00:00Z", "--promote", "--json"]
    said = CliRunner().invoke(train_app, command, obj=small_bank.path)
    assert said.exit_code == 0, said.output
    return TrainAnswer.model_validate_json(said.stdout)


@pytest.fixture(scope="module")
def trained(answer: TrainAnswer) -> dict[str, ModelReport]:
    return {model.name: model for model in answer.models}


def naming(*folders: Path) -> list[Path]:
    """The files in which some customer is named."""
    ids = [f"K{i:04d}".encode() for i in range(0, 240, 7)]
    return [file for folder in folders for file in folder.rglob("*")
            if file.is_file() and any(each in file.read_bytes() for each in ids)]  # fmt: skip


def test_every_model_is_trained_and_measured_beside_its_baselines(
    trained: dict[str, ModelReport],
) -> None:
    assert set(trained) == set(NAMES)
    interest = trained["interest"]
    assert (interest.metrics["auc"] or 0) > 0.75
    assert {"logistic_auc", "lightgbm_auc", "recency_frequency_auc", "auc_low", "ece", "lift_10",
            "within_group_auc", "within_item_auc"} <= set(interest.metrics)  # fmt: skip
    assert trained["value"].served == {"value": "formula"}


def test_later_rows_measure_and_are_not_in_the_training(trained: dict[str, ModelReport]) -> None:
    later = trained["interest"].later
    assert (later["auc"] or 0) > 0.75 and (later["within_group_auc"] or 0) > 0.75
    assert (later["rows"] or 0) > 100


def test_p28_what_happened_after_the_cut_changes_no_model(
    trained: dict[str, ModelReport], tmp_path: Path, registry_template: Path
) -> None:
    at = CUT + timedelta(days=1)
    late: list[dict[str, object]] = [
        {"contact_id": f"C{i:05d}", "kind": kind, "at": at}
        for i in range(0, 3000, 2)
        for kind in ("accepted", "opted_out")
    ]
    (tmp_path / "source").mkdir()
    write_bank(tmp_path / "source", late)
    home = prepare_home(tmp_path / "home", registry_template)
    import_tables(home, tmp_path / "source")
    again = {model.name: model for model in train_all(home, CUT, names=("interest",))}
    assert {name: model.sha256 for name, model in again.items()} == {
        name: trained[name].sha256 for name in again}  # fmt: skip


def test_commands_train_promote_list_and_serve(answer: TrainAnswer, small_bank: Home) -> None:
    assert all(model.gate for model in answer.models) and answer.as_of == CUT
    assert any("p_organic" in line for line in answer.assumptions)
    live = {model.name for model in answer.models if model.live}
    listed = json.loads(CliRunner().invoke(models_app, ["list", "--json"], obj=small_bank.path).stdout)
    assert set(listed["live"]) == live and set(listed["missing"]) == set(NAMES) - live
    path = FeatureStore(small_bank).build(END)
    snapshot = FeatureStore(small_bank).newest(END)
    assert snapshot is not None and snapshot.path == path
    table = snapshot.table
    open = np.ones((table.num_rows, 4), bool)
    scores = Models.load(small_bank.models).score(table, open, ["card", "loan"], ["card", "loan"], ["sms", "email"])
    interest = np.asarray(scores.column("p_interest").to_pylist(), dtype=np.float64)[:, 0]
    age = table.column("age_years").to_numpy()
    assert interest[age > 65].mean() > 2 * interest[age < 45].mean()


def test_p26_no_customer_id_reaches_mlflow_or_a_bundle(trained: dict[str, ModelReport], small_bank: Home) -> None:
    assert trained
    runs = Path(small_bank.mlflow_uri.removeprefix("sqlite:///")).parent
    tiers = small_bank.models / "tiers"  # the one file that is about persons: it stays in the home
    assert {file.parent for file in naming(runs, small_bank.models)} == {tiers}
    assert list(runs.rglob("plots/*.svg"))


def test_mlflow_holds_what_a_run_was_made_of(trained: dict[str, ModelReport], small_bank: Home) -> None:
    """One experiment a family; cut, views, snapshot, seed and settings; metrics with intervals; a logged model."""
    client = MlflowClient(tracking_uri=small_bank.mlflow_uri, registry_uri=small_bank.mlflow_uri)
    experiments = {found.name: found.experiment_id for found in client.search_experiments()}
    assert set(experiments) - {"Default"} == {"propensity", "channel", "churn", "value"}
    names = {"reach", "harm", "interest", "churn", "value"}
    assert {FAMILIES[name] for name in names} == {"propensity", "channel", "churn", "value"}
    for name in ("interest", "churn"):
        version = (
            client.get_model_version_by_alias(name, CHAMPION)
            if trained[name].live
            else client.get_model_version(name, "1")
        )
        run = client.get_run(str(version.run_id))
        assert run.info.experiment_id == experiments[FAMILIES[name]]
        assert {"as_of", "views", "dataset", "rows", "seed", "num_leaves"} <= set(run.data.params)
        assert run.data.params["as_of"] == "2026-03-01T00:00:00Z"
        assert {"auc", "auc_low", "auc_high", "brier_low", "lift_10_high", "later_auc"} <= set(run.data.metrics)
        drawn = {"calibration", "gains", "lift", *(() if trained[name].served == {name: "constant"} else ("shap",))}
        found = {Path(file.path).stem for file in client.list_artifacts(str(version.run_id), "plots")}
        assert found == drawn
        models = client.search_logged_models([run.info.experiment_id])
        assert any(model.source_run_id == version.run_id and model.name == name for model in models)


def test_promote_of_a_stranger_and_bad_days_are_one_line(small_bank: Home) -> None:
    refused = CliRunner().invoke(models_app, ["promote", "interest", "99"], obj=small_bank.path)
    assert "no version `99` of model `interest`; see `nbo models list`" in str(refused.exception)
    with pytest.raises(TrainingError, match="--as-of `soon` is no day or instant; write 2026-06-01"):
        parse_instant("soon", small_bank)
    with pytest.raises(TrainingError, match="no model `luck`; there are interest, reach"):
        train_all(small_bank, CUT, names=("luck",))


def test_a_cut_that_is_still_to_come_is_refused(small_bank: Home) -> None:
    """Labels in the future: a young contact without an answer would be learned as a refusal."""
    line = "as of 2999-01-01 lies after the home's present, 2026-06-01; what has not happened has no label"
    before = Registry.open(small_bank.mlflow_uri).versions()
    refused = CliRunner().invoke(train_app, ["all", "--as-of", "2999-01-01T00:00Z", "--promote"], obj=small_bank.path)
    assert isinstance(refused.exception, DatasetError) and str(refused.exception) == line
    assert Registry.open(small_bank.mlflow_uri).versions() == before


def test_a_cut_before_all_history_is_refused(small_bank: Home) -> None:
    with pytest.raises(DatasetError, match="import contacts or take a later --as-of"):
        train_all(small_bank, datetime(2025, 1, 1, tzinfo=UTC), names=("reach",))


def test_a_new_version_is_laid_beside_the_live_one_on_rows_neither_has_seen(
    trained: dict[str, ModelReport], small_bank: Home
) -> None:
    """Mutant: rows the live version has learned from flatter it, and nothing could ever replace it."""
    assert trained["interest"].live
    promote(small_bank, "interest", trained["interest"].version)  # other tests of this bank may have moved it
    (newer,) = train_all(small_bank, END, names=("interest",))
    low, gain, high = (newer.metrics[f"live_gain{end}"] for end in ("_low", "", "_high"))
    assert low is not None and gain is not None and high is not None and low <= gain <= high
    assert (newer.metrics["live_rows"] or 0) > 100
    (same,) = train_all(small_bank, CUT, names=("interest",))
    assert "live_gain" not in same.metrics and same.sha256 == trained["interest"].sha256


def test_a_month_later_there_are_rows_that_neither_has_seen(trained: dict[str, ModelReport], small_bank: Home) -> None:
    """Answers take 30 days: whoever retrains each month has none yet to what was decided since."""
    promote(small_bank, "interest", trained["interest"].version)
    (newer,) = train_all(small_bank, CUT + timedelta(days=30), names=("interest",))
    low, high = newer.metrics["live_gain_low"], newer.metrics["live_gain_high"]
    assert low is not None and high is not None and low <= 0 <= high
    assert 40 < (newer.metrics["live_positives"] or 0) < (newer.metrics["live_rows"] or 0)
    assert "against the live version, on rows neither" in promote(small_bank, "interest", newer.version).gate
    rollback(small_bank, "interest")
