"""`nbo import ...` and `nbo features ...`: thin sub-commands over intake, sources and store."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from features.feed import FeedReport, Progress
from features.home import Home
from features.intake import import_tables
from features.sources.completejourney import SETTINGS, import_completejourney
from features.store import FeatureStore, StoreError

import_app = typer.Typer(name="import", help="Check and take over a bank's tables.", no_args_is_help=True)
features_app = typer.Typer(name="features", help="Features of the customers.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class ImportAnswer(BaseModel):
    """`nbo import ... --json`: the feed report, and the refused rows as lines for people."""

    report: FeedReport
    rejected: int
    lines: list[str]


class BuildAnswer(BaseModel):
    """`nbo features build --json`: the snapshot's file, instant, size, and hashes."""

    path: str
    as_of: datetime
    customers: int
    features: int
    sha256: str
    view_revision: str


class FeatureAnswer(BaseModel):
    """One feature as declared: name, kind (bool, number, text), unit, domain, meanings."""

    name: str
    kind: str
    unit: str
    domain: str
    null: str
    source: str
    en: str
    zh: str


class CatalogueAnswer(BaseModel):
    """`nbo features describe --json`: every feature of this home and the hash of them all."""

    view_revision: str
    features: list[FeatureAnswer]


class LatestAnswer(BaseModel):
    """`nbo features latest --json`: one customer's features at an instant, and their base's."""

    customer_id: str
    as_of: datetime
    base_as_of: datetime
    features: dict[str, bool | float | str | None]
    assumptions: list[str]


@import_app.command("tables")
def import_folder(context: typer.Context, directory: Path, as_json: AsJson = False) -> None:
    """Import canonical tables: <table>.parquet, <table>/*.parquet or <table>.csv in DIRECTORY."""
    home = Home.open(_home(context))
    with _bar(as_json) as progress:
        report = import_tables(home, directory, progress)
    _tell_import(report, as_json)


@import_app.command("completejourney")
def import_journey(
    context: typer.Context,
    directory: Annotated[Path | None, typer.Argument(help="Folder of the Parquet files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import a real retailer's year; a home that is not there yet is made for it."""
    path = _home(context)
    home = Home.open(path) if (path / "bank.yaml").exists() else Home.create(path, SETTINGS)
    with _bar(as_json) as progress:
        report = import_completejourney(home, directory, progress)
    _tell_import(report, as_json)


@features_app.command("build")
def build(
    context: typer.Context,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Instant with zone, or a day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the snapshot of every customer as of an instant (the home's present by default)."""
    home = Home.open(_home(context))
    store = FeatureStore(home)
    at = parse_instant(as_of, home) if as_of else home.now()
    with _bar(as_json) as progress:
        store.build(at, progress)
    snapshot = store.newest(at)
    assert snapshot is not None, "a snapshot was just written"
    answer = BuildAnswer(
        path=str(snapshot.path), as_of=snapshot.as_of, customers=snapshot.table.num_rows,
        features=len(store.declared), sha256=snapshot.sha256, view_revision=store.revision,
    )  # fmt: skip
    _tell(answer, as_json, f"{answer.path}: {answer.customers} customers, {answer.features} features")


@features_app.command("describe")
def describe(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
    as_json: AsJson = False,
) -> None:
    """Print the catalogue of features: meaning, unit, source table, what null means."""
    if form not in ("md", "json"):
        raise StoreError(f"--format `{form}` is unknown; choose md or json")
    store = FeatureStore(Home.open(_home(context)))
    told = [FeatureAnswer(**vars(feature)) for feature in store.declared]
    answer = CatalogueAnswer(view_revision=store.revision, features=told)
    _tell(answer, as_json or form == "json", _markdown(told))


@features_app.command("latest")
def latest(
    context: typer.Context,
    customer: str,
    at: Annotated[str | None, typer.Option("--at", help="Instant with zone, or a day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print one customer's features now: the newest snapshot and what the ledger heard since."""
    home = Home.open(_home(context))
    store = FeatureStore(home)
    moment = parse_instant(at, home) if at else home.now()
    with _ledger(home) as connection:
        rows = store.latest([customer], moment, connection)
    if not rows.num_rows:
        raise StoreError("that customer is not in the newest snapshot; check the id or build again")
    values = rows.to_pylist()[0]
    base = store.newest(moment)
    assert base is not None, "latest has just read it"
    answer = LatestAnswer(
        customer_id=customer, as_of=moment, base_as_of=base.as_of, assumptions=home.assumptions(),
        features={feature.name: values[feature.name] for feature in store.declared},
    )  # fmt: skip
    width = max(len(name) for name in answer.features)
    _tell(answer, as_json, "\n".join(f"{n:<{width}}  {v}" for n, v in answer.features.items()))


def parse_instant(text: str, home: Home) -> datetime:
    """The instant a person wrote: ISO with zone, or a day, meaning its midnight in the bank's zone.

    Raises:
        StoreError: It is neither.
    """
    try:
        if len(text) == len("2026-06-01"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=home.settings.tz).astimezone(UTC)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise StoreError(f"`{text}` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01") from error
    if instant.tzinfo is None:
        raise StoreError(f"`{text}` has no time zone; end it with Z")
    return instant.astimezone(UTC)


def _home(context: typer.Context) -> Path:
    path = context.obj
    assert isinstance(path, Path), "nbo.py resolves --home to a path"
    return path


@contextmanager
def _ledger(home: Home) -> Generator[sqlalchemy.Connection | None]:
    """The ledger's database; None where the home has none yet, for connecting would make one."""
    url = sqlalchemy.make_url(home.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        yield None
        return
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            ready = sqlalchemy.inspect(connection).has_table("events")
            yield connection if ready else None
    finally:
        engine.dispose()


@contextmanager
def _bar(as_json: bool) -> Generator[Progress]:
    """A bar on stderr that shows the table and the rows read of it."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True, disable=as_json and not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(table: str, rows: int) -> None:
            if table not in tasks:
                tasks[table] = bars.add_task(table, total=None)
            bars.update(tasks[table], completed=rows)

        yield advance


def _tell_import(report: FeedReport, as_json: bool) -> None:
    answer = ImportAnswer(report=report, rejected=report.rejected, lines=report.lines())
    rows = [f"{name}: {t.accepted:,} of {t.rows:,} rows" for name, t in report.tables.items()]
    ignored = [f"ignored, no table: {name}" for name in report.ignored]
    assumed = [f"assumption: {sentence}" for sentence in report.assumptions]
    _tell(answer, as_json, "\n".join([*rows, *answer.lines, *ignored, *assumed]))


def _tell(answer: BaseModel, as_json: bool, text: str) -> None:
    sys.stdout.write((answer.model_dump_json() if as_json else text) + "\n")


def _markdown(features: list[FeatureAnswer]) -> str:
    head = [
        "| feature | meaning | 含义 | unit or values | source | null means |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(
        head
        + [
            f"| {f.name} | {f.en} | {f.zh} | {f.unit or f.domain.replace('|', ', ') or f.kind} | {f.source} | {f.null} |"
            for f in features
        ]
    )
