"""What campaigns limit binds the list, by an independent count, and the certificate stays true."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.home import Home
from features.settings import write_settings
from rules.catalogue import load_catalogue
from serving.campaign import CampaignError
from serving.commands.lists import make_list
from serving.lists.check import check_list
from serving.lists.plan import make_plan
from tests.home import NOW, Clock, adopt, office_at

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
