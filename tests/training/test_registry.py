import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = """
import sys
from training.registry import Registry
print(Registry.open(sys.argv[1]).versions())
"""


def test_two_processes_may_start_on_a_fresh_folder_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    command = [sys.executable, "-c", START, uri]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate()
        assert (process.returncode, out.strip()) == (0, "[]"), err
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    assert not list((tmp_path / "mlruns").glob(".draft*"))


def test_mlflow_is_imported_by_the_registry_alone() -> None:
    importing = [
        path.name
        for path in sorted((ROOT / "training").glob("*.py"))
        if any(line.strip().startswith(("import mlflow", "from mlflow")) for line in path.read_text().splitlines())
    ]
    assert importing == ["registry.py"]


def test_importing_the_commands_does_not_import_mlflow() -> None:
    code = "import sys, training.commands, training.score; assert 'mlflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
