"""A list handed over and the endpoint stop alike: whatever refuses a claim stands in recalls.csv."""

import csv
import shutil
from pathlib import Path

from sqlalchemy import select
from typer.testing import CliRunner

import nbo
from features.home import Home
from serving.claims import forbidden, forbidden_each
from serving.commands.lists import make_list
from serving.http.errors import Conflict
from serving.http.messages import ClaimRequest, ExternalContactRequest, OutcomeRequest, SwitchRequest
from serving.ledger.contact import COLUMNS, ContactRow
from serving.ledger.schema import contacts
from serving.office import Office
from tests.home import HERO, HERO_DOLLARS, NOW, Clock, call, move, office_at, rows, said

LEFT = 1_150_000


def made(bank: Path, *campaigns: str) -> Path:
    return Path(str(make_list(Home.open(bank), list(campaigns), NOW).path))


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def recalled(bank: Path, run: Path) -> dict[str, tuple[str, bool]]:
    """Contact -> (reason, for good), as the command writes it."""
    done = CliRunner().invoke(nbo.app, ["--home", str(bank), "recall", "list", run.name])
    assert done.exit_code == 0, done.output
    return {row["contact_id"]: (row["reason"], bool(row["recalled_at"])) for row in read(run / "recalls.csv")}


def contact_of(run: Path, customer: str) -> str:
    return next(row["contact_id"] for row in read(run / "offers.csv") if row["customer_id"] == customer)


def others(run: Path, n: int) -> list[str]:
    return [row["customer_id"] for row in read(run / "offers.csv") if row["customer_id"] != HERO][:n]


def complain(office: Office, customer: str, clock: Clock) -> None:
    """He complains of what another system sent him."""
    sent = ExternalContactRequest.model_validate_json(
        f'{{"contact_id": "x1", "customer_id": "{customer}", "channel": "email", "purpose": "marketing", "sent_at": "{clock.now.isoformat()}"}}'
    )
    office.external_contact(sent, call()).result(30)
    told = OutcomeRequest.model_validate_json(
        f'{{"contact_id": "x1", "kind": "complained", "at": "{clock.now.isoformat()}"}}'
    )
    office.outcome(told, call()).result(30)


def test_p29_the_dollars_leave_and_the_list_that_names_him_is_recalled(bank: Path, clock: Clock) -> None:
    """Mutant: recalls.csv of the opt-outs alone."""
    run = made(bank, "dollars", "all_year")
    mine = contact_of(run, HERO)
    assert recalled(bank, run) == {}
    office = office_at(bank, clock)
    move(office, "cash_withdrawal", -LEFT, HERO_DOLLARS - LEFT, clock.now)
    office.close()
    assert recalled(bank, run) == {mine: ("recent_outflow", True)}
    assert recalled(bank, run) == {mine: ("recent_outflow", True)}, "it stays, whoever asks again"


def test_an_objection_and_a_complaint_recall_as_they_refuse_the_claim(bank: Path, clock: Clock) -> None:
    """Contact by contact, and in groups of two: the same words. Mutant: reasons of a neighbour in the group."""
    run = made(bank, "all_year")
    objector, complainer, opted_out = others(run, 3)
    office = office_at(bank, clock)
    office.consent(said(clock.now, customer=objector, purpose="profiling"), call()).result(30)
    complain(office, complainer, clock)
    with office.ledger.read() as connection:
        query = select(*COLUMNS).where(contacts.c.decision_id == run.name).order_by(contacts.c.contact_id)
        listed = [ContactRow._make(row) for row in connection.execute(query)]
        now = office.ledger.now_micros()
        one_by_one = [forbidden(office.engine, connection, row, now) for row in listed]
        assert forbidden_each(office.engine, connection, listed, now) == one_by_one
        assert forbidden_each(office.engine, connection, [], now) == []
    refused = {row.contact_id: why[0] for row, why in zip(listed, one_by_one, strict=True) if why}
    assert {contact_of(run, name) for name in (objector, complainer)} == set(refused)
    assert refused[contact_of(run, objector)] == "no_profiling"
    office.consent(said(clock.now, customer=opted_out), call()).result(30)
    office.close()
    told = recalled(bank, run)
    assert told == {name: (why, True) for name, why in refused.items()} | {contact_of(run, opted_out): ("opted_out", True)}  # fmt: skip


def test_a_pause_holds_the_list_and_recalls_nothing(bank: Path, clock: Clock) -> None:
    """Mutant: a pause of a minute closes a list for ever."""
    run = made(bank, "all_year")
    office = office_at(bank, clock)
    pause = SwitchRequest.model_validate_json('{"scope": "channel:app", "action": "pause"}')
    office.switch(pause, call()).result(30)
    on_app = {row["contact_id"] for row in read(run / "offers-app.csv")}
    assert recalled(bank, run) == dict.fromkeys(on_app, ("paused", False))
    assert rows(office, "SELECT count(*) FROM contacts WHERE state = 'closed' AND decision_id = ?", run.name) == [(0,)]
    office.close()


def test_without_a_snapshot_the_whole_list_is_held(bank: Path) -> None:
    """The claim would be refused for want of data, and stays reserved."""
    run = made(bank, "all_year")
    features = Home.open(bank).path / "features"
    shutil.move(features, features.with_name("away"))
    features.mkdir()
    told = recalled(bank, run)
    assert set(told.values()) == {("regulatory_unknown", False)} and len(told) == len(read(run / "offers.csv"))
    shutil.rmtree(features)
    shutil.move(features.with_name("away"), features)
    assert recalled(bank, run) == {}


def test_what_the_list_recalls_the_endpoint_refuses(bank: Path, clock: Clock) -> None:
    """And what was recalled cannot be claimed any more."""
    run = made(bank, "all_year")
    [objector] = others(run, 1)
    office = office_at(bank, clock)
    office.consent(said(clock.now, customer=objector, purpose="profiling"), call()).result(30)
    name = contact_of(run, objector)
    assert recalled(bank, run) == {name: ("no_profiling", True)}
    done = office.claim(name, ClaimRequest(), call()).result(30)
    assert done.status == Conflict.status and b"no_profiling" in done.body
    office.close()
