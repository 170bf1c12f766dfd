"""Which days of bookings the tables hold: the measure of what a night has to compute again.

Per part of the transactions, and per (local day of booking, local day from which it was visible):
how many rows, and a hash of them that does not depend on their order. A part is read once; what was
found is kept beside the snapshots under the part's own mark. An exchange rate counts as a row of its
day, for it says what bookings from that day on are worth. Two manifests differ in exactly the days an
import has changed.
"""

from datetime import datetime
from pathlib import Path

import polars as pl

from features.settings import write_whole
from features.source import Source
from features.tables import TABLES
from features.windows import local_days

FOLDER = ".days"
KEYS = ["booked", "seen"]
_SCHEMA = {"booked": pl.Date, "seen": pl.Date, "rows": pl.UInt32, "digest": pl.UInt64}


def day_manifest(source: Source, features: Path) -> pl.DataFrame:
    """booked, seen, rows, digest of everything imported; sorted by booked and seen.

    A row visible exactly at midnight belongs to the day that ends there, so that `seen < day` is
    what a snapshot of that day's first instant has counted.
    """
    folder = features / FOLDER
    folder.mkdir(exist_ok=True)
    parts = sorted(source.home.table("transactions").glob("part-*.parquet"))
    marks = {folder / f"{p.stem}-{p.stat().st_ino}-{p.stat().st_size}-{p.stat().st_mtime_ns}.arrow": p for p in parts}
    for old in set(folder.glob("*.arrow")) - set(marks):
        old.unlink()
    found = [_read(mark, part, source) for mark, part in marks.items()]
    whole = pl.concat([pl.DataFrame(schema=_SCHEMA), *found, _rates(source)])
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


def _rates(source: Source) -> pl.DataFrame:
    if not source.has("fx_rates"):
        return pl.DataFrame(schema=_SCHEMA)
    rates = source.whole("fx_rates", ("day", "currency", "per_base"))
    digest = pl.struct("day", "currency", "per_base").hash(seed=5)
    days = rates.group_by(booked="day").agg(rows=pl.len(), digest=digest.sum())
    # The balances of a midnight are worth what the day that begins there says.
    return days.with_columns(seen=pl.col("booked").dt.offset_by("-1d")).select(*_SCHEMA)


def _read(mark: Path, part: Path, source: Source) -> pl.DataFrame:
    if mark.exists():
        return pl.read_ipc(mark)
    columns = [c.name for c in TABLES["transactions"].columns]
    zone = source.settings.zone
    instant = pl.Datetime("us", "UTC")
    visible = pl.max_horizontal(
        pl.col("booked_at"), (pl.col("recorded_at") - pl.duration(microseconds=1)).cast(instant)
    )
    days = {"booked": pl.col("booked_at"), "seen": visible}
    rows = pl.scan_parquet(part).select(
        *(expr.dt.convert_time_zone(zone).dt.date().alias(name) for name, expr in days.items()),
        digest=pl.struct(columns).hash(seed=5),
    )
    found = rows.group_by(KEYS).agg(rows=pl.len(), digest=pl.col("digest").sum()).collect(engine="streaming")
    write_whole(mark, found.write_ipc(None).getvalue())
    return found
