"""The shelf of snapshots: what a folder holds, asked again when that may have changed."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from features.snapshot import TICK_NANOS, Shelf, one_batch


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_the_rows_of_a_table_in_any_number_of_parts_are_one_batch(parts: int) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string()))], {"made": "here"})
    rows = [{"a": n, "b": ["x"] * n} for n in range(parts)]
    table = pa.Table.from_batches([pa.RecordBatch.from_pylist([row], schema=schema) for row in rows], schema)
    batch = one_batch(table)
    assert batch.to_pylist() == rows
    assert batch.schema.equals(schema, check_metadata=True)


def test_a_folder_whose_listing_was_denied_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: glob, which lists nothing where it may not read; its rights come back and its mtime stays."""
    at = datetime(2026, 6, 1, tzinfo=UTC)
    shelf = Shelf(tmp_path)
    shelf.path(at).write_bytes(b"")
    long_ago = time.time_ns() - 10 * TICK_NANOS
    os.utime(tmp_path, ns=(long_ago, long_ago))
    with monkeypatch.context() as denied:

        def deny(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        denied.setattr(os, "listdir", deny)
        denied.setattr(os, "scandir", deny)
        assert shelf.newest(at) is None
    found = shelf.newest(at)
    assert found is not None and found.as_of == at
