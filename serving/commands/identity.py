"""`nbo identity merge | unmerge | list`: which customer ids are one person, by hand."""

import getpass
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.ledger.identity import Link, in_force, merge, unmerge
from serving.office import open_ledger, reading_ledger

app = typer.Typer(help="Customer ids that are one person.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


class MergeAnswer(BaseModel):
    """`nbo identity merge | unmerge --json`: the merge, and whether it is in force."""

    merge_id: str
    in_force: bool


class ListedMerge(BaseModel):
    """One merge in force. confidence 1: certain."""

    merge_id: str
    one: str
    other: str
    confidence: float
    source: str


class ListAnswer(BaseModel):
    """`nbo identity list --json`: the merges in force."""

    merges: list[ListedMerge]


@app.command("merge")
def merge_(context: typer.Context, one: str, other: str, reason: Reason,
           confidence: Annotated[float, typer.Option(help="1: certain; below: doubt, which only suppresses.")] = 1.0,
           as_json: AsJson = False) -> None:  # fmt: skip
    """Take two ids for one person: caps, suppressions and opt-outs are shared from the next decision on."""
    link = Link(one, other, confidence, "manual")
    with open_ledger(Home.open(context.obj)) as ledger:
        task = lambda connection: merge(connection, link, _operator(), reason, ledger.now_micros())
        answer = MergeAnswer(merge_id=ledger.write(task).result(), in_force=True)
    tell(answer, as_json, f"merged: {answer.merge_id}")


@app.command("unmerge")
def unmerge_(context: typer.Context, merge_id: str, reason: Reason, as_json: AsJson = False) -> None:
    """Undo a merge; the record of it stays."""
    with open_ledger(Home.open(context.obj)) as ledger:
        task = lambda connection: unmerge(connection, merge_id, _operator(), reason, ledger.now_micros())
        ledger.write(task).result()
    tell(MergeAnswer(merge_id=merge_id, in_force=False), as_json, f"unmerged: {merge_id}")


@app.command("list")
def list_(
    context: typer.Context,
    customer: Annotated[str | None, typer.Argument(help="Only his.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the merges in force."""
    with reading_ledger(Home.open(context.obj)) as ledger, ledger.read() as connection:
        rows = in_force(connection, customer)
    answer = ListAnswer(merges=[ListedMerge(merge_id=r.merge_id, one=r.one, other=r.other, confidence=r.confidence,
                                            source=r.source) for r in rows])  # fmt: skip
    lines = [f"{m.merge_id}  {m.one} = {m.other}  {m.confidence:g}  {m.source}" for m in answer.merges]
    tell(answer, as_json, "\n".join(lines) or "no merge is in force")


def _operator() -> str:
    return f"operator {getpass.getuser()}"
