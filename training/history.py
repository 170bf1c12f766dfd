"""The bank's tables in a home, as frames to label from."""

from collections.abc import Sequence

import polars as pl

from features.home import Home
from features.tables import TABLES


def read_history(home: Home, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of a canonical table, or of some of its columns; no rows where the home lacks it.

    KeyError for a name that is no table of the contract.
    """
    schema = TABLES[table].schema
    names = list(columns or schema.names)
    parts = sorted(home.table(table).glob("part-*.parquet"))
    if not parts:
        return pl.DataFrame(schema.empty_table()).select(names)
    return pl.read_parquet(parts, columns=names)
