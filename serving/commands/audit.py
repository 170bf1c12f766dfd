"""`nbo audit show | why | replay`: what was decided, why, and that it would be decided so again."""

import json
import sys
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from features.home import Home
from rules.decide import decide
from serving.account import account, restored, terms_of
from serving.claims import instant
from serving.decisions import canonical
from serving.engine import Engine
from serving.http.messages import DecisionWhyResponse
from serving.ledger import records
from serving.ledger.lifecycle import find
from serving.ledger.records import DecisionRow
from serving.lists.record import ListRow, row_of_list
from serving.office import open_engine, reading_ledger

app = typer.Typer(help="What was decided, and the proof.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


class AuditError(ValueError):
    """There is no such record, or it cannot be replayed; one line."""


class ShowAnswer(BaseModel):
    """`nbo audit show --json`: the record. whole: its bytes still have the hash taken when it was written.

    Parts that are no JSON any more are empty. row_sha256: the hash of the row as it stands.
    """

    decision_id: str
    customer_id: str
    unit_id: str
    as_of: str
    result: dict[str, Any]
    inputs: dict[str, Any]
    reasons: list[str]
    terms: str
    revisions: dict[str, str]
    row_sha256: str
    whole: bool


class ReplayAnswer(BaseModel):
    """`nbo audit replay --json`. same: the record is whole, and decide gave its bytes again from its inputs."""

    decision_id: str
    same: bool
    terms: str


@app.command("show")
def show(context: typer.Context, decision: str, as_json: Json = False) -> None:
    """Print the record of a decision_id, or of a list's contact_id: inputs, result, revisions, hash."""
    home = Home.open(context.obj)
    if (listed := _listed(home, decision)) is not None:
        text = json.dumps(listed.model_dump(mode="json"), indent=2, ensure_ascii=False, sort_keys=True)
        sys.stdout.write((listed.model_dump_json() if as_json else text) + "\n")
        _refuse_broken(listed.whole)
        return
    row, whole = _found(home, decision)
    answer = ShowAnswer(
        decision_id=row.decision_id, customer_id=row.customer_id, unit_id=row.unit_id, as_of=instant(row.as_of).isoformat(),
        result=_parsed(row.result, {}), inputs=_parsed(row.inputs, {}), reasons=_parsed(row.reasons, []), terms=row.terms,
        revisions=_parsed(row.revisions, {}), row_sha256=records.row_sha256(row), whole=whole)  # fmt: skip
    text = json.dumps(answer.model_dump(), indent=2, ensure_ascii=False, sort_keys=True)
    sys.stdout.write((answer.model_dump_json() if as_json else text) + "\n")
    _refuse_broken(whole)


@app.command("why")
def why(context: typer.Context, decision: str, as_json: Json = False) -> None:
    """Print why a decision came out as it did, cell by cell."""
    home = Home.open(context.obj)
    row, whole = _found(home, decision)
    if not whole:
        raise AuditError("the record is not what was written: its hash differs; nbo audit show prints it")
    with reading_ledger(home) as ledger, ledger.read() as connection:
        answer: DecisionWhyResponse = account(open_engine(home), connection, row)
    lines = [words.en for words in answer.sentences]
    lines += [f"  {name:<22} {value}" for name, value in answer.factors.items() if value is not None]
    lines += [f"  {c.offer_id:<22} {c.channel:<8} {'open' if c.open else ', '.join(c.reasons)}" for c in answer.cells]
    sys.stdout.write((answer.model_dump_json() if as_json else "\n".join(lines)) + "\n")


@app.command("replay")
def replay(context: typer.Context, decision: str, as_json: Json = False) -> None:
    """Decide again from the stored inputs; exit 1 unless the bytes are the same."""
    home = Home.open(context.obj)
    row, whole = _found(home, decision)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        same = whole and replayed(open_engine(home), connection, row)
    answer = ReplayAnswer(decision_id=row.decision_id, same=same, terms=row.terms)
    sys.stdout.write((answer.model_dump_json() if as_json else f"same bytes: {answer.same}") + "\n")
    if not answer.same:
        raise typer.Exit(1)


def replayed(engine: Engine, connection: Connection, row: DecisionRow) -> bool:
    """Whether decide gives the recorded bytes again from the stored inputs, under the recorded terms.

    AuditError where there is nothing to decide on, or those terms are not in force any more.
    """
    stored, result = json.loads(row.inputs), json.loads(row.result)
    if result["row"] is None:
        raise AuditError("the customer was unknown; there is nothing to replay")
    terms = terms_of(engine, connection, row.terms, instant(row.as_of))
    if terms is None:
        raise AuditError(
            "the terms of that decision are not in force any more; restore that policy, catalogue and campaigns to replay it"
        )
    customers, scores = restored(terms, stored)
    return canonical(decide(customers, terms, lambda *_: scores).to_pylist()[0]) == canonical(result["row"])


def _parsed(text: str | bytes, otherwise: Any) -> Any:
    """The JSON of a record's part; `otherwise` where it is none any more."""
    try:
        value = json.loads(text)
    except ValueError:
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise


def _refuse_broken(whole: bool) -> None:
    if not whole:
        print("the record is not what was written: its hash differs", file=sys.stderr)
        raise typer.Exit(1)


def _listed(home: Home, contact_id: str) -> ListRow | None:
    """The list's row behind a contact that a list reserved; null for anything else."""
    with reading_ledger(home) as ledger, ledger.read() as connection:
        contact = find(connection, contact_id)
    return (
        None if contact is None or not contact.decision_id else row_of_list(home.lists, contact.decision_id, contact_id)
    )


def _found(home: Home, decision: str) -> tuple[DecisionRow, bool]:
    with reading_ledger(home) as ledger, ledger.read() as connection:
        row = records.find(connection, decision)
        if row is None:
            raise AuditError(
                "there is no such decision; give a decision_id of the service, or show a contact_id of a list"
            )
        return row, records.is_whole(connection, decision)
