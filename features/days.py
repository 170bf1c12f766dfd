"""Which days of dated rows the tables hold: the measure of what a night has to compute again.

Per (local day of booking, local day from which it was visible): how many rows, and a hash of them that
does not depend on their order. A part of the transactions, and each other dated table (features/facts.py),
is read once; what was found is kept beside the snapshots under the mark of its files. An exchange rate
counts as a row of its day, for it says what bookings from that day on are worth. Two manifests differ in
exactly the days an import has changed.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import ipc

from features.facts import DATED, FACT_SCHEMA, SEED, facts, reads, there
from features.settings import write_whole
from features.source import Source
from features.tables import TABLES
from features.windows import local_days

FOLDER = ".days"
KEYS = ["booked", "seen"]
_ARROW = pl.DataFrame(schema=FACT_SCHEMA).to_arrow().schema


def day_manifest(source: Source, features: Path) -> pl.DataFrame:
    """booked, seen, rows, digest of everything imported; sorted by booked and seen.

    A row visible exactly at midnight belongs to the day that ends there, so that `seen < day` is
    what a snapshot of that day's first instant has counted.
    """
    folder = features / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _marked(source)
    for old in {path.name for path in folder.glob("*.arrow")} - set(wanted):
        (folder / old).unlink()
    kept = pa.concat_tables([_ARROW.empty_table(), *(_kept(folder / mark, read) for mark, read in wanted.items())])
    whole = pl.concat([pl.DataFrame(kept), _rates(source), there(source)])
    return whole.group_by(KEYS).agg(pl.col("rows").sum(), pl.col("digest").sum()).sort(KEYS)


def changed_days(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """booked, seen of the days in which two manifests differ."""
    both = before.join(after, on=KEYS, how="full", coalesce=True)
    same = pl.col("digest").eq_missing(pl.col("digest_right")) & pl.col("rows").eq_missing(pl.col("rows_right"))
    return both.filter(~same).select(KEYS).sort(KEYS)


def counted_by(manifest: pl.DataFrame, as_of: datetime, source: Source) -> pl.DataFrame:
    """The days a snapshot may have counted: seen by the day of its instant."""
    last = local_days(pl.Series([as_of]).dt.epoch("us") - 1, source.settings.tz).item()
    return manifest.filter(pl.col("seen") <= last)


def _marked(source: Source) -> dict[str, Callable[[], pl.DataFrame]]:
    """What there is to read, by a name that changes with the files it stands in."""
    found: dict[str, Callable[[], pl.DataFrame]] = {}
    zone = source.settings.zone.replace("/", "+")
    for part in _parts("transactions", source):
        found[f"{part.stem}-{_stamp(part)}-{zone}.arrow"] = partial(_bookings, part, source)
    for table in DATED:
        if not all(map(source.has, reads(table))):
            continue
        stamps = [_stamp(part) for name in reads(table) for part in _parts(name, source)]
        mark = hashlib.sha256(" ".join([zone, *stamps]).encode()).hexdigest()[:32]
        found[f"{table}-{mark}.arrow"] = partial(facts, table, source)
    return found


def _parts(table: str, source: Source) -> Sequence[Path]:
    return sorted(source.home.table(table).glob("part-*.parquet"))


def _stamp(part: Path) -> str:
    stat = part.stat()
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


def _kept(mark: Path, read: Callable[[], pl.DataFrame]) -> pa.Table:
    if mark.exists():
        try:
            return _read(mark)
        except (pa.ArrowException, pl.exceptions.PolarsError, ValueError, OSError):
            mark.unlink(missing_ok=True)  # damaged; it is made of the tables again
    found = read().select(*FACT_SCHEMA)
    write_whole(mark, found.write_ipc(None).getvalue())
    return found.to_arrow()


def _read(mark: Path) -> pa.Table:
    """FACT_SCHEMA of a file, checked: Polars' own reader takes longer, and panics at some damage."""
    found = ipc.open_file(mark.read_bytes()).read_all()
    found.validate(full=True)
    if found.schema != _ARROW:
        raise ValueError(f"{mark.name} holds other columns")
    return found


def _rates(source: Source) -> pl.DataFrame:
    if not source.has("fx_rates"):
        return pl.DataFrame(schema=FACT_SCHEMA)
    rates = source.whole("fx_rates", ("day", "currency", "per_base"))
    digest = pl.struct("day", "currency", "per_base").hash(seed=SEED)
    days = rates.group_by(booked="day").agg(rows=pl.len(), digest=digest.sum())
    # The balances of a midnight are worth what the day that begins there says.
    return days.with_columns(seen=pl.col("booked").dt.offset_by("-1d")).select(*FACT_SCHEMA)


def _bookings(part: Path, source: Source) -> pl.DataFrame:
    columns = [c.name for c in TABLES["transactions"].columns]
    zone = source.settings.zone
    instant = pl.Datetime("us", "UTC")
    visible = pl.max_horizontal(
        pl.col("booked_at"), (pl.col("recorded_at") - pl.duration(microseconds=1)).cast(instant)
    )
    days = {"booked": pl.col("booked_at"), "seen": visible}
    rows = pl.scan_parquet(part).select(
        *(expr.dt.convert_time_zone(zone).dt.date().alias(name) for name, expr in days.items()),
        digest=pl.struct(columns).hash(seed=SEED),
    )
    return rows.group_by(KEYS).agg(rows=pl.len(), digest=pl.col("digest").sum()).collect(engine="streaming")
