"""A bank in force, its officers, and a change through either door."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from features.home import Home
from rules.liveset import files_in, write_files
from rules.review import Actor
from serving.changes import desk
from serving.changes.desk import examine
from serving.http.door import Call, as_door_error
from serving.http.messages import (
    ActivateRequest,
    ApproveRequest,
    ChangeResponse,
    CheckReport,
    JudgeRequest,
    ProposeRequest,
    RollbackRequest,
)
from serving.ledger import changes
from serving.ledger.keys import Principal, Role, add
from serving.office import open_ledger
from tests.home import Clock, call, office_at

OFFICERS = {"anna": Role.COMPLIANCE, "bob": Role.COMPLIANCE, "mia": Role.MARKETING, "max": Role.MARKETING, "dan": Role.DATA_SCIENCE,
            "sms-gateway": Role.CHANNEL, "root": Role.ADMIN}  # fmt: skip
GATED = {Role.MARKETING, Role.COMPLIANCE, Role.ADMIN}  # of the routes: whom the HTTP layer lets through at all


class Refused(Exception):
    """The door said no. status: as HTTP has it; the command's 409 is any exit 2 that is not about roles."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


class Http:
    """The service's door, behind the roles of its routes."""

    def __init__(self, bank: Path, clock: Clock) -> None:
        self.bank, self.office = bank, office_at(bank, clock)
        self.office.checker = self._check

    def _check(self, home: Path, change_id: str) -> None:
        examine(self.office.engine, self.office.ledger, change_id, Actor("checker", "admin"))

    def _done(self, who: str, act: Callable[[Call], Any]) -> ChangeResponse:
        if OFFICERS[who] not in GATED:
            raise Refused("role", 403)  # tests/serving/http/api/test_roles.py asks the routes themselves
        try:
            found = act(call("POST /v1/changes", Principal(who, OFFICERS[who])))
            return ChangeResponse.model_validate_json(found.result(60).body)
        except Exception as error:
            said = as_door_error(error)
            if said is None:
                raise
            raise Refused(said.message, said.status) from error

    def propose(self, who: str, files: dict[str, str | None]) -> ChangeResponse:
        made = self._done(who, lambda c: self.office.propose(ProposeRequest(files=files, note="test"), c))
        return self.shown(made.change_id)

    def approve(self, who: str, change: str, revision: str | None = None) -> ChangeResponse:
        seen = revision or self.shown(change).revision
        return self._done(who, lambda c: self.office.approve(change, ApproveRequest(revision=seen), c))

    def judge(self, who: str, verb: str, change: str) -> ChangeResponse:
        return self._done(who, lambda c: getattr(self.office, verb)(change, JudgeRequest(note="no"), c))

    def activate(self, who: str, change: str) -> ChangeResponse:
        return self._done(who, lambda c: self.office.activate(change, ActivateRequest(), c))

    def rollback(self, who: str) -> ChangeResponse:
        return self._done(who, lambda c: self.office.rollback(RollbackRequest(note="back"), c))

    def shown(self, change: str) -> ChangeResponse:
        return self.office.change(change, call())

    def close(self) -> None:
        self.office.close()


class Command:
    """The command: files are written into the home, the key is in NBO_KEY."""

    def __init__(self, bank: Path, clock: Clock) -> None:
        import nbo

        self.bank, self.app, self.keys = bank, nbo.app, dict[str, str]()
        self.before = files_in(bank)
        with open_ledger(Home.open(bank)) as ledger:
            for name, role in OFFICERS.items():
                self.keys[name] = ledger.write(
                    lambda c, name=name, role=role: add(c, name, role, secret=ledger.secret, now=ledger.now_micros())
                ).result()

    def _run(self, who: str, *arguments: str) -> ChangeResponse:
        done = CliRunner().invoke(
            self.app, ["--home", str(self.bank), "rules", *arguments, "--json"], env={"NBO_KEY": self.keys[who]}
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            forbidden = ("may not", "is the author", "only its author")
            raise Refused(str(done.exception), 403 if any(word in str(done.exception) for word in forbidden) else 409)
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

    def activate(self, who: str, change: str) -> ChangeResponse:
        return self._run(who, "activate", change)

    def rollback(self, who: str) -> ChangeResponse:
        return self._run(who, "rollback", "--note", "back")

    def shown(self, change: str) -> ChangeResponse:
        return self._run("anna", "list", change)

    def close(self) -> None:
        return


Review = Http | Command
PASSED = CheckReport(passed=True, problems=(), text=(), cases=0, invariants=0, only_tightens=None, newly_allowed=(), newly_suppressed=(),
                     notes=(), impact=())  # fmt: skip


@pytest.fixture(autouse=True)
def _checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases and proofs take seconds: they run where they are what is asked (mark `checked`), and pass elsewhere."""
    if request.node.get_closest_marker("checked") is None:
        monkeypatch.setattr(desk, "check", lambda *_: PASSED)


@pytest.fixture(params=[Http, Command], ids=["http", "command"])
def review(request: pytest.FixtureRequest, bank: Path, clock: Clock) -> Generator[Review]:
    """A bank whose files are in force, and a door to its review."""
    office_at(bank, clock).close()  # the first start puts the files into force
    opened = request.param(bank, clock)
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
