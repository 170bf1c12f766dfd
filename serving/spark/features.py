"""Snapshots on Spark: tables dealt out by customer, each share computed by the very views that run on one machine.

The windowing kernel sorts and searches, which Narwhals does on eager engines alone; its PySpark backend is lazy and cannot
carry it. So Spark does what it is good at - reading, shuffling, spreading - and in each share the same lines run on
Polars. A share holds its customers' rows and every booking of the accounts they hold, whoever booked it.
"""

import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from features.build import Builder
from features.dealt import LINKED, ROWS_A_SHARE
from features.feed import Progress
from features.holdings import OWNERS
from features.home import Home
from features.nightly import Night
from features.snapshot import Shelf
from features.source import Source
from features.spill import as_one, laid_down, spilled
from features.store import Building
from features.tables import TABLES
from serving.spark.session import session
from serving.spark.table import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WHOLE = ("customers", "identities", "products", "fx_rates", "calendar")
_SHARE = "share"


@contextmanager
def building_on_spark() -> Generator[Building]:
    """Builders on a session of the block's own."""
    with session() as spark:
        yield partial(SparkBuilder, spark)


class SparkBuilder(Builder):
    """Writes whole snapshots, each share of the customers computed on a worker; the table is the local one value for value.

    What passes between the steps lies in the home for as long as the build: on a cluster, where all workers read it.
    """

    def __init__(self, spark: "SparkSession", source: Source, shelf: Shelf, schema: pa.Schema) -> None:
        super().__init__(source, shelf, schema)
        self._spark = spark

    def _rows(  # whole: neither a night before nor a choice of customers is of use here
        self,
        at: datetime,
        moment: int,
        night: Night | None,
        progress: Progress | None,
        only: pl.Series | None = None,
    ) -> pa.Table:
        """Every customer's row, from the whole history."""
        with spilled(self._source.home.path) as spill:
            shares = dealt(self._spark, self._source, spill)
            work = partial(_built, spill, at, self._declared)
            numbers = self._spark.range(0, shares, 1, shares)
            done = numbers.mapInArrow(work, "share long, customers long").toArrow()
            if progress:
                progress("features", sum(done.column("customers").to_pylist()))
            rows = as_one([spill / f"rows-{n}.arrow" for n in range(shares)], spill, by="customer_id")
            assert self._source.book is not None, "a build has a book"
            self._source.book.keep(pl.concat([pl.read_parquet(spill / f"book-{n}.parquet") for n in range(shares)]))
        return rows


def dealt(spark: "SparkSession", source: Source, spill: Path) -> int:
    """Write the home's tables into shares of customers, a home each; how many there are."""
    shares = max(-(-source.n_rows("transactions") // ROWS_A_SHARE), spark.sparkContext.defaultParallelism)
    owners = _owners(spark, source, shares)
    for name, table in TABLES.items():
        if not source.has(name) or (name in WHOLE and name != "customers"):
            continue
        if name in LINKED and not source.has(LINKED[name][0]):
            continue
        frame = _read(spark, source, name)
        mine = _linked(spark, source, name, shares) if name in LINKED else _sharing(frame, shares)
        if name == "transactions" and owners is not None:  # also to whoever holds the account
            held = frame.join(owners, "account_id").select(*frame.columns, _SHARE)
            mine = mine.unionByName(held).dropDuplicates(["transaction_id", _SHARE])
        folder = spill / ("asked" if name == "customers" else name)
        mine = mine.select("customer_id", _SHARE) if name == "customers" else mine
        mine.repartition(shares, _SHARE).write.partitionBy(_SHARE).parquet(str(folder))
        for number in range(shares):
            part = folder / f"{_SHARE}={number}"
            if not part.is_dir():  # nobody of the share has any: the table is there all the same
                part.mkdir()
                empty = pl.read_parquet(next(source.home.table(name).glob("part-*.parquet")), n_rows=0)
                empty.write_parquet(part / "part-none.parquet")
        assert table.name == name
    for number in range(shares):
        _make_home(source.home, spill, number)
    return shares


def _read(spark: "SparkSession", source: Source, name: str) -> "DataFrame":
    return spark.read.parquet(str(source.home.table(name)))


def _sharing(frame: "DataFrame", shares: int) -> "DataFrame":
    from pyspark.sql import functions as F  # noqa: N812  # as all of Spark's own pages write it

    return frame.withColumn(_SHARE, F.pmod(F.xxhash64("customer_id"), F.lit(shares)).cast("int"))


def _linked(spark: "SparkSession", source: Source, name: str, shares: int) -> "DataFrame":
    """The rows of a table that another says the customers of, with the share that needs each, once for every one that does."""
    (of, key), frame = LINKED[name], _read(spark, source, name)
    whose = _sharing(_read(spark, source, of), shares).select(key, _SHARE).distinct()
    return frame.join(whose, key).select(*frame.columns, _SHARE)


def _owners(spark: "SparkSession", source: Source, shares: int) -> "DataFrame | None":
    """account_id, share: where an account's bookings are needed for its balance."""
    if not source.has("holders"):
        return None
    holders = _read(spark, source, "holders")
    owning = holders.filter(holders["role"].isin(*OWNERS))
    return _sharing(owning, shares).select("account_id", _SHARE).distinct()


def _make_home(home: Home, spill: Path, number: int) -> None:
    made = spill / f"home-{number}"
    (made / "data").mkdir(parents=True)
    (made / "features").mkdir()
    shutil.copy(home.path / "bank.yaml", made / "bank.yaml")
    for path in home.data.iterdir():
        own = spill / path.name / f"{_SHARE}={number}"
        (made / "data" / path.name).symlink_to(own if own.is_dir() else path)


def _built(spill: Path, at: datetime, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Tables:
    """On a worker: build the shares whose numbers come, beside each other as files; tell how many customers each has."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            home = Home.open(spill / f"home-{number}")
            asked = pl.read_parquet(spill / "asked" / f"{_SHARE}={number}" / "*.parquet", hive_partitioning=False)
            rows, book = Builder(Source(home), Shelf(home.features), schema).part(at, asked["customer_id"])
            laid_down(rows, spill / f"rows-{number}.arrow")
            book.write_parquet(spill / f"book-{number}.parquet")
            yield pa.RecordBatch.from_pydict({"share": [number], "customers": [len(rows)]})
