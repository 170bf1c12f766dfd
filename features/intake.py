"""Imports a bank's tables: read in batches, check every row, swap the whole in at the end.

Everything is written to a staging folder beside `data` and renamed into place when the last table
is through, so a home never holds half an import. Bad rows go to the quarantine with their reason;
a file whose columns are not the contract's stops the import, and then nothing is written.
"""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from features.checks import RowChecks
from features.duplicates import KeyBook
from features.feed import FeedError, FeedReport, Progress, Reject, TableReport
from features.home import Home, HomeError
from features.reader import Batch, read_batches, strangers, table_files
from features.settings import read_assumptions, write_whole
from features.tables import DAY, INSTANT, REQUIRED_TABLES, TABLES, Table

REPEATED = "duplicate key; an earlier row stays"


def import_tables(home: Home, source: Path, progress: Progress | None = None) -> FeedReport:
    """Check and take over the canonical tables of a folder; the home's data are replaced whole.

    Args:
        home: The home that receives the tables.
        source: Folder with `<table>.parquet`, `<table>/*.parquet` or `<table>.csv` for each table
            the bank has, and perhaps assumptions.yaml.
        progress: Called with table and rows read so far.

    Returns:
        The feed report, also written to data/feed.json. Refused rows stand in data/quarantine.

    Raises:
        FeedError: A file or column is not as the contract says; nothing was written.
    """
    if not source.is_dir():
        raise FeedError(f"`{source}` is not a folder; give the folder that holds the tables")
    ignored = strangers(source)
    for name in REQUIRED_TABLES:
        if not table_files(source, name):
            raise FeedError(f"`{source}`: table `{name}` is missing; add {name}.parquet or {name}.csv")
    staging = home.path / ".import"
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "quarantine").mkdir(parents=True)
    try:
        report = _Import(home, source, staging, progress).run(ignored)
        write_whole(staging / "feed.json", report.model_dump_json(indent=1).encode())
        _swap(staging, home.data)
    except HomeError as error:
        raise FeedError(str(error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def _swap(staging: Path, data: Path) -> None:
    """Put the staged tables in the place of the old; Home.open undoes a swap that was cut short."""
    before = data.with_name(".data-before")
    shutil.rmtree(before, ignore_errors=True)
    if data.exists():
        data.rename(before)
    staging.rename(data)
    shutil.rmtree(before, ignore_errors=True)


def _quiet(_table: str, _rows: int) -> None:
    """Progress nobody watches."""


class _Import:
    """One import on its way: the accepted ids so far and the assumptions it had to add."""

    def __init__(self, home: Home, source: Path, staging: Path, progress: Progress | None) -> None:
        self._home, self._source, self._staging = home, source, staging
        self._progress: Progress = progress or _quiet
        self._now = home.now()
        self._known: dict[str, pl.Series] = {}
        self._assumptions = read_assumptions(source / "assumptions.yaml")

    def run(self, ignored: list[str]) -> FeedReport:
        reports: dict[str, TableReport] = {}
        for name, table in TABLES.items():
            files = table_files(self._source, name)
            if files:
                reports[name] = self._import_table(table, files)
            elif any(target.startswith(f"{name}.") for t in TABLES.values() for target in t.refers.values()):
                self._assumptions.append(f"no {name}: references to {name} are not checked")
        self._write_assumptions()
        return FeedReport(
            imported_at=self._now, source=str(self._source), tables=reports, ignored=ignored,
            assumptions=self._assumptions,
        )  # fmt: skip

    def _import_table(self, table: Table, files: list[Path]) -> TableReport:
        settings = self._home.settings
        checks = RowChecks(table, settings.currencies, self._now, settings.tz, self._known)
        writer = _TableWriter(table, self._staging, self._now)
        for file in files:
            for batch in read_batches(file, table):
                writer.take(batch, checks.reasons(batch))
                self._progress(table.name, writer.n_rows)
        if not writer.n_rows and table.name in REQUIRED_TABLES:
            raise FeedError(f"`{files[0]}` has no rows; write its rows")
        report = writer.finish()
        for target in {t for other in TABLES.values() for t in other.refers.values()}:
            name, column = target.split(".")
            if name == table.name:
                self._known[target] = _ids(self._staging / name, column)
        return report

    def _write_assumptions(self) -> None:
        text = "".join(f"- {_quoted(sentence)}\n" for sentence in self._assumptions)
        if text:
            write_whole(self._staging / "assumptions.yaml", text.encode())


def _quoted(sentence: str) -> str:
    return "'" + sentence.replace("'", "''").replace("\n", " ") + "'"


def _ids(folder: Path, column: str) -> pl.Series:
    return pl.read_parquet(folder / "part-*.parquet", columns=[column]).get_column(column)


@dataclass
class _Tally:
    count: int
    file: str
    row: int


@dataclass
class _TableWriter:
    """Writes the parts of one table and its quarantine, and keeps the counts of the report."""

    table: Table
    staging: Path
    now: datetime
    n_rows: int = 0
    n_parts: int = 0
    n_accepted: int = 0
    tallies: dict[str, _Tally] = field(default_factory=dict[str, _Tally])
    filled: dict[str, int] = field(default_factory=dict[str, int])
    latest: datetime | None = None
    _refused: pq.ParquetWriter | None = None

    def __post_init__(self) -> None:
        self._folder = self.staging / self.table.name
        self._folder.mkdir()
        self._scratch = self.staging / f".{self.table.name}"
        self._keys = KeyBook(self._scratch / "keys", self.table.key)

    def take(self, batch: Batch, reasons: pl.Series) -> None:
        """Write one batch: good rows to the next part, the others to the quarantine."""
        numbers = np.arange(self.n_rows, self.n_rows + len(batch.rows), dtype=np.uint64)
        rows_in_file = np.arange(len(batch.rows), dtype=np.int64) + batch.first_row
        bad = reasons.is_not_null()
        if bad.any():
            chosen = bad.to_numpy()
            self._refuse(batch.raw.filter(bad), reasons.filter(bad), batch.file, rows_in_file[chosen])
        good = batch.rows.filter(~bad)
        if len(good):
            kept = ~bad.to_numpy()
            self._keys.add(good, numbers[kept])
            self._write_part(good, batch.file, numbers[kept], rows_in_file[kept])
        self.n_rows += len(batch.rows)

    def _write_part(self, rows: pl.DataFrame, file: str, numbers: npt.NDArray[np.uint64],
                    rows_in_file: npt.NDArray[np.int64]) -> None:  # fmt: skip
        placed = rows.with_columns(_number=numbers, _row=rows_in_file)
        if self.table.name == "transactions":
            placed = placed.sort("booked_at", maintain_order=True)
        origin = self._scratch / f"{self.n_parts:06d}.npz"
        np.savez(origin, number=placed["_number"].to_numpy(), row=placed["_row"].to_numpy(), source=file)
        self._write(placed.drop("_number", "_row"), self.n_parts)
        self.n_parts += 1

    def _write(self, rows: pl.DataFrame, part: int) -> None:
        stamped = rows.with_columns(imported_at=pl.lit(self.now, pl.Datetime("us", "UTC")))
        arrow = stamped.to_arrow().cast(self.table.schema)
        pq.write_table(arrow, self._folder / f"part-{part:06d}.parquet", compression="zstd")

    def _refuse(self, raw: pl.DataFrame, reasons: pl.Series, file: str,
                rows_in_file: npt.NDArray[np.int64]) -> None:  # fmt: skip
        texts = raw.select(pl.all().cast(pl.String)).with_columns(
            reason=reasons, file=pl.lit(file), row=pl.Series(rows_in_file, dtype=pl.Int64)
        )
        columns = ["reason", "file", "row", *raw.columns]
        arrow = texts.select(columns).to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._refused is None:
            path = self.staging / "quarantine" / f"{self.table.name}.parquet"
            self._refused = pq.ParquetWriter(path, arrow.schema)
        self._refused.write_table(arrow)
        for reason, row, count in texts.group_by("reason").agg(pl.col("row").min(), pl.len()).rows():
            tally = self.tallies.setdefault(reason, _Tally(0, file, row))
            tally.count += count

    def finish(self) -> TableReport:
        """Move repeated keys to the quarantine, close the files, count what stayed."""
        repeated = self._keys.repeated()
        for part in range(self.n_parts):
            self._settle_part(part, repeated)
        if not self.n_parts:
            self._write(pl.DataFrame(self.table.schema.empty_table()).drop("imported_at"), 0)
        if self._refused is not None:
            self._refused.close()
        shutil.rmtree(self._scratch)
        return TableReport(
            rows=self.n_rows, accepted=self.n_accepted, freshness=self.latest,
            rejects=[Reject(reason=reason, count=t.count, first_file=t.file, first_row=t.row)
                     for reason, t in sorted(self.tallies.items())],
            completeness={name: round(count / self.n_accepted, 6) if self.n_accepted else 0.0
                          for name, count in self.filled.items()},
        )  # fmt: skip

    def _settle_part(self, part: int, repeated: npt.NDArray[np.uint64]) -> None:
        path = self._folder / f"part-{part:06d}.parquet"
        origin = np.load(self._scratch / f"{part:06d}.npz")
        twice = np.isin(origin["number"], repeated)
        if twice.any():
            rows = pl.read_parquet(path).drop("imported_at")
            mask = pl.Series(twice)
            reasons = pl.repeat(REPEATED, int(twice.sum()), eager=True)
            self._refuse(rows.filter(mask), reasons, str(origin["source"]), origin["row"][twice])
            self._write(rows.filter(~mask), part)
        self._count(pq.ParquetFile(path))

    def _count(self, parquet: pq.ParquetFile) -> None:
        """Add one finished part to completeness and freshness, from its statistics alone."""
        meta = parquet.metadata
        self.n_accepted += meta.num_rows
        for index, column in enumerate(self.table.columns):
            self.filled.setdefault(column.name, 0)
            for group in range(meta.num_row_groups):
                statistics = meta.row_group(group).column(index).statistics
                if statistics is None:  # a part whose every row was a repeated key
                    continue
                filled = meta.row_group(group).num_rows - (statistics.null_count or 0)
                self.filled[column.name] += filled
                if statistics.has_min_max and column.type in (INSTANT, DAY):
                    self._freshen(statistics.max)

    def _freshen(self, value: object) -> None:
        if not isinstance(value, datetime):
            value = datetime.combine(value, time(), UTC)  # pyright: ignore[reportArgumentType]  # a day
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        if value <= self.now and (self.latest is None or value > self.latest):
            self.latest = value
