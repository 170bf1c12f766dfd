"""What came of a campaign is counted from the ledger and the bank's own accounts, and says what it cannot know."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.home import Home
from features.tables import TABLES
from serving.campaign import CampaignError
from serving.commands.lists import make_list
from serving.commands.report import report_lines
from serving.ledger.book import claim, micros, sent
from serving.ledger.consents import ConsentRow, record
from serving.ledger.outcomes import accept
from serving.lists.aftermath import CampaignReport, campaign_report
from serving.lists.files import read_manifest
from serving.lists.incremental import Measured, measure
from serving.office import open_engine, open_ledger
from tests.home import HERO, NOW, adopt


def told(bank: Path) -> CampaignReport:
    home = Home.open(bank)
    engine = open_engine(home)
    with open_ledger(home) as ledger, ledger.read() as connection:
        return campaign_report(engine, connection, "all_year", NOW)


def opened(bank: Path, customers: list[str], days: int, name: str) -> None:
    """Those customers open a gold card so many days after the run; the bank's data then reach further."""
    home = Home.open(bank)
    accounts = [{"account_id": f"{name}{n}", "product": "card_gold", "currency": "CNY", "opened_on": (NOW + timedelta(days=days)).date()}
                for n in range(len(customers))]  # fmt: skip
    holders = [
        {"account_id": f"{name}{n}", "customer_id": customer, "role": "owner"} for n, customer in enumerate(customers)
    ]
    write(home, "accounts", name, accounts)
    write(home, "holders", name, holders)
    known_until(bank, 40, name)


def known_until(bank: Path, days: float, name: str) -> None:
    """The bank's data then reach so many days beyond the run."""
    booked = NOW + timedelta(days=days)
    row = {"transaction_id": name, "customer_id": HERO, "amount_minor": 1, "currency": "CNY", "kind": "fee", "booked_at": booked, "recorded_at": booked}  # fmt: skip
    write(Home.open(bank), "transactions", name, [row])


def write(home: Home, table: str, name: str, rows: list[dict[str, Any]]) -> None:
    """A part of a table beside those that are there; columns that no row has are null."""
    schema = pl.from_arrow(TABLES[table].schema.empty_table()).schema  # pyright: ignore[reportAttributeAccessIssue]
    pl.DataFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema).write_parquet(
        home.table(table) / f"part-{name}.parquet"
    )


def test_answers_are_counted_and_a_complaint_is_traced_to_its_list(bank: Path) -> None:
    folder = Path(str(make_list(Home.open(bank), ["all_year"], NOW).path))
    rows = pl.read_parquet(folder / "offers.parquet").sort("contact_id")
    due = rows.filter(pl.col("send_after") <= NOW)["contact_id"]
    first, second, third = due[:3]
    now = micros(NOW)
    with open_ledger(Home.open(bank)) as ledger:
        for contact in (first, second, third):
            ledger.write(lambda connection, contact=contact: claim(connection, contact, now)).result()
        for contact in (second, third):
            ledger.write(lambda connection, contact=contact: sent(connection, contact, now)).result()
        for contact, kind in ((first, "complained"), (second, "opted_out"), (third, "accepted"), (third, "opened")):
            ledger.write(
                lambda connection, contact=contact, kind=kind: accept(connection, contact, kind, now, now)
            ).result()
    report = told(bank)
    assert (report.issued, report.sent, report.complained, report.opted_out, report.accepted, report.answered) == (
        len(rows),
        2,
        1,
        1,
        1,
        3,
    )
    assert [(g.contact_id, g.kind, g.source) for g in report.grievances] == sorted(
        [(first, "complained", folder.name), (second, "opted_out", folder.name)]
    )
    assert all(g.policy and g.audience == "TRUE" for g in report.grievances)
    for by in ("branch", "manager", "tier"):
        assert sum(row.issued for row in report.rows if row.by == by) == len(rows)
    # The bank's data end before the run: what the held out did is not known, and that is said.
    assert report.incremental_minor is None and "the bank's data end on" in report.why[0].en
    lines = report_lines(report, "CNY")
    assert f"not known: {report.why[0].en}" in lines and f"未知：{report.why[0].zh}" in lines
    policy = next(g.policy for g in report.grievances) or ""
    assert sum(f"list {folder.name}, policy {policy[:12]}, audience `TRUE`; asked: regulatory " in line for line in lines) == 2  # fmt: skip


def test_a_grievance_names_the_audience_of_its_day_and_an_opt_out_past_the_contact_counts_once(bank: Path) -> None:
    """Mutants: today's audience; a consent of another channel, before the contact, or too late; one told twice."""
    adopt(bank)
    home = Home.open(bank)
    folder = Path(str(make_list(home, ["all_year"], NOW).path))
    rows = pl.read_parquet(folder / "offers.parquet").sort("contact_id")
    due = rows.filter(pl.col("send_after") <= NOW, pl.col("channel") == "sms").unique(
        "customer_id", maintain_order=True
    )
    ids, who = due["contact_id"].to_list()[:6], due["customer_id"].to_list()[:6]
    now, day = micros(NOW), micros(NOW + timedelta(days=1)) - micros(NOW)
    words = [(0, "all", 2 * day), (0, "sms", 3 * day), (1, "sms", day), (2, "email", day), (3, "sms", -day), (4, "sms", 30 * day), (5, "sms", day)]  # fmt: skip
    with open_ledger(home) as ledger:
        for contact in ids:
            ledger.write(lambda connection, contact=contact: claim(connection, contact, now)).result()
            ledger.write(lambda connection, contact=contact: sent(connection, contact, now)).result()
        ledger.write(lambda connection: accept(connection, ids[1], "opted_out", now, now)).result()
        for place, channel, after in words:
            row = ConsentRow(consent_id=f"w{place}{after}", customer_id=who[place], purpose="marketing", channel=channel,
                             state="denied" if place == 5 else "withdrawn", source="branch", wording=None, at=now + after, received_at=now + after)  # fmt: skip
            ledger.write(lambda connection, row=row: record(connection, row)).result()
    file = home.campaigns / "all_year.yaml"
    file.write_text(file.read_text() + "\naudience: age_years > 40\n")
    adopt(bank)
    report = told(bank)
    assert report.opted_out == 3
    assert [(g.contact_id, g.kind) for g in report.grievances] == [(ids[1], "opted_out"), (ids[5], "opted_out"), (ids[0], "opted_out")]  # fmt: skip
    assert {(g.audience, g.source) for g in report.grievances} == {("TRUE", folder.name)}
    assert "audience `TRUE`" in next(line for line in report_lines(report, "CNY") if ids[0] in line)


def test_a_grievance_names_the_rules_that_its_policy_asked_of_its_cell(bank: Path) -> None:
    """Those in force for the list, day and cell; with a slow look. Mutants: today's policy; rules of another channel."""
    adopt(bank)
    home = Home.open(bank)
    before = open_engine(home)
    folder = Path(str(make_list(home, ["all_year"], NOW).path))
    rows = pl.read_parquet(folder / "offers.parquet").sort("contact_id").filter(pl.col("send_after") <= NOW)
    ids = rows.unique("channel", maintain_order=True)["contact_id"].to_list()
    with open_ledger(home) as ledger:
        for contact in ids:
            ledger.write(lambda c, contact=contact: claim(c, contact, micros(NOW))).result()
            ledger.write(lambda c, contact=contact: accept(c, contact, "complained", micros(NOW), micros(NOW))).result()
    policy = home.policies / "retail.yaml"
    text = policy.read_text("utf-8")
    late = "  - {id: of_tomorrow, layer: suppression, reason: recently_complained, title: {en: a, zh: b}, source: s, owner: o, when: staff}"
    policy.write_text(text.replace("\nrules:\n", f"\nrules:\n{late}\n", 1), "utf-8")
    adopt(bank)
    assert "of_tomorrow" in {part.id for part in open_engine(home).policy.parts}
    report = told(bank)
    assert len(report.grievances) == len(ids) > 1
    for one in report.grievances:
        cell = before.catalogue.cell(one.offer_id or "", one.channel)
        lowered = {r.id for r in before.policy.lowered(before.catalogue, NOW.date()) if r.scope.direction != "inbound" and r.scope.cells(before.catalogue) >> cell & 1}  # fmt: skip
        layers = {part.id: str(part.layer) for part in before.policy.parts}
        named = {rule.id: rule.layer for rule in one.rules or ()}
        assert named and named.keys() <= lowered and named == {name: layers[name] for name in named}
        line = next(line for line in report_lines(report, "CNY") if one.contact_id in line)
        assert all(name in line for name in named)
    assert len({frozenset(rule.id for rule in one.rules or ()) for one in report.grievances}) > 1, "by channel"


def test_a_grievance_says_that_the_rules_of_its_policy_cannot_be_had(bank: Path) -> None:
    """Its set is in no ledger of ours: a list made elsewhere, or restored without it."""
    home = Home.open(bank)
    folder = Path(str(make_list(home, ["all_year"], NOW).path))
    first = pl.read_parquet(folder / "offers.parquet").filter(pl.col("send_after") <= NOW)["contact_id"][0]
    with open_ledger(home) as ledger:
        ledger.write(lambda c: claim(c, first, micros(NOW))).result()
        ledger.write(lambda c: accept(c, first, "complained", micros(NOW), micros(NOW))).result()
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(open_engine(home).live_set, "f" * 64))
    report = told(bank)
    assert [one.rules for one in report.grievances] == [None]
    assert "asked: not known, the policy's files cannot be had any more" in "\n".join(report_lines(report, "CNY"))


def test_the_value_against_the_held_out_counts_units_that_the_rules_let_through(bank: Path) -> None:
    """Mutant: comparing with all who are silent, not the held out, changes units and held_out."""
    folder = Path(str(make_list(Home.open(bank), ["all_year"], NOW).path))
    offers, control, silent = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("offers", "control", "suppressed")
    )
    through = pl.concat(
        [
            offers.select("customer_id", "unit_id"),
            silent.filter(pl.col("reason") > 700).select("customer_id", "unit_id"),
        ]
    )
    bought = through["unit_id"].unique().sort().head(60).to_list()
    buyers = through.filter(pl.col("unit_id").is_in(bought)).unique("unit_id", keep="first")["customer_id"].to_list()
    opened(bank, buyers, 10, "in")
    opened(bank, control["customer_id"].head(2).to_list(), 29, "held")
    opened(bank, control["customer_id"].tail(3).to_list(), 31, "late")  # after the window: does not count
    report = told(bank)
    margin = margin_of(bank)
    n, m = through["unit_id"].n_unique(), control["unit_id"].n_unique()
    held = control.head(2)["unit_id"].n_unique()
    assert (report.units, report.held_out) == (n, m) and m > 5
    assert report.incremental_minor == round(margin * (60 / n - held / m) * n)
    low, high = report.incremental_low_minor, report.incremental_high_minor
    assert low is not None and high is not None and low < (report.incremental_minor or 0) < high and report.why == []
    assert "held out" in report_lines(report, "CNY")[1]


def test_an_unknown_campaign_is_told_those_there_are(bank: Path) -> None:
    home = Home.open(bank)
    with (
        open_ledger(home) as ledger,
        ledger.read() as connection,
        pytest.raises(CampaignError, match="no campaign `summer`"),
    ):
        campaign_report(open_engine(home), connection, "summer", NOW)


def test_the_interval_holds_the_truth_at_every_look_and_nothing_is_claimed_before_a_unit_is_ripe(bank: Path) -> None:
    """Two runs of 30,000 units, 20 days apart; of those let through 30 % open a card on day 28, of the held out 10 %.

    Mutant: measuring units as soon as the bank's data reach beyond their run excludes the truth until day 28.
    """
    first = two_runs(bank)
    looks = {day: look(bank, day) for day in (1, 15, 29.9, 31, 35, 45, 60)}
    for day in (1, 15, 29.9):
        early = looks[day]
        assert early.incremental_minor is None and (early.units, early.held_out) == (0, 0)
        assert early.unripe == 60_000 and "60,000 of 60,000 units are not ripe yet" in early.why[0].en
        assert "60,000 个单位中有 60,000 个尚未成熟" in early.why[0].zh
        assert "60,000 units not ripe yet / 60,000 个单位尚未成熟" in report_lines(early, "CNY")[1]
    truth = 0.2 * margin_of(bank)
    for day in (31, 35, 45, 60):
        low, high = looks[day].incremental_low_minor or 0, looks[day].incremental_high_minor or 0
        assert low <= truth * looks[day].units <= high
        assert low > 0  # a difference of 20 points is no longer zero
    assert [looks[day].units for day in (31, 35, 45, 60)] == [first, first, first, 2 * first]
    assert [looks[day].unripe for day in (31, 35, 45, 60)] == [30_000, 30_000, 30_000, 0]
    assert looks[60].why == []


def test_groups_are_measured_in_one_pass_as_if_each_stood_alone(bank: Path) -> None:
    """Mutant: a group that sees its neighbour's units, or another order of them, has another interval."""
    two_runs(bank)
    known_until(bank, 60, "z")
    home = Home.open(bank)
    engine = open_engine(home)
    runs = sorted((read_manifest(path.parent) for path in home.lists.glob("*/manifest.json")), key=lambda m: m.as_of)
    measured = measure(engine, "all_year", runs, NOW + timedelta(days=60))
    drawn = np.random.default_rng(3).integers(0, 21, measured.units.height).tolist()
    names = pl.Series([f"m{k}" if k else None for k in drawn], dtype=pl.String)  # null: nobody's
    groups = pl.DataFrame({"customer_id": measured.units["customer_id"], "manager": names})
    found = measured.of(groups, "manager")
    assert (
        len(found) == 21
        and sum(one["units"] or 0 for one in found.values()) == measured.of(None, "all")["all"]["units"]
    )
    for name, one in found.items():
        mine = measured.units.filter(pl.Series([group == name for group in groups["manager"].to_list()]))
        assert Measured(mine, measured.most).of(None, "alone")["alone"] == one


def two_runs(bank: Path) -> int:
    """Write two lists, of now and of 20 days on, of made up units; how many of a run are let through."""
    home, rng = Home.open(bank), np.random.default_rng(11)
    folder = Path(str(make_list(home, ["all_year"], NOW).path))
    cards: list[dict[str, Any]] = []
    holders: list[dict[str, Any]] = []
    n, m = 24_000, 6_000
    for turn, at in enumerate((NOW, NOW + timedelta(days=20))):
        run = folder if turn == 0 else folder.parent / f"{folder.name}-later"
        if turn:
            shutil.copytree(folder, run)
            manifest = read_manifest(folder).model_copy(update={"run": run.name, "as_of": at})
            (run / "manifest.json").write_text(manifest.model_dump_json())
        for file, count, share in (("offers", n, 0.3), ("control", m, 0.1)):
            ids = [f"{file}{turn}-{k}" for k in range(count)]
            pl.DataFrame({"customer_id": ids, "unit_id": ids}).write_parquet(run / f"{file}.parquet")
            took = [one for one, chance in zip(ids, rng.random(count), strict=True) if chance < share]
            cards += [
                {
                    "account_id": f"a{one}",
                    "product": "card_gold",
                    "currency": "CNY",
                    "opened_on": (at + timedelta(days=28)).date(),
                }
                for one in took
            ]
            holders += [{"account_id": f"a{one}", "customer_id": one, "role": "owner"} for one in took]
        pl.DataFrame(schema={"customer_id": pl.String, "unit_id": pl.String, "reason": pl.Int16}).write_parquet(
            run / "suppressed.parquet"
        )
    write(home, "accounts", "all", cards)
    write(home, "holders", "all", holders)
    return n


def look(bank: Path, day: float) -> CampaignReport:
    """The report when the bank's data reach so many days beyond the first run, and its cards with them."""
    home = Home.open(bank)
    file = home.table("accounts") / "part-all.parquet"
    whole = pl.read_parquet(file)
    known_until(bank, day, "z")
    try:
        whole.filter(pl.col("opened_on") < (NOW + timedelta(days=day)).date()).write_parquet(file)
        return told(bank)
    finally:
        whole.write_parquet(file)


def margin_of(bank: Path) -> int:
    """What a gold card is worth."""
    return next(o.margin_minor for o in open_engine(Home.open(bank)).catalogue.offers if o.id == "card_gold")
