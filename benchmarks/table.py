"""A table of measurements: one line per subject, printed and written as JSON."""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Line:
    """One measurement. value in `unit`; target: at most so much, null where none is set."""

    what: str
    value: float | None
    unit: str
    target: float | None = None
    note: str = ""


@dataclass
class Table:
    """The measurements of one benchmark and what is needed to read them."""

    name: str
    setting: str
    lines: list[Line] = field(default_factory=list)

    def add(self, what: str, value: float | None, unit: str, target: float | None = None, note: str = "") -> None:
        """Add a line and show it at once."""
        line = Line(what, value, unit, target, note)
        self.lines.append(line)
        shown = "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        goal = "" if target is None or value is None else f"  {'within' if value <= target else 'OVER'} {target:g}"
        print(f"  {what:<64}{shown:>9} {unit:<12}{goal}{'  ' if note else ''}{note}", flush=True)


def best_of(work: Callable[[], object], times: int = 3, rounds: int = 1) -> float:
    """Seconds of the fastest of so many tries, each of `rounds` calls; other processes only ever add."""
    tries: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        for _ in range(rounds):
            work()
        tries.append((time.perf_counter() - start) / rounds)
    return min(tries)


def peak_gb() -> float:
    """The most memory this process has held, mapped files with it (Linux).

    Not `ru_maxrss`: a child begins with its parent's there, for that one outlives `exec`.
    """
    [line] = [line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / (1 << 20)


def machine() -> str:
    """One line about where this ran."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load:.1f}"


def write(tables: list[Table], path: Path) -> None:
    """All tables as one JSON object."""
    found = {"machine": machine(), "tables": [asdict(table) for table in tables]}
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
