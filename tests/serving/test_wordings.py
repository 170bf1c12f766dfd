"""A campaign says what was approved and nothing else: in its list, at the endpoint, at the claim, and in the files."""

import csv
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from serving.campaign import CampaignError
from serving.commands.lists import make_list
from serving.engine import Engine
from serving.http.messages import ClaimRequest, ClaimResponse, RecallsQuery
from serving.ledger.book import NOTHING
from serving.lists.handover import OFFER_COLUMNS
from serving.office import Office
from tests.home import HERO, NOW, Clock, adopt, ask, call, office_at
from tests.home import rows as raw
from training.stamp import live_stamp

WEALTH, DEPOSIT = "wealth_usd_sms_1", "deposit_usd_sms_1"


def said(name: str, language: str | None = None, until: str = "2026-12-31") -> str:
    """One wording of a campaign file."""
    spoken = f"language: {language}, " if language else ""
    return f"{{id: {name}, {spoken}legal_footer: 'ads of {name}', approved_by: bo, approved_on: 2026-01-01, expires_on: {until}}}"


def words(bank: Path, *wordings: str) -> None:
    """Both campaigns of the bank name those wordings, and nothing else is in force."""
    for name in ("all_year", "dollars"):
        path = bank / "campaigns" / f"{name}.yaml"
        text = path.read_text("utf-8").split("treatments:")[0]
        path.write_text(f"{text}\ntreatments: [{', '.join(wordings)}]\n", "utf-8")
    adopt(bank)


def listed(bank: Path) -> Path:
    return Path(str(make_list(Home.open(bank), ["all_year"], NOW).path))


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def claimed(office: Office, contact: str) -> tuple[int, bytes]:
    found = office.claim(contact, ClaimRequest(), call("claim")).result(30)
    return found.status, found.body


def reserved(bank: Path, clock: Clock) -> str:
    """A contact of all_year that the endpoint has reserved."""
    office = office_at(bank, clock)
    found = ask(office, channels=("sms",))
    office.close()
    assert (found.choices[0].offer_id, found.choices[0].channel) == ("wealth_usd_income", "sms")
    return str(found.choices[0].contact_id)


def gone(bank: Path) -> None:
    """The campaign leaves the set in force."""
    (bank / "campaigns" / "all_year.yaml").unlink()
    adopt(bank)


def test_a_list_holds_the_named_wordings_and_their_footers(bank: Path) -> None:
    """Mutant: treatments that govern nothing leave the other offers and channels open."""
    words(bank, said(WEALTH))
    folder = listed(bank)
    rows = pq.read_table(folder / "offers.parquet").to_pylist()
    assert rows and {(row["offer_id"], row["channel"], row["treatment"]) for row in rows} == {("wealth_usd_income", "sms", WEALTH)}  # fmt: skip
    own = {row["customer_id"]: row["language"] for row in pq.ParquetDataset(str(bank / "data" / "customers")).read(["customer_id", "language"]).to_pylist()}  # fmt: skip
    assert {(row["language"] == own[row["customer_id"]], row["legal_footer"]) for row in rows} == {
        (True, f"ads of {WEALTH}")
    }
    for file in ("offers.csv", "offers-sms.csv"):
        table = read(folder / file)
        assert list(table[0]) == [*OFFER_COLUMNS, "seed", "language", "legal_footer"]
        assert {(row["legal_footer"], row["language"] == own[row["customer_id"]]) for row in table} == {(f"ads of {WEALTH}", True)}  # fmt: skip
    silent = pq.read_table(folder / "suppressed.parquet").to_pylist()
    assert any(601 in row["reasons"] for row in silent)


def test_a_campaign_without_wordings_says_nothing_of_them(bank: Path) -> None:
    folder = listed(bank)
    assert {(row["language"], row["legal_footer"]) for row in read(folder / "offers.csv")} == {("", "")}
    table = pq.read_table(folder / "offers.parquet")
    assert table.column_names[-2:] == ["language", "legal_footer"] and table.column("language").null_count == len(table)


def test_a_wording_of_one_language_goes_to_those_who_speak_it(bank: Path) -> None:
    """Mutant: without the condition on language the zh customers get the en wording."""
    words(bank, said(WEALTH, "en"), said(DEPOSIT, "en"))
    rows = pq.read_table(listed(bank) / "offers.parquet").to_pylist()
    own = {row["customer_id"]: row["language"] for row in pq.ParquetDataset(str(bank / "data" / "customers")).read(["customer_id", "language"]).to_pylist()}  # fmt: skip
    assert rows and {(own[row["customer_id"]], row["language"]) for row in rows} == {("en", "en")}
    office = office_at(bank, Clock())
    found = ask(office)
    office.close()
    assert found.choices == () and "not_in_audience" in found.reasons


def test_seeds_get_each_wording_in_each_language(bank: Path) -> None:
    path = bank / "campaigns" / "all_year.yaml"
    path.write_text(path.read_text("utf-8") + "\nseeds: [boss.sms]\n", "utf-8")
    words(bank, said(WEALTH), said(DEPOSIT))
    rows = read(listed(bank) / "offers-sms.csv")
    kinds = {(row["treatment"], row["language"], row["legal_footer"]) for row in rows if row["seed"] == "0"}
    assert sorted(
        (row["treatment"], row["language"], row["legal_footer"]) for row in rows if row["seed"] == "1"
    ) == sorted(kinds)
    assert {language for _, language, _ in kinds} == {"en", "zh"}


def test_the_endpoint_offers_what_is_named_and_the_claim_says_language_and_footer(bank: Path, clock: Clock) -> None:
    words(bank, said(DEPOSIT))
    office = office_at(bank, clock)
    found = ask(office)
    assert [(choice.offer_id, choice.channel, choice.treatment) for choice in found.choices] == [("deposit_usd_6m", "sms", DEPOSIT)]  # fmt: skip
    cells = {(cell.offer_id, cell.channel): cell.reasons for cell in office.why(found.decision_id, call()).cells}
    assert (
        "not_in_campaign" in cells["wealth_usd_income", "sms"] and "not_in_campaign" in cells["deposit_usd_6m", "call"]
    )
    status, body = claimed(office, str(found.choices[0].contact_id))
    told = ClaimResponse.model_validate_json(body)
    assert (status, told.language, told.legal_footer) == (200, "zh", f"ads of {DEPOSIT}")
    office.close()


def test_a_wording_ends_with_its_day_at_the_bank(bank: Path) -> None:
    """23:59 and 00:01 in Shanghai, where the bank is; mutant: the day of UTC."""
    words(bank, said(WEALTH, until="2026-06-01"), said(DEPOSIT))
    engine = Engine.open(Home.open(bank))
    midnight = datetime(2026, 6, 1, 16, tzinfo=NOW.tzinfo)
    before, after = (engine.terms(midnight + timedelta(minutes=turn)).audiences or () for turn in (-1, 1))
    assert [len(one.cells(engine.catalogue)) for one in (*before, *after)] == [2, 2, 1, 1]
    assert engine.campaign("dollars").audience_of(engine.catalogue, date(2025, 12, 31)).cells(engine.catalogue) == {}


def test_an_expired_wording_closes_its_cells_and_a_campaign_left_with_none_makes_no_list(bank: Path) -> None:
    words(bank, said(WEALTH, until="2026-05-31"), said(DEPOSIT))
    rows = pq.read_table(listed(bank) / "offers.parquet").to_pylist()
    assert {row["treatment"] for row in rows} == {DEPOSIT}
    words(bank, said(WEALTH, until="2026-05-31"), said(DEPOSIT, until="2026-05-30"))
    with pytest.raises(CampaignError, match=f"treatment `{WEALTH}` expired on 2026-05-31; renew its approval"):
        make_list(Home.open(bank), ["all_year"], NOW + timedelta(minutes=1))
    office = office_at(bank, Clock())
    found = ask(office)
    office.close()
    assert found.choices == () and "not_in_campaign" in found.reasons


@pytest.mark.parametrize("after", [said(WEALTH, until="2026-05-31"), said(DEPOSIT)])
def test_a_claim_refuses_a_wording_that_is_approved_no_more(bank: Path, clock: Clock, after: str) -> None:
    """Expired, or no longer named. Mutant: a claim that does not look sends it."""
    words(bank, said(WEALTH))
    office = office_at(bank, clock)
    contact = str(ask(office, HERO).choices[0].contact_id)
    office.close()
    words(bank, after)
    office = office_at(bank, clock)
    status, body = claimed(office, contact)
    office.close()
    assert status == 409 and json.loads(body)["error"]["code"] == "claim_refused" and b"not_in_campaign" in body


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("families: [deposit, wealth, card, loan, insurance, retention]", "families: [deposit, card]", True),
        ("seats:", "channels: [email, call]\nseats:", True),
        ("owner: marketing", "owner: marketing 2", False),
        ("families: [deposit, wealth, card, loan, insurance, retention]", "offers: [wealth_usd_income]", False),
    ],
)  # fmt: skip
def test_a_claim_asks_whether_the_campaign_still_offers_that_there(
    bank: Path, clock: Clock, old: str, new: str, refused: bool
) -> None:
    """Another version of the same id carries on what it still says. Mutant: only the wording is asked for."""
    path = bank / "campaigns" / "all_year.yaml"
    text = path.read_text("utf-8")
    contact = reserved(bank, clock)
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    adopt(bank)
    office = office_at(bank, clock)
    status, body = claimed(office, contact)
    office.close()
    assert (status == 409, b"not_in_campaign" in body) == (refused, refused)


def test_a_claim_refuses_a_campaign_that_left_with_its_footer(bank: Path, clock: Clock) -> None:
    """Mutant: what no campaign in force says passes, and goes out without the footer."""
    words(bank, said(WEALTH))
    contact = reserved(bank, clock)
    gone(bank)
    office = office_at(bank, clock)
    status, body = claimed(office, contact)
    feed = office.recalls(RecallsQuery(), call()).recalls
    office.close()
    assert status == 409 and b"claim_refused" in body and b"not_in_campaign" in body
    assert [(one.contact_id, one.reason) for one in feed] == [(contact, "not_in_campaign")]


def test_a_contact_without_a_campaign_asks_for_none(bank: Path, clock: Clock) -> None:
    """One that the bank reserved before it had campaigns."""
    contact = reserved(bank, clock)
    office = office_at(bank, clock)
    office.ledger.write(lambda c: c.exec_driver_sql("UPDATE contacts SET campaign_id = NULL WHERE contact_id = ?", (contact,)), touches=NOTHING).result()  # fmt: skip
    office.close()
    gone(bank)
    office = office_at(bank, clock)
    assert claimed(office, contact)[0] == 200
    office.close()


def test_what_left_its_campaign_is_recalled_by_the_rule_of_the_claim(bank: Path, clock: Clock) -> None:
    """On its way: at the watch's next look, once. In a list handed over: with the recall file. Mutant: neither knows."""
    folder = listed(bank)
    office = office_at(bank, clock)
    ids = [row[0] for row in raw(office, "SELECT contact_id FROM contacts WHERE decision_id = ? AND send_after <= ? ORDER BY 1 LIMIT 3", folder.name, office.ledger.now_micros())]  # fmt: skip
    assert claimed(office, ids[0])[0] == 200
    watch = office.watching(live_stamp(bank / "models"))
    watch.look()
    assert office.recalls(RecallsQuery(), call()).recalls == ()
    gone(bank)
    watch.look()
    watch.look()
    assert [(one.contact_id, one.reason) for one in office.recalls(RecallsQuery(), call()).recalls] == [(ids[0], "not_in_campaign")]  # fmt: skip
    office.close()
    done = CliRunner().invoke(nbo.app, ["--home", str(bank), "recall", "list", folder.name, "--json"])
    assert done.exit_code == 0, done.stderr
    told = read(folder / "recalls.csv")
    assert len(told) == json.loads(done.stdout)["recalled"] == pq.read_table(folder / "offers.parquet").num_rows
    assert {row["reason"] for row in told} == {"not_in_campaign"}
