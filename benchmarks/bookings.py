"""Homes with made-up bookings for the benchmarks of features: two years or less, some rows recorded late."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from features.home import Home, Settings
from features.tables import TABLES

END = datetime(2026, 6, 1, tzinfo=UTC)
AS_OF, DAY = int(END.timestamp()) * 1_000_000, 86_400_000_000
ZONE = ZoneInfo("Asia/Shanghai")
DAYS = (7, 30, 90, 180, 365, 730)  # of the windows
KINDS = ("purchase", "salary", "fee", "transfer_out")


def bookings(rows: int, customers: int, days: int, seed: int = 7) -> pl.DataFrame:
    """customer, booked, recorded, kind, amount of so many days before END; one in fifty recorded up to five days late."""
    draw = np.random.default_rng(seed)
    booked = np.sort(AS_OF - draw.integers(0, days * DAY, rows))
    late = np.where(draw.random(rows) < 0.02, draw.integers(0, 5 * DAY, rows), 60_000_000)
    return pl.DataFrame({
        "customer": draw.integers(0, customers, rows, dtype=np.int32), "booked": booked,
        "recorded": booked + late, "kind": draw.integers(0, len(KINDS), rows, dtype=np.int8),
        "amount": draw.integers(1, 100_000, rows),
    })  # fmt: skip


def _home(folder: Path) -> Home:
    return Home.create(folder, Settings(
        currency="CNY", currencies=("CNY", "USD"), zone=ZONE.key, clock="simulated", now=END + timedelta(hours=20)
    ))  # fmt: skip


def bank(folder: Path, rows: int, customers: int, days: int) -> Home:
    """A home with made-up bookings, a part a fortnight, each made and written alone."""
    home, parts, done = _home(folder), -(-days // 14), 0
    for part in range(parts):
        upto = rows * (part + 1) // parts
        first = days - part * 14
        drawn = bookings(upto - done, customers, min(first, 14), seed=part).with_columns(
            pl.col("booked", "recorded") - max(first - 14, 0) * DAY
        )
        _write(home, "transactions", _canonical(drawn, done), part)
        done = upto
    ids = [f"C{n:07d}" for n in range(customers)]
    people = pl.DataFrame({"customer_id": ids}).with_columns(kind=pl.lit("person"))
    absent = [pl.lit(None).alias(n) for n in TABLES["customers"].schema.names if n not in people.columns]
    _write(home, "customers", people.with_columns(absent), 0)
    return home


def _canonical(drawn: pl.DataFrame, first: int) -> pl.DataFrame:
    instants = {name: pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
                for name, column in (("booked_at", "booked"), ("recorded_at", "recorded"))}  # fmt: skip
    return drawn.sort("booked").select(
        customer_id=pl.format("C{}", pl.col("customer").cast(pl.String).str.zfill(7)),
        transaction_id=pl.format("T{}", pl.int_range(first, first + pl.len())), amount_minor=-pl.col("amount"),
        currency=pl.lit("CNY"), kind=pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
        **instants, **{c: pl.lit(None, pl.String) for c in ("account_id", "channel")},
        balance_after_minor=pl.lit(None, pl.Int64), imported_at=pl.lit(END, pl.Datetime("us", "UTC")),
    ).select(TABLES["transactions"].schema.names)  # fmt: skip


def _write(home: Home, name: str, rows: pl.DataFrame, part: int) -> None:
    home.table(name).mkdir(parents=True, exist_ok=True)
    schema = TABLES[name].schema
    arrow = rows.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
    pq.write_table(arrow, home.table(name) / f"part-{part:06d}.parquet", compression="zstd", row_group_size=100_000)
