"""What every command shares: the home it works on, the bar people watch, the answer it prints."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from features.feed import Progress

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def home_of(context: typer.Context) -> Path:
    """The path of the home the front door was given."""
    path = context.obj
    assert isinstance(path, Path), "nbo.py resolves --home to a path"
    return path


@contextmanager
def bar(as_json: bool) -> Generator[Progress]:
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


def tell(answer: BaseModel, as_json: bool, text: str) -> None:
    """Print the answer: one JSON object, or the text for people."""
    sys.stdout.write((answer.model_dump_json() if as_json else text) + "\n")
