"""The notebooks run from top to bottom on a small bank, and end with a picture."""

import ast
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import pytest

from features.home import Home
from features.intake import import_tables
from features.store import FeatureStore
from tests.training.small import END, prepare_home, write_bank
from training.registry import ensure_database

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ROOMS = {"rules", "features", "training", "serving", "simulation"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """240 customers, 3,000 contacts, a snapshot of the present, no model."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "source").mkdir()
    write_bank(folder / "source")
    ensure_database(folder / "mlflow.db")
    home = prepare_home(folder / "bank", folder / "mlflow.db")
    import_tables(home, folder / "source")
    FeatureStore(home).build(END)
    return home


@pytest.fixture
def surroundings(bank: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("NBO_HOME", str(bank.path))
    monkeypatch.delenv("NBO_LOG", raising=False)
    monkeypatch.chdir(tmp_path)  # a notebook leaves nothing behind where it runs
    yield
    assert list(tmp_path.iterdir()) == []


def cells(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def run(path: Path) -> Any:
    """The last value of the last cell; all cells share one namespace, as in a kernel."""
    names: dict[str, Any] = {"__name__": "notebook"}
    value = None
    for number, text in enumerate(cells(path)):
        tree = ast.parse(text)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}[{number}]", "exec"), names)
        value = (
            None if last is None else eval(compile(ast.Expression(last.value), f"{path.name}[{number}]", "eval"), names)
        )
    return value


def needs(path: Path) -> list[str]:
    """Modules of ours that a notebook names and this checkout lacks."""
    named = {
        node.module
        for text in cells(path)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    return sorted(name for name in named if name.split(".")[0] in ROOMS and find_spec(name) is None)


def test_there_are_four() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_and_ends_with_a_picture(path: Path, tmp_path: Path) -> None:
    if missing := needs(path):
        pytest.skip(f"{missing[0]} is not there yet")
    picture = run(path)
    assert isinstance(picture, alt.TopLevelMixin)
    drawing = picture.to_dict()
    assert any(len(rows) >= 5 for rows in drawing["datasets"].values())
    kept = tmp_path.parent / f"{path.stem}.png"
    picture.save(kept, scale_factor=2)
    assert kept.stat().st_size > 10_000
    if folder := os.environ.get("NBO_PICTURES"):
        shutil.copy(kept, folder)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_nothing_of_a_run_is_committed(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_only_public_names(path: Path) -> None:
    for text in cells(path):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert not any(name.name.startswith("_") for name in node.names)
            elif isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")


@pytest.mark.long
@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_in_a_kernel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    if missing := needs(path):
        pytest.skip(f"{missing[0]} is not there yet")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    book = nbformat.read(path, 4)
    NotebookClient(book, timeout=240).execute()
    shown = book.cells[-1].outputs
    pictures = [output["data"]["image/svg+xml"] for output in shown if "image/svg+xml" in output.get("data", {})]
    assert len(pictures) == 1 and pictures[0].count("<path") > 5 and "<script" not in pictures[0]
