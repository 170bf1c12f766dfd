"""Windows, as-of joins, one night after the other, and one customer now, beside what one would write by hand.

The peers' queries stand below and in by_hand.py. They are given the same files, and their answers are compared with
ours before a figure is shown.
"""

import multiprocessing
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import ipc

from benchmarks.bookings import AS_OF, DAY, DAYS, END, KINDS, ZONE, bank, bookings
from benchmarks.by_hand import duckdb_by_hand, pandas_banded, pandas_plain, pandas_tuned, polars_by_hand
from benchmarks.table import Table, best_of, peak_gb
from features.at_once import Adds, sums_at_once
from features.home import Home
from features.measures import windows
from features.snapshot import write_snapshot
from features.source import Source
from features.store import FeatureStore
from features.windows import Log, tail_of

FEAST = "NBO_FEAST_PYTHON"  # a Python of its own, for Feast needs pandas < 3
NIGHTLY = {True: (20_000, 500), False: (2_000_000, 20_000)}  # quick -> bookings a year, customers
MEASURES = [f"{kind}_{op}" for kind in KINDS for op in ("count", "sum")]  # x 6 windows: 48 features


def run(quick: bool, part: str | None = None) -> list[Table]:
    """Measure one part or all; quick: a hundredth of the rows."""
    tables: list[Table] = []
    for name in [part] if part else PARTS:
        with tempfile.TemporaryDirectory(prefix="features-") as scratch:
            tables.append(PARTS[name](Path(scratch), quick))
    return tables


def _measures() -> list[pl.Expr]:
    adds: list[pl.Expr] = []
    for code, kind in enumerate(KINDS):
        here = pl.col("kind") == code
        adds += [
            here.cast(pl.Int64).alias(f"{kind}_count"),
            pl.when(here).then("amount").otherwise(0).alias(f"{kind}_sum"),
        ]
    return adds


def _ours(home: Home) -> pl.DataFrame:
    """The kernel over the home's table as it streams by."""
    source = Source(home)
    ids = source.whole("customers", ("customer_id",)).sort("customer_id")
    codes = ids.with_row_index("customer").with_columns(pl.col("customer").cast(pl.Int32))
    parts = source.batches(
        "transactions", ("kind", "amount_minor", "booked_at", "recorded_at"), codes, {"kind": pl.Enum(KINDS)}
    )
    batches = (
        nw.from_native(part.rename({"booked_at": "booked", "recorded_at": "recorded"}), eager_only=True)
        for part in parts
    )
    adds: dict[str, Adds] = {}
    for kind in KINDS:
        here = nw.col("kind") == kind
        adds[f"{kind}_count"], adds[f"{kind}_sum"] = Adds(here), Adds(here, nw.col("amount_minor"))
    tail = {days: tail_of(AS_OF, days, ZONE) for days in DAYS}
    keys = codes["customer"].cast(pl.Int64).to_numpy()
    found = sums_at_once(batches, keys, "customer", AS_OF, tail, dict.fromkeys(DAYS, MEASURES), adds)
    return ids.with_columns(pl.Series(f"{name}_{days}d", found[name, days]) for days in DAYS for name in MEASURES)


def _windows(folder: Path, quick: bool) -> Table:
    rows, customers = (200_000, 5_000) if quick else (20_000_000, 200_000)
    table = Table(
        "features.windows",
        f"{rows:,} bookings of two years, {customers:,} customers, 48 window features; ids and kinds are texts",
    )
    print(table.setting)
    home = bank(folder / "windows", rows, customers, 730)
    wanted, seconds, work = _ours(home), dict[str, float](), dict[str, float]()
    for name, query, tries in (
        ("ours", _ours, 5), ("Polars by hand", polars_by_hand, 3), ("DuckDB by hand", duckdb_by_hand, 3),
        ("pandas, one groupby", pandas_banded, 2), ("pandas, tuned", pandas_tuned, 1), ("pandas", pandas_plain, 1),
    ):  # fmt: skip
        seconds[name], work[name] = _both_clocks(query, home, wanted, tries)
        table.add(name, seconds[name], "s", note=f"{work[name]:.1f} s of processor time")
    best = min(("Polars by hand", "DuckDB by hand"), key=lambda name: seconds[name])
    goals = {best: 1.3, "pandas, one groupby": None, "pandas, tuned": None, "pandas": 0.1}
    for name, target in goals.items():
        cores = f"processor time {work['ours'] / work[name]:.2f}"
        table.add(f"ours / {name}", seconds["ours"] / seconds[name], "times", None if quick else target, cores)
    return table


def _both_clocks(
    query: Callable[[Home], pl.DataFrame], home: Home, wanted: pl.DataFrame, tries: int
) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of the fastest try; each answer is the one wanted."""

    def ask() -> None:
        found = query(home)
        assert found.equals(wanted.cast({c: found.schema[c] for c in wanted.columns})), query.__name__

    return _clocks(ask, tries)


def _clocks(work: Callable[[], object], tries: int) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of the fastest try."""
    walls, works = list[float](), list[float]()
    for _ in range(tries):
        start, used = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - start)
        works.append(time.process_time() - used)
    return min(walls), min(works)


def _joins(folder: Path, quick: bool) -> Table:
    """Eight sums since ever as of each pair's instant: what an ASOF join of running sums answers."""
    rows, customers, pairs = (100_000, 2_500, 2_000) if quick else (10_000_000, 100_000, 100_000)
    table = Table("features.asof", f"{pairs:,} (customer, instant) pairs against {rows:,} bookings of a year")
    print(table.setting)
    path, draw = folder / "year.parquet", np.random.default_rng(8)
    bookings(rows, customers, 365).with_columns(recorded="booked").write_parquet(path)
    asked = pl.DataFrame({"customer": draw.integers(0, customers, pairs, dtype=np.int32),
                          "as_of": AS_OF - draw.integers(0, 300 * DAY, pairs)}).unique().sort("customer", "as_of")  # fmt: skip

    def ours() -> pl.DataFrame:
        log = Log(pl.scan_parquet(path).select("customer", "booked", "recorded", *_measures()).collect())
        return pl.DataFrame(log.ever(asked, MEASURES))

    def by_hand() -> pl.DataFrame:
        adds = ", ".join(f"sum(CASE WHEN kind = {code} THEN {value} ELSE 0 END) OVER running AS {kind}_{op}"
                         for code, kind in enumerate(KINDS) for op, value in (("count", "1"), ("sum", "amount")))  # fmt: skip
        chosen = ", ".join(f"coalesce({name}, 0)::BIGINT AS {name}" for name in MEASURES)
        connection = duckdb.connect()
        connection.register("asked", asked.to_arrow())
        return connection.sql(
            f"WITH sums AS (SELECT customer, booked, {adds} FROM '{path}' WINDOW running AS (PARTITION BY customer ORDER BY booked))"
            f" SELECT {chosen} FROM asked ASOF LEFT JOIN sums ON asked.customer = sums.customer AND asked.as_of > sums.booked"
            " ORDER BY asked.customer, asked.as_of"
        ).pl()  # fmt: skip

    assert ours().equals(by_hand())
    mine, theirs = best_of(ours), best_of(by_hand)
    table.add("ours", mine, "s")
    table.add("DuckDB ASOF by hand", theirs, "s")
    table.add("ours / DuckDB", mine / theirs, "times", 1.5 if pairs > 10_000 else None)
    feast = _feast(folder, path, asked, ours())
    if feast is None:
        print(f"  Feast is not measured: {FEAST} names no Python that has feast (pip install feast 'pandas<3')")
    else:
        table.add("Feast, of sums made beforehand", feast, "s")
        table.add("ours / Feast", mine / feast, "times")
    return table


def _feast(folder: Path, path: Path, asked: pl.DataFrame, wanted: pl.DataFrame) -> float | None:
    """Seconds of Feast's call; it computes no windows, so the running sums are given to it."""
    python = os.environ.get(FEAST)
    if not python or not Path(python).exists():
        return None
    stamp = pl.Datetime("us", "UTC")
    rows = pl.scan_parquet(path).sort("customer", "booked").select(
        pl.col("customer").cast(pl.Int64), pl.col("booked").cast(stamp), *(m.cum_sum().over("customer") for m in _measures())
    )  # fmt: skip
    rows.sink_parquet(folder / "sums.parquet")
    pairs = asked.select(pl.col("customer").cast(pl.Int64), event_timestamp=(pl.col("as_of") - 1).cast(stamp))
    pairs.write_parquet(folder / "asked.parquet")
    script = Path(__file__).parent / "feast" / "ask.py"
    done = subprocess.run(
        [python, str(script), str(folder)], capture_output=True, text=True, check=True
    )  # our own script
    found = pl.read_parquet(folder / "answers.parquet").sort("customer", "event_timestamp")
    assert found.select(MEASURES).fill_null(0).cast(pl.Int64).equals(wanted.select(MEASURES)), "Feast"
    return float(done.stdout.split()[-1])


def _memory(folder: Path, quick: bool) -> Table:
    """The kernel in a process of its own."""
    rows, customers = (1_000_000, 10_000) if quick else (100_000_000, 1_000_000)
    table = Table("features.memory", f"{rows:,} bookings of two years, {customers:,} customers, 48 window features")
    print(table.setting)
    home = bank(folder / "memory", rows, customers, 730)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak = pool.apply(_peak, (home.path,))
    table.add("the kernel over the parts", seconds, "s")
    table.add("peak of the process", peak, "GB", 4.0)
    return table


def _peak(home: Path) -> tuple[float, float]:
    start = time.perf_counter()
    _ours(Home.open(home))
    return time.perf_counter() - start, peak_gb()


def _nights(folder: Path, quick: bool) -> Table:
    rows, customers = NIGHTLY[quick]
    table = Table(
        "features.nights", f"{customers:,} customers, {rows:,} bookings a year; one night after a year and after two"
    )
    print(table.setting)
    midnight = datetime(2026, 5, 31, 16, tzinfo=UTC)
    stores, tries = dict[int, FeatureStore](), dict[int, list[tuple[float, float]]]()
    for years in (1, 2):
        home = bank(folder / f"nights-{years}", rows * years, customers, 365 * years)
        store = stores[years] = FeatureStore(home)
        start = time.perf_counter()
        store.build(midnight - timedelta(days=1))
        table.add(f"a whole build, {years} years", time.perf_counter() - start, "s")
    for _ in range(5):  # by turns, so that what else the machine does falls upon both
        for years, store in stores.items():
            tries.setdefault(years, []).append(_clocks(lambda store=store: store.build(midnight), 1))
    seconds, work = ({years: min(one[clock] for one in tries[years]) for years in stores} for clock in (0, 1))
    for years in stores:
        note = f"{work[years]:.2f} s of processor time"
        table.add(f"one night upon it, {years} years", seconds[years], "s", note=note)
    written, scanned = _written(store, folder / "again.arrow"), best_of(lambda: _days_that_move(home, midnight))
    table.add("writing that snapshot", written, "s")
    table.add("scanning the days that enter and leave its windows", scanned, "s")
    table.add(
        "one night / (writing + 3 x scanning)", seconds[2] / (written + 3 * scanned), "times", None if quick else 1
    )
    cores = f"processor time {work[2] / work[1]:.2f}"
    table.add("twice the history / once", seconds[2] / seconds[1], "times", None if quick else 1.1, cores)
    return table


def _written(store: FeatureStore, path: Path) -> float:
    snapshot = store.newest()
    assert snapshot is not None
    with pa.memory_map(str(snapshot.path)) as file:
        rows = pa.Table.from_batches(ipc.open_file(pa.py_buffer(file.read())).read_all().to_batches())
    return best_of(lambda: write_snapshot(path, rows))


def _days_that_move(home: Home, midnight: datetime) -> pl.DataFrame:
    """Every booking of the day that enters, and of the day that leaves each window."""
    at = int(midnight.timestamp()) * 1_000_000
    lengths = {window.days for window in windows(home.settings.currencies)}
    days = [(at - DAY, at), *((tail_of(at - DAY, n, ZONE), tail_of(at, n, ZONE)) for n in lengths)]
    # Instants as they stand in the files, so that a scan passes over the row groups of other days.
    inside = pl.any_horizontal(
        pl.col("booked_at").is_between(*(pl.lit(_stamp(edge)) for edge in day), closed="left") for day in days
    )
    return pl.scan_parquet(home.table("transactions") / "*.parquet").filter(inside).collect()


def _stamp(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, UTC)


def _latest(folder: Path, quick: bool) -> Table:
    home = bank(folder / "now", *NIGHTLY[quick], 365)
    store, at = FeatureStore(home), END + timedelta(hours=9)
    store.build(datetime(2026, 5, 31, 16, tzinfo=UTC))
    base = store.newest(at)
    assert base is not None
    ids, draw = base.ids.to_list(), random.Random(9)
    table = Table(
        "features.latest", f"{len(ids):,} customers, {len(store.schema)} columns, a third with an event since the base"
    )
    print(table.setting)
    engine = sa.create_engine(f"sqlite:///{folder / 'ledger.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE events (event_id TEXT PRIMARY KEY, customer_id, kind, amount_minor INT, currency, balance_after_minor INT, booked_at INT, recorded_at INT, transaction_id)"
        )
        connection.exec_driver_sql("CREATE INDEX of_customer ON events (customer_id, booked_at)")
        connection.exec_driver_sql(
            "CREATE TABLE consents (customer_id, purpose, channel, state, at INT, received_at INT)"
        )
        connection.exec_driver_sql("CREATE INDEX words ON consents (customer_id, at)")
        told = [
            (f"E{n}", c, "cash_withdrawal", -100, "CNY", None, AS_OF, AS_OF) for n, c in enumerate(ids) if n % 3 == 0
        ]
        connection.exec_driver_sql("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", told)
        store.latest(ids[:1], at, connection)
        tries: list[float] = []
        for customer in draw.choices(ids, k=300 if quick else 3_000):
            start = time.perf_counter()
            store.latest([customer], at, connection)
            tries.append(time.perf_counter() - start)
        rows: list[float] = []
        for customer in draw.choices(ids, k=300 if quick else 3_000):
            start = time.perf_counter()
            store.latest_row(customer, at, connection)
            rows.append(time.perf_counter() - start)
        some = draw.sample(ids, min(1_000, len(ids)))
        many = best_of(lambda: store.latest(some, at, connection), 5)
    table.add("one customer, median", sorted(tries)[len(tries) // 2] * 1000, "ms", None if quick else 0.15)
    table.add("one customer, 99 of 100", sorted(tries)[len(tries) * 99 // 100] * 1000, "ms")
    table.add(
        "one customer, as a decision reads him: no Arrow table, median", sorted(rows)[len(rows) // 2] * 1000, "ms"
    )
    table.add(f"{len(some):,} customers", many * 1000, "ms", None if quick else 20)
    return table


PARTS: dict[str, Callable[[Path, bool], Table]] = {
    "windows": _windows, "asof": _joins, "nights": _nights, "latest": _latest, "memory": _memory
}  # fmt: skip
