"""`nbo audit show | why | why-not | replay`: what was decided, why, and that it would be decided so again."""

import json
import sys
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.engine import Connection

from features.commands import parse_instant
from features.home import Home
from features.terminal import AsJson, tell
from serving.account import account
from serving.changes.live import tellable
from serving.claims import instant
from serving.commands import records as records_commands
from serving.engine import keyring_of
from serving.http.messages import DecisionWhyResponse
from serving.ledger import records
from serving.ledger.lifecycle import find
from serving.ledger.records import DecisionRow
from serving.ledger.schema import decisions
from serving.ledger.seal import seal_of_row
from serving.ledger.vault import ErasedError, PayloadError, Vault
from serving.lists.record import ListRow, row_of_list
from serving.office import open_engine, reading_ledger
from serving.replay import ReplayError, Tally, replay_many, replayed
from serving.whynot import WhyNot, why_not

app = typer.Typer(help="What was decided, and the proof.", no_args_is_help=True)
app.add_typer(records_commands.app)  # without a name: commands of `nbo audit` like the others


class AuditError(ValueError):
    """There is no such record, or it cannot be replayed; one line."""


class ShowAnswer(BaseModel):
    """`nbo audit show --json`: the record. whole: its bytes still have the hash taken when it was written.

    Parts that are no JSON any more, and erased ones, are empty. row_sha256: the hash of the row as it
    stands. seal: the number of the seal that covers it, null where it waits for one.
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
    seal: int | None
    erased: bool


class ReplayAnswer(BaseModel):
    """`nbo audit replay --json`. same: the record is whole, and decide gave its bytes again from its inputs."""

    decision_id: str
    same: bool
    terms: str


@app.command("show")
def show(context: typer.Context, decision: str, as_json: AsJson = False) -> None:
    """Print the record of a decision_id, or of a list's contact_id: inputs, result, revisions, hash."""
    home = Home.open(context.obj)
    if (listed := _listed(home, decision)) is not None:
        text = json.dumps(listed.model_dump(mode="json"), indent=2, ensure_ascii=False, sort_keys=True)
        tell(listed, as_json, text)
        _refuse_broken(listed.whole)
        return
    row, whole = _found(home, decision)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        seal = seal_of_row(connection, "decision", row.decision_id)
        plain, erased = _plain(connection, Vault(keyring_of(home)), row)
    answer = ShowAnswer(
        decision_id=row.decision_id, customer_id=row.customer_id, unit_id=row.unit_id, as_of=instant(row.as_of).isoformat(),
        result=_parsed(plain.result, {}), inputs=_parsed(plain.inputs, {}), reasons=_parsed(row.reasons, []), terms=row.terms,
        revisions=_parsed(row.revisions, {}), row_sha256=records.row_sha256(row), whole=whole, seal=seal, erased=erased)  # fmt: skip
    text = json.dumps(answer.model_dump(), indent=2, ensure_ascii=False, sort_keys=True)
    tell(answer, as_json, text)
    _refuse_broken(whole)


@app.command("why")
def why(context: typer.Context, decision: str, as_json: AsJson = False) -> None:
    """Print why a decision came out as it did, cell by cell."""
    home = Home.open(context.obj)
    row, whole = _found(home, decision)
    if not whole:
        raise AuditError("the record is not what was written: its hash differs; nbo audit show prints it")
    with reading_ledger(home) as ledger, ledger.read() as connection:
        try:
            answer: DecisionWhyResponse = account(open_engine(home), connection, row)
        except (ErasedError, PayloadError) as error:
            raise AuditError(str(error)) from None
    lines = [words.en for words in answer.sentences]
    lines += [f"  {name:<22} {value}" for name, value in answer.factors.items() if value is not None]
    lines += [f"  {c.offer_id:<22} {c.channel:<8} {'open' if c.open else ', '.join(c.reasons)}" for c in answer.cells]
    tell(answer, as_json, "\n".join(lines))


@app.command("why-not")
def why_not_(context: typer.Context, customer: str,
             offer: Annotated[str, typer.Option("--offer", help="The offer.")],
             channel: Annotated[str, typer.Option("--channel", help="The channel.")],
             at: Annotated[str | None, typer.Option("--at", help="Instant with zone, or a day; default: now.")] = None,
             as_json: AsJson = False) -> None:  # fmt: skip
    """Say why this offer on this channel would not reach the customer now; decides anew, writes nothing."""
    home = Home.open(context.obj)
    moment = parse_instant(at, home) if at else home.now()
    engine = open_engine(home)
    with reading_ledger(home, engine) as ledger, ledger.read() as connection:
        told = tellable(engine, connection, ledger.now_micros())
        answer: WhyNot = why_not(engine, connection, customer, offer, channel, moment, told)
    tell(answer, as_json, "\n".join(answer.sentences))


@app.command("replay")
def replay(context: typer.Context, decision: Annotated[str | None, typer.Argument()] = None,
           every: Annotated[bool, typer.Option("--all", help="Every decision.")] = False,
           sample: Annotated[int | None, typer.Option(min=1, help="So many decisions, drawn by their hashes.")] = None,
           as_json: AsJson = False) -> None:  # fmt: skip
    """Decide again from the stored inputs; exit 1 unless the bytes are the same."""
    home = Home.open(context.obj)
    if sum((decision is not None, every, sample is not None)) != 1:
        raise AuditError("replay one decision, --all or --sample N; name exactly one of them")
    if decision is None:
        _replay_many(home, sample, as_json)
        return
    row, whole = _found(home, decision)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        try:
            same = whole and replayed(open_engine(home), connection, row)
        except (ErasedError, PayloadError, ReplayError) as error:
            raise AuditError(str(error)) from None
    answer = ReplayAnswer(decision_id=row.decision_id, same=same, terms=row.terms)
    tell(answer, as_json, f"same bytes: {answer.same}")
    if not answer.same:
        raise typer.Exit(1)


def _replay_many(home: Home, sample: int | None, as_json: bool) -> None:
    with reading_ledger(home) as ledger, ledger.read() as connection:
        drawn = select(decisions.c.decision_id).order_by(decisions.c.row_sha256)  # a hash favours nobody
        ids = connection.execute(drawn if sample is None else drawn.limit(sample)).scalars().all()
        answer: Tally = replay_many(open_engine(home), connection, ids)
    lines = [
        f"replayed {answer.replayed:,}, same bytes {answer.same:,}",
        *(f"{why}: {n:,}" for why, n in answer.skipped.items()),
    ]
    lines += [f"NOT the same: {one}" for one in answer.different]
    tell(answer, as_json, "\n".join(lines))
    if answer.different:
        raise typer.Exit(1)


def _plain(connection: Connection, vault: Vault, row: DecisionRow) -> tuple[DecisionRow, bool]:
    """The record as far as it can be read, and whether its payload was erased."""
    try:
        return vault.opened(connection, row), False
    except ErasedError:
        return row, True
    except PayloadError:
        return row, False


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
