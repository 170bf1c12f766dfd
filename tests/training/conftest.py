"""Small models, a small registry and a small bank, each made once a session."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.home import Home
from features.intake import import_tables
from tests.training.small import draw_matrix, prepare_home, write_bank, write_small
from training.bundle import Bundle, load_bundle
from training.registry import ensure_database
from training.score import Models


@pytest.fixture(scope="session")
def live_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five bundles live, and loaded once: that first time, in a process of its own, takes seconds."""
    path = tmp_path_factory.mktemp("live")
    shas = {name: write_small(path, name).name for name in ("interest", "reach", "harm", "churn", "value")}
    (path / "live.json").write_text(json.dumps(shas))
    Models.load(path)
    return path


@pytest.fixture
def live(tmp_path: Path, live_template: Path) -> Path:
    """A models folder in which all five bundles are live, of one's own."""
    return shutil.copytree(live_template, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def booster_bundle(tmp_path: Path) -> Bundle:
    """The reach bundle, opened."""
    return load_bundle(write_small(tmp_path, "reach"))


@pytest.fixture
def customers() -> pa.Table:
    """Forty customers with the features above."""
    matrix = draw_matrix(40, seed=7)
    kinds = [None if np.isnan(v) else ("person", "corporate")[int(v)] for v in matrix[:, 3]]
    return pa.table({
        "age_years": pa.array(matrix[:, 0], from_pandas=True),
        "purchase_sum_365d": pa.array(matrix[:, 1], from_pandas=True),
        "holds_card": pa.array([None if np.isnan(v) else bool(v) for v in matrix[:, 2]]),
        "kind": pa.array(kinds, pa.string()),
    })  # fmt: skip


@pytest.fixture(scope="session")
def registry_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes seconds, copying it nothing."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ensure_database(path)
    return path


@pytest.fixture
def new_home(tmp_path: Path, registry_template: Path) -> Callable[[str], Home]:
    """Makes empty homes whose registry is ready."""

    def make(name: str) -> Home:
        return prepare_home(tmp_path / name, registry_template)

    return make


@pytest.fixture(scope="session")
def small_bank(tmp_path_factory: pytest.TempPathFactory, registry_template: Path) -> Home:
    """240 customers of whom the older take the card; contacts, complaints, closed accounts."""
    source = tmp_path_factory.mktemp("source")
    write_bank(source)
    home = prepare_home(tmp_path_factory.mktemp("bank") / "home", registry_template)
    import_tables(home, source)
    return home
