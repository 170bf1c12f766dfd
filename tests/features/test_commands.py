"""`nbo import` and `nbo features`: one JSON object, or text for people."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.commands import (
    BuildAnswer,
    CatalogueAnswer,
    ImportAnswer,
    LatestAnswer,
    features_app,
    import_app,
    parse_instant,
)
from features.store import StoreError
from tests.feature_bank import made_up_bank, small_home, write_tables

run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tables(made_up_bank(3, transactions=300), tmp_path / "source")
    return small_home(tmp_path / "home").path


def test_the_road_from_tables_to_a_customers_features(folder: Path) -> None:
    done = run(import_app, ["tables", str(folder.parent / "source"), "--json"], obj=folder)
    answer = ImportAnswer.model_validate_json(done.stdout)
    assert answer.rejected == answer.report.rejected
    done = run(features_app, ["build", "--as-of", "2025-12-01", "--json"], obj=folder)
    built = BuildAnswer.model_validate_json(done.stdout)
    assert Path(built.path).name == "20251201T000000Z.arrow" and built.customers > 0
    done = run(features_app, ["latest", "C004", "--at", "2025-12-01T06:00:00Z", "--json"], obj=folder)
    latest = LatestAnswer.model_validate_json(done.stdout)
    assert len(latest.features) == built.features
    assert latest.base_as_of == built.as_of < latest.as_of
    assert json.loads(done.stdout)["customer_id"] == "C004"
    text = run(features_app, ["latest", "C004", "--at", "2025-12-01T06:00:00Z"], obj=folder).stdout
    assert "outflow_share_usd_14d" in text
    assert not (folder / "nbo.db").exists(), "reading makes no ledger"


def test_describe_tells_every_feature_in_both_forms(folder: Path) -> None:
    run(import_app, ["tables", str(folder.parent / "source")], obj=folder)
    done = run(features_app, ["describe", "--format", "json"], obj=folder)
    told = CatalogueAnswer.model_validate_json(done.stdout)
    table = run(features_app, ["describe"], obj=folder).stdout.strip().splitlines()
    assert len(table) == len(told.features) + 2 and len(told.features) > 80
    assert "| outflow_share_usd_14d |" in "".join(table)


def test_an_unknown_customer_is_not_named_in_the_error(folder: Path) -> None:
    run(import_app, ["tables", str(folder.parent / "source")], obj=folder)
    run(features_app, ["build", "--as-of", "2025-12-01"], obj=folder)
    done = run(features_app, ["latest", "C999"], obj=folder)
    assert isinstance(done.exception, StoreError) and "C999" not in str(done.exception)


@pytest.mark.parametrize(("text", "line"), [
    ("2025-13-01", "`2025-13-01` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01"),
    ("soon", "`soon` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01"),
    ("0001-01-01", "`0001-01-01` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01"),
    ("9999-12-31T23:59:59-10:00", "`9999-12-31T23:59:59-10:00` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01"),
    ("2025-12-01T00:00:00", "`2025-12-01T00:00:00` has no time zone; end it with Z"),
])  # fmt: skip
def test_instants_are_read_strictly(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(StoreError) as error:
        parse_instant(text, small_home(tmp_path / "home", zone="Europe/Prague"))
    assert str(error.value) == line


def test_a_day_is_its_midnight_in_the_banks_zone(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home", zone="Asia/Shanghai")
    assert parse_instant("2025-12-01", home).isoformat() == "2025-11-30T16:00:00+00:00"


def test_what_a_snapshot_cannot_be_rolled_to_is_refused(folder: Path) -> None:
    """Mutant: windows that nothing leaves any longer are printed as the present's."""
    run(import_app, ["tables", str(folder.parent / "source")], obj=folder)
    run(features_app, ["build", "--as-of", "2025-12-01"], obj=folder)
    near, far = (run(features_app, ["latest", "C004", "--at", day], obj=folder) for day in ("2025-12-03", "2025-12-31"))
    assert near.exit_code == 0 and isinstance(far.exception, StoreError)
    assert str(far.exception).startswith(
        "the newest snapshot is of 2025-12-01T00:00:00Z; its windows can be rolled for 3 days"
    )
    early = run(features_app, ["build", "--as-of", "0003-06-02"], obj=folder)
    assert isinstance(early.exception, StoreError) and "before 1900" in str(early.exception)
