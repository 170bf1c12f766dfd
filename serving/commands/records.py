"""`nbo audit verify | clock | seal | export | erase | hold | prune | backup | restore`: the records as a whole, and one customer's."""

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.backup import back_up, restore
from serving.claims import instant
from serving.commands.audit_clock import clock
from serving.commands.audit_verify import checked, pruned_before
from serving.commands.audit_verify import verify_ as verify_command
from serving.engine import keyring_of
from serving.ledger.book import Ledger, Touches
from serving.ledger.erasure import Erased, erase, hold, own_data
from serving.ledger.export import HEAD_FILE, RECORDS_FILE, export_days
from serving.ledger.journal import Entered, entries
from serving.ledger.retention import DAY_MICROS, announce, plan_prune, prune_some, read_retention
from serving.ledger.vault import Vault
from serving.office import open_ledger, reading_ledger
from serving.sealer import seal_all
from training.tiers import forget

app = typer.Typer()
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


class RecordsError(ValueError):
    """The command was given what does not fit; one line."""


class SealAnswer(BaseModel):
    """`nbo audit seal --json`: how many seals were made, and the days exported."""

    seals: int
    days: list[str]


class EraseAnswer(BaseModel):
    """`nbo audit erase --json`: what was done, and the lists whose files still name the customer. tiers: files he was taken out of."""

    records: int
    recalled: int
    events: int
    answers: int
    tiers: int
    lists: list[str]


class HoldAnswer(BaseModel):
    """`nbo audit hold --json`. changed: False where it stood so already."""

    held: bool
    changed: bool


class PruneAnswer(BaseModel):
    """`nbo audit prune --json`: rows that are over, by table, and whether they are gone."""

    rows: dict[str, int]
    days: list[str]
    pruned: bool


class BackupAnswer(BaseModel):
    """`nbo audit backup | restore --json`. seals: as found in the restored ledger, null for a backup."""

    path: str
    files: int
    whole: bool | None
    seals: int | None


app.command("verify")(verify_command)
app.command("clock")(clock)


@app.command("seal")
def seal_(context: typer.Context, as_json: AsJson = False) -> None:
    """Seal what is new and export the days that are over; a running service does both by itself."""
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        made = seal_all(ledger, keyring_of(home))
        days = export(home, ledger)
    answer = SealAnswer(seals=len(made), days=days)
    _say(answer, [f"{answer.seals} seals made", *(f"exported: {day}" for day in days)], as_json)


def export(home: Home, ledger: Ledger) -> list[str]:
    """Write the days that are over to HOME/ledger; which ones."""
    with ledger.read() as connection:
        return export_days(connection, keyring_of(home), home.path / "ledger", ledger.now_micros())


@app.command("export")
def export_(context: typer.Context, customer: str, as_json: AsJson = False) -> None:
    """Print everything the ledger holds about a customer, for himself (JSON, with or without --json)."""
    home = Home.open(context.obj)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        data = own_data(connection, Vault(keyring_of(home)), customer)
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=None if as_json else 2, default=str) + "\n")


@app.command("erase")
def erase_(context: typer.Context, customer: str, reason: Reason, as_json: AsJson = False) -> None:
    """Shred the customer's key and stop all contact; refused under a legal hold."""
    _reasoned(reason)
    home = Home.open(context.obj)
    with open_ledger(home) as ledger:
        done, tiers = _erased(home, ledger, customer, reason)
    answer = EraseAnswer(records=done.records, recalled=done.recalled, events=done.events, answers=done.answers,
                         tiers=tiers, lists=list(done.lists))  # fmt: skip
    lines = [(f"erased: {done.records:,} records made unreadable, {done.events:,} events removed, {done.recalled:,} contacts "
              f"taken back, {done.answers:,} stored answers removed, his tier removed from {tiers:,} files"),
             *(f"still names him: lists/{run}" for run in done.lists),
             "next: take him out of the bank's tables, import, build features; docs/ledger.md"]  # fmt: skip
    _say(answer, lines, as_json)


@app.command("hold")
def hold_(context: typer.Context, customer: str, state: Annotated[str, typer.Argument(help="on or off")],
          reason: Reason, as_json: AsJson = False) -> None:  # fmt: skip
    """Set or lift a legal hold: nothing of the customer is erased or pruned while it stands."""
    _reasoned(reason)
    if state not in ("on", "off"):
        raise RecordsError(f"`{state}` is neither on nor off; say which")
    with open_ledger(Home.open(context.obj)) as ledger:
        task = lambda connection: hold(connection, customer, state == "on", _operator(), reason, ledger.now_micros())
        answer = HoldAnswer(held=state == "on", changed=ledger.write(task, units=()).result())
    _say(answer, [f"legal hold: {state}{'' if answer.changed else ', as it stood'}"], as_json)


@app.command("prune")
def prune_(context: typer.Context, dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
           as_json: AsJson = False) -> None:  # fmt: skip
    """Delete what is older than HOME/retention.yaml keeps; seals and leaves stay."""
    home = Home.open(context.obj)
    retention = read_retention(home.path / "retention.yaml")
    if dry_run:
        with reading_ledger(home) as ledger, ledger.read() as connection:
            answer = PruneAnswer(rows=plan_prune(connection, retention, ledger.now_micros()), days=[], pruned=False)
        _say(answer, [f"{name}: {count:,}" for name, count in answer.rows.items()], as_json)
        return
    with open_ledger(home) as ledger:
        now = ledger.now_micros()
        with ledger.read() as connection:
            counts = plan_prune(connection, retention, now)
        if any(counts.values()):
            ledger.write(lambda c: announce(c, retention, _operator(), now, counts), units=()).result()
            seal_all(ledger, keyring_of(home))
            while ledger.write(lambda connection: prune_some(connection, retention, now), units=()).result():
                pass
        with ledger.read() as connection:
            days = _prune_days(home, pruned_before(connection))
    answer = PruneAnswer(rows=counts, days=days, pruned=True)
    _say(answer, [f"pruned from {name}: {count:,}" for name, count in counts.items()], as_json)


@app.command("backup")
def backup_(context: typer.Context, directory: Path,
            keys: Annotated[bool, typer.Option(help="Copy secret.key and keyring.json too.")] = True, as_json: AsJson = False) -> None:  # fmt: skip
    """Copy the home into a new folder while it serves."""
    note = back_up(Home.open(context.obj), directory, keys=keys)
    answer = BackupAnswer(path=str(directory), files=len(note.files), whole=None, seals=None)
    _say(answer, [f"backed up: {answer.files:,} files to {directory}"], as_json)


@app.command("restore")
def restore_(directory: Path, home: Path,
             keys: Annotated[Path | None, typer.Option(help="Folder of secret.key and keyring.json.")] = None,
             erased: Annotated[Path | None, typer.Option(help="`nbo audit erased` of the lost home: erased again.")] = None,
             as_json: AsJson = False) -> None:  # fmt: skip
    """Restore a backup into a new home HOME and check its seal; exit 1 where it is not whole."""
    names = _read_erased(erased) if erased is not None else []
    opened = restore(directory, home, keys)
    with open_ledger(opened) as ledger:
        for customer in names:
            _erased(opened, ledger, customer, "erased before the restore")
        with ledger.read() as connection:
            found = checked(opened, connection)
    answer = BackupAnswer(
        path=str(home), files=sum(1 for p in home.rglob("*") if p.is_file()), whole=found.whole, seals=found.seals
    )
    _say(answer, [f"restored: {home}; {'whole' if found.whole else 'NOT WHOLE'}, {found.seals:,} seals",
                  *(f"{f.what} {f.which}: {f.problem}" for f in found.findings)], as_json)  # fmt: skip
    if not found.whole:
        raise typer.Exit(1)


@app.command("erased")
def erased_(context: typer.Context, as_json: AsJson = False) -> None:
    """Name every erased customer: to erase again after an older backup is restored."""
    with reading_ledger(Home.open(context.obj)) as ledger, ledger.read() as connection:
        rows = [{"customer_id": e.subject, "at": instant(e.at).isoformat()} for e in entries(connection, Entered.ERASE)]
    sys.stdout.write(json.dumps({"erased": rows}, ensure_ascii=False, indent=None if as_json else 2) + "\n")


def _erased(home: Home, ledger: Ledger, customer: str, reason: str) -> tuple[Erased, int]:
    """What the ledger forgot, and the files of tiers he was taken out of: after the ledger, which may refuse."""
    task = lambda connection: erase(connection, customer, _operator(), reason, ledger.now_micros())
    done: Erased = ledger.write(task, touches=Touches(customers=(customer,))).result()
    return done, forget(home.models, customer)


def _read_erased(path: Path) -> list[str]:
    try:
        return [str(row["customer_id"]) for row in json.loads(path.read_bytes())["erased"]]
    except (ValueError, KeyError, TypeError):
        raise RecordsError(f"`{path}` is not what nbo audit erased prints; make it again") from None


def _prune_days(home: Home, before: int) -> list[str]:
    """Remove the exported records of days that are over; their leaves, seals and heads stay."""
    gone: list[str] = []
    for path in sorted((home.path / "ledger").glob(f"*/{RECORDS_FILE}")):
        if (
            path.parent.name < f"{instant(max(before - DAY_MICROS, 0)):%Y-%m-%d}"
            and (path.parent / HEAD_FILE).is_file()
        ):
            path.unlink()
            gone.append(path.parent.name)
    return gone


def _reasoned(reason: str) -> None:
    if not reason.strip():
        raise RecordsError("--reason is empty; say why, for the record")


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _say(answer: BaseModel, lines: list[str], as_json: bool) -> None:
    tell(answer, as_json, "\n".join(lines))
