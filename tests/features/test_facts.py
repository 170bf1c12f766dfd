"""A late row of any dated table repairs the snapshots from its day on and no older one."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from features.days import day_manifest
from features.facts import FACTS
from features.home import Home
from features.intake import import_tables
from features.source import EMPTY, Source
from features.store import FeatureStore
from tests.feature_bank import Rows, Tables, made_up_bank, small_home, write_tables

NIGHTS = [datetime(2025, 11, 12 + n, tzinfo=UTC) for n in range(4)]
WHO = "C001"
SEEN = NIGHTS[2] - timedelta(hours=5)  # on the day that the third night ends
BEFORE = NIGHTS[0] - timedelta(days=20)  # what every night has counted already


def contact(name: str = "K1", **more: Any) -> dict[str, Any]:
    return {"contact_id": name, "customer_id": WHO, "campaign_id": None, "offer_id": None, "channel": "email",
            "direction": "outbound", "purpose": "marketing", "decided_at": BEFORE, "sent_at": BEFORE,
            "p_chosen": None, "answer_by": None, **more}  # fmt: skip


def outcome(name: str = "K0", **more: Any) -> dict[str, Any]:
    return {"contact_id": name, "kind": "accepted", "at": BEFORE, **more}


def case(name: str = "F1", **more: Any) -> dict[str, Any]:
    return {"case_id": name, "customer_id": WHO, "kind": "complaint", "opened_at": BEFORE, "closed_at": None, **more}


def consent(**more: Any) -> dict[str, Any]:
    return {"customer_id": WHO, "purpose": "marketing", "channel": "sms", "state": "granted", "source": None,
            "wording": None, "at": BEFORE, "expires_at": None, **more}  # fmt: skip


def note(**more: Any) -> dict[str, Any]:
    return {"customer_id": WHO, "flag": "moving", "at": BEFORE, "until": None, **more}


def reached(**more: Any) -> dict[str, Any]:
    return {"customer_id": WHO, "channel": "sms", "state": "ok", "at": BEFORE, **more}


def bank(**more: Rows) -> Tables:
    """A made-up bank of which each dated table holds one row, told long ago, of a customer who is in every night."""
    tables = made_up_bank(31, customers=8, transactions=120)
    for row in tables["customers"]:
        row["joined_on"] = None
    told: Tables = {"contacts": [contact("K0")], "outcomes": [outcome()], "cases": [case("F0", kind="fraud")],
                    "consents": [consent(channel="all")], "notes": [note(flag="divorced")],
                    "reachability": [reached(channel="app")]}  # fmt: skip
    return {**tables, **{name: [*rows, *more.get(name, [])] for name, rows in told.items()}}


def fill(home: Home, tables: Tables) -> FeatureStore:
    import_tables(home, write_tables(tables, home.path.parent / "source"))
    return FeatureStore(home)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the bank in which nobody was late, with its nights; take a copy."""
    home = small_home(tmp_path_factory.mktemp("built") / "home")
    store = fill(home, bank())
    for night in NIGHTS:
        store.build(night)
    return home.path


def inodes(paths: list[Path]) -> list[int]:
    return [path.stat().st_ino for path in paths]


def with_nights(folder: Path, built: Path, told: Tables) -> tuple[Home, list[Path]]:
    """A home in which the nights are built upon what was told, and their files."""
    if not told:
        home = Home.open(shutil.copytree(built, folder / "home"))
        return home, sorted(home.features.glob("*.arrow"))
    home = small_home(folder / "home")
    store = fill(home, bank(**told))
    return home, [store.build(night) for night in NIGHTS]


LATE = [
    ("contacts", [], [contact(sent_at=SEEN)]),
    ("outcomes", [], [outcome(at=SEEN)]),
    ("cases", [], [case(opened_at=SEEN)]),
    ("consents", [], [consent(state="withdrawn", at=SEEN)]),
    ("consents", [], [consent(purpose="profiling", at=SEEN)]),
    ("notes", [], [note(at=SEEN)]),
    ("reachability", [], [reached(at=SEEN)]),
    # What changes later.
    ("contacts", [contact(sent_at=None)], [contact(sent_at=SEEN)]),
    ("cases", [case()], [case(closed_at=SEEN)]),
    ("consents", [consent()], [consent(expires_at=SEEN)]),
    ("consents", [consent()], [consent(expires_at=NIGHTS[2])]),
    ("consents", [consent(expires_at=SEEN)], [consent(expires_at=NIGHTS[3] + timedelta(days=3))]),
    ("notes", [note()], [note(until=SEEN.date())]),
]


@pytest.mark.parametrize(("table", "old", "new"), LATE)
def test_a_late_row_repairs_exactly_the_snapshots_from_its_day_on(
    tmp_path: Path, built: Path, table: str, old: Rows, new: Rows
) -> None:
    """Mutant: a row that changes later as one fact rebuilds every snapshot since it began."""
    home, paths = with_nights(tmp_path, built, {table: old} if old else {})
    before = inodes(paths)
    store = fill(home, bank(**{table: new}))
    assert store.repair() == paths[2:]
    assert inodes(paths)[:2] == before[:2], "not even built again"
    nights: list[pa.Table] = []
    for path, night in zip(paths, NIGHTS, strict=True):
        snapshot = store.newest(night)
        assert snapshot is not None and snapshot.path == path
        nights.append(snapshot.table.select(store.schema.names))
    rows = pa.concat_tables(nights)
    found = store.as_of(rows.select(["customer_id", "as_of"]))
    assert found.select(rows.schema.names[3:]).equals(rows.select(rows.schema.names[3:]))
    assert store.repair() == []


@pytest.mark.parametrize(("table", "new"), [
    ("contacts", [contact(sent_at=SEEN, purpose="service"), contact("K2", sent_at=SEEN, direction="inbound")]),
    ("contacts", [contact(sent_at=None)]),
    ("outcomes", [outcome(kind="delivered", at=SEEN)]),
    ("cases", [case(kind="other", opened_at=SEEN)]),
    ("consents", []),
])  # fmt: skip
def test_what_no_feature_reads_and_the_same_again_touch_nothing(
    tmp_path: Path, built: Path, table: str, new: Rows
) -> None:
    home, paths = with_nights(tmp_path, built, {})
    before = inodes(paths)
    assert fill(home, bank(**{table: new})).repair() == []
    assert inodes(paths) == before


def test_whose_contact_it_was_is_part_of_the_outcome(tmp_path: Path) -> None:
    """Mutant: an outcome by its own columns stays with the customer of whom the contact was a mistake."""
    home = small_home(tmp_path / "home")
    unsent = {"sent_at": None, "decided_at": BEFORE}
    store = fill(home, bank(contacts=[contact(**unsent)], outcomes=[outcome("K1", at=SEEN)]))
    paths = [store.build(night) for night in NIGHTS]
    moved = bank(contacts=[contact(customer_id="C002", **unsent)], outcomes=[outcome("K1", at=SEEN)])
    assert fill(home, moved).repair() == paths[2:]


def test_a_table_that_comes_at_last_repairs_every_snapshot(tmp_path: Path) -> None:
    """Without the table nobody's notes were known, and with it nobody's are none."""
    home = small_home(tmp_path / "home")
    tables = bank()
    notes = tables.pop("notes")
    store = fill(home, tables)
    paths = [store.build(night) for night in NIGHTS[:2]]
    assert fill(home, {**tables, "notes": [{**row, "at": NIGHTS[3]} for row in notes]}).repair() == paths


@pytest.mark.parametrize(("table", "row"), [("cases", case), ("contacts", contact)])
def test_a_table_without_a_row_says_what_was_assumed_of_it(
    tmp_path: Path, table: str, row: Callable[..., dict[str, Any]]
) -> None:
    home = small_home(tmp_path / "home")
    tables = bank()
    for name in (table, *(["outcomes"] if table == "contacts" else [])):
        tables.pop(name, None)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "assumptions.yaml").write_text(f"- 'no {table}: {EMPTY[table]}'\n")
    store = fill(home, tables)
    paths = [store.build(night) for night in NIGHTS]
    before = inodes(paths)
    assert (
        fill(
            home,
            {
                **tables,
                table: [
                    row(**{"cases": {"opened_at": SEEN}, "contacts": {"sent_at": SEEN, "decided_at": SEEN}}[table])
                ],
            },
        ).repair()
        == paths[2:]
    )
    assert inodes(paths)[:2] == before[:2]


def test_the_same_tables_give_the_same_manifest_in_any_order_and_from_the_marks(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home")
    tables = made_up_bank(32, transactions=200)
    found: list[pl.DataFrame] = []
    for rows in (tables, {name: rows[::-1] for name, rows in tables.items()}):
        fill(home, rows)
        found += [day_manifest(Source(home), home.features) for _ in range(2)]
    assert all(manifest.equals(found[0]) for manifest in found)
    days = {row["at"].date() for row in tables["reachability"]}
    assert {date.min, *days} <= set(found[0]["seen"])


def test_marks_of_files_that_are_gone_go_too(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home")
    names: list[set[str]] = []
    for _ in range(2):
        fill(home, bank())
        day_manifest(Source(home), home.features)
        names.append({path.name for path in (home.features / ".days").iterdir()})
    assert len(names[0]) == len(names[1]) == 7 and not names[0] & names[1]


def test_every_column_of_a_dated_table_that_a_feature_reads_is_part_of_a_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: a feature begins to read a column, and a late row that differs in it alone repairs nothing."""
    store = fill(small_home(tmp_path / "home"), bank())
    read: dict[str, set[str]] = {}
    for name in ("rows", "whole"):
        whole = getattr(Source, name)

        def watched(
            self: Source, table: str, columns: tuple[str, ...], *more: Any, _whole: Any = whole, **named: Any
        ) -> Any:
            read.setdefault(table, set()).update(columns)
            return _whole(self, table, columns, *more, **named)

        monkeypatch.setattr(Source, name, watched)
    store.build(NIGHTS[0])
    told: dict[str, set[str]] = {}
    for fact in FACTS:
        chosen_by = () if fact.when is None else fact.when.meta.root_names()
        told.setdefault(fact.table, set()).update(fact.columns, chosen_by)
    assert read.keys() >= told.keys()
    assert [(table, read[table] - columns) for table, columns in told.items() if read[table] - columns] == []
