"""Runs, logged bundles and versions in MLflow. The only file that imports mlflow.

One experiment per family of models (FAMILIES), one registered model per name; the alias `champion`
marks the version that is live, `challenger` the one beside it. MLflow's own import costs two seconds and 300 MB, so it
happens when a Registry is opened, and serving never opens one.
"""

import importlib
import importlib.metadata
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.bundle import Manifest, verify_bundle
from training.encode import Feature
from training.errors import RegistryError
from training.lock import exclusive

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
FAMILIES = {"interest": "propensity", "reach": "channel", "harm": "channel", "churn": "churn", "value": "value",
            "organic": "uplift"}  # fmt: skip
_SQLITE = "sqlite:///"
_SHA = "bundle_sha256"


@dataclass(frozen=True)
class Version:
    """One version of a registered model. live: it carries the alias `champion`."""

    name: str
    version: str
    sha256: str
    trained_as_of: str
    run_id: str
    live: bool


class Registry:
    """MLflow's tracking store and model registry of one home. Make one with `open`."""

    def __init__(self, client: "MlflowClient", uri: str, artifacts: str | None) -> None:
        self._client, self._uri, self._artifacts = client, uri, artifacts

    @classmethod
    def open(cls, uri: str) -> "Registry":
        """The registry at that MLflow URI; a SQLite file is made first, by one process only."""
        artifacts = None
        if uri.startswith(_SQLITE):
            database = Path(uri.removeprefix(_SQLITE)).resolve()
            uri, artifacts = f"{_SQLITE}{database}", (database.parent / "artifacts").as_uri()
            ensure_database(database)
        return cls(_mlflow().MlflowClient(tracking_uri=uri, registry_uri=uri), uri, artifacts)

    def log(self, bundle: Path, parameters: Mapping[str, object], candidates: Mapping[str, float],
            pictures: Path | None = None) -> Version:  # fmt: skip
        """Log a run with its bundle and register it as the next version.

        Args:
            bundle: Folder as write_bundle left it, not yet stamped with a version.
            parameters: Settings, cut and snapshot of the run.
            candidates: Figures beyond the manifest's own, such as each baseline's.
            pictures: Folder of plots to keep with the run.
        """
        manifest = verify_bundle(bundle)
        experiment = self._experiment(FAMILIES.get(manifest.name, manifest.name))
        run = self._client.create_run(experiment, run_name=f"{manifest.name} {manifest.trained_as_of}")
        run_id = run.info.run_id
        for key, value in parameters.items():
            self._client.log_param(run_id, key, value)
        figures = {**manifest.metrics, **candidates}
        entities = _mlflow().entities
        now = int(run.info.start_time)
        self._client.log_batch(
            run_id,
            [entities.Metric(key, v, now, 0) for key, v in sorted(figures.items()) if v is not None],
        )
        if pictures is not None:
            self._client.log_artifacts(run_id, str(pictures), "plots")
        info = self._log_model(bundle, manifest, run_id, experiment)
        self._client.set_terminated(run_id)
        return self._register(bundle.name, manifest, run_id, info.model_uri)

    def versions(self, name: str | None = None) -> list[Version]:
        """Every version, by name and number; of one name where given."""
        models: list[Any] = list(self._client.search_registered_models())
        found: list[Version] = []
        for model in models:
            if name is None or model.name == name:
                live = str(model.aliases.get(CHAMPION, ""))
                numbers = self._client.search_model_versions(f"name = '{model.name}'")
                found += [_version(v, live) for v in numbers]
        return sorted(found, key=lambda v: (v.name, int(v.version)))

    def version(self, name: str, number: str) -> Version:
        """One version; RegistryError with the remedy where there is none."""
        for version in self.versions(name):
            if version.version == number:
                return version
        raise RegistryError(f"no version `{number}` of model `{name}`; see `nbo models list`")

    def fetch(self, name: str, number: str, folder: Path) -> Path:
        """Copy a version's bundle into `folder`; its hash must be the registered one."""
        version = self.version(name, number)
        source = self._client.get_model_version_download_uri(name, number)
        got = _mlflow().artifacts.download_artifacts(
            artifact_uri=f"{source}/bundle", dst_path=str(folder), tracking_uri=self._uri
        )
        target = folder / version.sha256
        Path(got).rename(target)
        verify_bundle(target)
        return target

    def pictures(self, name: str, number: str, folder: Path) -> list[Path]:
        """The drawings of a version's training, copied into `folder`; [] where there are none."""
        run_id = self.version(name, number).run_id
        if not any(found.path == "plots" for found in self._client.list_artifacts(run_id)):
            return []
        return sorted(Path(self._client.download_artifacts(run_id, "plots", str(folder))).glob("*.svg"))

    def set_champion(self, name: str, number: str) -> None:
        """Move the alias `champion` to that version."""
        self._client.set_registered_model_alias(name, CHAMPION, number)

    def set_challenger(self, name: str, number: str | None) -> None:
        """Move the alias `challenger` to that version; None takes it away."""
        if number is None:
            self._client.delete_registered_model_alias(name, CHALLENGER)
        else:
            self._client.set_registered_model_alias(name, CHALLENGER, number)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = f"{self._artifacts}/{name}" if self._artifacts else None
        try:
            return self._client.create_experiment(name, artifact_location=place)
        except _mlflow().exceptions.MlflowException:  # a twin was faster
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _log_model(self, bundle: Path, manifest: Manifest, run_id: str, experiment: str) -> Any:
        # Model.log knows only MLflow's own globals: without these three the artifacts would go to
        # whatever folder the command was started in.
        mlflow = _mlflow()
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        mlflow.set_experiment(experiment_id=experiment)
        return mlflow.models.Model.log(
            artifact_path=None, name=manifest.name, flavor=sys.modules[__name__], run_id=run_id,
            flavor_name="next_best_offer", bundle=bundle, manifest=manifest,
        )  # fmt: skip

    def _register(self, sha256: str, manifest: Manifest, run_id: str, model_uri: str) -> Version:
        mlflow = _mlflow()
        try:
            self._client.create_registered_model(manifest.name)
        except mlflow.exceptions.MlflowException:  # it is there already
            self._client.get_registered_model(manifest.name)
        tags = {_SHA: sha256, "trained_as_of": manifest.trained_as_of}
        made = self._client.create_model_version(manifest.name, model_uri, run_id=run_id, tags=tags)
        return _version(made, live="")


def save_model(path: str, mlflow_model: Any, bundle: Path, manifest: Manifest) -> None:
    """Write a bundle as an MLflow model; MLflow calls this, the module being the flavor.

    The signature's columns are float64 throughout: integer columns refuse nulls later. The
    requirements are said outright, because inferring them costs five seconds.
    """
    target = Path(path)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(bundle, target / "bundle")
    mlflow_model.add_flavor("next_best_offer", bundle="bundle", sha256=bundle.name)
    mlflow_model.signature = _signature(manifest.features)
    (target / "requirements.txt").write_text("\n".join(_requirements()) + "\n")
    mlflow_model.save(str(target / "MLmodel"))


def ensure_database(path: Path) -> None:
    """Make MLflow's SQLite file unless it is there; safe when many processes start at once.

    Two processes that migrate one fresh file destroy it. So the file is made under a lock, aside,
    and moved into place only when it is whole.
    """
    if path.exists():
        return
    with exclusive(path.parent / f".{path.name}.lock"):
        if path.exists():
            return
        draft = path.with_name(f".draft-{os.getpid()}-{path.name}")
        store = _mlflow().MlflowClient(tracking_uri=f"{_SQLITE}{draft}", registry_uri=f"{_SQLITE}{draft}")
        store.search_experiments(max_results=1)
        store.search_registered_models(max_results=1)
        draft.replace(path)


def _signature(features: tuple[Feature, ...]) -> Any:
    mlflow = _mlflow()
    columns = [mlflow.types.ColSpec("double", feature.name, required=False) for feature in features]
    scores = mlflow.types.Schema([mlflow.types.ColSpec("double", "p")])
    return mlflow.models.ModelSignature(inputs=mlflow.types.Schema(columns), outputs=scores)


def _requirements() -> list[str]:
    return [f"lightgbm=={importlib.metadata.version('lightgbm')}", f"numpy=={np.__version__}"]


def _version(made: "ModelVersion", live: str) -> Version:
    tags = made.tags
    return Version(
        name=str(made.name), version=str(made.version), sha256=str(tags.get(_SHA, "")),
        trained_as_of=str(tags.get("trained_as_of", "")), run_id=str(made.run_id or ""),
        live=str(made.version) == live,
    )  # fmt: skip


def _mlflow() -> Any:
    # Nothing leaves the bank's machine: MLflow counts its users unless told not to.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for room in ("artifacts", "entities", "exceptions", "models", "types"):
        importlib.import_module(f"mlflow.{room}")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its migrations narrate
    return mlflow


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for one fetch, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="nbo-bundle-")
