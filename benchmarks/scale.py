"""Growth: one bank at several sizes, stage by stage, each stage a command of its own with its time and its memory.

Three months of bookings a customer; models are trained once, on the smallest bank, and carried to the others. Memory is
the resident memory of the command and all its children together, looked at five times a second.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from benchmarks.table import Table
from features.home import Home
from features.settings import Settings
from serving.example import equip

UNTIL, SINCE = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SIZES = {
    "small": 20_000,
    "middle": 50_000,
    "large": 100_000,
    "larger": 300_000,
    "million": 1_000_000,
    "most": 5_000_000,
}
PARTS = ("curve", "larger", "million", "most")
STAGES = {
    "import": ["import", "tables", "{source}"],
    "features": ["features", "build", "--as-of", "2026-06-01T00:00:00Z"],
    "plan": ["plan", "all_year"],  # seeds the ledger with the imported history, decides, reserves, writes
    "plan, dry": ["plan", "all_year", "--dry-run"],
    "plan, dry, Spark": ["plan", "all_year", "--dry-run", "--engine", "spark"],
}


def run(quick: bool, part: str = "curve") -> list[Table]:
    """part: `curve` three sizes with their fitted growth; the others one size each."""
    names = ["small", "middle", "large"] if part == "curve" else [part]
    with tempfile.TemporaryDirectory(prefix="nbo-scale-") as folder:
        models = _models(Path(folder), 2_000 if quick else 5_000)
        found = {name: _measured(Path(folder), 2_000 * (place + 1) if quick else SIZES[name], models)
                 for place, name in enumerate(names)}  # fmt: skip
    return [
        *(table for table, _ in found.values()),
        *([_curve([rows for _, rows in found.values()])] if part == "curve" else []),
    ]


Rows = dict[str, tuple[int, float, float]]  # stage -> customers, seconds, MB


def _measured(folder: Path, customers: int, models: Path) -> tuple[Table, Rows]:
    table = Table("scale", f"{customers:,} customers")
    print(f"scale: {table.setting}")
    rows: Rows = {}
    with tempfile.TemporaryDirectory(dir=folder) as own:
        source, home = Path(own) / "source", _home(Path(own) / "bank")
        seconds, _ = _timed([sys.executable, "-c", _SIMULATE, str(source), str(customers)])
        table.add("simulating it", seconds, "s", note="not the engine's")
        for stage, command in STAGES.items():
            if stage == "plan":
                shutil.copytree(models, home / "models", dirs_exist_ok=True)
            arguments = [one.format(source=source) for one in command]
            took, memory = _timed([sys.executable, "-m", "nbo", "--home", str(home), *arguments, "--json"])
            rows[stage] = (customers, took, memory)
            table.add(stage, took, "s", note=f"{customers / took:,.0f} customers a second; {memory:,.0f} MB at most")
        bytes_ = {
            name: sum(p.stat().st_size for p in (home / name).rglob("*") if p.is_file())
            for name in ("data", "features")
        }
        bytes_["ledger"] = sum(p.stat().st_size for p in home.glob("nbo.db*"))
        for name, size in bytes_.items():
            table.add(f"{name} on disk", size / customers / 1024, "KB/customer")
    return table, rows


_SIMULATE = f"""
import sys; from pathlib import Path; from datetime import datetime, UTC
from simulation.bank import simulate
simulate(Path(sys.argv[1]), int(sys.argv[2]), 7, until=datetime.fromisoformat("{UNTIL.isoformat()}"), since=datetime.fromisoformat("{SINCE.isoformat()}"))
"""


def _home(path: Path) -> Path:
    settings = Settings(name="Scale", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                        clock="simulated", now=UNTIL)  # fmt: skip
    equip(Home.create(path, settings), "retail")
    return path


def _models(folder: Path, customers: int) -> Path:
    """Live models: of the demo bank's kind, trained as the demo trains them."""
    home = folder / "demo"
    command = [sys.executable, "-m", "nbo", "--home", str(home), "demo", "--customers", str(customers), "--json"]
    said = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[1])
    seconds = json.loads(said.stdout)["seconds"]
    print(f"scale: models trained on {customers:,} customers, 17 months: {seconds['models']:.0f} s")
    kept = folder / "models"
    shutil.copytree(home / "models", kept)
    shutil.rmtree(home)
    return kept


def _timed(command: list[str]) -> tuple[float, float]:
    """(seconds, MB at most) of a command and its children."""
    most, begun = 0, time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, cwd=Path(__file__).parents[1], env=os.environ
        )
        while child.poll() is None:
            most = max(most, _resident(child.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - begun
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command[-4:])}: {said.read()[-1500:].decode()}")
    return seconds, most / 1e6


def _resident(pid: int) -> int:
    found = 0
    try:
        for one in [root := psutil.Process(pid), *root.children(recursive=True)]:
            try:
                memory = one.memory_info()
                found += memory.rss - memory.shared if one.pid != pid else memory.rss
            except psutil.Error:
                continue
    except psutil.Error:
        pass  # it has just ended
    return found


def _curve(sizes: list[Rows]) -> Table:
    """seconds = fixed + per million x millions, by least squares, with what it misses at each size."""
    table = Table("scale", "growth: seconds = a + b x millions of customers")
    print(f"scale: {table.setting}")
    for stage in STAGES:
        millions = np.array([rows[stage][0] / 1e6 for rows in sizes])
        for what, place, unit in (("seconds", 1, "s"), ("memory", 2, "MB")):
            seen = np.array([rows[stage][place] for rows in sizes])
            made = np.column_stack([np.ones(len(seen)), millions])
            (fixed, slope), *_ = np.linalg.lstsq(made, seen, rcond=None)
            missed = ", ".join(f"{100 * (s - f) / s:+.0f} %" for s, f in zip(seen, made @ [fixed, slope], strict=True))
            table.add(
                f"{stage}, {what}: b",
                float(slope),
                f"{unit}/million",
                note=f"a = {fixed:.1f} {unit}; residuals {missed}",
            )
    return table
