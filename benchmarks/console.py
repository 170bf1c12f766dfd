"""Every page of the console over HTTP, on the demo's bank: how long one waits for it.

The bank is the demo's own, story and list included, with 10,000 bookings more of one customer. One person, one page after the
other, as the service serves it: sessions, roles, queries, templates.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.http import BENTO
from benchmarks.servers import FOLDER, Running, Side, running
from benchmarks.table import Table
from serving.console.app import PAGES
from serving.http.messages import EventKind
from serving.ledger import users
from serving.ledger.book import Ledger
from serving.ledger.keys import Role
from serving.office import open_office

CUSTOMERS, N_QUICK = 20_000, 1_000
HERO, CROWDED = "C0000001", "C0000002"
ROWS = 10_000
TRIES, TRIES_QUICK = 20, 3
TARGET_MS = 200
PASSWORD = "as long as a line"
WITH_PARTS = ("/console/campaigns/all_year?tab=try", "/console/campaigns/all_year?tab=results", "/console/rules?tab=proofs",
              "/console/changes/new?file=policies/retail.yaml", f"/console/customers/{HERO}?direction=inbound",
              f"/console/customers/{CROWDED}?page=200", "/console/worklist?channel=branch", "/console/today?days=30")  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """One page: its first answer after the start, then the median and the slowest of the tries, in ms."""

    path: str
    first: float
    p50: float
    worst: float


def run(quick: bool = False) -> list[Table]:
    """A line a page, and one for all."""
    n = N_QUICK if quick else CUSTOMERS
    table = Table("console", f"each page over HTTP, one person, the demo's bank of {n:,} customers")
    print(f"console: {table.setting}")
    with tempfile.TemporaryDirectory(prefix="nbo-console-") as folder:
        home = Path(folder) / "bank"
        command = [sys.executable, "-m", "nbo", "--home", str(home), "demo", "--customers", str(n), "--json"]
        subprocess.run(command, cwd=FOLDER, check=True, capture_output=True)
        found = timed(home, TRIES_QUICK if quick else TRIES)
    for page in found:
        table.add(page.path, page.p50, "ms p50", TARGET_MS, f"max {page.worst:.0f} ms, first {page.first:.0f} ms")
    slowest = max(found, key=lambda page: page.worst)
    table.add("the slowest answer of all pages", slowest.worst, "ms", TARGET_MS, slowest.path)
    return [table]


def timed(home: Path, tries: int) -> list[Timed]:
    """Each page of a home that the demo has made."""
    paths = _furnished(home)
    side = Side("console", (*BENTO, "serving.service:NextBestOffer", "--host", "127.0.0.1"), "/console", environment={"NBO_HOME": str(home)})  # fmt: skip
    with running(side) as server, _signed_in(server) as browser:
        return [_timed(browser, path, tries) for path in paths]


def _timed(browser: httpx.Client, path: str, tries: int) -> Timed:
    taken: list[float] = []
    for _ in range(tries + 1):
        begun = time.perf_counter()
        answer = browser.get(path)
        taken.append(1_000 * (time.perf_counter() - begun))
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
    return Timed(_shown(path), taken[0], median(taken[1:]), max(taken[1:]))


def _furnished(home: Path) -> list[str]:
    """An administrator, a crowded customer; the path of every page there is something to see on."""
    with closing(open_office(home, serving=False)) as office:
        ledger = office.ledger
        hashed = users.hashed("bench", PASSWORD)
        ledger.write(lambda c: users.add(c, "bench", hashed, Role.ADMIN, ledger.now_micros())).result()
        _crowd(ledger)
        with ledger.read() as connection:
            ask = lambda sql: connection.exec_driver_sql(sql).scalar()
            decision = ask("SELECT decision_id FROM decisions ORDER BY as_of DESC")
            contact = ask(
                "SELECT contact_id FROM contacts WHERE channel = 'branch' AND source = 'decision' ORDER BY decided_at DESC"
            )
        run = max(path.parent.name for path in office.engine.home.lists.glob("*/manifest.json"))
    ids = {"campaign": "all_year", "run": run, "rule": "outflow", "change": "first", "customer": HERO, "decision": decision, "contact": contact}  # fmt: skip
    read = [
        page.path for page in PAGES if page.method == "GET" and "{job}" not in page.path and "{file}" not in page.path
    ]
    return [*(path.format(**ids) for path in read), *WITH_PARTS]


def _crowd(ledger: Ledger) -> None:
    """One customer with so many bookings that his page has two hundred pages."""
    row = (CROWDED, EventKind.PURCHASE.value, -100, "CNY")
    rows = [(f"x{k}", *row, 1_000 + k, 1_000 + k, 1_000 + k, f"x{k}") for k in range(ROWS)]
    columns = "event_id, customer_id, kind, amount_minor, currency, booked_at, recorded_at, received_at, transaction_id"
    sql = f"INSERT INTO events ({columns}) VALUES (?,?,?,?,?,?,?,?,?)"
    ledger.write(lambda connection: connection.exec_driver_sql(sql, rows)).result()


@contextmanager
def _signed_in(server: Running) -> Generator[httpx.Client]:
    address = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=address, timeout=60, headers={"Accept-Language": "en"}) as browser:
        shown = browser.get("/console/sign-in")
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', shown.text)
        assert token
        sent = {"csrf": token[1], "name": "bench", "password": PASSWORD, "next": "/console"}
        if browser.post("/console/sign-in", data=sent).status_code != 303:
            raise RuntimeError("the console did not let the administrator in")
        yield browser


def _shown(path: str) -> str:
    """The path without what differs from bank to bank."""
    return re.sub(r"/(lists|decisions|worklist|desk)/[^/?]+", r"/\1/…", path)


if (
    __name__ == "__main__"
):  # python -m benchmarks.console HOME: of a demo's home that is there already; it is written to
    print(json.dumps([page.__dict__ for page in timed(Path(sys.argv[1]), TRIES)], indent=1))
