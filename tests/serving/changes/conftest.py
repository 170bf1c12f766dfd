"""A bank in force, its officers, and a change through either door."""

import http.client
import json
import shutil
from collections.abc import Generator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection
from typer.testing import CliRunner

from features.home import Home
from rules.liveset import files_in, write_files
from rules.review import Actor
from serving.changes import desk
from serving.changes.desk import examine
from serving.http.messages import ChangeResponse, CheckReport
from serving.ledger import changes
from serving.ledger.book import Ledger
from serving.ledger.keys import DAY_MICROS, Role, add, revoke
from serving.office import open_ledger
from tests.home import Clock, copied, office_at
from tests.wire import listening

OFFICERS = {"anna": Role.COMPLIANCE, "ANNA": Role.COMPLIANCE, "gone": Role.COMPLIANCE, "late": Role.COMPLIANCE, "bob": Role.COMPLIANCE, "mia": Role.MARKETING, "max": Role.MARKETING, "dan": Role.DATA_SCIENCE,
            "sms-gateway": Role.CHANNEL, "root": Role.ADMIN}  # fmt: skip


class Refused(Exception):
    """The door said no. status: as HTTP has it; the command's 409 is any exit 2 that is not about roles."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


def keys_for(ledger: Ledger) -> dict[str, str]:
    """A key for each officer; `gone` was revoked and `late` has expired, both of compliance."""
    made: dict[str, str] = {}

    def task(connection: Connection) -> None:
        now = ledger.now_micros()
        for name, role in OFFICERS.items():
            begun = now - 2 * DAY_MICROS if name == "late" else now
            made[name] = add(connection, name, role, secret=ledger.secret, now=begun, days=1 if name == "late" else 365)
        revoke(connection, "gone", now)

    ledger.write(task).result()
    return made | {"nobody": "nbo_unknown"}


class Http:
    """The service behind real HTTP, keys and roles included."""

    def __init__(self, bank: Path, clock: Clock, keys: dict[str, str]) -> None:
        self.bank, self.clock, self.office = bank, clock, office_at(bank, clock)
        self.office.checker = lambda home, change: None  # a process of its own in the service; here see `propose`
        self.keys = keys
        self._open = ExitStack()
        self.port = self._open.enter_context(listening(self.office, answer_seconds_max=60))

    def ask(
        self, who: str, method: str, path: str, body: dict[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.keys[who]}", "Content-Type": "application/json", "Idempotency-Key": f"k-{next(_turn)}"}  # fmt: skip
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def _done(self, who: str, method: str, path: str, body: dict[str, object] | None = None) -> ChangeResponse:
        status, said = self.ask(who, method, path, body)
        if status != 200:
            raise Refused(said["error"]["message"], status)
        return ChangeResponse.model_validate(said, strict=False)

    def propose(self, who: str, files: dict[str, str | None]) -> ChangeResponse:
        made = self._done(who, "POST", "/v1/changes", {"files": files, "note": "test"})
        examine(self.office.engine, self.office.ledger, made.change_id, Actor("checker", "admin"))
        return self.shown(made.change_id)

    def approve(self, who: str, change: str, revision: str | None = None) -> ChangeResponse:
        seen = revision or self.shown(change).revision
        return self._done(who, "POST", f"/v1/changes/{change}/approve", {"revision": seen})

    def judge(self, who: str, verb: str, change: str) -> ChangeResponse:
        return self._done(who, "POST", f"/v1/changes/{change}/{verb}", {"note": "no"})

    def activate(self, who: str, change: str, at: datetime | None = None) -> ChangeResponse:
        body = {} if at is None else {"effective_at": at.isoformat()}
        return self._done(who, "POST", f"/v1/changes/{change}/activate", body)

    def rollback(self, who: str) -> ChangeResponse:
        return self._done(who, "POST", "/v1/rollbacks", {"note": "back"})

    def shown(self, change: str) -> ChangeResponse:
        return self._done("root", "GET", f"/v1/changes/{change}")

    def close(self) -> None:
        self._open.close()
        self.office.close()


class Command:
    """The command: files are written into the home, the key is in NBO_KEY."""

    def __init__(self, bank: Path, clock: Clock, keys: dict[str, str]) -> None:
        import nbo

        self.bank, self.clock, self.app = bank, clock, nbo.app
        self.before = files_in(bank)
        self.keys = keys

    def _run(self, who: str, *arguments: str) -> ChangeResponse:
        done = CliRunner().invoke(
            self.app, ["--home", str(self.bank), "rules", *arguments, "--json"], env={"NBO_KEY": self.keys[who]}
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            said = str(done.exception)
            assert isinstance(done.exception, ValueError) and "\n" not in said, "one line, exit code 2"
            raise Refused(said, next((status for word, status in MEANS.items() if word in said), 409))
        return ChangeResponse.model_validate_json(done.stdout)

    def propose(self, who: str, files: dict[str, str | None]) -> ChangeResponse:
        write_files({name: text for name, text in files.items() if text is not None}, self.bank)
        for name in (name for name, text in files.items() if text is None):
            (self.bank / name).unlink()
        try:
            return self._run(who, "propose", "--note", "test")
        finally:
            write_files(self.before, self.bank)

    def approve(self, who: str, change: str, revision: str | None = None) -> ChangeResponse:
        return self._run(who, "approve", change, *(["--revision", revision] if revision else []))

    def judge(self, who: str, verb: str, change: str) -> ChangeResponse:
        return self._run(who, verb, change, "--note", "no")

    def activate(self, who: str, change: str, at: datetime | None = None) -> ChangeResponse:
        return self._run(who, "activate", change, *([] if at is None else ["--at", at.isoformat()]))

    def rollback(self, who: str) -> ChangeResponse:
        return self._run(who, "rollback", "--note", "back")

    def shown(self, change: str) -> ChangeResponse:
        return self._run("anna", "list", change)

    def close(self) -> None:
        return


# What the command's one line means as a status of HTTP; anything else is a 409.
MEANS = {"may not": 403, "is the author": 403, "only its author": 403, "put your key into": 401, "no such change": 404,
         "bring the ledger's backup back": 503}  # fmt: skip
_turn = iter(range(10**9))
Review = Http | Command
PASSED = CheckReport(passed=True, problems=(), text=(), cases=0, invariants=0, only_tightens=None, newly_allowed=(), newly_suppressed=(),
                     notes=(), impact=())  # fmt: skip


@pytest.fixture(autouse=True)
def _checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases and proofs take seconds: they run where they are what is asked (mark `checked`), and pass elsewhere."""
    if request.node.get_closest_marker("checked") is None:
        monkeypatch.setattr(desk, "check", lambda *_: PASSED)


@pytest.fixture(scope="session")
def in_force(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A bank whose files are in force, and its officers' keys; take a copy."""
    path = copied(tmp_path_factory.mktemp("in_force") / "bank")
    office_at(path, Clock()).close()  # the first start puts the files into force
    with open_ledger(Home.open(path)) as ledger:
        return path, keys_for(ledger)


@pytest.fixture(params=[Http, pytest.param(Command, marks=pytest.mark.long)], ids=["http", "command"])
def review(
    request: pytest.FixtureRequest, in_force: tuple[Path, dict[str, str]], bank: Path, clock: Clock
) -> Generator[Review]:
    """A bank whose files are in force, and a door to its review."""
    home, keys = in_force
    shutil.copytree(home, bank, dirs_exist_ok=True)
    opened = request.param(bank, clock, keys)
    yield opened
    opened.close()


def live_bytes(bank: Path) -> dict[str, str]:
    """What is in force, byte for byte."""
    with open_ledger(Home.open(bank)) as ledger, ledger.read() as connection:
        revision = changes.revision_in_force(connection, ledger.now_micros())
        assert revision is not None
        return changes.files_of(connection, revision)


def edited(bank: Path, name: str, old: str, new: str) -> dict[str, str | None]:
    """One file of the home with another text."""
    text = files_in(bank)[name]
    assert old in text, old
    return {name: text.replace(old, new, 1)}


RULE = """  - id: dollar_rich
    layer: eligibility
    reason: not_served
    title: {en: "Who holds much is served in person.", zh: 大额客户由专人服务。}
    source: test
    owner: test
    when: balance_usd_minor >= 1100000 AND balance_usd_minor < 1900000
    scope: {offers: [wealth_usd_income]}
"""
_SHAPE = "direction: both, offers: [wealth_usd_income], channels: [app]"
CASES = "".join(f"  - {{id: {name}, about: dollar_rich, customer: {{balance_usd_minor: {usd}}}, {_SHAPE}, expect: {expect}}}\n"
                for name, usd, expect in (("rich", 1100000, "[not_served]"), ("rich_still", 1899999, "[not_served]"),
                                          ("not_rich", 1099999, "open"), ("richer", 1900000, "open"),
                                          ("rich_unknown", "unknown", "[eligibility_unknown, suitability_unknown]")))  # fmt: skip
FORMER = "offers: [wealth_usd_income, deposit_usd_6m], channels: [app], expect: [suitability_unknown]"


def new_rule(bank: Path) -> dict[str, str | None]:
    """A rule that takes the USD wealth offers from whoever holds USD 11,000, with its cases."""
    files = files_in(bank)
    return {"policies/retail.yaml": files["policies/retail.yaml"].replace("rules:\n", "rules:\n" + RULE, 1),
            "policies/retail.cases.yaml": files["policies/retail.cases.yaml"].replace("  - {id: colleague,", CASES + "  - {id: colleague,", 1)
            .replace(FORMER, FORMER.replace("wealth_usd_income, ", ""), 1)}  # fmt: skip
