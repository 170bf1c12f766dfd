"""The proof: records replay to the same bytes, a changed byte is found, and looking writes nothing."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.home import Home
from serving import engine as engine_room
from serving.commands.audit import ReplayAnswer, ShowAnswer, app
from serving.commands.decide import decide_customers
from serving.commands.lists import make_list
from serving.http.messages import Direction, SwitchAction, SwitchRequest
from serving.ledger import records
from serving.office import Office
from serving.replay import Tally, replay_many, replayed
from serving.whynot import WhyNot
from tests.home import APP, BOSS, HERO, NOW, Clock, adopt, ask, call, move, office_at

run = CliRunner().invoke


def decided(office: Office, clock: Clock, n: int) -> list[str]:
    """Ids of n recorded decisions of all sorts."""
    ids: list[str] = []
    for turn in range(n):
        if turn == n // 2:
            move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
        channels = (None, ("sms", "call"), ("branch",))[turn % 3]
        direction = ("outbound", "inbound")[turn % 2]
        ids.append(ask(office, f"C{turn % 50 + 1:07d}", direction=direction, channels=channels).decision_id)
        clock.forward(minutes=7)
    return ids


def test_p05_recorded_decisions_replay_to_the_same_bytes(office: Office, clock: Clock) -> None:
    ids = decided(office, clock, 60)
    with office.ledger.read() as connection:
        found = [records.find(connection, one) for one in ids]
        vault = office.engine.vault
        plain = [vault.opened(connection, row) for row in found if row is not None]
        assert all(row is not None and row.inputs[:1] == row.result[:1] == b"\x01" for row in found), "stored encrypted"
        kept = [row for row in plain if json.loads(row.result)["row"] is not None]
        assert len(kept) > 50 and {row.reasons == "[]" for row in kept} == {True, False}
        assert all(replayed(office.engine, connection, row) for row in kept)
        won = next(row for row in kept if row.reasons == "[]")
        inputs = json.loads(won.inputs)
        inputs["scores"]["p_interest"] = [(p or 0) / 2 for p in inputs["scores"]["p_interest"]]
        values = {name: getattr(won, name) for name in records.FIELDS} | {"inputs": json.dumps(inputs).encode()}
        assert not replayed(office.engine, connection, records.DecisionRow(**values)), "other inputs, other bytes"


def test_p05_a_decision_made_under_a_pause_replays_after_it(office: Office) -> None:
    office.switch(SwitchRequest(scope="channel:sms", action=SwitchAction.PAUSE), call()).result(30)
    one = ask(office)
    for who in (APP, BOSS):
        office.switch(SwitchRequest(scope="channel:sms", action=SwitchAction.RESUME), call(who=who)).result(30)
    with office.ledger.read() as connection:
        row = records.find(connection, one.decision_id)
        assert row is not None and replayed(office.engine, connection, row)


def changed(bank: Path, sql: str, decision: str) -> None:
    connection = sqlite3.connect(bank / "nbo.db")
    with connection:
        assert connection.execute(f"UPDATE decisions SET {sql} WHERE decision_id = ?", (decision,)).rowcount == 1
    connection.close()


@pytest.mark.parametrize("sql", [
    "inputs = substr(inputs, 2)", "result = CAST(X'ff' || result AS BLOB)", "inputs = result",
    "reasons = '[\"no_value\"]'", "customer_id = 'C0000009'", "as_of = as_of + 1", "terms = 'x'", "revisions = '{'",
    "row_sha256 = replace(row_sha256, substr(row_sha256, 1, 1), 'f') || 'x'",
])  # fmt: skip
def test_p05_a_changed_byte_of_a_record_is_found(bank: Path, clock: Clock, sql: str) -> None:
    office = office_at(bank, clock)
    decision = ask(office).decision_id
    office.close()
    good = run(app, ["show", decision, "--json"], obj=bank)
    assert good.exit_code == 0 and ShowAnswer.model_validate_json(good.stdout).whole
    again = run(app, ["replay", decision, "--json"], obj=bank)
    assert again.exit_code == 0 and ReplayAnswer.model_validate_json(again.stdout).same
    changed(bank, sql, decision)
    bad = run(app, ["show", decision, "--json"], obj=bank)
    assert bad.exit_code == 1 and ShowAnswer.model_validate_json(bad.stdout).whole is False
    again = run(app, ["replay", decision, "--json"], obj=bank)
    assert again.exit_code == 1 and ReplayAnswer.model_validate_json(again.stdout).same is False
    why = run(app, ["why", decision], obj=bank)
    assert "its hash differs" in str(why.exception)


def test_why_tells_the_sentence_the_factors_and_every_cell(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    decision = ask(office).decision_id
    office.close()
    text = run(app, ["why", decision], obj=bank).stdout.splitlines()
    assert text[0].startswith("USD income fund from 5 000 dollars: reached with ")
    assert sum(line.split()[1:2] in (["sms"], ["email"], ["app"], ["call"], ["branch"]) for line in text) == 50
    assert any(line.split()[:2] == ["wealth_eur_bond", "app"] and "funds_below_entry" in line for line in text)
    assert any(line.split()[0] == "margin_minor" for line in text)


def test_replay_decides_under_the_set_that_decided_whatever_holds_today(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    decision, stranger = ask(office).decision_id, ask(office, "NOBODY").decision_id
    office.close()
    assert "nothing to replay" in str(run(app, ["replay", stranger], obj=bank).exception)
    campaign = bank / "campaigns" / "dollars.yaml"
    campaign.write_text(campaign.read_text("utf-8").replace("deposit_usd_6m, ", ""), "utf-8")
    adopt(bank)
    assert run(app, ["replay", decision], obj=bank).stdout == "same bytes: True\n"


def test_replay_says_when_the_terms_can_no_longer_be_had(
    bank: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of before sets were kept, or one decided with another calendar."""
    office = office_at(bank, clock)
    decision = ask(office).decision_id
    office.close()
    holiday = frozenset({clock.now.date()})
    monkeypatch.setattr(engine_room, "holidays_of", lambda _: holiday)
    done = run(app, ["replay", decision], obj=bank)
    assert str(done.exception).startswith("the terms of that decision are not in force any more; restore")


def photograph(home: Path) -> dict[str, str]:
    """Every file of the home and the hash of its bytes."""
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(home.rglob("*")) if path.is_file()}  # fmt: skip


@pytest.mark.parametrize("ledger", ["seeded", "empty", "none"])
def test_p17_asking_and_dry_runs_write_nothing(bank: Path, clock: Clock, ledger: str) -> None:
    office = office_at(bank, clock)
    decision = ask(office, "C0000002").decision_id
    office.close()
    if ledger == "empty":  # made before the last import: its history is not in it yet
        with sqlite3.connect(bank / "nbo.db") as connection:
            connection.execute("DELETE FROM meta WHERE name = 'seeded_feed'")
            for table in ("outcomes", "contacts", "units", "events", "suppressions"):
                connection.execute(f"DELETE FROM {table}")
        connection.close()
    if ledger == "none":
        for path in bank.glob("nbo.db*"):
            path.unlink()
    home, before = Home.open(bank), photograph(bank)
    answers = decide_customers(home, [HERO, "C0000005", "NOBODY"], NOW)
    answers += decide_customers(home, [HERO], NOW, "sms", Direction.INBOUND)
    plan = make_list(home, ["all_year", "dollars"], NOW, dry_run=True)
    run_list = ["why-not", HERO, "--offer", "wealth_usd_income", "--channel", "sms"]
    for command in (["show", decision], ["why", decision], ["replay", decision], ["replay", "--all"], ["verify"], run_list,
                    ["export", HERO], ["prune", "--dry-run"], ["erased"]):  # fmt: skip
        done = run(app, command, obj=bank)
        assert ledger == "none" or done.exit_code == 0, (command, done.exception)
    assert photograph(bank) == before
    assert answers[0].offer_id == "wealth_usd_income" and answers[0].choices[0].contact_id is None
    assert plan.contacts > 100 and plan.path is None


def test_p17_a_dry_run_counts_the_history_that_is_not_seeded_yet(bank: Path) -> None:
    seeded = make_list(Home.open(bank), ["all_year"], NOW, dry_run=True)
    for path in bank.glob("nbo.db*"):
        path.unlink()
    fresh = make_list(Home.open(bank), ["all_year"], NOW, dry_run=True)
    assert fresh == seeded and fresh.funnel.met["cap_channel"] > 0


def test_p17_decide_says_what_the_service_would_say(bank: Path, clock: Clock, tmp_path: Path) -> None:
    shutil.copytree(bank, tmp_path / "served")
    office = office_at(tmp_path / "served", clock)
    people = [f"C{n:07d}" for n in range(1, 40)]
    dry = {one.customer_id: one for one in decide_customers(Home.open(bank), people, clock.now)}
    units: set[str] = set()
    for customer in people:
        served = ask(office, customer)
        unit = office.decision(served.decision_id, call()).unit_id
        if unit in units:
            continue  # a contact with one member silences the other, who was asked about as if alone
        units.add(unit)
        assert (served.offer_id, served.channel, served.reasons, served.revisions) == (
            dry[customer].offer_id, dry[customer].channel, dry[customer].reasons, dry[customer].revisions)  # fmt: skip
    office.close()


def test_the_record_names_the_instant_in_utc(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    one = ask(office)
    office.close()
    shown = ShowAnswer.model_validate_json(run(app, ["show", one.decision_id, "--json"], obj=bank).stdout)
    assert shown.as_of == one.as_of.isoformat() == "2026-06-01T02:00:00+00:00"
    assert shown.revisions == one.revisions and shown.customer_id == shown.unit_id == HERO


def test_p05_many_records_replay_and_a_changed_one_is_named(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    ids = decided(office, clock, 30)
    office.close()
    good = Tally.model_validate_json(run(app, ["replay", "--all", "--json"], obj=bank).stdout)
    assert good.replayed == good.same == 30 and good.different == []
    assert Tally.model_validate_json(run(app, ["replay", "--sample", "7", "--json"], obj=bank).stdout).replayed == 7
    changed(bank, "inputs = substr(inputs, 2)", ids[3])
    bad = run(app, ["replay", "--all", "--json"], obj=bank)
    assert bad.exit_code == 1 and Tally.model_validate_json(bad.stdout).different == [ids[3]]


@pytest.mark.long
def test_p05_ten_thousand_records_replay(office: Office, clock: Clock) -> None:
    ids = [one for _ in range(20) for one in decided(office, clock, 500)]
    with office.ledger.read() as connection:
        tally = replay_many(office.engine, connection, ids)
    assert tally.different == [] and tally.same == tally.replayed == 10_000


def why_not(bank: Path, customer: str, offer: str, channel: str) -> WhyNot:
    done = run(app, ["why-not", customer, "--offer", offer, "--channel", channel, "--json"], obj=bank)
    assert done.exit_code == 0, done.exception
    return WhyNot.model_validate_json(done.stdout)


def test_why_not_tells_what_closes_a_cell_or_what_was_preferred(bank: Path) -> None:
    closed = why_not(bank, HERO, "wealth_eur_bond", "app")
    assert not closed.open and closed.expected_value_minor is None
    assert [r.reason for r in closed.reasons] == ["funds_below_entry"] and closed.reasons[0].rules
    assert closed.sentences[0].startswith("wealth_eur_bond on app is closed: funds below entry (suitability; by ")
    assert closed.shortest is not None and closed.shortest.reason == "funds_below_entry"
    assert set(closed.shortest.facts) == {"balance_eur_minor"} and closed.would_open == {"balance_eur_minor": 400_000.0}
    assert "would be open if balance_eur_minor = 400000.0" in closed.sentences
    offer, channel = (closed.chosen or "").split(" on ")
    won = why_not(bank, HERO, offer, channel)
    assert won.open and won.sentences == [f"{closed.chosen} is what would be said now"]
    beaten = why_not(bank, HERO, offer, "email" if channel != "email" else "sms")
    assert beaten.open and beaten.sentences[0].endswith(f"{closed.chosen} was preferred")
    assert why_not(bank, "NOBODY", offer, channel).reasons[0].reason == "regulatory_unknown"
    for wrong in ([HERO, "--offer", "nothing", "--channel", "sms"], [HERO, "--offer", offer, "--channel", "fax"]):
        assert str(run(app, ["why-not", *wrong], obj=bank).exception).startswith("unknown ")
