"""A snapshot: every customer's features as of one instant, one Arrow file, written whole."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import ipc

TICK_NANOS = 50_000_000
NAME_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot file. INVARIANT: its rows are sorted by customer_id, in one record batch."""

    as_of: datetime
    path: Path
    inode: int  # a snapshot built again is another file under the same name

    @cached_property
    def table(self) -> pa.Table:
        """The rows, memory-mapped: customer_id, unit_id, as_of, features, and what they carry (`_...`)."""
        with pa.memory_map(str(self.path)) as source:
            return ipc.open_file(source).read_all()

    def has(self, schema: pa.Schema) -> bool:
        """Whether the file is a snapshot of exactly that schema, with its metadata."""
        try:
            return self.table.schema.equals(schema, check_metadata=True)
        except (pa.ArrowInvalid, OSError):
            return False

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def ids(self) -> pl.Series:
        """customer_id of every row, sorted."""
        return pl.Series(self.table.column("customer_id"))

    def rows(self, customer_ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Those columns (None: all) of those customers in the order asked; customers it does not hold are absent."""
        asked = pl.Series(list(customer_ids), dtype=pl.String)
        table = self.table if columns is None else self.table.select(columns)
        if self.ids.is_empty():
            return table
        places = pl.Series(self.ids.search_sorted(asked)).clip(0, len(self.ids) - 1)
        found = places.filter(self.ids.gather(places) == asked)
        return table.take(found.cast(pl.Int64).to_arrow())


class Shelf:
    """The snapshots of a folder; it is listed again only when something was renamed into it.

    A folder that cannot be read holds none, like an empty one, and is looked at again each time: its volume may come back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # When the folder had changed last, whether that is settled, what it held. Of several threads each sees one whole.
        self._listed: tuple[int, bool, list[Snapshot]] = (-1, False, [])

    def newest(self, at: datetime | None) -> Snapshot | None:
        """The snapshot with the latest as_of <= `at` (None: of all); None if there is none."""
        for snapshot in self._list():
            if at is None or snapshot.as_of <= at:
                return snapshot
        return None

    def all(self) -> list[Snapshot]:
        """Every snapshot, the newest first."""
        return list(self._list())

    def path(self, as_of: datetime) -> Path:
        """Where the snapshot of an instant stands."""
        return self._folder / f"{as_of:{NAME_FORMAT}}.arrow"

    def at(self, as_of: datetime) -> Snapshot:
        """The snapshot of exactly that instant, which is there."""
        return Snapshot(as_of, self.path(as_of), self.path(as_of).stat().st_ino)

    def _list(self) -> list[Snapshot]:
        listed_at, settled, held = self._listed
        try:
            changed = self._folder.stat().st_mtime_ns
            if settled and changed == listed_at:
                return held
            files = sorted(self._folder.iterdir())  # glob is silent about a folder it may not read
            found = [s for path in files if path.suffix == ".arrow" and (s := _at_path(path))]
        except OSError:
            self._listed = (-1, False, [])
            return []
        known = {(s.path, s.inode): s for s in held}
        found.sort(key=lambda snapshot: snapshot.as_of, reverse=True)
        found = [known.get((s.path, s.inode), s) for s in found]
        # A second change within one tick of the file system's clock would go unseen, hence settled.
        self._listed = (changed, time.time_ns() - changed > TICK_NANOS, found)
        return found


def in_arrow(frame: pl.DataFrame) -> dict[str, "pa.ChunkedArray[Any]"]:
    """The columns of a frame by name."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return dict(zip(table.column_names, table.columns, strict=True))


def of_schema(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The columns a schema names, in its order; cast where they have to be: of a few rows that is what costs."""
    found = ((columns[field.name], field.type) for field in schema)
    return pa.Table.from_arrays([c if c.type == wished else c.cast(wished) for c, wished in found], schema=schema)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table as one batch, also of none."""
    # Column by column it takes a hundred times as long.
    [batch] = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
    return batch


def write_snapshot(path: Path, rows: pa.Table) -> None:
    """Write rows sorted by customer_id, the same rows as the same bytes; readers see the whole or none of it."""
    for left in path.parent.glob(".*.*"):  # what a build that was killed has left behind: `.<name>.<process>`
        if not lives(left.suffix[1:]):
            left.unlink(missing_ok=True)
    rows = pa.Table.from_arrays([_trimmed(column) for column in rows.combine_chunks().columns], schema=rows.schema)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as sink:
        with ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        sink.flush()
        os.fsync(sink.fileno())
    beside.replace(path)


def _trimmed(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any] | pa.ChunkedArray[Any]":
    """The column with no bit set behind its last row, where nobody sees it: some ways of making it leave one there."""
    if column.num_chunks != 1 or (array := column.chunk(0)).offset:
        return column
    whole, over = divmod(len(array), 8)
    maps = array.buffers()[: 2 if pa.types.is_boolean(array.type) else 1]
    if not over or not any(bits is not None and memoryview(bits)[whole] >> over for bits in maps):
        return array
    return pa.concat_arrays([array.slice(0, 1), array.slice(1)])


def lives(process: str) -> bool:
    """Whether the process of that number, as text, is still there."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _at_path(path: Path) -> Snapshot | None:
    """The snapshot of that name; None: the name is none, or the file is gone again."""
    try:
        as_of = datetime.strptime(path.stem, NAME_FORMAT).replace(tzinfo=UTC)
        return Snapshot(as_of, path, path.stat().st_ino)
    except (ValueError, FileNotFoundError):
        return None
