"""`nbo audit verify`: every record against its seal, a list against its manifest and its certificate."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from features.home import Home
from features.terminal import AsJson, tell
from rules.money import money
from serving.engine import keyring_of
from serving.ledger import changes
from serving.ledger.export import check_days
from serving.ledger.journal import Entered, entries
from serving.ledger.verify import Finding, Verified, verify
from serving.lists import check as independent
from serving.lists.manifest import check_list
from serving.office import reading_ledger

TAIL_SHOWN = 20


class Found(BaseModel):
    """One thing that is not what was sealed or signed. what: `seal`, a kind of row, `change`, `set`, `export` or `list`."""

    what: str
    which: str
    problem: str


class ListFigures(BaseModel):
    """What was recomputed of a list from its own cells, minor units. limits: how many were recounted."""

    run: str
    value_minor: int
    bound_minor: int
    limits: int


class VerifyAnswer(BaseModel):
    """`nbo audit verify --json`. tail: rows no seal covers yet; head: keep it elsewhere, it ends the chain.

    steps: of changes under review, each signed over the one before. list_recomputed: null where its files are not what was
    entered, or no list was asked for.
    """

    whole: bool
    seals: int
    rows: int
    pruned: int
    steps: int
    head: str | None
    tail: list[tuple[str, str]]
    findings: list[Found]
    list_sealed_by: int | None
    list_recomputed: ListFigures | None


def verify_(context: typer.Context, run: Annotated[str | None, typer.Option("--list", help="Check this list's files too.")] = None,
            as_json: AsJson = False) -> None:  # fmt: skip
    """Check every record against its seal, the chain, the HMACs, the steps of changes and the exported days; exit 1 on a changed byte."""
    home = Home.open(context.obj)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        answer = checked(home, connection, run)
    lines = [f"{f.what} {f.which}: {f.problem}" for f in answer.findings]
    lines += [(f"{'whole' if answer.whole else 'NOT WHOLE'}: {answer.seals:,} seals over {answer.rows:,} rows"
              f"{f', {answer.pruned:,} pruned' if answer.pruned else ''}; head {answer.head or 'none yet'}")]  # fmt: skip
    lines += [f"{answer.steps:,} steps of changes, each by its signature"] if answer.steps else []
    if (of := answer.list_recomputed) is not None:
        value, bound = (money(minor, home.settings.currency) for minor in (of.value_minor, of.bound_minor))
        lines += [f"list {of.run}: value {value}, bound {bound} and {of.limits:,} limits recomputed from its cells"]  # fmt: skip
    lines += [f"not sealed yet: {len(answer.tail):,} rows"] if answer.tail else []
    lines += [f"  {kind} {row}" for kind, row in answer.tail[:TAIL_SHOWN]]
    tell(answer, as_json, "\n".join(lines))
    if not answer.whole:
        raise typer.Exit(1)


def checked(home: Home, connection: Connection, run: str | None = None) -> VerifyAnswer:
    """Everything `verify` looks at; reads only. ListError where there is no list of that name."""
    keyring = keyring_of(home)
    found: Verified = verify(connection, keyring)
    findings: list[Finding] = [
        *found.findings,
        *_of_changes(connection, home.secret()),
        *check_days(connection, keyring, home.path / "ledger", pruned_before(connection)),
    ]
    sealed_by = recomputed = None
    if run is not None:
        wrong, sealed_by = check_list(connection, home.lists, run)
        if not wrong:
            wrong, recomputed = _of_certificate(home.lists / run)
        findings += wrong
    return VerifyAnswer(whole=not findings, seals=found.seals, rows=found.rows, pruned=found.pruned, steps=len(changes.entries(connection)), head=found.head,
                        tail=list(found.tail), findings=[Found(**asdict(one)) for one in findings], list_sealed_by=sealed_by, list_recomputed=recomputed)  # fmt: skip


def _of_changes(connection: Connection, secret: bytes) -> list[Finding]:
    """Steps that nobody with the home's secret signed so, in that place; texts and sets that are not what was approved."""
    wrong = "its signature, or its place in the chain of steps, is not the home's"
    found = [Finding("change", str(step), wrong) for step in changes.unsigned(connection, secret)]
    return found + [
        Finding("set", name[:12], "is not what its hash was taken of") for name in changes.spoiled(connection)
    ]


def _of_certificate(folder: Path) -> tuple[list[Finding], ListFigures | None]:
    """What the checker that shares no code with the list's makers says of the files as they were entered."""
    try:
        found = independent.check_list(folder)
    except Exception as error:  # noqa: BLE001  # entered so, and not even readable: that is the finding
        return [Finding("list", folder.name, f"its certificate cannot be checked ({type(error).__name__})")], None
    figures = ListFigures(
        run=folder.name, value_minor=found.value_minor, bound_minor=found.bound_minor, limits=len(found.used)
    )
    return [Finding("list", folder.name, f"certificate: {line}") for line in found.wrong], figures


def pruned_before(connection: Connection) -> int:
    """Decisions sealed before this instant may be gone."""
    told = [int(entry.body["sealed_before"]["decision"]) for entry in entries(connection, Entered.PRUNE)]
    return max(told, default=0)
