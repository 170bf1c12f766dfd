"""Rows of a CSV that have more cells than its header, or fewer: set aside for the quarantine, and counted in.

Arrow leaves them out of what it reads, so that the number of a row behind one of them has to be reckoned.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pyarrow import csv

from features.batch import Batch
from features.feed import FeedError
from features.tables import Table

ODD_MOST = 100_000  # of a file; with more of them something else is wrong with it
Numbers = npt.NDArray[np.int64]


class OddRows:
    """The rows of another width of one file.

    Args:
        file: The CSV.
        table: What it holds.
        parse: What makes the cells of a column, as texts, its values.
    """

    def __init__(self, file: Path, table: Table, parse: Callable[[pl.Series, Any], pl.Series]) -> None:
        self._file, self._table, self._parse = file, table, parse
        self._numbers, self._waiting = list[int](), list[tuple[str, str]]()
        self._fault: str | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def set_aside(self, row: csv.InvalidRow) -> str:
        """Keep one, or stop the reading: for Arrow, as the handler of such rows."""
        number = (row.number or 2) - 1
        width = f"{row.actual_columns} cells and not {row.expected_columns}"
        if "\n" in row.text.strip() or row.text.count('"') % 2:  # the rows behind it would be lost in it
            told = "a quote is not closed, or a cell of several lines stands in a row of"
            self._fault = f"`{self._file}` row {number}: {told} {width}; close the quote"
        elif len(self._numbers) == ODD_MOST:
            more = f"more than {ODD_MOST:,} rows have another number of cells than the header"
            self._fault = f"`{self._file}`: {more} (first: row {self._numbers[0]}); check quotes and commas"
        else:
            self._numbers.append(number)
            self._waiting.append((row.text, f"has {width}; check quotes and commas"))
            return "skip"
        return "error"

    @contextmanager
    def watched(self) -> Generator[None]:
        """While Arrow reads: FeedError for what `set_aside` stopped at.

        Arrow decodes a row before it hands it on; where it is not UTF-8 it prints a traceback, with the customer's cells,
        and then stops at the row, which is enough.
        """
        before = sys.unraisablehook
        sys.unraisablehook = lambda what: None if issubclass(what.exc_type, UnicodeDecodeError) else before(what)
        try:
            yield
        except pa.ArrowInvalid as error:
            if self._fault is None:
                raise
            raise FeedError(self._fault) from error
        finally:
            sys.unraisablehook = before

    def taken(self) -> Iterator[Batch]:
        """Those set aside since, as they came, in their first column; one batch, if there are any."""
        if not self._waiting:
            return
        texts, reasons = zip(*self._waiting, strict=True)
        columns = [c.name for c in self._table.columns]
        raw = pl.DataFrame({columns[0]: texts} | {name: [None] * len(texts) for name in columns[1:]},
                           schema=dict.fromkeys(columns, pl.String))  # fmt: skip
        cells = pl.DataFrame(
            [self._parse(raw.get_column(c.name).clear(len(texts)), c.type) for c in self._table.columns]
        )
        numbers = np.array(self._numbers[-len(texts) :], np.int64)
        self._waiting.clear()
        yield Batch(self._file.name, numbers, cells, raw, pl.Series(reasons))

    def between(self, first: int, n: int) -> Numbers:
        """The numbers in the file of the n rows that Arrow has read after its first `first` ones."""
        odd = np.array(self._numbers, np.int64)
        ahead = odd - 1 - np.arange(len(odd))  # how many of the rows read stand before each odd one
        place = np.arange(first, first + n)
        return place + 1 + np.searchsorted(ahead, place, "right")
