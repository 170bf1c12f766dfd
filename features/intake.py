"""Imports a bank's tables: read in batches, check every row, swap the whole in at the end.

Everything is written to a staging folder beside `data` and renamed into place when the last table
is through, so a home never holds half an import. Bad rows go to the quarantine with their reason;
a file whose columns are not the contract's stops the import, and then nothing is written.
"""

import shutil
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from features.booking_channels import plain_name
from features.checks import RowChecks
from features.feed import UNRATED, FeedError, FeedReport, Progress, TableReport
from features.home import Home, HomeError
from features.reader import read_batches, strangers, table_files
from features.settings import read_assumptions, write_whole
from features.source import unheard
from features.staging import alone
from features.table_writer import TableWriter
from features.tables import REQUIRED_TABLES, TABLES, Table

MANY_ROWS = 100  # of so many rows a tenth has to be good
NO_RATE = "no rate of its currency by its day; what it is worth in base currency is unknown"


def import_tables(home: Home, source: Path, progress: Progress | None = None) -> FeedReport:
    """Check and take over the canonical tables of a folder; the home's data are replaced whole.

    Args:
        home: The home that receives the tables.
        source: Folder with `<table>.parquet`, `<table>/*.parquet`, `<table>.csv` or a Delta or Iceberg table
            `<table>/` for each table the bank has, and perhaps assumptions.yaml.
        progress: Called with table and rows read so far.

    Returns:
        The feed report, also written to data/feed.json. Refused rows stand in data/quarantine.

    Raises:
        FeedError: A file or column is not as the contract says; nothing was written.
    """
    if not source.is_dir():
        raise FeedError(f"`{source}` is not a folder; give the folder that holds the tables")
    with alone(home) as staging:
        return take_over(home, source, staging, str(source), progress)


def take_over(home: Home, source: Path, staging: Path, told: str, progress: Progress | None = None) -> FeedReport:
    """What `import_tables` does, for whoever has the home for himself already. told: the source's name in the report."""
    ignored = strangers(source)
    for name in REQUIRED_TABLES:
        if not table_files(source, name):
            raise FeedError(f"`{source}`: table `{name}` is missing; add {name}.parquet or {name}.csv")
    (staging / "quarantine").mkdir()
    try:
        report = _Import(home, source, staging, progress).run(ignored, told).compared(_last(home))
        write_whole(staging / "feed.json", report.model_dump_json(indent=1).encode())
        _swap(staging, home.data)
    except HomeError as error:
        raise FeedError(str(error)) from error
    return report


def _last(home: Home) -> FeedReport | None:
    """The report of the import before; None for a first one, or one no longer understood."""
    try:
        return FeedReport.model_validate_json((home.data / "feed.json").read_bytes())
    except (OSError, ValidationError):
        return None


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
        self._given = read_assumptions(source / "assumptions.yaml")
        self._assumptions = list(self._given)

    def run(self, ignored: list[str], told: str) -> FeedReport:
        reports: dict[str, TableReport] = {}
        for name, table in TABLES.items():
            files = table_files(self._source, name)
            if files:
                reports[name] = self._import_table(table, files)
            elif any(target.startswith(f"{name}.") for t in TABLES.values() for target in t.refers.values()):
                self._assumptions.append(f"no {name}: references to {name} are not checked")
        self._write_assumptions()
        reports["transactions"].unrated = self._unrated()
        return FeedReport(
            imported_at=self._now, source=told, tables=reports, ignored=ignored,
            assumptions=self._assumptions, unnamed_channels=self._unnamed(reports["transactions"].values.get("channel", {})),
            unheard=unheard(self._given, set(TABLES) - set(reports)),
        )  # fmt: skip

    def _unnamed(self, channels: dict[str, int]) -> dict[str, int]:
        """The channels without features of their own, where most bookings are on those; a bank may mean to leave a few out."""
        named = self._home.settings.booking_channels
        unnamed = {name: n for name, n in channels.items() if plain_name(name) not in named}
        return unnamed if 2 * sum(unnamed.values()) > sum(channels.values()) else {}

    def _import_table(self, table: Table, files: list[Path]) -> TableReport:
        settings = self._home.settings
        checks = RowChecks(table, settings.currencies, self._now, settings.tz, self._known)
        writer = TableWriter(table, self._staging, self._now)
        for file in files:
            for batch in read_batches(file, table):
                writer.take(batch, checks.reasons(batch))
                self._progress(table.name, writer.n_rows)
        if not writer.n_rows and table.name in REQUIRED_TABLES:
            raise FeedError(f"`{files[0]}` has no rows; write its rows")
        report = writer.finish()
        # Put in place of good tables, what is left would be a bank without its opt-outs, or without its customers.
        few = report.rows >= MANY_ROWS and report.accepted * 10 < report.rows
        if few or (report.rows and not report.accepted):
            most, refused = max(report.rejects, key=lambda reject: reject.count), report.rows - report.accepted
            raise FeedError(f"`{files[0]}`: {refused:,} of {report.rows:,} rows are refused, {most.count:,} for: {most.reason}"
                            f" (first: row {most.first_row}); mend them, the home's tables stay as they are")  # fmt: skip
        for target in {t for other in TABLES.values() for t in other.refers.values()}:
            name, column = target.split(".")
            if name == table.name:
                self._known[target] = _ids(self._staging / name, column)
        return report

    def _unrated(self) -> dict[str, int]:
        """Per foreign currency the bookings that no rate has been given by, on their local day; each is listed.

        They stay bookings: what they are worth in base currency is unknown, and nothing else of them.
        """
        settings = self._home.settings
        days = pl.DataFrame(schema={"currency": pl.String, "first": pl.Date})
        if (self._staging / "fx_rates").is_dir():
            rates = pl.scan_parquet(self._staging / "fx_rates" / "part-*.parquet")
            days = rates.group_by("currency").agg(first=pl.col("day").min()).collect()
        booked = pl.scan_parquet(self._staging / "transactions" / "part-*.parquet").select(
            pl.lit(NO_RATE).alias("reason"), "transaction_id", "customer_id", "amount_minor", "currency",
            day=pl.col("booked_at").dt.convert_time_zone(settings.zone).dt.date()
        )  # fmt: skip
        foreign = booked.filter(pl.col("currency") != settings.currency).join(days.lazy(), on="currency", how="left")
        unrated = foreign.filter(pl.col("first").is_null() | (pl.col("day") < pl.col("first"))).drop("first")
        path = self._staging / "quarantine" / UNRATED
        unrated.sink_parquet(path)
        counts = pl.scan_parquet(path).group_by("currency").len().sort("currency").collect()
        if counts.is_empty():
            path.unlink()
        return dict(counts.iter_rows())

    def _write_assumptions(self) -> None:
        text = "".join(f"- {_quoted(sentence)}\n" for sentence in self._assumptions)
        if text:
            write_whole(self._staging / "assumptions.yaml", text.encode())


def _quoted(sentence: str) -> str:
    return "'" + sentence.replace("'", "''").replace("\n", " ") + "'"


def _ids(folder: Path, column: str) -> pl.Series:
    return pl.read_parquet(folder / "part-*.parquet", columns=[column]).get_column(column).sort()
