"""`nbo features parity`: nothing differs, and a planted difference is found."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from features.commands import features_app
from features.home import Home
from features.intake import import_tables
from features.parity import ParityAnswer, parity
from features.source import Source
from features.store import FeatureStore, StoreError
from features.windows import DAY_MICROS
from tests.feature_bank import made_up_bank, small_home, write_tables

T0 = datetime(2025, 11, 30, 7, tzinfo=UTC)
AT = T0 + timedelta(days=2, hours=7)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One holder an account; a word on marketing does not expire, for the ledger knows of no end."""
    tables = made_up_bank(13, transactions=6000)
    tables["holders"] = [holder for holder in tables["holders"] if holder["role"] == "owner"]
    for account in tables["accounts"]:
        account["closed_on"] = None
    for row in tables["consents"]:
        row["expires_at"] = None
    made = small_home(tmp_path / "home")
    import_tables(made, write_tables(tables, tmp_path / "source"))
    FeatureStore(made).build(T0)
    return made


def checked(home: Home) -> ParityAnswer:
    done = CliRunner().invoke(features_app, ["parity", "--at", AT.isoformat(), "--json"], obj=home.path)
    answer = ParityAnswer.model_validate_json(done.stdout)
    assert done.exit_code == (1 if answer.differences else 0)
    return answer


def test_p28_what_a_decision_reads_is_what_models_learned_from(home: Home) -> None:
    answer = checked(home)
    assert (answer.differences, answer.base_as_of) == (0, T0)
    assert answer.events > 100 and answer.consents > 0
    read = {f.name: f.read for f in answer.features}
    assert read["purchase_sum_30d"] == "now" and read["n_accounts"] == "base"
    assert read["days_since_last_contact"] == "aged"


def test_tails_that_stand_still_are_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: windows that take in what is new and never let go of what is old."""
    monkeypatch.setattr("features.overlay.cut_days", lambda *_: dict.fromkeys((1, 7, 14, 30, 45, 90, 365, 730), 0))
    wrong = {f.name for f in checked(home).features if f.mismatch}
    assert "transaction_count_30d" in wrong and "balance_usd_minor" not in wrong


def test_an_age_counted_in_other_days_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.online.DAYS_A_MICRO", 1.1 / DAY_MICROS)
    assert {f.name for f in checked(home).features if f.mismatch} >= {"days_since_last_transaction"}


def test_a_snapshot_too_old_to_roll_is_refused(home: Home) -> None:
    with pytest.raises(StoreError, match="no snapshot of the 3 days before `2025-12-30T"):
        parity(FeatureStore(home), Source(home), T0 + timedelta(days=30))


def test_every_customer_is_compared_unless_a_sample_is_asked_for(home: Home) -> None:
    store = FeatureStore(home)
    base = store.newest()
    assert base is not None and checked(home).customers == len(base.ids)
    assert parity(store, Source(home), AT, 5).customers <= 5
    assert isinstance(base.ids, pl.Series)
