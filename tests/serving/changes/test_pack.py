"""The compliance pack: self-contained, true to the ledger, without a customer in it."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from rules.liveset import files_in
from serving.changes import pack as room
from serving.changes.pack import Pack
from serving.commands.lists import make_list
from serving.lists.figures import Report
from tests.home import HERO, NOW, Clock, ask, office_at


def packed(bank: Path, *more: str) -> tuple[Path, Pack, str]:
    done = CliRunner().invoke(nbo.app, ["--home", str(bank), "audit", "pack", "--month", "2026-06", "--json", *more])
    assert done.exception is None, done.exception
    folder = Path(json.loads(done.stdout)["path"])
    return (
        folder,
        Pack.model_validate_json((folder / "pack.json").read_bytes()),
        (folder / "index.html").read_text("utf-8"),
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs take seconds and are asked elsewhere."""
    monkeypatch.setattr(room, "_proofs", lambda *_: ([], "not asked", []))


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        assert tag not in ("script", "link", "img", "iframe")
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_pack_says_what_the_ledger_and_the_lists_say(bank: Path, clock: Clock) -> None:
    """With everything in it: rules in two languages, cases, proofs, approvals, costs, what is open."""
    listed = make_list(Home.open(bank), ["all_year"], NOW)
    office = office_at(bank, clock)
    silent = [ask(office, f"C{n:07d}") for n in range(20, 32)]
    office.close()
    folder, pack, page = packed(bank)
    report = Report.model_validate_json((Path(str(listed.path)) / "report.json").read_bytes())
    assert pack.lists == [report.run] and pack.n_decisions == len(silent)
    assert sum(one.value_minor or 0 for one in pack.costs) == sum(one.value_minor or 0 for one in report.rules) > 0
    met = [reason for one in silent for reason in one.reasons]
    assert {one.reason: one.decisions for one in pack.silences} == {reason: met.count(reason) for reason in met}
    assert len(pack.proofs) >= 20 and {one.outcome for one in pack.proofs} == {"proved"} and not pack.cases_failed
    assert all(rule.en.title in page or rule.en.title.replace("'", "&#39;") in page for rule in pack.rules)
    assert all(re.search("[一-鿿]", rule.zh.rules[0].sentence) for rule in pack.rules if rule.zh.rules)
    assert all(rule.cases for rule in pack.rules)
    assert any("first set" in one.en for one in pack.exceptions)
    links = Links()
    links.feed(page)
    assert all(target.startswith("#") and target[1:] in links.ids for target in links.fetched)
    assert "url(" not in page and "@import" not in page
    assert not re.search(r"\b[CH]\d{7}\b", page + (folder / "pack.json").read_text("utf-8")), "no customer is named"
    assert HERO not in page


def test_every_file_is_in_the_manifest_and_the_set_is_what_is_in_force(bank: Path, clock: Clock, quick: None) -> None:
    office_at(bank, clock).close()
    draft = bank / "campaigns" / "dollars.yaml"
    live = files_in(bank)
    draft.write_text(draft.read_text("utf-8").replace("call: 50", "call: 60"), "utf-8")
    folder, pack, _ = packed(bank)
    assert files_in(folder / "set") == live
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == there and manifest["revision"] == pack.revision
    assert all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in manifest["files"].items()
    )
    assert any(
        one.en == "campaigns/dollars.yaml in the home is a draft that is not in force" for one in pack.exceptions
    )


def test_a_pack_is_never_written_over_and_a_month_is_a_month(bank: Path, clock: Clock, quick: None) -> None:
    office_at(bank, clock).close()
    packed(bank)
    for month, said in (
        ("2026-06", "is there already; a pack is never written over"),
        ("June", "`June` is no month; write YYYY-MM"),
    ):
        done = CliRunner().invoke(nbo.app, ["--home", str(bank), "audit", "pack", "--month", month])
        assert said in str(done.exception)
