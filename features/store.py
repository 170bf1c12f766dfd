"""The feature store: the same features as of any instants, as a nightly snapshot, and now."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl
import pyarrow as pa
import sqlalchemy

from features.base import Base, OneRow, Row
from features.bases import Bases
from features.build import Builder
from features.carried import CARRIED, ROLLED
from features.compute import VIEWS, finished, passes
from features.entities import EntitiesError, asked_for
from features.feed import Progress
from features.heard import CONSENT_SCHEMA, EVENT_SCHEMA, ConsentRow, EventRow, read_heard
from features.home import Home
from features.online import Online
from features.overlay import overlaid, reads
from features.settings import horizon_days
from features.shares import declare_shares
from features.snapshot import Shelf, Snapshot, in_arrow, of_schema, one_batch
from features.source import Source
from features.tables import INSTANT
from features.view import Feature

Building = Callable[[Source, Shelf, pa.Schema], Builder]
FEW = 12  # so many customers are rolled one by one; more of them at once
FIRST_YEAR = 1900
MADE_WITH = b"made_with"  # of the schema's metadata
OTHER_SETTINGS = "the snapshot was made with other currencies, another zone or age in bank.yaml; run nbo features build"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoreError(ValueError):
    """Features cannot be computed or read; one line: what, where, remedy."""


class FeatureStore:
    """Features of one home. Computes from the imported tables; writes only to home/features."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._source = Source(home)
        self._shelf = Shelf(home.features)
        self._bases = Bases(
            lambda found: Base(found.table, self._online.numbers, self.one_row.flags, self.one_row.texts)
        )
        self._sound: Snapshot | None = None  # the last one found without fault

    @cached_property
    def declared(self) -> tuple[Feature, ...]:
        """Every feature of this bank, in the order of the schema."""
        if not self._source.has("customers"):
            raise StoreError(f"`{self._home.path}` holds no customers; run nbo import first")
        told = [feature for view in VIEWS for feature in view.declare(self._source)]
        return (*told, *declare_shares(self._source))

    @cached_property
    def schema(self) -> pa.Schema:
        """Schema of a snapshot: customer_id, unit_id, as_of, features with their metadata; and the settings it depends on."""
        keys = [pa.field("customer_id", pa.string()), pa.field("unit_id", pa.string()),
                pa.field("as_of", INSTANT)]  # fmt: skip
        return pa.schema([*keys, *(feature.field for feature in self.declared)], {MADE_WITH: self._made_with})

    @cached_property
    def _made_with(self) -> bytes:
        """The settings without which a snapshot's numbers mean something else."""
        settings = self._home.settings
        told = (settings.currency, settings.currencies, settings.zone, horizon_days(settings))
        return json.dumps(told).encode()

    @cached_property
    def revision(self) -> str:
        """Hash of the declared features with all their metadata."""
        return hashlib.sha256(self.schema.serialize().to_pybytes()).hexdigest()

    def _is_made_with(self, schema: pa.Schema) -> bool:
        """Whether a snapshot's settings are today's; one that can be rolled further than is asked is as good."""
        held = json.loads((schema.metadata or {}).get(MADE_WITH, b"[]"))
        *wanted, reach = json.loads(self._made_with)
        return held[:-1] == wanted and held[-1] >= reach

    def as_of(self, entities: pa.Table) -> pa.Table:
        """The entities with their features as of each one's own instant.

        Args:
            entities: customer_id, as_of (timestamp with zone), any other columns; any order,
                repeats allowed.

        Returns:
            Same rows, same order, all columns kept, one column a declared feature appended.
            A customer the bank does not know has null facts and counts of 0.

        Raises:
            StoreError: A column is missing, or as_of has no zone or a null or lies in the future.
        """
        try:
            asked = asked_for(entities, {f.name for f in self.declared}, self._home.now())
        except EntitiesError as error:
            raise StoreError(str(error)) from error
        unique = asked.select("customer_id", "as_of").unique()
        features = finished(pl.concat(list(passes(unique, self._source))), self._source.settings)
        found = asked.join(features, on=["customer_id", "as_of"], how="left", maintain_order="left")
        columns = found.select(f.name for f in self.declared).to_arrow(compat_level=pl.CompatLevel.oldest())
        table = entities
        for feature in self.declared:
            column = columns.column(feature.name).cast(feature.field.type)
            table = table.append_column(feature.field, column)
        return table

    def build(self, at: datetime, progress: Progress | None = None, building: Building = Builder) -> Path:
        """Write the snapshot of every customer as of `at` and return its file. building: on which engine.

        Written beside and renamed, so readers see the old one or the whole new one; the same tables
        and instant give the same bytes. Customers who joined later are not in it.

        Raises:
            StoreError: `at` lies after the home's present or before FIRST_YEAR, or has no zone.
        """
        if at.tzinfo is None:
            raise StoreError(f"as-of `{at}` has no time zone; end it with Z")
        if at.year < FIRST_YEAR:
            raise StoreError(f"as-of `{at}` lies before {FIRST_YEAR}; choose a later one")
        if at > self._home.now():
            raise StoreError(f"as-of `{at:%FT%TZ}` lies after the home's present; choose an earlier one")
        at = at.astimezone(UTC).replace(microsecond=0)
        return building(self._source, self._shelf, self.schema).build(at, progress)

    def repair(self, progress: Progress | None = None) -> list[Path]:
        """Build again the snapshots whose days an import has changed; the files that are new now.

        A snapshot that comes out byte for byte as it was keeps its file.
        """
        return Builder(self._source, self._shelf, self.schema).repair(progress)

    def newest(self, at: datetime | None = None) -> Snapshot | None:
        """The newest snapshot as of `at` or before, where it is large and `read_ahead` is used, once read; None if there is none."""
        return self._bases.usable(self._shelf.newest(at))

    def read_ahead(self, at: datetime) -> None:
        """Read what `newest` will say, so that no decision waits for it; for a thread beside them, time and again."""
        self._bases.read_ahead(self._shelf.newest(at), lambda found: self.fault(found) is None)

    def latest(self, customer_ids: Sequence[str], at: datetime,
               connection: sqlalchemy.Connection | None, base: Snapshot | None = None) -> pa.RecordBatch:  # fmt: skip
        """Features now: the newest base with the ledger's events and consents since.

        A batch and no table: of one customer, making a table of it costs as much again.

        Args:
            customer_ids: Whom; the order of the rows. Customers the base does not hold are absent.
            at: The instant of the decision.
            connection: The ledger's database, only read; None where there is no ledger yet.
            base: The snapshot to start from; None: the newest.

        Raises:
            StoreError: There is no snapshot at or before `at`.
        """
        snapshot = self._readable(base, at)
        events, consents = self._heard(snapshot, customer_ids, at, connection)
        if len(customer_ids) <= FEW:
            known = self._rolled(snapshot, customer_ids, at, events, consents)
            moment, batches = _micros(at), list[pa.RecordBatch]()
            for row in (known[customer] for customer in customer_ids if customer in known):
                if (batch := self.one_row.batch(row, moment)) is None:
                    break
                batches.append(batch)
            else:
                return batches[0] if len(batches) == 1 else one_batch(pa.Table.from_batches(batches, self.schema))
        heard = pl.DataFrame(events, schema=EVENT_SCHEMA, orient="row")
        words = pl.DataFrame(consents, schema=CONSENT_SCHEMA, orient="row")
        return one_batch(self._overlay(self._held(snapshot, customer_ids, events), at, heard, words))

    def latest_row(self, customer_id: str, at: datetime, connection: sqlalchemy.Connection | None,
                   base: Snapshot | None = None) -> Row | None:  # fmt: skip
        """What `latest` says of one customer, as plain values in the order of `one_row`; None: not in the base.

        `as_of` is not among them: it is `at`.
        """
        return self.latest_rows([customer_id], at, connection, base).get(customer_id)

    def latest_rows(self, customer_ids: Sequence[str], at: datetime, connection: sqlalchemy.Connection | None,
                    base: Snapshot | None = None) -> dict[str, Row]:  # fmt: skip
        """`latest_row` of each of those whom the base holds."""
        snapshot = self._readable(base, at)
        return self._rolled(snapshot, customer_ids, at, *self._heard(snapshot, customer_ids, at, connection))

    def _readable(self, base: Snapshot | None, at: datetime) -> Snapshot:
        snapshot = base or self.newest(at)
        if snapshot is None:
            raise StoreError(f"`{self._home.features}` holds no snapshot; run nbo features build")
        if fault := self.fault(snapshot):
            raise StoreError(fault)
        return snapshot

    def _heard(self, snapshot: Snapshot, customer_ids: Sequence[str], at: datetime,
               connection: sqlalchemy.Connection | None) -> tuple[list[EventRow], list[ConsentRow]]:  # fmt: skip
        if not customer_ids:
            return [], []
        since = _micros(snapshot.as_of)
        return read_heard(connection, customer_ids, since, self._online.reach(since), _micros(at))

    def _rolled(self, snapshot: Snapshot, customer_ids: Sequence[str], at: datetime, events: Sequence[EventRow],
                consents: Sequence[ConsentRow]) -> dict[str, Row]:  # fmt: skip
        """The rows of those the base holds, one by one brought up to `at`."""
        base, moment, since = self._bases.of(snapshot), _micros(at), _micros(snapshot.as_of)
        heard: dict[str, list[EventRow]] = {}
        for event in events:
            heard.setdefault(event[1], []).append(event)
        said: dict[str, list[ConsentRow]] = {}
        for word in consents:
            said.setdefault(word[0], []).append(word)
        rows: dict[str, Row] = {}
        for customer in customer_ids:
            place = base.find(customer)
            if place is not None:
                rows[customer] = row = base.read(place)
                self._online.roll(row, place, base, since, moment, heard.get(customer, ()), said.get(customer, ()))
        return rows

    @cached_property
    def one_row(self) -> OneRow:
        """The order of the values of `latest_row`, and the table they make."""
        return OneRow(self.schema)

    @cached_property
    def _online(self) -> Online:
        return Online(self.one_row, self._source)

    def fault(self, snapshot: Snapshot) -> str | None:
        """Why a snapshot cannot be read with today's views, one line; None: it can."""
        if self._sound is not snapshot:
            try:
                self._whole(snapshot.table, pa.schema([*self.schema, *CARRIED]))
                if not self._is_made_with(snapshot.table.schema):
                    raise StoreError(OTHER_SETTINGS)
            except (StoreError, pa.ArrowInvalid, OSError) as error:
                known = isinstance(error, StoreError)
                return str(error) if known else f"`{snapshot.path.name}` is no snapshot; run nbo features build"
            self._sound = snapshot
        return None

    @cached_property
    def _rolls(self) -> pa.Schema:
        """What of a snapshot is brought up to now."""
        return pa.schema([*self.schema, *ROLLED])

    @staticmethod
    def _whole(table: pa.Table, wanted: pa.Schema) -> pa.Table:
        """Those columns of a snapshot; StoreError where it is not of today's views."""
        held = table.schema
        if held.equals(wanted):
            return table
        for field in wanted:
            if field.name not in held.names:
                found = f"lacks `{field.name}`"
            elif held.field(field.name).type != field.type:
                found = f"holds `{field.name}` as {held.field(field.name).type}"
            else:
                continue
            raise StoreError(f"the snapshot {found}: it is of an older version; run nbo features build")
        return table.select(wanted.names)

    def _held(self, snapshot: Snapshot, customer_ids: Sequence[str], events: Sequence[EventRow]) -> pa.Table:
        """Rows to be rolled; the ids the base has counted only where an event is old enough to be among them."""
        since = _micros(snapshot.as_of)
        if any(event[6] < since and event[7] <= since for event in events):
            return snapshot.rows(customer_ids, self._rolls.names)
        return snapshot.rows(customer_ids, [name for name in self._rolls.names if name != "_ids"])

    def overlay(self, base: pa.Table, at: datetime, events: pa.Table, consents: pa.Table,
                rows: pa.Array | None = None) -> pa.Table:  # fmt: skip
        """The pure part of `latest`: rows of `Snapshot.table` brought up to `at`; see features/overlay.py.

        rows: the numbers of those wanted, in their order; null: all.
        """
        held = self._whole(base, self._rolls)
        wanted = held if rows is None else held.take(rows)
        return self._overlay(wanted, at, pl.DataFrame(events), pl.DataFrame(consents))

    def _overlay(self, held: pa.Table, at: datetime, events: pl.DataFrame, consents: pl.DataFrame) -> pa.Table:
        read = held.select(reads(held.column_names, self._source.settings.currencies))
        rolled = overlaid(pl.DataFrame(read), at, events, consents, self._source)
        return of_schema(dict(zip(held.column_names, held.columns, strict=True)) | in_arrow(rolled), self.schema)


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
