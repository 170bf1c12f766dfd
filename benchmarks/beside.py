"""Decisions over HTTP while `nbo plan` makes a list of the same bank and reserves it in the same ledger.

The service answers at a steady rate, first alone, then beside the list; a latency counts from the instant its
request was due. What the list lost to decisions that came in between is counted from its manifest.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Generator

from benchmarks.http import bank, sides
from benchmarks.servers import FOLDER, Running, running
from benchmarks.table import Table
from features.home import Home

RATE = 20.0  # a second: a bank of a million customers who each open the app twice in a day of 24 hours
CONNECTIONS = 8
STRETCH = 10.0  # seconds: 200 decisions, so that a hundredth is not the worst alone


def run(quick: bool = False) -> list[Table]:
    """The service alone, then beside a list."""
    customers, seconds = (1_000, 5.0) if quick else (5_000, 15.0)
    table = Table(
        "beside",
        f"{customers:,} customers, 30 offers x 5 channels, {RATE:.0f} decisions a second, SQLite FULL, one worker",
    )
    print(f"beside: {table.setting}")
    with bank(customers) as (home, bodies), running(sides(home)[0]) as server:
        server.ask(bodies, CONNECTIONS, 4.0, rate=RATE)  # what is made once is made
        _say(table, "alone", server.ask(bodies, CONNECTIONS, seconds, rate=RATE), None)
        found, took, told = _beside(home, server, bodies)
        _say(table, "beside a list", found, 50)
        note = f"{told['contacts']:,} contacts, lost to decisions: {told['lost']:,}"
        table.add("the list: the whole command", took, "s", None, note)
    return [table]


def _beside(home: Home, server: Running, bodies: list[str]) -> tuple[dict[str, float], float, dict[str, int]]:
    """(what the service answered from the list's beginning to its end, the list's seconds, its answer)."""
    began = time.monotonic()
    command = [sys.executable, "-m", "nbo", "--home", str(home.path), "plan", "all_year", "--json"]
    with asked(server, bodies) as found:
        done = subprocess.run(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        took = time.monotonic() - began
    answer: dict[str, int] = json.loads(done.stdout)
    return found, took, answer


@contextlib.contextmanager
def asked(server: Running, bodies: list[str]) -> Generator[dict[str, float]]:
    """The service is asked at the steady rate as long as the block lasts; then its figures: the largest of any stretch, and counts over all."""
    found: dict[str, float] = {}
    parts: list[dict[str, float]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            parts.append(server.ask(bodies, CONNECTIONS, STRETCH, rate=RATE))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        stop.set()
        asking.join()
    for name in ("p50_ms", "p99_ms", "worst_ms"):
        found[name] = max(part[name] for part in parts)
        found[f"{name} usual"] = sorted(part[name] for part in parts)[len(parts) // 2]
    for name in ("answered", "late", "refused"):
        found[name] = sum(part[name] for part in parts)


def _say(table: Table, when: str, found: dict[str, float], target: float | None) -> None:
    refused = f"{found['refused']:.0f} REFUSED" if found["refused"] else ""
    table.add(f"{when}: p50", found["p50_ms"], "ms", None, refused)
    table.add(f"{when}: p99", found["p99_ms"], "ms", target)
    table.add(f"{when}: worst", found["worst_ms"], "ms")
