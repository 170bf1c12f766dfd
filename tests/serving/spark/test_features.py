"""A snapshot built on Spark is the local one, value for value, however many shares the customers are dealt into."""

from pathlib import Path

import polars as pl
import pytest

from features.home import Home
from features.store import FeatureStore
from serving.spark import features as module
from serving.spark.features import SparkBuilder
from tests.home import UNTIL
from tests.spark import spark


def test_a_snapshot_on_spark_is_the_local_one_value_for_value(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_A_SHARE", 30_000)
    store = FeatureStore(Home.open(bank))
    before = store.newest(UNTIL)
    assert before is not None
    here = before.table
    before.path.unlink()
    store.build(UNTIL, building=lambda *given: SparkBuilder(spark(), *given))
    after = FeatureStore(Home.open(bank)).newest(UNTIL)
    assert after is not None
    assert after.table.schema.equals(here.schema, check_metadata=True) and after.table.equals(here)
    assert not list(bank.glob(".spill-*")), "what passed between the steps is gone"


def test_a_joint_accounts_bookings_go_to_every_share_that_needs_them(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant that deals bookings by customer alone would miss what the other holder booked."""
    source = module.Source(Home.open(bank))
    monkeypatch.setattr(module, "ROWS_A_SHARE", 30_000)
    with_owners, without = bank / "a", bank / "b"
    with_owners.mkdir(), without.mkdir()
    shares = module.dealt(spark(), source, with_owners)
    monkeypatch.setattr(module, "_owners", lambda *_: None)
    assert module.dealt(spark(), source, without) == shares >= 2
    whole = source.n_rows("transactions")
    counted = [
        pl.scan_parquet(folder / "transactions" / "**/*.parquet").select(pl.len()).collect().item()
        for folder in (with_owners, without)
    ]
    holders = source.whole("holders", ("account_id", "customer_id", "role")).filter(pl.col("role").is_in(module.OWNERS))
    joint = holders.filter(pl.len().over("account_id") > 1)
    assert len(joint) > 0 and counted[1] == whole and counted[0] > whole
