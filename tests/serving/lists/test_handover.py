"""Seeds are marked and never count; each channel gets its own file, in sending order, at its own rate; recalls follow."""

import csv
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from serving.commands.lists import make_list
from serving.http.messages import ClaimRequest
from serving.lists.check import check_list
from serving.lists.figures import Report
from serving.lists.files import read_manifest
from tests.home import NOW, Clock, call, office_at, rows, said

SEEDS = ("boss.sms", "legal@bank.example")


def made(bank: Path, more: str = "", campaigns: tuple[str, ...] = ("all_year",)) -> Path:
    file = bank / "campaigns" / "all_year.yaml"
    file.write_text(file.read_text("utf-8") + more, "utf-8")
    return Path(str(make_list(Home.open(bank), list(campaigns), NOW).path))


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def test_seeds_stand_in_the_lists_and_are_counted_and_reserved_nowhere(bank: Path, tmp_path: Path) -> None:
    import shutil

    plain = made(Path(shutil.copytree(bank, tmp_path / "plain")))
    seeded = made(bank, f"seeds: [{', '.join(SEEDS)}]\n")
    for name in (
        "offers.parquet",
        "certificate.json",
        "control.parquet",
        "suppressed.parquet",
        "cells.parquet",
        "report.json",
    ):
        assert (seeded / name).read_bytes() == (plain / name).read_bytes(), name
    listed = read(seeded / "offers.csv")
    contacts, seeds = [r for r in listed if r["seed"] == "0"], [r for r in listed if r["seed"] == "1"]
    assert contacts == read(plain / "offers.csv")
    wordings = {(r["offer_id"], r["channel"], r["treatment"]) for r in contacts}
    assert Counter(r["customer_id"] for r in seeds) == dict.fromkeys(SEEDS, len(wordings))
    assert {(r["offer_id"], r["channel"], r["treatment"]) for r in seeds} == wordings
    assert {r["contact_id"] for r in seeds} == {r["expected_value_minor"] for r in seeds} == {""}
    assert read_manifest(seeded).seeds == len(seeds) and read_manifest(plain).seeds == 0
    assert read_manifest(seeded).funnel == read_manifest(plain).funnel
    office = office_at(bank, Clock())
    reserved = {customer for (customer,) in rows(office, "SELECT customer_id FROM contacts")}
    office.close()
    assert not reserved & set(SEEDS) and check_list(seeded).wrong == []


def test_each_channel_has_its_file_in_sending_order(bank: Path) -> None:
    folder = made(bank, "seeds: [boss]\n")
    whole = defaultdict(list)
    for row in read(folder / "offers.csv"):
        whole[row["channel"]].append(row)
    assert {p.name for p in folder.glob("offers-*.csv")} == {f"offers-{name}.csv" for name in whole}
    for name, expected in whole.items():
        told = read(folder / f"offers-{name}.csv")
        assert sorted(map(str, told)) == sorted(map(str, expected))
        assert [r["send_after"] for r in told] == sorted(r["send_after"] for r in told)
    assert set(read_manifest(folder).files) >= {f"offers-{name}.csv" for name in whole}


def test_a_rate_is_a_limit_with_a_price_and_spreads_the_list_over_the_hours(bank: Path) -> None:
    folder = made(bank, "per_minute: {app: 1, sms: 2}\n")
    listed = pq.read_table(folder / "offers.parquet").to_pylist()
    for channel, rate in (("app", 1), ("sms", 2)):
        per_minute = Counter(f"{r['send_after']:%F %H:%M}" for r in listed if r["channel"] == channel)
        assert per_minute and max(per_minute.values()) <= rate
    assert all(r["send_after"] < r["send_before"] for r in listed)
    minutes = int(
        (datetime.combine(NOW, datetime.min.time(), NOW.tzinfo) + timedelta(hours=11) - NOW) / timedelta(minutes=1)
    )
    report = check_list(folder)
    assert report.wrong == [] and report.used["app seats of the sending hours"] <= minutes  # 10:00 to 19:00 in Shanghai
    office = office_at(bank, Clock())
    reserved = dict(rows(office, "SELECT contact_id, send_after FROM contacts WHERE decision_id = ?", folder.name))
    office.close()
    assert {r["contact_id"]: int(r["send_after"].timestamp() * 1e6) for r in listed} == reserved


def test_the_hours_of_the_report_are_those_of_the_minutes_a_rate_gave(bank: Path) -> None:
    """Mutant: each paced contact spread once more, from its minute to the end of its window."""
    folder = made(bank, "per_minute: {app: 1, sms: 2}\n")
    listed = pq.read_table(folder / "offers.parquet").to_pylist()
    told = Report.model_validate_json((folder / "report.json").read_bytes()).hours
    for channel in ("app", "sms"):
        local = [r["send_after"].astimezone(ZoneInfo("Asia/Shanghai")) for r in listed if r["channel"] == channel]
        assert {(h.day, h.hour): h.contacts for h in told if h.channel == channel} == Counter((f"{at:%F}", at.hour) for at in local)  # fmt: skip
    whole = Counter(r["channel"] for r in listed)
    assert "email" in whole  # it has no rate: spread, as before
    assert {c: round(sum(h.contacts for h in told if h.channel == c), 1) for c in whole} == whole


def test_p12_a_list_that_was_handed_over_gets_a_recall_file(bank: Path, clock: Clock) -> None:
    folder = made(bank)
    office = office_at(bank, clock)
    gone = read(folder / "offers.csv")[0]
    clock.forward(minutes=3)
    office.consent(said(clock.now, customer=gone["customer_id"]), call("POST /v1/consents")).result()
    office.close()
    ask = lambda run: CliRunner().invoke(nbo.app, ["--home", str(bank), "recall", "list", run])
    assert ask(folder.name).exit_code == 0
    (row,) = read(folder / "recalls.csv")
    assert (row["contact_id"], row["customer_id"], row["reason"]) == (
        gone["contact_id"],
        gone["customer_id"],
        "opted_out",
    )
    assert row["recalled_at"] == f"{clock.now:%Y-%m-%dT%H:%M:%SZ}"
    before = (folder / "recalls.csv").read_bytes()
    assert ask(folder.name).exit_code == 0 and (folder / "recalls.csv").read_bytes() == before
    assert "no list `nowhere`" in str(ask("nowhere").exception)


def test_p12_a_recall_file_names_what_is_claimed_and_not_yet_sent(bank: Path, clock: Clock) -> None:
    """Mutant: recalling what is reserved only."""
    folder = made(bank)
    office = office_at(bank, clock)
    gone = read(folder / "offers-app.csv")[0]
    clock.forward(minutes=3)
    office.claim(gone["contact_id"], ClaimRequest(), call("claim")).result()
    office.consent(said(clock.now, customer=gone["customer_id"]), call("POST /v1/consents")).result()
    office.close()
    assert CliRunner().invoke(nbo.app, ["--home", str(bank), "recall", "list", folder.name]).exit_code == 0
    assert [(row["contact_id"], row["reason"]) for row in read(folder / "recalls.csv")] == [(gone["contact_id"], "opted_out")]  # fmt: skip


def test_p12_the_recall_file_names_an_opt_out_that_took_nothing_back(bank: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The file asks again what a claim would ask. Mutant: it tells of what was recalled before."""
    folder = made(bank)
    office = office_at(bank, clock)
    gone = read(folder / "offers.csv")[0]
    with monkeypatch.context() as patched:
        patched.setattr("serving.ledger.recall.close_all", lambda *_: 0)
        office.consent(said(clock.now, customer=gone["customer_id"]), call("POST /v1/consents")).result()
    assert rows(office, "SELECT state FROM contacts WHERE contact_id = ?", gone["contact_id"]) == [("reserved",)]
    office.close()
    CliRunner().invoke(nbo.app, ["--home", str(bank), "recall", "list", folder.name])
    assert [(row["contact_id"], row["reason"]) for row in read(folder / "recalls.csv")] == [(gone["contact_id"], "opted_out")]  # fmt: skip
