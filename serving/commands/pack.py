"""`nbo audit pack`: the compliance pack of a month, as a folder of its own."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from rules.catalogue import Words
from serving.changes.pack import PackError, make_pack
from serving.changes.page import write_pack
from serving.office import open_engine, reading_ledger


class PackAnswer(BaseModel):
    """`nbo audit pack --json`. path: the folder; invariants: how many were proved; exceptions: what is open."""

    path: str
    month: date
    rules: int
    cases: int
    cases_failed: int
    invariants: int
    proved: int
    exceptions: list[Words]


def pack(context: typer.Context, month: Annotated[str | None, typer.Option(help="YYYY-MM; default: the month before the home's present.")] = None,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Write rules, cases, proofs, approvals, suppressions with their cost and open exceptions for an auditor."""
    home = Home.open(context.obj)
    engine = open_engine(home)
    with reading_ledger(home, engine) as ledger:
        made, files = make_pack(engine, ledger, _month(month, home))
    path: Path = write_pack(made, files, home)
    answer = PackAnswer(
        path=str(path), month=made.month, rules=len(made.rules), cases=len(made.cases), cases_failed=len(made.cases_failed),
        invariants=len(made.proofs), proved=sum(p.outcome == "proved" for p in made.proofs), exceptions=made.exceptions)  # fmt: skip
    lines = [f"pack: {path / 'index.html'}", (f"{answer.rules} rules, {answer.cases} cases ({answer.cases_failed} failed),"
             f" {answer.proved} of {answer.invariants} invariants proved"), *(f"open: {one.en}" for one in answer.exceptions)]  # fmt: skip
    tell(answer, as_json, "\n".join(lines))


def _month(text: str | None, home: Home) -> date:
    today = home.now().astimezone(home.settings.tz).date()
    if text is None:
        return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    try:
        return datetime.strptime(f"{text}-01", "%Y-%m-%d").replace(tzinfo=home.settings.tz).date()
    except ValueError:
        raise PackError(f"`{text}` is no month; write YYYY-MM") from None
