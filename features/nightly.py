"""What one night hands to the next, so that a snapshot costs what has changed since the last one.

Beside `<as_of>.arrow` stand `<as_of>.days`, the days it has counted (features/days.py), and
`<as_of>.accounts`, the last balance of each account. They are removed before the snapshot is
written and written after it: where they are missing, the snapshot is not built upon.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from features.accounts import AccountBook
from features.days import changed_days, counted_by
from features.settings import horizon_days, write_whole
from features.snapshot import Snapshot
from features.source import Source
from features.tables import TABLES
from features.windows import DAY_MICROS, local_days, midnight_micros, stamp

SUFFIXES = (".days", ".accounts")


@dataclass(frozen=True)
class Night:
    """A snapshot to build upon, what has become visible since, and the balances it knew."""

    base: Snapshot
    bookings: pl.DataFrame  # rows of the transactions, instants as microseconds
    book: AccountBook


def forget(path: Path) -> None:
    """Remove what stands beside a snapshot that is about to be written."""
    for suffix in SUFFIXES:
        path.with_suffix(suffix).unlink(missing_ok=True)


def remember(path: Path, as_of: datetime, manifest: pl.DataFrame, book: AccountBook, source: Source) -> None:
    """Write what stands beside a snapshot, after it."""
    days = counted_by(manifest, as_of, source)
    for suffix, table in zip(SUFFIXES, (days, book.found()), strict=True):
        write_whole(path.with_suffix(suffix), table.write_ipc(None).getvalue())


def touched(snapshot: Snapshot, manifest: pl.DataFrame, source: Source) -> bool:
    """Whether an import has changed what the snapshot has counted."""
    known = snapshot.path.with_suffix(".days")
    if not known.exists():
        return True
    before = pl.read_ipc(known)
    return not changed_days(before, counted_by(manifest, snapshot.as_of, source)).is_empty()


def night_before(at: int, snapshots: list[Snapshot], manifest: pl.DataFrame, source: Source) -> Night | None:
    """The newest snapshot of a midnight that can be built upon, with what came after it; or None."""
    for base in snapshots:
        since = pl.Series([base.as_of]).dt.epoch("us").item()
        day = local_days(pl.Series([since]), source.settings.tz).item()
        # A day may have 25 hours, and the horizon counts midnights.
        near = since < at <= since + (horizon_days(source.settings) - 1) * DAY_MICROS
        if near and since == midnight_micros(day, source.settings.tz):
            accounts = base.path.with_suffix(".accounts")
            if accounts.exists() and not touched(base, manifest, source):
                bookings = _since(base, at, source)
                return Night(base, bookings, AccountBook(pl.read_ipc(accounts), bookings))
    return None


def _since(base: Snapshot, at: int, source: Source) -> pl.DataFrame:
    """Bookings visible at `at` and not at the base."""
    booked, recorded = pl.col("booked_at"), pl.col("recorded_at")
    rows = source.scan("transactions").filter(
        booked < stamp(at), recorded <= stamp(at), (booked >= base.as_of) | (recorded > base.as_of)
    )
    names = [c.name for c in TABLES["transactions"].columns]
    return rows.select(names).with_columns(pl.col("booked_at", "recorded_at").dt.epoch("us")).collect()
