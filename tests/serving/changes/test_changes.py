"""Four eyes over a bank in force: P24, P25, P23 and P09, through the service's door and through the command."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json
from typer.testing import CliRunner

from features.home import Home
from rules import review as review_rules
from rules.liveset import files_in, revision_of
from rules.prove import ProverMissingError
from rules.review import Step
from serving.changes import check as room
from serving.changes import live
from serving.decisions import canonical, decide_one
from serving.http.messages import DecisionRequest
from serving.ledger import changes
from serving.ledger.seal import look, seal
from serving.ledger.verify import verify
from serving.office import open_ledger
from tests.home import Clock, ask, office_at
from tests.serving.changes.conftest import Command, Http, Refused, Review, edited, live_bytes, new_rule


def refused(act: object) -> Refused:
    with pytest.raises(Refused) as found:
        act()  # type: ignore[operator]
    return found.value


def says(bank: Path, clock: Clock) -> tuple[str, str | None]:
    """(the set that decides, the offer) for the customer of the story."""
    office = office_at(bank, clock)
    try:
        told = ask(office)
        return told.revisions["live_set"], told.offer_id
    finally:
        office.close()


@pytest.mark.parametrize("review", [Http, Command], indirect=True)
@pytest.mark.checked
def test_p24_the_whole_road_and_p23_the_way_back(review: Review, bank: Path, clock: Clock) -> None:
    """Proposed, checked, approved by another, activated: the rule holds. Rolled back: the former decisions, to the byte."""
    before, first = live_bytes(bank), revision_of(files_in(bank))
    made = review.propose("anna", new_rule(bank))
    report = made.report
    assert made.state == "checked" and made.kinds == ("rules",) and report is not None and report.passed
    assert report.only_tightens and report.invariants >= 20 and report.cases > 300
    assert (
        any("dollar_rich" in line.en for line in report.impact) and report.newly_suppressed and not report.newly_allowed
    )
    assert live_bytes(bank) == before, "proposed and checked, nothing holds yet"
    assert review.approve("bob", made.change_id).approver == "bob"
    assert live_bytes(bank) == before
    held = review.activate("anna", made.change_id)
    assert (
        held.in_force
        and held.state == "activated"
        and [step.act for step in held.steps] == ["propose", "check", "approve", "activate"]
    )
    assert revision_of(live_bytes(bank)) == made.revision
    undone = review.rollback("bob")
    assert undone.state == "rolled_back" and not undone.in_force
    assert live_bytes(bank) == before and revision_of(live_bytes(bank)) == first


CUSTOMERS = [f"C{n:07d}" for n in range(1, 41)]


def decided(bank: Path, clock: Clock) -> list[bytes]:
    """All that is said and kept of decisions about forty customers by a service that starts now: answer, inputs, row."""
    office = office_at(bank, clock)
    try:
        with office.ledger.read() as connection:
            engine = live.current(office.engine, connection, office.ledger.now_micros())
            found = [decide_one(engine, connection, DecisionRequest(customer_id=one), "same", clock.now) for one in CUSTOMERS]  # fmt: skip
        return [to_json(one.said) + one.inputs + canonical(one.row) for one in found]
    finally:
        office.close()


def rolled_back(review: Review, bank: Path, clock: Clock) -> None:
    """P23 for rules: other decisions under the change, and after `nbo rules rollback` the former ones to the byte."""
    before = decided(bank, clock)
    made = review.propose("anna", new_rule(bank))
    review.approve("bob", made.change_id)
    review.activate("bob", made.change_id)
    meanwhile = decided(bank, clock)
    assert all(made.revision.encode() in one for one in meanwhile)
    dollars = b'"offer_id":"wealth_usd_income"'
    assert dollars in before[0] and dollars not in meanwhile[0], "the rule must change what is decided"
    review.rollback("anna")
    assert decided(bank, clock) == before


def test_p23_rollback_of_rules_gives_exactly_the_former_decisions(review: Review, bank: Path, clock: Clock) -> None:
    rolled_back(review, bank, clock)


@pytest.mark.parametrize("mutant", ["the undone set again", "a set like the former one"])
def test_p23_a_way_back_to_another_set_is_seen(
    review: Review, bank: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    """A rollback that leaves the change in force, or writes the former files anew with one blank line more."""
    honest, like = review_rules.rolled_back, like_former(bank)

    def elsewhere(*given: Any) -> tuple[Step, str, int]:
        undone, _, at = honest(*given)
        return undone, undone.target if mutant == "the undone set again" else like, at

    monkeypatch.setattr(review_rules, "rolled_back", elsewhere)
    with pytest.raises(AssertionError):
        rolled_back(review, bank, clock)


def like_former(bank: Path) -> str:
    files = files_in(bank)
    name = "policies/retail.yaml"
    with open_ledger(Home.open(bank)) as ledger:
        return ledger.write(lambda c: changes.keep_set(c, files | {name: files[name] + "\n"})).result()


@pytest.mark.parametrize(("end", "who"), [("reject", "bob"), ("withdraw", "anna")])
@pytest.mark.parametrize("approved", [False, True])
def test_p09_rejected_and_withdrawn_changes_leave_the_live_set_byte_identical(
    review: Review, bank: Path, end: str, who: str, approved: bool
) -> None:
    before = live_bytes(bank)
    change = review.propose("anna", new_rule(bank)).change_id
    if approved:
        review.approve("bob", change)
    review.judge(who, end, change)
    assert live_bytes(bank) == before
    assert refused(lambda: review.activate("bob", change)).status == 409
    assert refused(lambda: review.approve("bob", change)).status == 409
    assert live_bytes(bank) == before


# What is wrong -> (the file, what stands there, what is written instead, what is said).
UNREADABLE = {
    "parse": ("policies/retail.yaml", "when: deceased", "when: [deceased", "is not YAML"),
    "condition": ("policies/retail.yaml", "when: deceased", "when: deceased AND OR", "deceased"),
    "name": ("policies/retail.yaml", "when: deceased", "when: deceasd", "did you mean `deceased`"),
    "type": ("policies/retail.yaml", "when: deceased", "when: deceased > 3", "cannot compare"),
    "campaign": ("campaigns/dollars.yaml", "deposit_usd_6m", "deposit_usd_9m", "no offer `deposit_usd_9m`"),
    "catalogue": ("catalogue.yaml", "margin_minor: 60000", "margin_minor: much", "margin_minor"),
    "lever": ("catalogue.yaml", "margin_minor: 60000", "margin_minor: 60000\n    lever: 3", "lever"),
}  # fmt: skip


@pytest.mark.parametrize("violation", UNREADABLE)
def test_p24_what_does_not_parse_or_type_check_is_not_even_recorded(review: Review, bank: Path, violation: str) -> None:
    name, old, new, said = UNREADABLE[violation]
    before = live_bytes(bank)
    what = refused(lambda: review.propose("root", edited(bank, name, old, new)))
    assert said in str(what) and what.status in (409, 422) and "\n" not in str(what) and "nbo-set-" not in str(what)
    with open_ledger(Home.open(bank)) as ledger, ledger.read() as connection:
        assert [entry.step.act for entry in changes.entries(connection)] == ["boot"]
    assert live_bytes(bank) == before


def broken_case(bank: Path) -> dict[str, str | None]:
    return edited(bank, "policies/retail.yaml", "when: staff", "when: NOT staff")


def broken_invariant(bank: Path) -> dict[str, str | None]:
    """A rule made to bind staff alone, and its cases dropped: the proofs say what that opens."""
    files = files_in(bank)
    cases = "".join(line for line in files["policies/retail.cases.yaml"].splitlines(keepends=True) if "about: do_not_contact," not in line)  # fmt: skip
    return {"policies/retail.yaml": files["policies/retail.yaml"].replace("when: do_not_contact", "when: do_not_contact AND staff", 1),
            "policies/retail.cases.yaml": cases}  # fmt: skip


def without_cases(bank: Path) -> dict[str, str | None]:
    return {"policies/retail.yaml": new_rule(bank)["policies/retail.yaml"]}


@pytest.mark.checked
@pytest.mark.parametrize(
    ("violation", "said"),
    [(broken_case, "expected"), (broken_invariant, "invariant `"), (without_cases, "`dollar_rich` has no case")],
)
def test_p24_what_fails_cases_or_proofs_can_be_neither_approved_nor_activated(
    review: Review, bank: Path, violation: object, said: str
) -> None:
    before = live_bytes(bank)
    made = review.propose("anna", violation(bank))  # type: ignore[operator]
    assert made.state == "failed" and made.report is not None and any(said in line.en for line in made.report.problems)
    assert "failed its check" in str(refused(lambda: review.approve("bob", made.change_id)))
    assert refused(lambda: review.activate("bob", made.change_id)).status == 409
    assert live_bytes(bank) == before


def test_p24_nobody_approves_his_own_and_nothing_unapproved_is_activated(review: Review, bank: Path) -> None:
    before = live_bytes(bank)
    change = review.propose("anna", new_rule(bank)).change_id
    assert refused(lambda: review.approve("anna", change)).status == 403
    assert refused(lambda: review.activate("anna", change)).status == 409
    assert refused(lambda: review.approve("bob", change, "0" * 64)).status == 409
    assert live_bytes(bank) == before


@pytest.mark.parametrize(
    ("who", "name", "old", "new"),
    [
        ("mia", "policies/retail.yaml", "when: deceased", "when: deceased OR staff"),
        ("mia", "policies/retail.cases.yaml", "age_years: 40", "age_years: 41"),
        ("anna", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60001"),
        ("anna", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60000\n    lever: 1.1"),
        ("anna", "campaigns/dollars.yaml", "call: 50", "call: 60"),
        ("dan", "campaigns/dollars.yaml", "call: 50", "call: 60"),
        ("dan", "policies/retail.yaml", "when: deceased", "when: deceased OR staff"),
        ("sms-gateway", "campaigns/dollars.yaml", "call: 50", "call: 60"),
    ],
)  # fmt: skip
def test_p25_who_may_not_write_what(review: Review, bank: Path, who: str, name: str, old: str, new: str) -> None:
    before = live_bytes(bank)
    assert refused(lambda: review.propose(who, edited(bank, name, old, new))).status == 403
    assert live_bytes(bank) == before


@pytest.mark.parametrize(
    ("kind", "author", "name", "old", "new"),
    [
        ("campaigns", "mia", "campaigns/dollars.yaml", "call: 50", "call: 60"),
        ("levers", "mia", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60000\n    lever: 1.1"),
        ("catalogue", "mia", "catalogue.yaml", "margin_minor: 60000", "margin_minor: 60001"),
    ],
)  # fmt: skip
def test_p24_levers_campaigns_and_the_catalogue_go_the_same_way(
    review: Review, bank: Path, kind: str, author: str, name: str, old: str, new: str
) -> None:
    before = live_bytes(bank)
    made = review.propose(author, edited(bank, name, old, new))
    assert made.kinds == (kind,) and made.state == "checked", made.report
    for who in (author, "dan", "sms-gateway"):
        assert refused(lambda who=who: review.approve(who, made.change_id)).status == 403
    assert live_bytes(bank) == before
    review.approve("max" if kind == "campaigns" else "anna", made.change_id)
    assert review.activate("mia", made.change_id).in_force
    assert new in live_bytes(bank)[name]


def test_marketing_judges_no_rules_and_rolls_none_back(review: Review, bank: Path) -> None:
    change = review.propose("anna", new_rule(bank)).change_id
    for verb in ("reject", "withdraw"):
        assert refused(lambda verb=verb: review.judge("mia", verb, change)).status == 403
    assert refused(lambda: review.approve("mia", change)).status == 403
    review.approve("bob", change)
    assert refused(lambda: review.activate("mia", change)).status == 403
    review.activate("bob", change)
    assert refused(lambda: review.rollback("mia")).status == 403
    assert refused(lambda: review.rollback("dan")).status == 403


def test_what_was_proposed_upon_another_set_is_proposed_again(review: Review, bank: Path) -> None:
    rule = review.propose("anna", new_rule(bank)).change_id
    seats = review.propose("mia", edited(bank, "campaigns/dollars.yaml", "call: 50", "call: 60")).change_id
    for change, who in ((rule, "bob"), (seats, "max")):
        review.approve(who, change)
    review.activate("bob", rule)
    assert "propose it again upon what holds now" in str(refused(lambda: review.activate("max", seats)))
    assert "call: 50" in live_bytes(bank)["campaigns/dollars.yaml"]


def test_the_first_set_waits_for_a_second_person(review: Review) -> None:
    first = review.shown("first")
    assert first.state == "booted" and first.in_force and first.approver is None
    assert refused(lambda: review.rollback("bob")).status == 409
    assert review.approve("bob", "first").state == "activated"


@pytest.mark.checked
def test_without_the_prover_no_rule_passes(review: Review, bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ProverMissingError("proofs need z3, which is not installed")

    monkeypatch.setattr(room, "prove_answer", missing)
    monkeypatch.setattr(room, "diff_answer", missing)
    made = review.propose("anna", new_rule(bank))
    assert made.state == "failed" and made.report is not None and "proofs need z3" in made.report.problems[0].en


def test_steps_are_signed_sealed_and_stay(review: Review, bank: Path) -> None:
    """Neither the program nor whoever has the database open changes a step; what is forced is found."""
    review.propose("mia", edited(bank, "campaigns/dollars.yaml", "call: 50", "call: 60"))
    home = Home.open(bank)
    with open_ledger(home) as ledger:
        from serving.engine import keyring_of

        keyring = keyring_of(home)
        ledger.write(lambda c: seal(c, keyring, ledger.now_micros(), look(c, ledger.now_micros(), since=0))).result()
        for table in ("change_steps", "live_sets", "texts"):
            for verb in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid + 1"):
                with pytest.raises(ValueError, match="append-only"):
                    ledger.write(lambda c, verb=verb: c.exec_driver_sql(verb)).result()
        with ledger.read() as connection:
            assert changes.unsigned(connection, ledger.secret) == [] and not verify(connection, keyring).findings

        def forged(connection: object) -> None:
            connection.exec_driver_sql("DROP TRIGGER change_steps_stay_update")  # type: ignore[attr-defined]
            connection.exec_driver_sql("UPDATE change_steps SET principal = 'bob' WHERE act = 'propose'")  # type: ignore[attr-defined]

        ledger.write(forged).result()
        with ledger.read() as connection:
            assert changes.unsigned(connection, ledger.secret) == [2]
            assert [(f.what, f.which) for f in verify(connection, keyring).findings] == [("change", "2")]


# What was done to the database past the program -> what `nbo audit verify` names.
SPOILED = {
    "another author": ("change_steps", "UPDATE change_steps SET principal = 'bob' WHERE act = 'propose'", ("change", "2")),
    "a check that passed": ("change_steps", "UPDATE change_steps SET report = '{}' || ' ' WHERE act = 'check'", ("change", "3")),
    "a step left out": ("change_steps", "DELETE FROM change_steps WHERE act = 'check'", ("change", "4")),
    "a signature of one's own": ("change_steps", "UPDATE change_steps SET signature = previous WHERE act = 'withdraw'", ("change", "4")),
    "another text": ("texts", "UPDATE texts SET body = replace(body, 'call: 60', 'call: 99')", ("set", "")),
    "another set": ("live_sets", "UPDATE live_sets SET manifest = replace(manifest, 'dollars', 'dolars')", ("set", "")),
}  # fmt: skip


@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize("review", [Command], indirect=True)
def test_audit_verify_names_the_step_or_set_that_was_changed(review: Review, bank: Path, spoiled: str) -> None:
    """No seal covers them yet: the signatures alone tell."""
    import nbo

    change = review.propose("mia", edited(bank, "campaigns/dollars.yaml", "call: 50", "call: 60")).change_id
    review.judge("mia", "withdraw", change)
    whole = CliRunner().invoke(nbo.app, ["--home", str(bank), "audit", "verify"])
    assert whole.exit_code == 0 and "4 steps of changes, each by its signature" in whole.stdout
    table, statement, named = SPOILED[spoiled]
    connection = sqlite3.connect(bank / "nbo.db")
    with connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER {table}_stay_{verb}")
        assert connection.execute(statement).rowcount > 0
    connection.close()
    told = CliRunner().invoke(nbo.app, ["--home", str(bank), "audit", "verify", "--json"])
    found = [(one["what"], one["which"]) for one in json.loads(told.stdout)["findings"]]
    assert told.exit_code == 1 and any(what == named[0] and which.startswith(named[1]) for what, which in found), found


def test_drafts_do_not_hold_and_can_be_thrown_away(bank: Path, clock: Clock) -> None:
    """A file that is edited, even past mending, changes nothing until it is proposed, approved and activated."""
    import nbo

    run = lambda *said: CliRunner().invoke(nbo.app, ["--home", str(bank), *said])
    first = says(bank, clock)
    path, text = bank / "policies" / "retail.yaml", (bank / "policies" / "retail.yaml").read_bytes()
    path.write_text("rules: [", "utf-8")
    assert says(bank, clock)[0] == first[0]
    assert "draft: policies/retail.yaml" in run("rules", "list").stdout
    assert "is not YAML" in str(run("rules", "propose", "--dry-run").exception)
    assert run("rules", "restore").stdout.strip() == "policies/retail.yaml"
    assert path.read_bytes() == text
    assert run("rules", "restore").stdout.strip() == "nothing differs"


@pytest.mark.parametrize("review", [Command], indirect=True)
@pytest.mark.checked
def test_a_wording_that_has_expired_is_told_to_whoever_judges_the_campaign(review: Review, bank: Path) -> None:
    wording = (
        "{id: wealth_usd_sms_1, legal_footer: R., approved_by: lin, approved_on: 2026-01-01, expires_on: 2026-05-31}"
    )
    made = review.propose("mia", edited(bank, "campaigns/dollars.yaml", "owner:", f"treatments: [{wording}]\nowner:"))
    assert made.report is not None and made.report.passed
    assert [line.en for line in made.report.notes if "expired" in line.en] == [
        "campaign `dollars`: treatment `wealth_usd_sms_1` expired on 2026-05-31; what it words stays closed until it is renewed"
    ]
