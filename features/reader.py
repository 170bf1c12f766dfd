"""Reads the files of one canonical table in batches, cast strictly to the contract's types.

A file is refused as a whole (FeedError) when its columns are not the contract's. A single cell of a
CSV that cannot be read does not stop the import: its row is marked and goes to the quarantine.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from features.feed import FeedError
from features.tables import DAY, INSTANT, TABLES, Table

BATCH_ROWS = 1 << 18  # these two bound the memory of an import
CSV_BLOCK_BYTES = 2 << 20
WORDS: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.bool_(): "true or false",
    DAY: "a day such as 2026-06-01",
    INSTANT: "an instant with its zone such as 2026-06-01T00:00:00Z",
}
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True)
class Batch:
    """Some rows of one file: cast columns, and per row the reason why a cell could not be read.

    `raw` are the cells as they came; `first_row` is the number of the first data row, from 1.
    """

    file: str
    first_row: int
    rows: pl.DataFrame
    raw: pl.DataFrame
    unread: pl.Series  # reason or null


def table_files(source: Path, name: str) -> list[Path]:
    """Files of that table in a source folder, in order; [] if the source does not have it."""
    folder = source / name
    parts = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    single = [p for p in (source / f"{name}.parquet", source / f"{name}.csv") if p.is_file()]
    if len(single) + bool(parts) > 1:
        raise FeedError(f"`{source}` holds `{name}` in more than one form; keep one of them")
    if folder.is_dir() and not parts:
        raise FeedError(f"`{folder}` holds no *.parquet file; add one or remove the folder")
    return parts or single


def strangers(source: Path) -> list[str]:
    """Names in a source that belong to no table; FeedError if one looks like a missing table."""
    missing = [name for name in TABLES if not table_files(source, name)]
    names = sorted(path.name for path in source.iterdir())
    unknown = [n for n in names if n.split(".")[0] not in TABLES and n != "assumptions.yaml"]
    for name in unknown:
        near = difflib.get_close_matches(name.split(".")[0], missing, n=1, cutoff=0.8)
        if near:
            raise FeedError(f"`{source / name}` is no table; did you mean `{near[0]}`? rename it")
    return unknown


def read_batches(file: Path, table: Table) -> Iterator[Batch]:
    """The rows of one file in batches of at most BATCH_ROWS.

    Raises:
        FeedError: The file is empty or no Parquet/CSV, or a column is missing, extra or of
            another type.
    """
    if file.stat().st_size == 0:
        raise FeedError(f"`{file}` is empty; write its header and rows, or remove it")
    yield from (_read_csv if file.suffix == ".csv" else _read_parquet)(file, table)


def _read_parquet(file: Path, table: Table) -> Iterator[Batch]:
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise FeedError(f"`{file}` is not a Parquet file; write it again") from error
    _check_names(file, table, parquet.schema_arrow.names)
    for column in table.columns:
        found: pa.DataType = parquet.schema_arrow.field(column.name).type
        if not _widens(found, column.type):
            remedy = "write UTC instants" if pa.types.is_timestamp(found) else "cast it"
            raise FeedError(
                f"`{file}`: column `{column.name}` is {found}; expected {WORDS[column.type]} ({column.type}); {remedy}"
            )
    names, row = [c.name for c in table.columns], 1
    for batch in parquet.iter_batches(BATCH_ROWS, columns=names):
        arrow = pa.Table.from_batches([batch]).select(names)
        cast = [_cast(file, arrow.column(c.name), c.name, c.type) for c in table.columns]
        rows = pl.DataFrame(pa.table(cast, names=names))
        yield Batch(file.name, row, rows, rows, pl.repeat(None, len(rows), dtype=pl.String, eager=True))
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
        return column.cast(wanted, safe=True)
    except pa.ArrowInvalid as error:
        raise FeedError(
            f"`{file}`: column `{name}` ({column.type}) loses digits as {wanted}; write {wanted}"
        ) from error


def _read_csv(file: Path, table: Table) -> Iterator[Batch]:
    with file.open("rb") as stream:
        first = stream.readline()
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in first:
        raise FeedError(f"`{file}` is UTF-16; save the file as UTF-8")
    header = first.decode("utf-8", "replace").lstrip("\ufeff").strip()
    names = [name.strip().strip('"') for name in header.split(",")]
    _check_names(file, table, names)
    texts = {name: pa.binary() for name in names}
    convert = csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=True)
    row = 1
    for cells in _blocks(file, convert):
        yield _parsed(file, table, *_texts(cells.select([c.name for c in table.columns])), row)
        row += len(cells)
    if row == 1:
        raise FeedError(f"`{file}` has a header and no rows; write its rows, or remove it")


def _blocks(file: Path, convert: csv.ConvertOptions) -> Iterator[pa.Table]:
    """The cells of a CSV, a few blocks at a time: Arrow reads some thirty blocks ahead, so they are small."""
    done, waiting = 0, list[pa.RecordBatch]()
    try:
        for batch in csv.open_csv(file, csv.ReadOptions(block_size=CSV_BLOCK_BYTES), convert_options=convert):
            done += len(batch)
            waiting.append(batch)
            if sum(map(len, waiting)) >= BATCH_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting.clear()
    except pa.ArrowInvalid as error:
        raise FeedError(f"`{file}` after row {done}: {_plain(error)}") from error
    if any(map(len, waiting)):
        yield pa.Table.from_batches(waiting)


def _plain(error: Exception) -> str:
    return f"{str(error).splitlines()[0]}; check quotes and the number of commas"


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


def _parsed(file: Path, table: Table, raw: pl.DataFrame, garbled: dict[str, pl.Series], first_row: int) -> Batch:
    """Parse each text column; a cell that does not parse becomes null and marks its row."""
    columns: list[pl.Series] = []
    reasons: list[pl.Expr] = []
    for column in table.columns:
        text = raw.get_column(column.name)
        parsed = _parse(text, column.type)
        bad = text.is_not_null() & parsed.is_null()
        if column.name in garbled:
            reasons.append(_when(garbled[column.name], f"`{column.name}` is not UTF-8"))
        if bad.sum() == text.len() - text.null_count() > 0 and first_row == 1 and len(text) > 1:
            raise FeedError(f"`{file}`: column `{column.name}` holds no value that is {WORDS[column.type]}")
        columns.append(parsed)
        reason = f"`{column.name}` is not {WORDS[column.type]}"
        if column.type == INSTANT:
            naive = bad & ~text.str.contains(_ZONE).fill_null(False)
            reasons.append(_when(naive, f"`{column.name}` has no time zone"))
        reasons.append(_when(bad, reason))
    unread = pl.select(pl.coalesce(reasons)).to_series()
    return Batch(file.name, first_row, pl.DataFrame(columns), raw, unread)


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


def _check_names(file: Path, table: Table, found: list[str]) -> None:
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
