"""Writes snapshots: a night from the one before it, or a whole one where there is none to build upon."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from features.accounts import AccountBook
from features.carried import CARRIED, carried, reach_of
from features.compute import VIEWS, finished, passes
from features.days import day_manifest
from features.dealt import dealt, n_shares
from features.feed import Progress
from features.heard import CONSENT_SCHEMA, EVENT_SCHEMA
from features.identity import units
from features.last_values import LAST_COLUMNS, LAST_VALUES, last_moved_on
from features.measures import LASTS, RATIOS, windows
from features.nightly import Night, forget, night_before, remember, touched
from features.overlay import overlaid
from features.recent import handed_on, merged, read_recent, recent_of
from features.snapshot import Shelf, in_arrow, of_schema, write_snapshot
from features.source import Source
from features.spill import as_one, laid_down, spilled
from features.transactions import TRANSACTIONS
from features.variety import VARIETY, first_days, varied
from features.windows import local_days

AT_ONCE = 500_000  # customers whose parts are made beside one another, which takes the memory of all of them
OF_BOOKINGS = (TRANSACTIONS, LAST_VALUES)  # what the night before and the new bookings give
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Builder:
    """Writes the snapshots of one home.

    Args:
        source: The home's tables.
        shelf: Its snapshots.
        schema: Of a snapshot, without what it carries.
    """

    def __init__(self, source: Source, shelf: Shelf, schema: pa.Schema) -> None:
        self._source, self._shelf, self._declared = source, shelf, schema
        self._folder = source.home.features
        self._schema = pa.schema([*schema, *CARRIED], schema.metadata)

    def build(self, at: datetime, progress: Progress | None = None) -> Path:
        """Write the snapshot of an instant, which is in UTC and has whole seconds."""
        manifest = day_manifest(self._source, self._folder)
        moment = (at - _EPOCH) // timedelta(microseconds=1)
        usable = [s for s in self._shelf.all() if s.has(self._schema)]
        night = night_before(moment, usable, manifest, self._source)
        book = night.book if night else AccountBook()
        self._source.book = book
        try:
            table = self._rows(at, moment, night, progress)
        finally:
            self._source.book = self._source.units = None
        path = self._shelf.path(at)
        forget(path)
        write_snapshot(path, table)
        remember(path, at, manifest, book, self._source)
        return path

    def repair(self, progress: Progress | None = None) -> list[Path]:
        """Build again every snapshot whose days have changed, oldest first; the files that differ now."""
        manifest = day_manifest(self._source, self._folder)
        wrong = [s for s in self._shelf.all() if touched(s, manifest, self._source)]
        changed: list[Path] = []
        for snapshot in sorted(wrong, key=lambda s: s.as_of):
            before = snapshot.sha256
            path = self.build(snapshot.as_of, progress)
            if self._shelf.at(snapshot.as_of).sha256 != before:
                changed.append(path)
        return changed

    def part(self, at: datetime, customers: pl.Series) -> tuple[pa.Table, pl.DataFrame]:
        """The snapshot's rows of some customers from their whole history, and the states of their accounts; writes nothing."""
        self._source.book = book = AccountBook()
        try:
            rows = self._rows(at, (at - _EPOCH) // timedelta(microseconds=1), None, None, customers)
        finally:
            self._source.book = None
        return rows, book.found()

    def _rows(
        self, at: datetime, moment: int, night: Night | None, progress: Progress | None, only: pl.Series | None = None
    ) -> pa.Table:
        day = at.astimezone(self._source.settings.tz).date()
        people = self._source.whole("customers", ("customer_id", "joined_on")).filter(
            pl.col("joined_on").is_null() | (pl.col("joined_on") <= day)
        )
        if only is not None:
            people = people.filter(pl.col("customer_id").is_in(only.implode()))
        elif not night and (n := n_shares(self._source, len(people))) > 1:
            return self._by_shares(at, people["customer_id"], n, progress)
        asked = people.select("customer_id", as_of=pl.lit(moment, pl.Int64)).sort("customer_id")
        codes = asked.select("customer_id", customer=pl.int_range(pl.len(), dtype=pl.Int32))
        recent = self._recent(codes, moment, night)
        found, more, variety = _all_of(
            lambda: self._found(asked, at, night, progress),
            lambda: carried(codes, moment, recent, self._source),
            lambda: self._varied(asked, recent),
            at_once=night is not None and len(asked) <= AT_ONCE,
        )
        assert found["customer_id"].equals(asked["customer_id"]), "a customer was lost, or came twice"
        rows = pl.concat([found, variety], how="horizontal")
        rows = rows.with_columns(as_of=pl.lit(at, pl.Datetime("us", "UTC")))
        return of_schema(in_arrow(rows) | more, self._schema)

    def _found(self, asked: pl.DataFrame, at: datetime, night: Night | None, progress: Progress | None) -> pl.DataFrame:
        """Every feature but those of VARIETY, by customer."""
        found = self._moved_on(asked, at, night, progress) if night else self._afresh(asked, progress)
        of_units = units(self._source) if self._source.units is None else self._source.units
        return finished(found, self._source.settings).join(of_units, on="customer_id").sort("customer_id")

    def _by_shares(self, at: datetime, customers: pl.Series, n: int, progress: Progress | None) -> pa.Table:
        """The rows of everybody, made share by share; what is done lies on disk until all are."""
        book, done, made = self._source.book, 0, list[Path]()
        assert book is not None, "a build has a book"
        self._source.units = units(self._source)
        with dealt(self._source, customers, n) as shares, spilled(self._folder) as spill:
            for share in shares:
                rows, states = Builder(share.source, self._shelf, self._declared).part(at, share.customers)
                book.keep(states)
                made.append(laid_down(rows, spill / f"rows-{len(made)}.arrow"))
                done += len(rows)
                if progress:
                    progress("features", done)
            return as_one(made, spill)  # mapped: it stays when the files' names go

    def _recent(self, codes: pl.DataFrame, moment: int, night: Night | None) -> pl.DataFrame:
        """Everybody's bookings of the last months: from the night before, the new ones, and of new customers all."""
        source, since = self._source, reach_of(moment, self._source.settings)
        if not night:
            return read_recent(codes, moment, since, source)
        first = local_days(pl.Series([since]), source.settings.tz).item()
        known = codes.join(night.base.ids.alias("customer_id").to_frame(), on="customer_id", how="semi")
        come = night.bookings.filter(pl.col("booked_at") >= since).join(known, on="customer_id")
        parts = [handed_on(night.base.table, known).filter(pl.col("day") >= first), recent_of(come, source)]
        new = codes.join(known, on="customer_id", how="anti")
        if len(new):
            parts.append(read_recent(new, moment, since, source))
        return merged(parts)

    def _varied(self, asked: pl.DataFrame, recent: pl.DataFrame) -> pl.DataFrame:
        firsts = first_days(asked["as_of"], self._source.settings.tz)
        channels = self._source.settings.booking_channels
        return pl.DataFrame(varied(recent.rename({"customer": "cut"}), firsts, channels))

    def _afresh(self, asked: pl.DataFrame, progress: Progress | None) -> pl.DataFrame:
        done, parts = 0, list[pl.DataFrame]()
        for part in passes(asked, self._source, [view for view in VIEWS if view is not VARIETY]):
            done += len(part)
            parts.append(part)
            if progress:
                progress("features", done)
        return pl.concat(parts)

    def _moved_on(self, asked: pl.DataFrame, at: datetime, night: Night, progress: Progress | None) -> pl.DataFrame:
        """The bookings' features from the night before and the new bookings; all others afresh."""
        base = self._rolled_on(night).join(asked, on="customer_id", how="semi", maintain_order="left")
        since = pl.Series([night.base.as_of]).dt.epoch("us").item()
        last = last_moved_on(base, night.bookings, since, self._source)
        unsure = last.filter("unsure")
        base = base.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in self._rated()))
        base = base.join(unsure, on="customer_id", how="anti", maintain_order="left")
        events = night.bookings.rename({"transaction_id": "event_id"}).select(*EVENT_SCHEMA)
        rolled = overlaid(base, at, events, pl.DataFrame(schema=CONSENT_SCHEMA), self._source)
        rolled = base.select("customer_id").hstack(rolled.select(self._bookings_columns()))
        rolled = rolled.join(last.drop("unsure"), on="customer_id")
        fresh = asked.join(base, on="customer_id", how="anti")
        if len(fresh):  # new customers, and those of whom the night before does not say enough
            rows = pl.concat(list(passes(fresh, self._source, OF_BOOKINGS)))
            rolled = pl.concat([rolled, rows.select(rolled.columns)])
        others = [view for view in VIEWS if view not in (*OF_BOOKINGS, VARIETY)]
        found = pl.concat(list(passes(asked, self._source, others))).join(rolled, on="customer_id")
        if progress:
            progress("features", len(found))
        return found

    def _rolled_on(self, night: Night) -> pl.DataFrame:
        """What of the night before is rolled.

        What it has counted cannot come again among the new bookings, and consents are computed afresh: of the lists it
        carries only the drops are read.
        """
        of_balances = [f.name for f in self._schema if f.name.startswith(("balance_", "outflow_share_"))]
        names = ["customer_id", "as_of", *self._bookings_columns(), *LAST_COLUMNS, *of_balances, "_drops", "_shared"]
        return pl.DataFrame(night.base.table.select(list(dict.fromkeys(names))))

    def _rated(self) -> list[str]:
        return [w.name for w in windows(self._source.settings.currencies) if w.needs_rate]

    def _bookings_columns(self) -> list[str]:
        sums = [w.name for w in windows(self._source.settings.currencies)]
        return [*sums, *RATIOS, *(f"days_since_last_{name}" for name in LASTS)]


def _all_of(*works: Callable[[], Any], at_once: bool) -> list[Any]:
    """What each comes to, one after the other or each in a thread: most of the time is spent outside of Python."""
    if not at_once:
        return [work() for work in works]
    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]
