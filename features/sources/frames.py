"""Writes a source's rows as a canonical table for the import to check."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from features.tables import TABLES


def write_frame(out: Path, name: str, rows: pl.DataFrame) -> None:
    """Write a table to `out/<name>.parquet`; columns the source has nothing for are null."""
    schema = TABLES[name].schema
    schema = schema.remove(schema.get_field_index("imported_at"))
    absent = [pl.lit(None).alias(c) for c in schema.names if c not in rows.columns]
    whole = rows.with_columns(absent).select(schema.names)
    pq.write_table(whole.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema), out / f"{name}.parquet")
