"""The review from end to end against a served process: check, four eyes, a date, the next decision, and the way back.

Nothing stands in for anything: `nbo serve`, keys of the command, the check in its own process with cases and proofs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nbo
from rules.liveset import files_in, revision_of
from tests.home import HERO, NOW, registered
from tests.ports import free_port
from tests.serving.changes.conftest import OFFICERS, edited, new_rule
from tests.serving.changes.review_door import CLOCK
from tests.serving.test_service import ask as asked
from training.atomic import write_atomically
from training.score import read_live

REPOSITORY = Path(__file__).resolve().parents[3]
CUSTOMERS = [HERO, *(f"C{n:07d}" for n in range(2, 12))]
PATIENCE = 120.0  # seconds, for a machine that does much else


@dataclass
class Served:
    """A service in another process, its clock, and a key per officer."""

    bank: Path
    clock: Path
    port: int
    keys: dict[str, str] = field(default_factory=dict[str, str])
    turn: int = 0

    def command(self, *said: str) -> dict[str, Any]:
        done = CliRunner().invoke(nbo.app, ["--home", str(self.bank), *said, "--json"])
        assert done.exit_code == 0, done.exception
        return json.loads(done.stdout)

    def send(self, who: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        self.turn += 1
        headers = {"Authorization": f"Bearer {self.keys[who]}", "Content_Type": "application/json", "Idempotency_Key": f"k-{self.turn}"}  # fmt: skip
        method, text = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        status, answer = asked(self.port, method, path, text, **headers)
        return status, json.loads(answer)

    def done(self, who: str, path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = self.send(who, path, body)
        assert status == 200, (path, status, answer)
        return answer

    def decided(self) -> list[str]:
        """What customers who open the app are offered, without what only names this answer."""
        found: list[str] = []
        for customer in CUSTOMERS:
            told = self.done("app", "/v1/decisions", {"customer_id": customer, "direction": "inbound", "top": 3})
            found.append(json.dumps(told).replace(told["decision_id"], ""))
        return found

    def checked(self, change: str) -> Any:
        """The change once its check is in."""
        until = time.monotonic() + PATIENCE
        while (found := self.done("anna", f"/v1/changes/{change}"))["report"] is None:
            assert time.monotonic() < until, "no check came"
            time.sleep(0.1)
        return found

    def at(self, hours: float) -> str:
        """Move the clock to so many hours after the start."""
        moment = (NOW + timedelta(hours=hours)).isoformat()
        write_atomically(self.clock, moment.encode())
        return moment


@contextmanager
def service(bank: Path, folder: Path) -> Generator[Served]:
    """`nbo serve` of the home."""
    served = Served(bank, folder / "clock", free_port())
    served.at(0)
    for name, role in {**OFFICERS, "app": "channel"}.items():
        served.keys[name] = served.command("keys", "add", name, "--role", str(role))["key"]
    environment = os.environ | {"NBO_DOOR": "tests.serving.changes.review_door:open_door", CLOCK: str(served.clock), "PYTHONPATH": str(REPOSITORY)}  # fmt: skip
    command = [sys.executable, "-m", "nbo", "--home", str(bank), "serve", "--json", "--port", str(served.port)]
    log = folder / "log"
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=out, text=True)  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline(), log.read_text()
        yield served
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0, log.read_text()
    finally:
        child.kill()
        child.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """One for the file: each test leaves its bank deciding as it found it. Its clock only goes on: the rule comes last."""
    folder = tmp_path_factory.mktemp("served")
    with service(Path(shutil.copytree(registered(), folder / "bank")), folder) as found:
        yield found


def test_p23_models_promoted_and_rolled_back_beside_a_served_process(served: Served) -> None:
    """Within a second or so, without a restart; the former decisions come back to the byte."""

    def model() -> str:
        return json.loads(served.decided()[0])["revisions"]["model_interest"]

    def taken(name: str) -> None:
        until = time.monotonic() + PATIENCE
        while model() != name:
            assert time.monotonic() < until, "the service never took it"

    before, first = served.decided(), read_live(served.bank / "models")["interest"]
    served.command("models", "promote", "interest", "2")
    taken(read_live(served.bank / "models")["interest"])
    meanwhile = served.decided()
    assert [json.loads(one)["choices"] for one in meanwhile] != [json.loads(one)["choices"] for one in before]
    served.command("models", "rollback", "interest")
    taken(first)
    assert served.decided() == before


@pytest.mark.checked
@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "judge"),
    [
        ("campaigns", "campaigns/dollars.yaml", "call: 50", "call: 60", "max"),
        pytest.param("levers", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60000\n    lever: 1.1", "anna", marks=pytest.mark.long),
        pytest.param("catalogue", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60001", "anna", marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_p24_levers_campaigns_and_the_catalogue_go_the_same_way(
    served: Served, kind: str, name: str, old: str, new: str, judge: str
) -> None:
    first = json.loads(served.decided()[0])["revisions"]["live_set"]
    files = edited(served.bank, name, old, new)
    assert served.send("anna", "/v1/changes", {"files": files, "note": "not hers to write"})[0] == 403
    change = served.done("mia", "/v1/changes", {"files": files, "note": "test"})
    made = served.checked(change["change_id"])
    assert made["kinds"] == [kind] and made["state"] == "checked", made["report"]
    road, seen = f"/v1/changes/{made['change_id']}", {"revision": made["revision"]}
    assert served.send("mia", f"{road}/approve", seen)[0] == 403
    served.done(judge, f"{road}/approve", seen)
    assert served.done("mia", f"{road}/activate", {})["in_force"]
    assert json.loads(served.decided()[0])["revisions"]["live_set"] == made["revision"]
    served.done(judge, "/v1/rollbacks", {"note": "back"})
    assert json.loads(served.decided()[0])["revisions"]["live_set"] == first


@pytest.mark.checked
def test_p24_p09_p23_a_rule_from_its_proposal_to_its_rollback(served: Served) -> None:
    first, before = revision_of(files_in(served.bank)), served.decided()
    steps = served.command("audit", "verify")["steps"]
    change = served.done("anna", "/v1/changes", {"files": new_rule(served.bank), "note": "served in person"})
    name, revision = change["change_id"], change["revision"]
    assert change["state"] == "proposed"
    assert served.send("bob", f"/v1/changes/{name}/approve", {"revision": "0" * 64})[0] == 409
    made = served.checked(name)
    assert made["state"] == "checked" and made["report"]["invariants"] >= 20 and made["report"]["only_tightens"]
    assert made["report"]["impact"] and made["report"]["newly_suppressed"] and not made["report"]["newly_allowed"]
    status, said = served.send("anna", f"/v1/changes/{name}/approve", {"revision": revision})
    assert status == 403 and "is the author" in said["error"]["message"]
    assert served.send("dan", f"/v1/changes/{name}/approve", {"revision": revision})[0] == 403
    assert served.send("bob", f"/v1/changes/{name}/activate", {})[0] == 409
    assert served.decided() == before
    served.done("bob", f"/v1/changes/{name}/approve", {"revision": revision})
    ahead = (NOW + timedelta(minutes=30)).isoformat()
    assert served.send("bob", f"/v1/changes/{name}/activate", {"effective_at": "2026-01-01T00:00:00Z"})[0] == 409
    assert served.done("bob", f"/v1/changes/{name}/activate", {"effective_at": ahead})["in_force"] is False
    assert served.send("bob", f"/v1/changes/{name}/activate", {})[0] == 409
    assert served.decided() == before, "its instant has not come"
    served.at(0.5)
    meanwhile = served.decided()
    assert all(revision in one and first not in one for one in meanwhile)
    assert "wealth_usd_income" in before[0] and "wealth_usd_income" not in meanwhile[0]
    assert served.done("anna", "/v1/rollbacks", {"note": "back"})["state"] == "rolled_back"
    after = served.decided()
    assert [json.loads(one)["choices"] for one in after] == [json.loads(one)["choices"] for one in before]
    assert all(first in one and revision not in one for one in after)
    whole = served.command("audit", "verify")
    assert whole["whole"] and whole["steps"] == steps + 5
