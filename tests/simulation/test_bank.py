from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from features.tables import TABLES
from simulation.bank import simulate
from simulation.columns import schema_of
from simulation.errors import SimulationError
from simulation.world import BLOCK_CUSTOMERS

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.parquet"))}


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate(tmp_path / name, 500, seed=3, since=SINCE, until=UNTIL)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_another_seed_gives_other_people_money_and_rates(tmp_path: Path) -> None:
    for seed in (3, 4):
        simulate(tmp_path / str(seed), 500, seed=seed, since=SINCE, until=UNTIL)
    one, other = files_of(tmp_path / "3"), files_of(tmp_path / "4")
    same = {name for name in one if one[name] == other[name]}
    assert same == {"products/part-00000.parquet", "calendar/part-00000.parquet"}


def test_first_customers_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    simulate(tmp_path / "few", BLOCK_CUSTOMERS, seed=3, since=SINCE, until=UNTIL)
    simulate(tmp_path / "many", BLOCK_CUSTOMERS + 7, seed=3, since=SINCE, until=UNTIL)
    few, many = files_of(tmp_path / "few"), files_of(tmp_path / "many")
    assert all(many[name] == content for name, content in few.items())


def test_two_blocks_are_different_people(tables: Any) -> None:
    born = tables["customers"]["birth_date"]
    one, other = born[:BLOCK_CUSTOMERS], born[BLOCK_CUSTOMERS : 2 * BLOCK_CUSTOMERS]
    assert (one == other).mean() < 0.01


def test_a_part_of_a_block_holds_the_same_people(tmp_path: Path) -> None:
    simulate(tmp_path / "few", 100, seed=3, since=SINCE, until=UNTIL)
    simulate(tmp_path / "many", 300, seed=3, since=SINCE, until=UNTIL)
    for name in ("transactions", "contacts", "consents", "customers", "cases", "truth/customers"):
        few, many = (pl.read_parquet(tmp_path / size / name / "*.parquet") for size in ("few", "many"))
        if "customer_id" in many.columns:
            many = many.filter(pl.col("customer_id") <= "C0000100")
        assert few.equals(many), name


def test_data_begin_and_end_when_asked(tmp_path: Path) -> None:
    simulate(tmp_path / "out", 300, seed=3, since=SINCE, until=UNTIL)
    booked = pl.read_parquet(tmp_path / "out/transactions/*.parquet")["booked_at"]
    assert booked.min() >= SINCE  # pyright: ignore[reportOperatorIssue]  # a datetime
    assert booked.max() < UNTIL  # pyright: ignore[reportOperatorIssue]  # a datetime
    decided = pl.read_parquet(tmp_path / "out/contacts/*.parquet")["decided_at"]
    assert decided.max() < UNTIL  # pyright: ignore[reportOperatorIssue]  # a datetime


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_stands_in_the_contract_schema(tables: Any, name: str) -> None:
    parts = sorted((tables.bank.directory / name).glob("part-*.parquet"))
    assert parts
    assert all(pq.read_schema(part).equals(schema_of(name)) for part in parts)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_row_keeps_the_contract(tables: Any, name: str) -> None:
    """Required values, domains, bounds and keys."""
    table, frame = TABLES[name], tables[name]
    assert frame.height == tables.bank.rows[name] > 0
    for column in table.columns:
        values = frame[column.name]
        assert not (column.required and values.null_count()), column.name
        if column.domain:
            assert set(values.drop_nulls().unique()) <= set(column.domain), column.name
        if column.low is not None:
            assert values.drop_nulls().is_between(column.low, column.high or 1e18).all(), column.name
    assert not frame.select(table.key).is_duplicated().any()


@pytest.mark.parametrize(
    ("name", "column", "target"),
    [(t.name, c, to) for t in TABLES.values() for c, to in t.refers.items()],
)
def test_every_reference_is_met(tables: Any, name: str, column: str, target: str) -> None:
    other, key = target.split(".")
    missing = tables[name].join(tables[other], left_on=column, right_on=key, how="anti")
    assert missing.filter(pl.col(column).is_not_null()).height == 0


def test_transactions_are_sorted_within_each_part(tables: Any) -> None:
    parts = sorted((tables.bank.directory / "transactions").glob("part-*.parquet"))
    assert len(parts) == 3
    assert all(pl.read_parquet(part)["booked_at"].is_sorted() for part in parts)


def test_a_small_share_is_recorded_late(tables: Any) -> None:
    delay = tables["transactions"].select(d=pl.col("recorded_at") - pl.col("booked_at"))["d"]
    assert delay.min() >= timedelta(0)
    late = (delay > timedelta(hours=1)).mean()
    assert 0.02 < late < 0.04
    assert timedelta(days=3) < delay.max() <= timedelta(days=5)
    assert tables["transactions"]["recorded_at"].max() <= tables.bank.until


def test_some_people_stand_in_the_books_twice(tables: Any) -> None:
    identities, customers = tables["identities"], tables["customers"]
    twins = identities.filter(pl.col("source_system") == "customers")
    assert twins.height >= 3
    assert twins["confidence"].is_between(0.8, 0.95).all()
    born = dict(zip(customers["customer_id"], customers["birth_date"], strict=True))
    for double, kept in twins.select("source_id", "customer_id").iter_rows():
        assert double != kept
        assert born[double] == born[kept]
    core = identities.filter(pl.col("source_system") == "core").group_by("customer_id").len()
    assert 5 <= (core["len"] == 2).sum() <= 100


def test_values_are_missing_in_sensible_shares(tables: Any) -> None:
    customers, reach = tables["customers"], tables["reachability"]
    assert 0.15 < customers["risk_tolerance"].is_null().mean() < 0.4
    assert 0.005 < customers["time_zone"].is_null().mean() < 0.05
    assert customers["time_zone"].n_unique() == 4
    states = dict(reach["state"].value_counts(normalize=True).iter_rows())
    assert 0.02 < states["missing"] < 0.12
    assert 0.005 < states["bounced"] < 0.05
    assert reach.height < 6 * customers.height


def test_progress_sums_up_to_all_customers(tmp_path: Path) -> None:
    seen: list[int] = []
    simulate(tmp_path / "out", 2_100, 3, since=SINCE, until=UNTIL, progress=seen.append)
    assert seen == [2_000, 100]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customers": 0}, "customers is `0`; give 1 .. 9999999"),
        ({"seed": -1}, "seed is `-1`; give 0 or more"),
        (
            {"until": datetime(2026, 4, 2, tzinfo=UTC)},
            "until is `2026-04-02T00:00:00+00:00`; give midnight UTC on the first of a month",
        ),
        (
            {"until": datetime(2026, 4, 1, tzinfo=timezone(timedelta(hours=8)))},
            "until is `2026-04-01T00:00:00+08:00`; give midnight UTC on the first of a month",
        ),
        (
            {"until": SINCE},
            "since `2026-01-01` is not before until `2026-01-01`; swap them",
        ),
    ],
)
def test_bad_argument_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"customers": 10, "seed": 1, "since": SINCE, "until": UNTIL, **change}
    with pytest.raises(SimulationError) as error:
        simulate(tmp_path / "out", **asked)
    assert str(error.value) == message
    assert not (tmp_path / "out").exists()


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(SimulationError, match="is not an empty folder; remove it or name another"):
        simulate(tmp_path, 10, 1, since=SINCE, until=UNTIL)
