"""The feature store: the same features as of any instants, as a nightly snapshot, and now."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import polars as pl
import pyarrow as pa
import sqlalchemy

from features.cases import CASES
from features.contacts import CONTACTS
from features.customers import CUSTOMERS
from features.feed import Progress
from features.heard import read_heard
from features.holdings import HOLDINGS
from features.home import Home
from features.identity import units
from features.overlay import overlaid
from features.shares import declare_shares, outflow_shares
from features.snapshot import Snapshot, newest_snapshot, write_snapshot
from features.source import Source
from features.tables import INSTANT
from features.transactions import TRANSACTIONS
from features.view import Feature, Pairs
from features.windows import local_days

VIEWS = (CUSTOMERS, HOLDINGS, TRANSACTIONS, CONTACTS, CASES)
# Bound the memory of one pass; a pass reads the customers' rows once.
ROWS_A_PASS, PAIRS_A_PASS = 2_500_000, 200_000


class StoreError(ValueError):
    """Features cannot be computed or read; one line: what, where, remedy."""


class FeatureStore:
    """Features of one home. Computes from the imported tables; writes only to home/features."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._source = Source(home)
        self._open: dict[tuple[Path, int], Snapshot] = {}

    @cached_property
    def declared(self) -> tuple[Feature, ...]:
        """Every feature of this bank, in the order of the schema."""
        if not self._source.has("customers"):
            raise StoreError(f"`{self._home.path}` holds no customers; run nbo import first")
        told = [feature for view in VIEWS for feature in view.declare(self._source)]
        return (*told, *declare_shares(self._source))

    @cached_property
    def schema(self) -> pa.Schema:
        """Schema of a snapshot: customer_id, unit_id, as_of, features with their metadata."""
        keys = [pa.field("customer_id", pa.string()), pa.field("unit_id", pa.string()),
                pa.field("as_of", INSTANT)]  # fmt: skip
        return pa.schema([*keys, *(feature.field for feature in self.declared)])

    @property
    def revision(self) -> str:
        """Hash of the declared features with all their metadata."""
        return hashlib.sha256(self.schema.serialize().to_pybytes()).hexdigest()

    def as_of(self, entities: pa.Table) -> pa.Table:
        """The entities with their features as of each one's own instant.

        Args:
            entities: customer_id, as_of (timestamp with zone), any other columns; any order,
                repeats allowed.

        Returns:
            Same rows, same order, all columns kept, one column a declared feature appended.
            A customer the bank does not know has null facts and counts of 0.

        Raises:
            StoreError: A column is missing, or as_of has no zone or a null.
        """
        asked = self._asked(entities)
        unique = asked.select("customer_id", "as_of").unique()
        features = pl.concat(list(self._passes(unique)))
        found = asked.join(features, on=["customer_id", "as_of"], how="left", maintain_order="left")
        columns = found.select(f.name for f in self.declared).to_arrow(compat_level=pl.CompatLevel.oldest())
        table = entities
        for feature in self.declared:
            column = columns.column(feature.name).cast(feature.field.type)
            table = table.append_column(feature.field, column)
        return table

    def build(self, at: datetime, progress: Progress | None = None) -> Path:
        """Write the snapshot of every customer as of `at` and return its file.

        Written beside and renamed, so readers see the old one or the whole new one; the same tables
        and instant give the same bytes. Customers who joined later are not in it.

        Raises:
            StoreError: `at` lies after the home's present, or has no zone.
        """
        if at.tzinfo is None:
            raise StoreError(f"as-of `{at}` has no time zone; end it with Z")
        if at > self._home.now():
            raise StoreError(f"as-of `{at:%FT%TZ}` lies after the home's present; choose an earlier one")
        at = at.astimezone(UTC).replace(microsecond=0)
        day = at.astimezone(self._home.settings.tz).date()
        people = self._source.whole("customers", ("customer_id", "joined_on")).filter(
            pl.col("joined_on").is_null() | (pl.col("joined_on") <= day)
        )
        stamp = pl.lit(at, pl.Datetime("us", "UTC"))
        asked = people.select("customer_id", as_of=stamp.dt.epoch("us"))
        done, parts = 0, list[pl.DataFrame]()
        for part in self._passes(asked):
            done += len(part)
            parts.append(part)
            if progress:
                progress("features", done)
        rows = pl.concat(parts).join(units(self._source), on="customer_id").sort("customer_id")
        rows = rows.with_columns(pl.col("as_of").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        table = rows.select(self.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
        return write_snapshot(self._home.features, table.cast(self.schema), at)

    def newest(self, at: datetime | None = None) -> Snapshot | None:
        """The newest snapshot as of `at` or before; None if there is none."""
        found = newest_snapshot(self._home.features, at)
        if found is None:
            return None
        key = (found.path, found.path.stat().st_ino)
        if key not in self._open:  # a snapshot built again is another file under the same name
            self._open = {key: found}
        return self._open[key]

    def latest(self, customer_ids: Sequence[str], at: datetime,
               connection: sqlalchemy.Connection | None) -> pa.Table:  # fmt: skip
        """Features now: the newest base with the ledger's events and consents since.

        Args:
            customer_ids: Whom; the order of the rows. Customers the base does not hold are absent.
            at: The instant of the decision.
            connection: The ledger's database, only read; None where there is no ledger yet.

        Raises:
            StoreError: There is no snapshot at or before `at`.
        """
        snapshot = self.newest(at)
        if snapshot is None:
            raise StoreError(f"`{self._home.features}` holds no snapshot; run nbo features build")
        base = snapshot.rows(customer_ids)
        events, consents = read_heard(connection, customer_ids, snapshot.as_of, at)
        return self._overlay(base, at, events, consents)

    def overlay(self, base: pa.Table, at: datetime, events: pa.Table, consents: pa.Table) -> pa.Table:
        """The pure part of `latest`: base rows brought up to `at`; see features/overlay.py."""
        return self._overlay(base, at, pl.DataFrame(events), pl.DataFrame(consents))

    def _overlay(self, base: pa.Table, at: datetime, events: pl.DataFrame,
                 consents: pl.DataFrame) -> pa.Table:  # fmt: skip
        rows = overlaid(pl.DataFrame(base), at, events, consents, self._source)
        return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self.schema)

    def _asked(self, entities: pa.Table) -> pl.DataFrame:
        for name in ("customer_id", "as_of"):
            if name not in entities.column_names:
                raise StoreError(f"entities: column `{name}` is missing; add it")
        clash = next((f.name for f in self.declared if f.name in entities.column_names), None)
        if clash:
            raise StoreError(f"entities: column `{clash}` is a feature's name; rename it")
        stamp = entities.schema.field("as_of").type
        if not pa.types.is_timestamp(stamp) or stamp.tz is None:
            raise StoreError(f"entities: `as_of` is {stamp}; expected an instant with its zone")
        if entities.column("as_of").null_count:
            raise StoreError("entities: `as_of` is empty in some rows; give every row its instant")
        rows = pl.DataFrame(entities.select(["customer_id", "as_of"]))
        return rows.with_columns(pl.col("customer_id").cast(pl.String), pl.col("as_of").dt.epoch("us"))

    def _passes(self, asked: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Features of unique (customer_id, as_of) pairs, some customers at a time."""
        rows = self._source.n_rows("transactions")
        n_passes = max(-(-rows // ROWS_A_PASS), -(-len(asked) // PAIRS_A_PASS), 1)
        ids = asked.select(pl.col("customer_id").unique().sort())
        size = max(-(-len(ids) // n_passes), 1)
        for start in range(0, max(len(ids), 1), size):
            codes = ids[start : start + size].with_row_index("customer")
            yield self._compute(asked, codes.with_columns(pl.col("customer").cast(pl.Int32)))

    def _compute(self, asked: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
        frame = asked.join(codes, on="customer_id").sort("customer", "as_of")
        days = local_days(frame["as_of"], self._home.settings.tz)
        keys = frame.select("customer_id", "as_of")
        pairs = Pairs(frame.select("customer", "as_of", day=days), codes)
        columns: dict[str, pl.Series] = {}
        for view in VIEWS:
            columns |= view.compute(pairs, self._source)
        rows = keys.with_columns(series.alias(name) for name, series in columns.items())
        rows = rows.with_columns(outflow_shares(self._home.settings.currencies))
        return rows.select("customer_id", "as_of", *(feature.name for feature in self.declared))
