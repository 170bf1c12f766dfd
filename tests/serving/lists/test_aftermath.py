"""What came of a campaign is counted from the ledger and the bank's own accounts, and says what it cannot know."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from features.home import Home
from features.tables import TABLES
from serving.campaign import CampaignError
from serving.commands.lists import make_list
from serving.commands.report import report_lines
from serving.ledger.book import claim, micros, sent
from serving.ledger.outcomes import accept
from serving.lists.aftermath import CampaignReport, campaign_report
from serving.office import open_engine, open_ledger
from tests.home import NOW


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
    booked = NOW + timedelta(days=40)
    bookings = [{"transaction_id": name, "customer_id": customers[0], "amount_minor": 1, "currency": "CNY", "kind": "fee", "booked_at": booked, "recorded_at": booked}]  # fmt: skip
    for table, rows in (("accounts", accounts), ("holders", holders), ("transactions", bookings)):
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
    assert report.incremental_minor is None and "the bank's data end on" in report.why[0]
    assert "not known: the bank's data end" in "\n".join(report_lines(report, "CNY"))


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
    margin = next(o.margin_minor for o in open_engine(Home.open(bank)).catalogue.offers if o.id == "card_gold")
    n, m = through["unit_id"].n_unique(), control["unit_id"].n_unique()
    held = control.head(2)["unit_id"].n_unique()
    assert (report.units, report.held_out) == (n, m) and m > 5
    assert report.incremental_minor == round(margin * (60 / n - held / m) * n)
    low, high = report.incremental_low_minor, report.incremental_high_minor
    assert low is not None and high is not None and low < report.incremental_minor < high and report.why == []
    assert "held out" in report_lines(report, "CNY")[1]


def test_an_unknown_campaign_is_told_those_there_are(bank: Path) -> None:
    home = Home.open(bank)
    with (
        open_ledger(home) as ledger,
        ledger.read() as connection,
        pytest.raises(CampaignError, match="no campaign `summer`"),
    ):
        campaign_report(open_engine(home), connection, "summer", NOW)
