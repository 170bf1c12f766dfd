"""Any Parquet or CSV file as a frame: delimiter and decimal comma found, dates read as dates.

What a file holds is told by its first bytes, not by its name. Every error is one line.
"""

import csv
import difflib
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from training.errors import DatasetError

_PARQUET = b"PAR1"
_SAMPLE_BYTES = 65_536
_SAMPLE_LINES = 50
_DELIMITERS = ",;\t|"
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"


def read_table(path: Path, text: Collection[str] = ()) -> pl.DataFrame:
    """The rows of a Parquet or CSV file, in their order.

    Args:
        text: Columns of a CSV that are text whatever they look like: an id keeps its leading zeros.

    Raises:
        DatasetError: No such file, no row, two columns of one name, or bytes that are neither.
    """
    if not path.is_file():
        raise DatasetError(f"no file `{path}`; give a Parquet or CSV file")
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE_BYTES)
    if not head.strip():
        raise DatasetError(f"`{path.name}` is empty; give a Parquet or CSV file with a header and rows")
    frame = _parquet(path) if head.startswith(_PARQUET) else _csv(path, head, text)
    if frame.is_empty():
        raise DatasetError(f"`{path.name}` has a header and no row; there is nothing to learn from")
    return frame


def need_columns(frame: pl.DataFrame, names: Collection[str], what: str) -> None:
    """Refuse a frame that lacks one of the columns, naming the nearest that it has.

    Raises:
        DatasetError: With the name and the nearest right one.
    """
    for name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(name, frame.columns, 1, 0.5) or _same_letters(name, frame.columns)
            remedy = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(frame.columns[:8])}"
            raise DatasetError(f"no column `{name}` in {what}; {remedy}")


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame whole or not at all: Parquet where the name says so, else CSV.

    Raises:
        DatasetError: The folder is missing or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise DatasetError(f"cannot write `{path}`: {error.strerror}; name a file in a folder that exists") from error
    os.close(handle)
    draft = Path(name)
    try:
        if path.suffix in {".parquet", ".pq"}:
            frame.write_parquet(draft)
        else:
            frame.write_csv(draft)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise DatasetError(f"cannot write `{path}`: {error.strerror}; name a file in a folder that exists") from error
    finally:
        draft.unlink(missing_ok=True)


def _parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"`{path.name}` is a damaged Parquet file: {_first_line(error)}; write it again") from error


def _csv(path: Path, head: bytes, keep: Collection[str]) -> pl.DataFrame:
    if b"\0" in head:
        raise DatasetError(f"`{path.name}` is neither Parquet nor text; give a Parquet or CSV file")
    text = head.decode("utf-8-sig", errors="replace")
    delimiter = _delimiter(text)
    header = next(csv.reader(text.splitlines()[:1], delimiter=delimiter))
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"column `{twice}` occurs twice in `{path.name}`; give each column a name of its own")
    try:
        frame = pl.read_csv(path, separator=delimiter, infer_schema_length=None, try_parse_dates=True,
                            null_values=_NULLS, glob=False,
                            schema_overrides={name: pl.String for name in keep if name in header})  # fmt: skip
    except (pl.exceptions.PolarsError, OSError) as error:
        why = _first_line(error)
        raise DatasetError(f"`{path.name}` is no CSV in UTF-8 with one length of row: {why}; save it again") from error
    return frame if delimiter == "," else _with_decimal_points(frame, keep)


def _delimiter(text: str) -> str:
    """The delimiter under which the first lines have the same, largest number of fields."""
    lines = text.splitlines()
    lines = (lines[:-1] if len(lines) > 1 and len(text) > _SAMPLE_BYTES // 2 else lines)[:_SAMPLE_LINES]

    def fields(delimiter: str) -> tuple[bool, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        return min(counts) == max(counts), counts[0]

    return max(_DELIMITERS, key=lambda delimiter: (fields(delimiter)[1] > 1, *fields(delimiter)))


def _with_decimal_points(frame: pl.DataFrame, keep: Collection[str]) -> pl.DataFrame:
    changed: list[pl.Series] = []
    for column in frame.select(pl.col(pl.String)).drop(keep, strict=False):
        known = column.drop_nulls()
        if len(known) and known.str.contains(_DECIMAL_COMMA).all():
            changed.append(column.str.replace(",", ".", literal=True).cast(pl.Float64))
    return frame.with_columns(changed)


def _same_letters(name: str, columns: Sequence[str]) -> list[str]:
    return [column for column in columns if column.lower() == name.lower()][:1]


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].strip().rstrip(".")[:160]
