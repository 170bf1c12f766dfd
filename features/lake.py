"""Reads one canonical table from a lake: the newest version of a Delta or an Iceberg table, a batch at a time through Polars.

Which files count, and which of their rows were deleted, the table's own log says; its libraries read that, and neither Java
nor a catalog is asked.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from features.batch import BATCH_ROWS, Batch
from features.columnar import as_batches, check_types
from features.feed import FeedError
from features.tables import Table

_METADATA = "*.metadata.json*"
_VERSION = re.compile(r"v?(\d+)[-.]")  # 00003-....metadata.json of a catalog, v3.metadata.json without one


def is_delta(folder: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (folder / "_delta_log").is_dir()


def is_iceberg(folder: Path) -> bool:
    """Whether a folder is an Iceberg table."""
    return any((folder / "metadata").glob(_METADATA))


def read_lake(folder: Path, table: Table) -> Iterator[Batch]:
    """The rows of a lake table's newest version in batches; rows that were deleted are not among them.

    FeedError where it cannot be read, or a column is not the contract's.
    """
    kind, scan = ("a Delta", _delta) if is_delta(folder) else ("an Iceberg", _iceberg)
    try:
        told, rows = scan(folder)
        check_types(folder, table, rows.collect_schema().to_arrow())
        found = rows.select(column.name for column in table.columns).collect_batches(chunk_size=BATCH_ROWS)
        yield from as_batches(folder, told, table, (part for batch in found for part in batch.to_arrow().to_batches()))
    except FeedError:
        raise
    except Exception as error:  # its libraries and theirs have errors of any class for what they do not read
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise FeedError(f"`{folder}` cannot be read as {kind} table: {line}") from error


def _delta(folder: Path) -> tuple[str, pl.LazyFrame]:
    """How its newest version is called, and its rows."""
    try:
        import deltalake
    except ImportError as error:
        raise FeedError(f"`{folder}` is a Delta table; `pip install deltalake` to read it") from error
    newest = deltalake.DeltaTable(folder)
    return f"{folder.name}, version {newest.version()}", pl.scan_delta(newest)


def _iceberg(folder: Path) -> tuple[str, pl.LazyFrame]:
    """How its newest version is called, and its rows."""
    try:
        from pyiceberg.table import StaticTable
    except ImportError as error:
        raise FeedError(f"`{folder}` is an Iceberg table; `pip install pyiceberg` to read it") from error
    found = {path: _VERSION.match(path.name) for path in (folder / "metadata").glob(_METADATA)}
    numbers = {path: int(version[1]) for path, version in found.items() if version}
    tables = {path: StaticTable.from_metadata(str(path)) for path in numbers}
    if not tables:
        raise ValueError("its metadata files have no numbers; write its newest version as Parquet")
    newest = max(tables, key=lambda path: (tables[path].metadata.last_updated_ms, numbers[path]))
    # A dropped table's files may lie beside those of the one made anew in its place.
    several = len({each.metadata.table_uuid for each in tables.values()}) > 1
    if several or [numbers[newest]] != [n for n in numbers.values() if n >= numbers[newest]]:
        raise ValueError("its metadata do not say which version is the newest; write that one as Parquet")
    table = tables[newest]
    if table.metadata.current_snapshot_id is not None and table.current_snapshot() is None:
        raise ValueError("its metadata name a snapshot that they do not hold; repair it")
    os.environ.setdefault(
        "POLARS_ICEBERG_PLANNER", "pyiceberg"
    )  # else Polars warns of a quicker one, in a package of its own
    return f"{folder.name}, version {numbers[newest]}", pl.scan_iceberg(table)
