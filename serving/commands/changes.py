"""`nbo rules propose | approve | reject | withdraw | activate | rollback | recheck | list | restore`: four eyes.

The files of a home are drafts; what is in force stands in the ledger. Whoever acts says who he is by a key in
the variable NBO_KEY. Exit 0: done. 1: the check of the change said no. 2: not allowed, or not now; one line.
"""

import getpass
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from features.commands import parse_instant
from features.home import Home
from features.terminal import AsJson, tell
from rules.liveset import files_in, patch_of, write_files
from rules.review import Actor, State, turns
from serving.changes.check import check
from serving.changes.desk import Desk, DraftError, examine
from serving.changes.live import drafts, open_engine, sibling
from serving.http.messages.change import ChangeResponse, ChangesResponse, CheckReport
from serving.ledger import changes
from serving.ledger.book import Ledger, micros
from serving.ledger.keys import who
from serving.office import open_ledger

Note = Annotated[str, typer.Option("--note", help="Why, for the record.")]
Change = Annotated[str, typer.Argument(help="The change, as nbo rules list names it.")]


class ChangeCommandError(ValueError):
    """What was asked needs a key, or names nothing; one line."""


class DraftAnswer(BaseModel):
    """`nbo rules propose --dry-run --json`: what the check of the files would find; nothing was recorded."""

    files: list[str]
    report: CheckReport


class RestoreAnswer(BaseModel):
    """`nbo rules restore --json`: the files of the home that were written back, or removed, to what is in force."""

    restored: list[str]


def propose(context: typer.Context, files: Annotated[list[str] | None, typer.Argument(help="Of the home, such as policies/retail.yaml; default: all that differ.")] = None,
            note: Note = "", dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; record nothing.")] = False,
            as_json: AsJson = False) -> None:  # fmt: skip
    """Hand in the home's changed files as one change, and check it; exit 1 where the check says no."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        engine = open_engine(home, ledger)
        patch = _patch(home, ledger, files)
        if dry_run:
            _dry_run(home, ledger, patch, as_json)
            return
        with ledger.read() as connection:
            Desk(engine, connection, ledger.secret, ledger.now_micros()).drafted(patch)
        change_id = _done(
            ledger, lambda desk, actor: desk.propose(actor, patch, note or "proposed from the files"), home
        )
        report = examine(engine, ledger, change_id, Actor(f"operator {getpass.getuser()}", "admin"))
        _tell(home, ledger, change_id, as_json)
    if not report.passed:
        raise typer.Exit(1)


def recheck(context: typer.Context, change: Change, as_json: AsJson = False) -> None:
    """Check a change that waits; exit 1 where the check says no."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        report = examine(open_engine(home, ledger), ledger, change, Actor(f"operator {getpass.getuser()}", "admin"))
        _tell(home, ledger, change, as_json)
    if not report.passed:
        raise typer.Exit(1)


def approve(context: typer.Context, change: Change,
            revision: Annotated[str | None, typer.Option(help="The revision you looked at; default: the change's.")] = None,
            note: Note = "", as_json: AsJson = False) -> None:  # fmt: skip
    """Approve a checked change; the owner of another key than its author's has to."""

    def act(desk: Desk, actor: Actor) -> None:
        desk.approve(actor, change, revision or desk.shown(change).revision, note)

    _act(context, change, act, as_json)


def reject(context: typer.Context, change: Change, note: Note = "", as_json: AsJson = False) -> None:
    """Refuse a change that is not in force; what is in force stays as it is."""
    _act(context, change, lambda desk, actor: desk.reject(actor, change, note), as_json)


def withdraw(context: typer.Context, change: Change, note: Note = "", as_json: AsJson = False) -> None:
    """Take your own change back; what is in force stays as it is."""
    _act(context, change, lambda desk, actor: desk.withdraw(actor, change, note), as_json)


def activate(context: typer.Context, change: Change,
             at: Annotated[str | None, typer.Option("--at", help="From when on: an instant with zone, or a day; default: at once.")] = None,
             note: Note = "", as_json: AsJson = False) -> None:  # fmt: skip
    """Put an approved change into force; running services decide by it from their next decision on."""
    moment = None if at is None else micros(parse_instant(at, Home.open(context.obj)))
    _act(context, change, lambda desk, actor: desk.activate(actor, change, moment, note), as_json)


def rollback(context: typer.Context, note: Note = "", as_json: AsJson = False) -> None:
    """Bring back what was in force before the last change."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        undone = _done(ledger, lambda desk, actor: desk.rollback(actor, note), home)
        _tell(home, ledger, undone, as_json)


def list_changes(context: typer.Context, change: Annotated[str | None, typer.Argument(help="One change, with its check and steps.")] = None,
                 state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None, as_json: AsJson = False) -> None:  # fmt: skip
    """List the changes, the newest first, and the files that are drafts."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        if change is not None:
            _tell(home, ledger, change, as_json)
            return
        engine = open_engine(home, ledger)
        with ledger.read() as connection:
            now = ledger.now_micros()
            answer: ChangesResponse = Desk(engine, connection, ledger.secret, now).listed(state)
            waiting = drafts(engine, connection, now)
    lines = [_line(one) for one in answer.changes]
    lines += [f"in force: {answer.in_force or 'the files: nothing was decided yet'}"]
    lines += [f"draft: {name}" for name in waiting]
    tell(answer, as_json, "\n".join(lines))


def restore(context: typer.Context, as_json: AsJson = False) -> None:
    """Write what is in force back into the home's files; drafts are lost."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger, ledger.read() as connection:
        revision = changes.revision_in_force(connection, ledger.now_micros())
        if revision is None:
            raise ChangeCommandError("nothing is in force yet; the files are what holds")
        live = changes.files_of(connection, revision)
    patch = patch_of(files_in(home.path), live)
    write_files({name: text for name, text in patch.items() if text is not None}, home.path)
    for name in (name for name, text in patch.items() if text is None):
        (home.path / name).unlink()
    answer = RestoreAnswer(restored=sorted(patch))
    tell(answer, as_json, "\n".join(answer.restored) or "nothing differs")


def mount(app: typer.Typer) -> None:
    """Add the commands to `nbo rules`."""
    for command in (propose, recheck, approve, reject, withdraw, activate, rollback, restore):
        app.command(command.__name__)(command)
    app.command("list")(list_changes)


def _patch(home: Home, ledger: Ledger, files: list[str] | None) -> dict[str, str | None]:
    """What the home's files say otherwise than the last set; of all files or of those named."""
    with ledger.read() as connection:
        every = [entry.step for entry in changes.entries(connection)]
        last = changes.files_of(connection, turns(every)[-1].target) if every else {}
    patch = patch_of(last, files_in(home.path)) if every else {}
    for name in files or ():
        if name not in patch and every:
            raise ChangeCommandError(
                f"`{name}` says what is in force, or is not there; drafts: {', '.join(sorted(patch)) or 'none'}"
            )
    return {name: text for name, text in patch.items() if not files or name in files}


def _dry_run(home: Home, ledger: Ledger, patch: dict[str, str | None], as_json: bool) -> None:
    engine = open_engine(home, ledger)
    with ledger.read() as connection:
        draft = Desk(engine, connection, ledger.secret, ledger.now_micros()).drafted(patch)
        base, before = changes.files_of(connection, draft.base), sibling(engine, connection, draft.base)
    answer = DraftAnswer(files=sorted(patch), report=check(before, base, draft.files, ledger))
    text = "\n".join([*answer.files, *report_lines(answer.report)])
    tell(answer, as_json, text)
    if not answer.report.passed:
        raise typer.Exit(1)


def _act(context: typer.Context, change: str, act: Callable[[Desk, Actor], None], as_json: bool) -> None:
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        _done(ledger, lambda desk, actor: (act(desk, actor), change)[1], home)
        _tell(home, ledger, change, as_json)


def _done(ledger: Ledger, act: Callable[[Desk, Actor], str], home: Home) -> str:
    """The act in its transaction, by the owner of the key in NBO_KEY."""
    engine = open_engine(home, ledger)

    def task(connection: Connection) -> str:
        now = ledger.now_micros()
        return act(Desk(engine, connection, ledger.secret, now), _actor(connection, ledger, now))

    return ledger.write(task, touches=changes.CHANGES).result()


def _actor(connection: Connection, ledger: Ledger, now: int) -> Actor:
    found = who(connection, os.environ.get("NBO_KEY", ""), secret=ledger.secret, now=now)
    if found is None:
        raise ChangeCommandError(
            "put your key into the variable NBO_KEY, for the record says whose it is; nbo keys add makes one"
        )
    return Actor(found.name, str(found.role))


@contextmanager
def _desk(home: Home, ledger: Ledger) -> Generator[Desk]:
    engine = open_engine(home, ledger)
    with ledger.read() as connection:
        yield Desk(engine, connection, ledger.secret, ledger.now_micros())


def _tell(home: Home, ledger: Ledger, change_id: str, as_json: bool) -> None:
    with _desk(home, ledger) as desk:
        answer: ChangeResponse = desk.shown(change_id)
    tell(answer, as_json, "\n".join(change_lines(answer)))


def _line(one: ChangeResponse) -> str:
    held = f" from {one.effective_at:%Y-%m-%d %H:%M}" if one.effective_at else ""
    by = f", approved by {one.approver}" if one.approver else ""
    mark = "  <- in force" if one.in_force else ""
    return f"{one.change_id}  {one.state}{held}  {', '.join(one.kinds)}  by {one.author}{by}{mark}"


def change_lines(one: ChangeResponse) -> list[str]:
    """A change for people: where it stands, what its check found, who did what."""
    lines = [_line(one), f"  revision {one.revision}", *(f"  {name}" for name in one.files)]
    lines += report_lines(one.report) if one.report else []
    return lines + [f"  {step.at:%Y-%m-%d %H:%M} {step.act} by {step.by} ({step.role})" + (f": {step.note}" if step.note else "")
                    for step in one.steps]  # fmt: skip


def report_lines(report: CheckReport) -> list[str]:
    """What a check found, for people."""
    lines = [
        f"  check {'passed' if report.passed else 'FAILED'}: {report.cases} cases, {report.invariants} invariants proved"
    ]
    for name, told in (
        ("NOT", report.problems),
        ("written", report.text),
        ("note", report.notes),
        ("impact", report.impact),
    ):
        lines += [f"    {name}: {line.en}" for line in told]
    lines += [f"    {line.en}" for line in (*report.newly_allowed, *report.newly_suppressed)]
    return lines + (["    only tightens: nothing newly allowed (proved)"] if report.only_tightens else [])


__all__ = ["ChangeCommandError", "DraftAnswer", "DraftError", "RestoreAnswer", "change_lines", "mount", "report_lines"]
