"""Reads typed columns of one canonical table from a Parquet file, and from Arrow whoever read it.

Types stand in the file, so a column either is what the contract says or stops the import.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.batch import BATCH_ROWS, WORDS, Batch, check_names
from features.feed import FeedError
from features.tables import Table


def read_parquet(file: Path, table: Table) -> Iterator[Batch]:
    """The rows of a Parquet file, a batch at a time; FeedError where a column is not the contract's."""
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise FeedError(f"`{file}` is not a Parquet file; write it again") from error
    check_types(file, table, parquet.schema_arrow)
    names = [column.name for column in table.columns]
    yield from as_batches(file, file.name, table, _pages(file, parquet, names))


def _pages(file: Path, parquet: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from parquet.iter_batches(BATCH_ROWS, columns=names)
    except (pa.ArrowInvalid, OSError) as error:
        raise FeedError(f"`{file}` is damaged: {str(error).splitlines()[0]}; write it again") from error


def check_types(file: Path, table: Table, schema: pa.Schema) -> None:
    """Refuse columns whose names or types are not the contract's."""
    check_names(file, table, schema.names)
    for column in table.columns:
        found: pa.DataType = schema.field(column.name).type
        if not _widens(found, column.type):
            remedy = "write UTC instants" if pa.types.is_timestamp(found) else "cast it"
            raise FeedError(
                f"`{file}`: column `{column.name}` is {found}; expected {WORDS[column.type]} ({column.type}); {remedy}"
            )


def as_batches(file: Path, told: str, table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[Batch]:
    """The Arrow batches as the contract's types. told: how a refused row names where it stood."""
    names, row = [column.name for column in table.columns], 1
    for batch in batches:
        arrow = pa.Table.from_batches([batch]).select(names)
        cast = [_cast(file, arrow.column(c.name), c.name, c.type) for c in table.columns]
        rows = pl.DataFrame(pa.table(cast, names=names))
        yield Batch(
            told, np.arange(row, row + len(rows)), rows, rows, pl.repeat(None, len(rows), dtype=pl.String, eager=True)
        )
        row += len(rows)


def _widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of the found type is a value of the wanted type, or fails loudly."""
    types = pa.types
    if types.is_dictionary(found):
        found = found.value_type
    if types.is_null(found) or found == wanted:
        return True
    if types.is_string(wanted):
        return types.is_large_string(found) or types.is_string_view(found)
    if types.is_timestamp(wanted):
        return types.is_timestamp(found) and found.tz is not None
    if types.is_int64(wanted):
        return types.is_integer(found)
    return types.is_float64(wanted) and (types.is_integer(found) or types.is_float32(found))


def _cast(file: Path, column: "pa.ChunkedArray[Any]", name: str, wanted: pa.DataType) -> "pa.ChunkedArray[Any]":
    try:
        cast = column.cast(wanted, safe=True)
        if pa.types.is_string(wanted):
            cast.validate(full=True)
    except pa.ArrowInvalid as error:
        if pa.types.is_string(wanted):
            raise FeedError(f"`{file}`: column `{name}` holds text that is not UTF-8; write it as UTF-8") from error
        raise FeedError(
            f"`{file}`: column `{name}` ({column.type}) loses digits as {wanted}; write {wanted}"
        ) from error
    return cast
