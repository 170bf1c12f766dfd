"""What campaigns limit binds the list, by an independent count, and the certificate stays true."""

import json
import random
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.home import Home
from features.settings import write_settings
from rules.catalogue import load_catalogue
from serving.campaign import Campaign, CampaignError
from serving.commands.lists import make_list
from serving.engine import EXPLORATION, HOLDOUT_SHARE, Engine
from serving.ledger.book import read_meta
from serving.lists.certificate import Certificate
from serving.lists.check import check_list
from serving.lists.files import read_manifest, write_list
from serving.lists.plan import make_plan
from serving.lists.shared import runs_of, sharing
from serving.office import open_ledger, reading_ledger
from tests.bank import POLICIES
from tests.home import DOLLAR_OFFERS, NOW, Clock, adopt, office_at

BOTH = ["all_year", "dollars"]


def edited(bank: Path, name: str, more: str) -> None:
    path = bank / "campaigns" / f"{name}.yaml"
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("seats:")] + more, "utf-8")


def listed(bank: Path, campaigns: list[str], at: Any = NOW) -> tuple[Path, list[dict[str, Any]]]:
    folder = Path(str(make_list(Home.open(bank), campaigns, at).path))
    assert check_list(folder).wrong == []
    return folder, pq.read_table(folder / "offers.parquet").to_pylist()


def test_p16_every_kind_of_limit_binds_and_is_proved(bank: Path) -> None:
    edited(bank, "all_year", """seats: {email: 40}
per_branch: {app: 3}
per_manager: {call: 1}
inventory: {card_gold: 4}
minimums: {deposit_cny_12m: 12}
budget_minor: 3000
""")  # fmt: skip
    folder, rows = listed(bank, ["all_year"])
    home = Home.open(bank)
    people = {
        row["customer_id"]: row for row in pq.read_table(next(home.table("customers").glob("*.parquet"))).to_pylist()
    }
    branch = Counter(people[row["customer_id"]]["home_branch"] for row in rows if row["channel"] == "app")
    manager = Counter(people[row["customer_id"]]["manager_id"] for row in rows if row["channel"] == "call")
    offers, cost = Counter(row["offer_id"] for row in rows), sum(row["factors"]["cost_minor"] for row in rows)
    manager.pop(None, None)  # who has no manager takes no manager's seat
    assert max(branch.values()) == 3 and max(manager.values(), default=0) <= 1
    assert offers["card_gold"] <= 4 and offers["deposit_cny_12m"] >= 12 and 0 < cost <= 3000
    free = [row for row in rows if row["channel"] == "email"]
    assert 0 < len(free) <= 40 and (folder / "report.html").is_file()


def test_campaigns_that_share_cells_share_a_budget_or_are_refused(bank: Path, clock: Clock) -> None:
    edited(bank, "all_year", "budget_minor: 500\n")
    with pytest.raises(CampaignError, match="campaign `dollars` shares offers and channels with one that has a budget"):
        listed(bank, BOTH)
    edited(bank, "dollars", "budget_minor: 300\n")
    folder, rows = listed(bank, BOTH)
    assert 400 < sum(row["factors"]["cost_minor"] for row in rows) <= 800
    assert "all_year+dollars budget" in (folder / "certificate.json").read_text()


def named(name: str, **more: Any) -> Campaign:
    """A campaign of gold cards by SMS."""
    said = {"id": name, "title": {"en": name, "zh": name}, "owner": "o", "offers": ["card_gold"], "channels": ["sms"],
            "window": {"from": "2026-01-01", "to": "2026-12-31"}}  # fmt: skip
    return Campaign.model_validate(said | more)


EXPIRED = {"id": "card_gold_sms_1", "legal_footer": "x", "approved_by": "lin", "approved_on": "2026-01-01", "expires_on": "2026-05-31"}  # fmt: skip


@pytest.mark.parametrize(("second", "together"), [
    ({}, True),
    ({"audience": "age_years > 30"}, True),
    ({"seats": {"sms": 3}}, False),  # of the other's contacts, who names none, some would have counted
    ({"per_day": {"sms": 3}}, False),
    ({"per_minute": {"sms": 3}}, False),
    ({"per_branch": {"sms": 3}}, False),
    ({"per_manager": {"sms": 3}}, False),
    ({"inventory": {"card_gold": 3}}, False),
    ({"minimums": {"card_gold": 3}}, False),
    ({"seats": {"sms": 3}, "offers": ["loan_personal"]}, True),  # nothing in common: each keeps its own
    ({"seats": {"email": 3}, "channels": ["sms", "email"]}, True),  # counts what the other does not have
    ({"holdout_share": HOLDOUT_SHARE / 2, "exploration_share": EXPLORATION.share}, True),  # what the bank has anyway
    ({"send": {"after": "15:00", "before": "18:00"}}, False),
    ({"send": {"after": "10:00", "before": "18:00"}}, False),  # the run would narrow the other's
    ({"holdout_share": 0.5}, False),
    ({"exploration_share": 0.0}, False),
    ({"budget_minor": 500}, False),
    ({"budget_minor": 500, "channels": ["email"]}, True),
    ({"window": {"from": "2026-01-01", "to": "2026-05-31"}}, False),
    ({"offers": ["card_none"]}, False),
    ({"treatments": [EXPIRED]}, False),
])  # fmt: skip
def test_campaigns_share_a_run_that_changes_nothing_for_either(second: dict[str, Any], together: bool) -> None:
    catalogue = load_catalogue(POLICIES / "retail.catalogue.yaml")
    found = runs_of([named("b", **second), named("a")], catalogue, NOW.date())
    assert found == ([("a", "b")] if together else [("a",), ("b",)])


def test_runs_are_the_same_however_the_campaigns_come_and_whichever_run_is_made_already() -> None:
    catalogue, rng = load_catalogue(POLICIES / "retail.catalogue.yaml"), random.Random(3)
    kinds: list[dict[str, Any]] = [{}, {"holdout_share": 0.5}, {"budget_minor": 9}, {"channels": ["email"]},
                                   {"send": {"after": "15:00", "before": "18:00"}}]  # fmt: skip
    for _ in range(50):
        due = [named(f"c{n}", **rng.choice(kinds)) for n in range(8)]
        runs = runs_of(due, catalogue, NOW.date())
        assert sorted(name for run in runs for name in run) == [one.id for one in due]
        assert runs_of(rng.sample(due, len(due)), catalogue, NOW.date()) == runs
        for run in runs:
            rest = [one for one in due if one.id not in run]
            assert runs_of(rest, catalogue, NOW.date()) == [other for other in runs if other != run]


def test_what_one_campaign_of_a_run_changes_for_another_is_said(bank: Path) -> None:
    for name, more in (("dollars", "holdout_share: 0.5\nexploration_share: 0.01\n"), ("all_year", "")):
        edited(bank, name, more)
    path = bank / "campaigns" / "dollars.yaml"
    path.write_text(path.read_text("utf-8").replace('after: "10:00"', 'after: "11:00"'), "utf-8")
    folder, _ = listed(bank, BOTH)
    lines = [
        "campaigns `all_year` and `dollars` share this run: the larger holdout, 50 %, holds for both",
        "campaigns `all_year` and `dollars` share this run: the exploration of 1 % holds for both",
        "campaigns `all_year` and `dollars` share this run: their common sending hours, 11:00 to 19:00, hold for both",
    ]
    assert set(lines) <= set(read_manifest(folder).assumptions)
    assert all(line in (folder / "report.html").read_text("utf-8") for line in lines)

    def said(*chosen: Campaign) -> tuple[str, ...]:
        return tuple(
            str(line) for line in sharing(chosen, load_catalogue(POLICIES / "retail.catalogue.yaml"), NOW.date())
        )

    assert said(named("a")) == said(named("a"), named("b")) == ()
    [three] = said(named("c"), named("a", holdout_share=0.1), named("b"))
    assert three == "campaigns `a`, `b` and `c` share this run: the larger holdout, 10 %, holds for all"


def test_what_a_campaign_limits_binds_its_own_contacts_and_no_unrelated_ones(bank: Path) -> None:
    """Three seats are three, though another has two hundred; who names no seats has all he wants."""
    wide = "offers: [card_gold, insurance_travel, wealth_usd_income]\nchannels: [sms]\n"
    tight = "offers: [loan_personal]\nchannels: [sms]\n"
    for name, more in (("wide", wide), ("tight", tight)):
        text = f"id: {name}\ntitle: {{en: {name}, zh: {name}}}\nowner: o\nwindow: {{from: 2026-01-01, to: 2026-12-31}}\n{more}"
        (bank / "campaigns" / f"{name}.yaml").write_text(text, "utf-8")

    def runs(limits: str, of_wide: str = "") -> tuple[Counter[str], list[dict[str, Any]], Path]:
        (bank / "campaigns" / "tight.yaml").write_text(head["tight"] + limits, "utf-8")
        (bank / "campaigns" / "wide.yaml").write_text(head["wide"] + of_wide, "utf-8")
        shutil.rmtree(bank / "lists", ignore_errors=True)
        home = Home.open(bank)
        engine = Engine.open(home)
        with reading_ledger(home, engine) as ledger:
            plan = make_plan(engine, ledger, ["wide", "tight"], NOW)
        write_list(plan, bank / "lists")
        folder = bank / "lists" / plan.run
        assert check_list(folder).wrong == [] and plan.notes == ()
        rows = pq.read_table(folder / "offers.parquet").to_pylist()
        return Counter(row["campaign_id"] for row in rows), rows, folder

    head = {name: (bank / "campaigns" / f"{name}.yaml").read_text("utf-8") for name in ("wide", "tight")}
    free, _, _ = runs("")
    assert free["wide"] > 20 and free["tight"] > 20
    found, _, folder = runs("seats: {sms: 3}\n")
    assert found["tight"] == 3 and found["wide"] >= free["wide"]
    assert "tight: sms seats" in (folder / "report.html").read_text("utf-8")
    found, _, folder = runs("seats: {sms: 3}\n", "seats: {sms: 20}\n")
    assert found == {"tight": 3, "wide": 20}
    assert check_list(folder).used == {"tight: sms seats": 3, "wide: sms seats": 20}
    found, _, _ = runs("per_branch: {sms: 1}\nper_manager: {sms: 0}\ninventory: {loan_personal: 2}\n")
    assert found["tight"] <= 2 and found["wide"] >= free["wide"]
    found, rows, _ = runs("per_minute: {sms: 1}\n")
    minutes = [row["send_after"].replace(second=0) for row in rows if row["campaign_id"] == "tight"]
    assert len(set(minutes)) == len(minutes) > 10
    assert len({row["send_after"] for row in rows if row["campaign_id"] == "wide"}) < 5  # each at his window's begin


def test_a_contact_of_cells_that_two_campaigns_have_counts_for_both_and_it_is_said(bank: Path) -> None:
    """Neither has more than its file says, and one that names fewer seats bounds what is shared."""
    edited(bank, "all_year", "seats: {call: 20}\n")
    edited(bank, "dollars", "seats: {call: 4, sms: 0}\n")
    folder, rows = listed(bank, BOTH)
    calls = Counter(row["offer_id"] in DOLLAR_OFFERS for row in rows if row["channel"] == "call")
    assert calls.total() == 20 and calls[True] <= 4
    assert not any(row["channel"] == "sms" and row["offer_id"] in DOLLAR_OFFERS for row in rows)
    line = "campaigns `all_year` and `dollars` have offers and channels in common: a contact of those counts for the limits of both"
    assert line in read_manifest(folder).assumptions and line in (folder / "report.html").read_text("utf-8")
    issued = Certificate.model_validate_json((folder / "certificate.json").read_bytes())
    price = {limit.name: limit.price_milli for limit in issued.limits}
    with open_ledger(Home.open(bank)) as ledger, ledger.read() as connection:
        known = json.loads(read_meta(connection, "bid_prices") or "")
    assert known["card_gold|call"]["minor"] == round(price["all_year: call seats"] / 1000) > 0
    both = price["all_year: call seats"] + price["dollars: call seats"]
    assert known["wealth_usd_income|call"]["minor"] == round(both / 1000)


def test_seats_of_a_day_are_shared_by_its_runs(bank: Path) -> None:
    """Mutant: without `_today` the second run fills the day anew."""
    edited(bank, "all_year", "per_day: {app: 30, sms: 0, email: 0, call: 0, branch: 0}\n")
    edited(bank, "dollars", "per_day: {app: 10, sms: 0, email: 0, call: 0, branch: 0}\n")
    assert len(listed(bank, ["dollars"])[1]) == 10
    home = Home.open(bank)
    write_settings(bank / "bank.yaml", home.settings.model_copy(update={"now": NOW + timedelta(days=1)}))
    later = NOW + timedelta(minutes=5)
    assert len(listed(bank, ["all_year"], later)[1]) == 30
    assert len(listed(bank, ["all_year"], later + timedelta(minutes=5))[1]) == 0
    assert len(listed(bank, ["all_year"], NOW + timedelta(days=1))[1]) > 0


def test_a_campaigns_holdout_contains_the_universal_one(bank: Path) -> None:
    def held() -> set[str]:
        office = office_at(bank, Clock())
        plan = make_plan(office.engine, office.ledger, ["all_year"], NOW)
        office.close()
        return {row["customer_id"] for row in plan.decisions.to_pylist() if 605 in row["reasons"]}

    universal = held()
    edited(bank, "all_year", "holdout_share: 0.2\nexploration_share: 0\n")
    adopt(bank)
    own = held()
    assert 0 < len(universal) < len(own) and universal < own and 150 < len(own) < 330


def test_a_wording_that_expired_stops_its_campaign(bank: Path) -> None:
    named = load_catalogue(bank / "catalogue.yaml").treatments[0].id
    words = "treatments: [{{id: {}, legal_footer: ads, approved_by: bo, approved_on: 2026-01-01, expires_on: {}}}]\n"
    edited(bank, "all_year", words.format(named, "2026-05-31"))
    with pytest.raises(CampaignError, match=f"treatment `{named}` expired on 2026-05-31; renew its approval"):
        listed(bank, ["all_year"])
    path = bank / "campaigns" / "all_year.yaml"
    path.write_text(path.read_text("utf-8").replace("2026-05-31", "2026-06-01"), "utf-8")
    assert listed(bank, ["all_year"])[1]
