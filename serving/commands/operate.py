"""`nbo switch pause | resume SCOPE` and `nbo recall customer | campaign ID`: stop what must not go out."""

import getpass
import os
from collections.abc import Callable
from typing import Annotated

import typer
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from features.home import Home
from features.terminal import AsJson, tell
from serving.http.errors import DoorError
from serving.http.messages import SwitchAction, SwitchRequest, SwitchResponse
from serving.ledger import recalling, switches
from serving.ledger.book import Ledger, Touches
from serving.ledger.keys import Principal, Role, who
from serving.ledger.recall import recall
from serving.office import open_engine, open_ledger
from serving.rechecking import recall_file
from serving.reports import turn_switch

switch_app = typer.Typer(help="Pause and resume, everything or a part.", no_args_is_help=True)
recall_app = typer.Typer(help="Take back what is reserved, or claimed and not yet sent.", no_args_is_help=True)
Note = Annotated[str, typer.Option("--note", help="Why, for the record.")]
MAY_RESUME = (Role.MARKETING, Role.COMPLIANCE, Role.ADMIN)


class OperateError(ValueError):
    """What was asked needs a key, or names nothing; one line."""


class RecallAnswer(BaseModel):
    """`nbo recall --json`: how many contacts were taken back, reserved or claimed; lists find them in /v1/recalls."""

    recalled: int


class RecallFileAnswer(BaseModel):
    """`nbo recall list --json`: the file, how many of the list's contacts it takes back, and how many it holds for now."""

    path: str
    recalled: int
    held: int


@switch_app.command("pause")
def pause(context: typer.Context, scope: str, note: Note = "", as_json: AsJson = False) -> None:
    """Pause SCOPE at once (all, channel:ID, family:ID, offer:ID, campaign:ID); acts at decision and at claim."""
    operator = Principal(f"operator {getpass.getuser()}", Role.ADMIN)
    _turn(context, scope, SwitchAction.PAUSE, note, lambda *_: operator, as_json)


@switch_app.command("resume")
def resume(context: typer.Context, scope: str, note: Note = "", as_json: AsJson = False) -> None:
    """Ask to resume SCOPE, or agree to it: two different keys must; each from the variable NBO_KEY."""
    _turn(context, scope, SwitchAction.RESUME, note, _owner, as_json)


@recall_app.command("customer")
def recall_customer(context: typer.Context, customer: str, as_json: AsJson = False) -> None:
    """Take back everything reserved or claimed for one customer."""
    touches = Touches(customers=(customer,))
    work: Callable[[Ledger], int] = lambda ledger: ledger.write(
        lambda connection: recall(connection, ledger.now_micros(), customer_id=customer), touches=touches
    ).result()
    _recall(context, work, as_json)


@recall_app.command("campaign")
def recall_campaign(context: typer.Context, campaign: str, as_json: AsJson = False) -> None:
    """Take back everything reserved or claimed by one campaign."""
    _recall(context, lambda ledger: recalling.recall_campaign(ledger, campaign), as_json)


@recall_app.command("list")
def recall_list(context: typer.Context, run: str, as_json: AsJson = False) -> None:
    """Write RUN's recalls.csv, for whoever was handed the list: the contacts that must not be sent any more.

    Every contact still open is asked what its claim would be asked; what may not be sent is taken back. Under a pause,
    or without data, it stands in the file with an empty `recalled_at`: not to be sent now; write the file again later.
    """
    home = Home.open(context.obj)
    engine = open_engine(home)
    with open_ledger(home) as ledger:
        path, recalled, held = recall_file(engine, ledger, run)
    answer = RecallFileAnswer(path=str(path), recalled=recalled, held=held)
    tell(answer, as_json, f"{recalled} contacts recalled, {held} not to be sent now: {path}")


def _turn(context: typer.Context, scope: str, action: SwitchAction, note: str,
          principal: Callable[[Connection, Ledger], Principal], as_json: bool) -> None:  # fmt: skip
    switches.check_scope(scope)
    request = SwitchRequest(scope=scope, action=action, note=note or None)
    home = Home.open(context.obj)
    engine = open_engine(home)
    with open_ledger(home) as ledger:

        def task(connection: Connection) -> SwitchResponse:
            done = turn_switch(engine, connection, request, principal(connection, ledger), ledger.now_micros())
            assert isinstance(done, SwitchResponse)
            return done

        try:
            answer = ledger.write(task, touches=switches.TURNING).result()
        except DoorError as error:
            raise OperateError(error.message) from None
    lines = [
        f"{answer.scope}: {answer.state}",
        *(f"paused: {one.scope} by {one.by}, {one.state}" for one in answer.paused),
    ]
    tell(answer, as_json, "\n".join(lines))


def _owner(connection: Connection, ledger: Ledger) -> Principal:
    found = who(connection, os.environ.get("NBO_KEY", ""), secret=ledger.secret, now=ledger.now_micros())
    if found is None:
        raise OperateError("resuming takes a key: put yours into the variable NBO_KEY; nbo keys add makes one")
    if found.role not in MAY_RESUME:
        raise OperateError(f"a {found.role} key may not resume; it takes {', '.join(MAY_RESUME)}")
    return found


def _recall(context: typer.Context, work: Callable[[Ledger], int], as_json: bool) -> None:
    with open_ledger(Home.open(context.obj)) as ledger:
        count = work(ledger)
    answer = RecallAnswer(recalled=count)
    tell(answer, as_json, f"{count} contacts taken back")
