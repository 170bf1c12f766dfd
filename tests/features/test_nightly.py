"""One night after the other gives what a whole build gives, and a late import repairs what it touches."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc

from features import build
from features.home import Home
from features.intake import import_tables
from features.settings import write_whole
from features.snapshot import write_snapshot
from features.store import FeatureStore, StoreError
from tests.feature_bank import Rows, Tables, made_up_bank, small_home, write_tables

ROOT = Path(__file__).parents[2]
NIGHTS = [datetime(2025, 11, 28 + n, tzinfo=UTC) if n < 3 else datetime(2025, 12, n - 2, tzinfo=UTC) for n in range(6)]
SOME_AND_ALL = [pytest.param(NIGHTS[:4], id="four"), pytest.param(NIGHTS, marks=pytest.mark.long, id="six")]

BEGINS = {"contacts": "decided_at", "outcomes": "at", "cases": "opened_at", "consents": "at", "notes": "at",
          "reachability": "at"}  # fmt: skip
ENDS = {"contacts": "sent_at", "cases": "closed_at", "consents": "expires_at", "notes": "until"}


def fill(home: Home, tables: Tables) -> FeatureStore:
    import_tables(home, write_tables(tables, home.path.parent / "source"))
    return FeatureStore(home)


def known_by(tables: Tables, at: datetime) -> Tables:
    """The tables as they stood at a midnight: what ends later is not over, what is sent later is not sent."""
    rows = [row for row in tables["transactions"] if row["booked_at"] < at and row["recorded_at"] <= at]
    begun = {name: [row for row in tables[name] if row[clock] < at] for name, clock in BEGINS.items()}
    for name, ends in ENDS.items():
        limit = at.date() if ends == "until" else at
        begun[name] = [{**row, ends: row[ends] if row[ends] and row[ends] < limit else None} for row in begun[name]]
    known = {row["contact_id"] for row in begun["contacts"]}
    begun["outcomes"] = [row for row in begun["outcomes"] if row["contact_id"] in known]
    return {**tables, **begun, "transactions": rows}


def bytes_of(store: FeatureStore, at: datetime) -> bytes:
    return store.build(at).read_bytes()


@pytest.fixture
def built_upon(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each build stood on the night before."""
    found: list[bool] = []
    choose = build.night_before

    def watched(*given: object) -> object:
        night = choose(*given)  # pyright: ignore[reportArgumentType]
        found.append(night is not None)
        return night

    monkeypatch.setattr(build, "night_before", watched)
    return found


@pytest.mark.parametrize("seed", [21, pytest.param(22, marks=pytest.mark.long)])
def test_nights_built_upon_each_other_equal_whole_builds(tmp_path: Path, seed: int, built_upon: list[bool]) -> None:
    """Rows late by days and months, bookings without a balance, missing rates, joint accounts."""
    tables = made_up_bank(seed, transactions=4000)
    tables["fx_rates"] = [row for row in tables["fx_rates"] if row["day"] > datetime(2025, 3, 1).date()]
    nightly = small_home(tmp_path / "nightly" / "home")
    for night in NIGHTS:
        found = bytes_of(fill(nightly, known_by(tables, night)), night)
        whole = fill(small_home(tmp_path / f"{night:%d}" / "home"), known_by(tables, night))
        assert bytes_of(whole, night) == found
    assert built_upon == [False, False] + [True, False] * 5


def test_a_build_again_gives_the_same_bytes(tmp_path: Path) -> None:
    store = fill(small_home(tmp_path / "home"), made_up_bank(23, transactions=800))
    first = [bytes_of(store, night) for night in NIGHTS[:2]]
    assert [bytes_of(store, night) for night in NIGHTS[:2]] == first


@pytest.mark.parametrize("nights", SOME_AND_ALL)
def test_a_late_import_repairs_exactly_the_snapshots_it_touches(tmp_path: Path, nights: list[datetime]) -> None:
    """The row was known to the source before the third night; we were told after the last."""
    tables = made_up_bank(24, transactions=1500)
    home = small_home(tmp_path / "home")
    store = fill(home, tables)
    paths = [store.build(night) for night in nights]
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in paths}
    assert store.repair() == []
    late = dict(next(row for row in tables["transactions"] if row["kind"] == "purchase"))
    known = nights[2] - timedelta(hours=5)
    rows: Rows = [*tables["transactions"], {**late, "transaction_id": "LATE", "booked_at": known, "recorded_at": known}]
    with_late = {**tables, "transactions": rows}
    store = fill(home, with_late)
    assert store.repair() == paths[2:]
    for path in paths[:2]:
        assert (path.read_bytes(), path.stat().st_ino) == before[path], "not touched"
    whole = fill(small_home(tmp_path / "other" / "home"), with_late)
    for path, night in zip(paths, nights, strict=True):
        whole_bytes = bytes_of(whole, night)
        assert path.read_bytes() == whole_bytes
    assert store.repair() == []


@pytest.mark.parametrize("nights", SOME_AND_ALL)
def test_a_rate_corrected_late_repairs_the_snapshots_from_its_day_on(tmp_path: Path, nights: list[datetime]) -> None:
    """Mutant: a manifest of bookings alone leaves sums in base currency at the rate that was wrong."""
    tables = made_up_bank(26, transactions=1500)
    home = small_home(tmp_path / "home")
    store = fill(home, tables)
    paths = [store.build(night) for night in nights]
    day = (nights[3] - timedelta(days=1)).date()
    wrong = next(row for row in tables["fx_rates"] if row["day"] <= day)
    rows: Rows = [*tables["fx_rates"], {**wrong, "day": day, "per_base": wrong["per_base"] * 2}]
    corrected = {**tables, "fx_rates": [row for row in rows if row["day"] != day or row is rows[-1]]}
    store = fill(home, corrected)
    assert set(store.repair()) <= set(paths[2:])
    whole = fill(small_home(tmp_path / "other" / "home"), corrected)
    for path, night in zip(paths, nights, strict=True):
        whole_bytes = bytes_of(whole, night)
        assert path.read_bytes() == whole_bytes, night


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from features import build
from features.home import Home
from features.store import FeatureStore

home, night, step = sys.argv[1:]
rename, moves = Path.replace, []
def killed(path, target):
    moves.append(Path(target).suffix)
    if moves[-1] == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
def torn(path, table):
    path.with_name(f".{path.name}.{os.getpid()}").write_bytes(b"ARROW1 and no more")
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = killed
if step == "writing":
    build.write_snapshot = torn
FeatureStore(Home.open(Path(home))).build(datetime.fromisoformat(night))
"""


def litter(home: Home) -> list[Path]:
    return [path for path in home.features.glob(".*") if path.suffix[1:].isdigit()]


@pytest.mark.parametrize("step", [
    pytest.param("writing", marks=pytest.mark.long), ".arrow", pytest.param(".days", marks=pytest.mark.long), ".accounts"
])  # fmt: skip
def test_a_build_killed_at_any_step_leaves_the_last_good_snapshot_and_no_litter(tmp_path: Path, step: str) -> None:
    """Killed while it writes, before its rename, or before what stands beside it is there; never a torn one.

    Mutants: a snapshot written in place is torn by the kill; one beside it that nobody removes stays for ever.
    """
    tables = made_up_bank(27, transactions=800)
    home = small_home(tmp_path / "home")
    store = fill(home, tables)
    good = store.build(NIGHTS[0])
    before = good.read_bytes()
    for night in NIGHTS[:2] if step == ".arrow" else NIGHTS[1:2]:
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(home.path), night.isoformat(), step], check=False, cwd=ROOT
        )
        assert child.returncode == -signal.SIGKILL
    newest = store.newest()
    assert newest is not None and store.fault(newest) is None and good.read_bytes() == before
    assert (newest.path == good) == (step in ("writing", ".arrow"))
    assert len(litter(home)) == 1, "of the last one killed"
    whole = fill(small_home(tmp_path / "o" / "home"), tables)
    assert [bytes_of(store, night) for night in NIGHTS[:3]] == [bytes_of(whole, night) for night in NIGHTS[:3]]
    assert not litter(home)


@pytest.mark.parametrize("step", ["write_snapshot", "remember"])
def test_a_crash_leaves_the_last_good_snapshot(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = made_up_bank(25, transactions=800)
    store = fill(small_home(tmp_path / "home"), tables)
    good = store.build(NIGHTS[0])
    before = good.read_bytes()
    with monkeypatch.context() as crash:
        crash.setattr(build, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.build(NIGHTS[1])
        with pytest.raises(KeyboardInterrupt):
            store.build(NIGHTS[0])
    newest = store.newest()
    assert newest is not None and newest.table.num_rows > 0
    assert good.read_bytes() == before
    assert bytes_of(store, NIGHTS[1]) == bytes_of(fill(small_home(tmp_path / "o" / "home"), tables), NIGHTS[1])


@pytest.mark.parametrize("spoil", [
    lambda path, table: write_snapshot(path, table.drop(["notes_count"])),
    lambda path, table: write_snapshot(path, table.set_column(
        table.schema.get_field_index("notes_count"), "notes_count", pa.nulls(table.num_rows, pa.string()))),
    lambda path, table: write_whole(path, b"something else"),
], ids=["older", "other type", "foreign"])  # fmt: skip
def test_an_old_or_foreign_snapshot_has_a_fault_and_is_built_again(
    tmp_path: Path, spoil: Callable[[Path, pa.Table], None]
) -> None:
    """Mutant: `fault` that is always None lets `latest` raise KeyError or ArrowInvalid."""
    store = fill(small_home(tmp_path / "home"), made_up_bank(3, transactions=200))
    path = store.build(NIGHTS[0])
    good = path.read_bytes()
    spoil(path, ipc.open_file(path.open("rb")).read_all())
    found = store.newest()
    assert found is not None
    fault = store.fault(found)
    assert fault is not None and fault.endswith("run nbo features build") and "\n" not in fault
    with pytest.raises(StoreError, match="run nbo features build"):
        store.latest(["C000"], NIGHTS[0], None)
    store.build(NIGHTS[0])
    assert path.read_bytes() == good
    rebuilt = store.newest()
    assert rebuilt is not None and store.fault(rebuilt) is None
    assert store.latest(["C000"], NIGHTS[0], None).num_rows == 1
