"""A snapshot: every customer's features as of one instant, one Arrow file, written whole."""

import hashlib
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

NAME_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot file. INVARIANT: its rows are sorted by customer_id, in one record batch."""

    as_of: datetime
    path: Path

    @cached_property
    def table(self) -> pa.Table:
        """The rows, memory-mapped: customer_id, unit_id, as_of, features."""
        with pa.memory_map(str(self.path)) as source:
            return ipc.open_file(source).read_all()

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def rows(self, customer_ids: Sequence[str]) -> pa.Table:
        """Rows of those customers in the order asked; customers it does not hold are absent."""
        ids = self.table.column("customer_id")
        found: list[int] = []
        for customer in customer_ids:
            place = bisect_left(range(len(ids)), customer, key=lambda row: ids[row].as_py())
            if place < len(ids) and ids[place].as_py() == customer:
                found.append(place)
        return self.table.take(pa.array(found, pa.int64()))


def newest_snapshot(folder: Path, at: datetime | None) -> Snapshot | None:
    """The snapshot with the latest as_of <= `at` (None: of all); None if there is none."""
    found = [Snapshot(as_of, path) for path in folder.glob("*.arrow") if (as_of := _as_of(path))]
    known = [snapshot for snapshot in found if at is None or snapshot.as_of <= at]
    return max(known, key=lambda snapshot: snapshot.as_of, default=None)


def write_snapshot(folder: Path, rows: pa.Table, as_of: datetime) -> Path:
    """Write rows sorted by customer_id and return the file; readers see the whole or none of it."""
    path = folder / f"{as_of:{NAME_FORMAT}}.arrow"
    beside = folder / f".{path.name}.{os.getpid()}"
    with beside.open("wb") as sink:
        with ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        sink.flush()
        os.fsync(sink.fileno())
    beside.replace(path)
    return path


def _as_of(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.stem, NAME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
