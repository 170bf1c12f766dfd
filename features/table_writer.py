"""Writes one table of an import: the parts, the quarantine, and the counts of the report."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.batch import Batch
from features.duplicates import KeyBook, Places
from features.feed import Reject, TableReport
from features.feed_drift import magnitudes, most
from features.tables import DAY, INSTANT, Table

CATEGORIES = ("currency", "channel", "product")  # beside the columns with a domain
REPEATED = "duplicate key; an earlier row stays"
# Of whom two rows say different things nobody can say which one holds, whether he may be contacted among the rest.
CONTRADICTED = "two customers have this id; neither is taken"


@dataclass
class _Tally:
    count: int
    file: str
    row: int


@dataclass
class TableWriter:
    """Writes the parts of one table and its quarantine, and keeps the counts of the report."""

    table: Table
    staging: Path
    now: datetime
    n_rows: int = 0
    n_parts: int = 0
    n_accepted: int = 0
    tallies: dict[str, _Tally] = field(default_factory=dict[str, _Tally])
    filled: dict[str, int] = field(default_factory=dict[str, int])
    values: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    latest: datetime | None = None
    _refused: pq.ParquetWriter | None = None

    def __post_init__(self) -> None:
        self._folder = self.staging / self.table.name
        self._folder.mkdir()
        self._scratch = self.staging / f".{self.table.name}"
        self._keys = KeyBook(self._scratch / "keys", self.table.key, whole=self.table.name == "customers")

    def take(self, batch: Batch, reasons: pl.Series) -> None:
        """Write one batch: good rows to the next part, the others to the quarantine."""
        numbers = np.arange(self.n_rows, self.n_rows + len(batch.rows), dtype=np.uint64)
        bad = reasons.is_not_null()
        if bad.any():
            chosen = bad.to_numpy()
            self._refuse(batch.raw.filter(bad), reasons.filter(bad), batch.file, batch.numbers[chosen])
            if self._keys.whole:  # what one row says is in doubt although the other was refused for itself
                named = chosen & batch.rows[self.table.key[0]].is_not_null().to_numpy()
                self._keys.add(batch.rows.filter(pl.Series(named)), numbers[named], refused=True)
        good = batch.rows.filter(~bad)
        if len(good):
            kept = ~bad.to_numpy()
            self._keys.add(good, numbers[kept])
            self._write_part(good, batch.file, numbers[kept], batch.numbers[kept])
        self.n_rows += len(batch.rows)

    def _write_part(self, rows: pl.DataFrame, file: str, numbers: Places,
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
        """Move repeated and contradicted keys to the quarantine, close the files, count what stayed."""
        repeated, contradicted = self._keys.repeated(), self._keys.contradicted()
        for part in range(self.n_parts):
            self._settle_part(part, repeated, contradicted)
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
            values={name: most(counts) for name, counts in self.values.items()},
        )  # fmt: skip

    def _settle_part(self, part: int, repeated: Places, contradicted: Places) -> None:
        path = self._folder / f"part-{part:06d}.parquet"
        origin = np.load(self._scratch / f"{part:06d}.npz")
        unsure = np.isin(origin["number"], contradicted)
        twice = unsure | np.isin(origin["number"], repeated)
        if twice.any():
            rows = pl.read_parquet(path).drop("imported_at")
            mask = pl.Series(twice)
            reasons = pl.Series(np.where(unsure[twice], CONTRADICTED, REPEATED), dtype=pl.String)
            self._refuse(rows.filter(mask), reasons, str(origin["source"]), origin["row"][twice])
            self._write(rows.filter(~mask), part)
        self._count(pq.ParquetFile(path))
        self._count_values(path)

    def _count_values(self, path: Path) -> None:
        """Add the categories of one finished part, and of its numbers the orders of magnitude."""
        names = [c.name for c in self.table.columns if c.domain or c.name in CATEGORIES]
        numbers = [c.name for c in self.table.columns if c.type in (pa.int64(), pa.float64())]
        rows = pl.read_parquet(path, columns=[*names, *numbers]) if names or numbers else pl.DataFrame()
        for name in (*names, *numbers):
            column = rows[name].drop_nulls()
            counts = (magnitudes(column) if name in numbers else column).value_counts(name="n")
            self.values.setdefault(name, Counter()).update(dict(counts.iter_rows()))

    def _count(self, parquet: pq.ParquetFile) -> None:
        """Add one finished part to completeness and freshness, from its statistics alone."""
        meta = parquet.metadata
        self.n_accepted += meta.num_rows
        for index, column in enumerate(self.table.columns):
            self.filled.setdefault(column.name, 0)
            for group in range(meta.num_row_groups):
                statistics = meta.row_group(group).column(index).statistics
                if statistics is None:  # a part of which no row stayed
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
