"""Reads a CSV file of one canonical table: every cell a text first, then what the contract says it is.

A cell that cannot be read does not stop the import: its row is marked and goes to the quarantine.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import csv

from features.batch import BATCH_ROWS, WORDS, Batch, check_names
from features.feed import FeedError
from features.odd_rows import Numbers, OddRows
from features.tables import DAY, INSTANT, Table

CSV_BLOCK_BYTES = 2 << 20  # bounds the memory of an import
_CELLS = re.compile(r"(, got \d+): .*")
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})$"


def read_csv(file: Path, table: Table) -> Iterator[Batch]:
    """The rows of a CSV file, a batch at a time; FeedError where the file as a whole cannot be read."""
    with file.open("rb") as stream:
        first = stream.readline()
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in first:
        raise FeedError(f"`{file}` is UTF-16; save the file as UTF-8")
    header = first.decode("utf-8", "replace").lstrip("\ufeff").strip()
    names = [name.strip().strip('"').strip() for name in header.split(",")]
    if len(names) == 1 and header.count(";") > 1:
        raise FeedError(f"`{file}` is separated by `;`; write it with commas, or quote and convert it")
    check_names(file, table, names)
    done, odd = 0, OddRows(file, table, _parse)
    for cells in _blocks(file, names, odd):
        yield from odd.taken()
        if len(cells):
            texts = _texts(cells.select([c.name for c in table.columns]))
            yield _parsed(file, table, *texts, odd.between(done, len(cells)))
            done += len(cells)
    if not done and not len(odd):
        raise FeedError(f"`{file}` has a header and no rows; write its rows, or remove it")


def _blocks(file: Path, names: list[str], odd: OddRows) -> Iterator[pa.Table]:
    """The cells of a CSV, a few blocks at a time: Arrow reads some thirty blocks ahead, so they are small.

    names: of the columns as the header means them, without blanks around. odd: takes the rows of another width.
    """
    done, waiting = 0, list[pa.RecordBatch]()
    # One thread: with more of them a row of another width has no number, and nothing is the faster for it.
    reading = csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES, column_names=names, skip_rows=1)
    parsing = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=odd.set_aside)
    texts = {name: pa.binary() for name in names}
    convert = csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=True)
    try:
        with odd.watched():
            for batch in csv.open_csv(file, reading, parsing, convert):
                done += len(batch)
                waiting.append(batch)
                if sum(map(len, waiting)) >= BATCH_ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting.clear()
    except pa.ArrowInvalid as error:
        raise FeedError(f"`{file}` after row {done}: {_plain(error)}") from error
    yield pa.Table.from_batches(waiting, pa.schema(list(texts.items())))


def _plain(error: Exception) -> str:
    """What Arrow says, without the cells it says it of: they are a customer's."""
    said = _CELLS.sub(r"\1", str(error).splitlines()[0])
    return f"{said}; check quotes, the number of commas and that it is UTF-8"


def _texts(cells: pa.Table) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """The cells as texts, and per column that holds others which are not UTF-8; those carry U+FFFD."""
    columns: list[Any] = []
    garbled: dict[str, pl.Series] = {}
    for name in cells.column_names:
        column = cells.column(name)
        try:
            columns.append(column.cast(pa.string()))
        except pa.ArrowInvalid:  # one by one, to keep the others
            texts = [None if v is None else v.decode("utf-8", "surrogateescape") for v in column.to_pylist()]
            garbled[name] = pl.Series([t is not None and not t.isascii() and _escaped(t) for t in texts])
            whole = (None if v is None else v.decode("utf-8", "replace") for v in column.to_pylist())
            columns.append(pa.array(whole, pa.string()))
    return pl.DataFrame(pa.table(columns, names=cells.column_names)), garbled


def _escaped(text: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def _parsed(file: Path, table: Table, raw: pl.DataFrame, garbled: dict[str, pl.Series], numbers: Numbers) -> Batch:
    """Parse each text column; a cell that does not parse becomes null and marks its row."""
    columns: list[pl.Series] = []
    reasons: list[pl.Expr] = []
    for column in table.columns:
        text = raw.get_column(column.name)
        _refuse_swallowed(file, table, text, numbers)
        parsed = _parse(text, column.type)
        bad = text.is_not_null() & parsed.is_null()
        if column.name in garbled:
            reasons.append(_when(garbled[column.name], f"`{column.name}` is not UTF-8"))
        if bad.sum() == text.len() - text.null_count() > len(text) / 2 and numbers[0] == 1 and len(text) > 1:
            raise FeedError(f"`{file}`: column `{column.name}` holds no value that is {WORDS[column.type]}")
        columns.append(parsed)
        reason = f"`{column.name}` is not {WORDS[column.type]}"
        if column.type == INSTANT:
            naive = bad & ~text.str.contains(_ZONE).fill_null(False)
            reasons.append(_when(naive, f"`{column.name}` has no time zone"))
        reasons.append(_when(bad, reason))
    unread = pl.select(pl.coalesce(reasons)).to_series()
    return Batch(file.name, numbers, pl.DataFrame(columns), raw, unread)


def _refuse_swallowed(file: Path, table: Table, text: pl.Series, numbers: Numbers) -> None:
    """Stop at a cell in which whole rows seem to stand: a quote before them was not closed, and a later one closed it."""
    lines = text.str.contains("\n", literal=True).fill_null(False)
    if lines.any():
        commas = text.str.count_matches(",", literal=True).fill_null(0)
        rows = (lines & (commas >= len(table.columns) - 1)).arg_true()
        if len(rows):
            told = f"`{text.name}` holds several lines with the commas of a row"
            raise FeedError(f"`{file}` row {numbers[rows[0]]}: {told}; close the quote before them")


def _when(mask: pl.Series, reason: str) -> pl.Expr:
    return pl.when(mask).then(pl.lit(reason)).otherwise(None)


def _parse(text: pl.Series, wanted: pa.DataType) -> pl.Series:
    if wanted == pa.int64():
        digits = text.str.contains(r"^-?\d+$").fill_null(False)
        return text.set(~digits, None).cast(pl.Int64, strict=False)
    if wanted == pa.float64():
        number = text.cast(pl.Float64, strict=False)
        return number.set(~number.is_finite().fill_null(False), None)
    if wanted == pa.bool_():
        return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if wanted == DAY:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if wanted == INSTANT:
        zoned = text.set(~text.str.contains(_ZONE).fill_null(False), None)
        zoned = zoned.str.replace("Z$", "+00:00").str.replace(" ", "T", literal=True)
        return zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
    return text
