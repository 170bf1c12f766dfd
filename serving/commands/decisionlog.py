"""`nbo audit log OUT`: the decisions as a table that `nbo models offpolicy` and a notebook read."""

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson
from serving.decisionlog import export_log
from serving.ledger.book import micros
from serving.office import open_engine, reading_ledger

Since = Annotated[str | None, typer.Option(help="Only decisions from this day or instant on.")]


class LogError(ValueError):
    """The log cannot be written; one line."""


class LogAnswer(BaseModel):
    """`nbo audit log --json`: the file, the decisions and rows in it, and why others are left out."""

    file: str
    n_decisions: int
    n_rows: int
    left_out: dict[str, int]


def log(context: typer.Context, out: Path, since: Since = None, as_json: AsJson = False) -> None:
    """Write the service's decisions to OUT (Parquet): every action with its probability, and what came of it.

    What lists decided is not in it, and counted.
    """
    home = Home.open(context.obj)
    if not out.parent.is_dir():
        raise LogError(f"`{out.parent}` is no folder; make it first")
    start = _instant(since, home) if since else 0
    with reading_ledger(home) as ledger:
        now = ledger.now_micros()
        with ledger.read() as connection:
            found = export_log(open_engine(home), connection, start, now)
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".writing-", delete=False) as draft:
        pq.write_table(found.rows, draft)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(out)
    answer = LogAnswer(file=str(out), n_decisions=found.n_decisions, n_rows=len(found.rows), left_out=found.left_out)
    lines = [f"{answer.n_decisions} decisions, {answer.n_rows} actions: {out}"]
    lines += [f"  left out, {why}: {count}" for why, count in answer.left_out.items()]
    typer.echo("\n".join(lines), err=as_json)
    if as_json:
        typer.echo(answer.model_dump_json())


def _instant(text: str, home: Home) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise LogError(f"--since `{text}` is no day or instant; write 2026-06-01") from error
    return micros(at if at.tzinfo else at.replace(tzinfo=home.settings.tz))
