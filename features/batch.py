"""What every reader of a bank's files hands on: some rows, cast strictly to the contract's types."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from features.feed import FeedError
from features.tables import DAY, INSTANT, Table

BATCH_ROWS = 1 << 18  # bounds the memory of an import
WORDS: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.bool_(): "true or false",
    DAY: "a day such as 2026-06-01",
    INSTANT: "an instant with its zone such as 2026-06-01T00:00:00Z",
}


@dataclass(frozen=True)
class Batch:
    """Some rows of one file: cast columns, and per row the reason why a cell could not be read.

    `raw` are the cells as they came; `numbers` are those of the rows in their file, from 1.
    """

    file: str
    numbers: npt.NDArray[np.int64]
    rows: pl.DataFrame
    raw: pl.DataFrame
    unread: pl.Series  # reason or null


def check_names(file: Path, table: Table, found: list[str]) -> None:
    """Refuse a missing, extra or repeated column; `imported_at` may stand there, unread."""
    wanted = [column.name for column in table.columns]
    extra = [name for name in found if name not in {*wanted, "imported_at"}]
    for name in wanted:
        if name not in found:
            near = difflib.get_close_matches(name, extra, n=1)
            remedy = f"rename `{near[0]}`" if near else "add it, empty where the bank has no value"
            raise FeedError(f"`{file}`: column `{name}` is missing; {remedy}")
    if extra:
        raise FeedError(f"`{file}`: column `{extra[0]}` is not in table `{table.name}`; drop it")
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise FeedError(f"`{file}`: column `{twice}` stands twice; keep one")
