"""Reads one canonical table from a lake: the newest version of a Delta or an Iceberg table, on Polars' streaming engine.

Which files count, and which of their rows were deleted, the table's own log says; its libraries read that, and neither Java
nor a catalog is asked.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.batch import BATCH_ROWS, Batch
from features.columnar import as_batches, check_types
from features.feed import FeedError
from features.tables import Table

_VERSION = re.compile(r"v?(\d+)[-.]")  # 00003-....metadata.json of a catalog, v3.metadata.json without one


def is_delta(folder: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (folder / "_delta_log").is_dir()


def is_iceberg(folder: Path) -> bool:
    """Whether a folder is an Iceberg table."""
    return any((folder / "metadata").glob("*.metadata.json"))


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
    except ImportError as error:
        package = "deltalake" if is_delta(folder) else "pyiceberg"
        raise FeedError(f"`{folder}` is {kind} table; `pip install {package}` to read it") from error
    except (PolarsError, OSError, ValueError, LookupError) as error:
        line = str(error).splitlines()[0]
        raise FeedError(f"`{folder}` cannot be read as {kind} table: {line}") from error


def _delta(folder: Path) -> tuple[str, pl.LazyFrame]:
    """How its newest version is called, and its rows."""
    import deltalake
    from deltalake.exceptions import DeltaError

    try:
        newest = deltalake.DeltaTable(folder)
    except DeltaError as error:
        raise ValueError(error) from error
    return f"{folder.name}, version {newest.version()}", pl.scan_delta(newest)


def _iceberg(folder: Path) -> tuple[str, pl.LazyFrame]:
    """How its newest version is called, and its rows."""
    from pyiceberg.exceptions import ValidationError
    from pyiceberg.table import StaticTable

    versions: dict[int, list[Path]] = {}
    for path in (folder / "metadata").glob("*.metadata.json"):
        if found := _VERSION.match(path.name):
            versions.setdefault(int(found[1]), []).append(path)
    newest = max(versions, default=-1)
    if len(versions.get(newest, ())) != 1:
        raise ValueError(
            "its metadata do not say which version is the newest; have its catalog write the rows as Parquet"
        )
    try:
        table = StaticTable.from_metadata(str(versions[newest][0]))
    except ValidationError as error:
        raise ValueError(error) from error
    os.environ.setdefault(
        "POLARS_ICEBERG_PLANNER", "pyiceberg"
    )  # else Polars warns that it has a quicker one, in a package of its own
    return f"{folder.name}, version {newest}", pl.scan_iceberg(table)
