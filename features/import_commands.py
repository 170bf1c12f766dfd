"""`nbo import ...`: thin sub-commands over intake and sources."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from features.feed import FeedError, FeedReport
from features.home import Home, Settings
from features.intake import import_tables
from features.sources import berka, completejourney
from features.sources.sql import import_database, is_url
from features.template import write_template
from features.terminal import AsJson, bar, home_of, tell

import_app = typer.Typer(name="import", help="Check and take over a bank's tables.", no_args_is_help=True)


class ImportAnswer(BaseModel):
    """`nbo import ... --json`: the feed report, and the refused rows as lines for people."""

    report: FeedReport
    rejected: int
    lines: list[str]


class TemplateAnswer(BaseModel):
    """`nbo import template --json`: the files written."""

    written: list[str]


@import_app.command("tables")
def import_folder(
    context: typer.Context,
    source: str,
    schema: Annotated[str | None, typer.Option(help="Schema of the database.")] = None,
    assumptions: Annotated[
        Path | None, typer.Option(help="File of what the database does not have, as a folder's assumptions.yaml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import canonical tables from SOURCE: a folder of Parquet or CSV files or Delta tables, or a SQLAlchemy URL."""
    home = Home.open(home_of(context))
    if (schema or assumptions) and not is_url(source):
        raise FeedError(f"`{source}` is a folder; --schema and --assumptions go with a database's URL")
    with bar(as_json) as progress:
        report = (
            import_database(home, source, schema, progress, assumptions)
            if is_url(source)
            else import_tables(home, Path(source), progress)
        )
    _tell_import(report, as_json)


@import_app.command("completejourney")
def import_journey(
    context: typer.Context,
    directory: Annotated[Path | None, typer.Argument(help="Folder of the Parquet files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import a real retailer's year; a home that is not there yet is made for it."""
    home = _home_for(context, completejourney.SETTINGS, directory)
    with bar(as_json) as progress:
        report = completejourney.import_completejourney(home, directory, progress)
    _tell_import(report, as_json)


@import_app.command("berka")
def import_czech_bank(context: typer.Context, directory: Path, as_json: AsJson = False) -> None:
    """Import the PKDD'99 bank from its `;` files; a home that is not there yet is made for it."""
    home = _home_for(context, berka.SETTINGS, directory)
    with bar(as_json) as progress:
        report = berka.import_berka(home, directory, progress)
    _tell_import(report, as_json)


@import_app.command("template")
def import_template(directory: Path, as_json: AsJson = False) -> None:
    """Write one CSV header a table, README.md and assumptions.yaml into DIRECTORY, to be filled."""
    answer = TemplateAnswer(written=[str(path) for path in write_template(directory)])
    tell(answer, as_json, "\n".join(answer.written))


def _home_for(context: typer.Context, settings: Settings, source: Path | None) -> Home:
    """The home that is there, or a new one; none where there is nothing to be imported."""
    path = home_of(context)
    if source is not None and not source.is_dir():
        raise FeedError(f"`{source}` is not a folder; give the folder of the files")
    return Home.open(path) if (path / "bank.yaml").exists() else Home.create(path, settings)


def _tell_import(report: FeedReport, as_json: bool) -> None:
    answer = ImportAnswer(report=report, rejected=report.rejected, lines=report.lines())
    rows = [f"{name}: {t.accepted:,} of {t.rows:,} rows" for name, t in report.tables.items()]
    ignored = [f"ignored, no table: {name}" for name in report.ignored]
    assumed = [f"assumption: {sentence}" for sentence in report.assumptions]
    tell(answer, as_json, "\n".join([*rows, *answer.lines, *ignored, *assumed]))
