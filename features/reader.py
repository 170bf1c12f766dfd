"""Finds the files of each canonical table in a source, and opens each by the reader of its kind.

A file is refused as a whole (FeedError) when its columns are not the contract's. A single cell of a
CSV that cannot be read does not stop the import: its row is marked and goes to the quarantine.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path

from features.batch import Batch
from features.cells import read_csv
from features.columnar import read_parquet
from features.feed import FeedError
from features.lake import is_delta, is_iceberg, read_lake
from features.tables import TABLES, Table


def table_files(source: Path, name: str) -> list[Path]:
    """Files of that table in a source folder, in order, or the folder of a Delta or Iceberg table; [] if the source does not have it."""
    folder = source / name
    whole = is_delta(folder) or is_iceberg(folder)  # which of its files count, its log says
    parts = [folder] if whole else _parts(folder) if folder.is_dir() else []
    single = [p for p in (source / f"{name}.parquet", source / f"{name}.csv") if p.is_file()]
    if len(single) + bool(parts) > 1:
        raise FeedError(f"`{source}` holds `{name}` in more than one form; keep one of them")
    if folder.is_dir() and not parts:
        raise FeedError(f"`{folder}` holds no *.parquet file; add one or remove the folder")
    return parts or single


def _parts(folder: Path) -> list[Path]:
    """The files of a table in parts; FeedError where one beside them would be passed over. Marks of who wrote them may be there."""
    parts, others = list[Path](), list[str]()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet" and path.is_file():
            parts.append(path)
        elif not path.name.startswith(("_", ".")):
            others.append(path.name)
    if parts and others:
        raise FeedError(f"`{folder / others[0]}` is not read; a table in parts is *.parquet files and no more")
    return parts


def strangers(source: Path) -> list[str]:
    """Names in a source that belong to no table; FeedError if one looks like a missing table."""
    files = {name: table_files(source, name) for name in TABLES}
    missing = [name for name, found in files.items() if not found]
    names = sorted(path.name for path in source.iterdir())
    read = {file.relative_to(source).parts[0] for found in files.values() for file in found}
    for name in names:
        table = name.split(".")[0]
        if table in TABLES and name not in read:
            raise FeedError(f"`{source / name}` is not read; write {table}.parquet or {table}.csv, or take it away")
    unknown = [n for n in names if n not in read and n != "assumptions.yaml"]
    for name in unknown:
        near = difflib.get_close_matches(name.split(".")[0], missing, n=1, cutoff=0.8)
        if near:
            raise FeedError(f"`{source / name}` is no table; did you mean `{near[0]}`? rename it")
    return unknown


def read_batches(file: Path, table: Table) -> Iterator[Batch]:
    """The rows of one file, or of one lake table, in batches of at most BATCH_ROWS.

    Raises:
        FeedError: The file is empty or no Parquet/CSV, or a column is missing, extra or of
            another type.
    """
    if file.is_dir():
        yield from read_lake(file, table)
        return
    if file.stat().st_size == 0:
        raise FeedError(f"`{file}` is empty; write its header and rows, or remove it")
    yield from (read_csv if file.suffix == ".csv" else read_parquet)(file, table)
