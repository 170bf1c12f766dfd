"""`nbo worklist show | move`: a manager's tasks of today, and giving them to a colleague."""

import getpass
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from features.home import Home
from features.terminal import AsJson, tell
from rules.money import money
from serving.http.errors import DoorError
from serving.http.messages import Message, MoveTasksRequest, Task, WorklistQuery
from serving.ledger.book import Touches
from serving.office import open_engine, open_ledger, reading_ledger
from serving.worklist import move_tasks, worklist

app = typer.Typer(help="A manager's tasks.", no_args_is_help=True)
M = TypeVar("M", bound=Message)
Channel = Annotated[str, typer.Option("--channel", help="The channel he works through.")]


class WorklistError(ValueError):
    """There is no such manager or channel; one line."""


@app.command("show")
def show(context: typer.Context, manager: Annotated[str | None, typer.Argument()] = None, channel: Channel = "call", limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Show the open tasks of MANAGER (nobody's without) today, dearest first, with reason, script, last contacts, pauses."""
    home = Home.open(context.obj)
    engine = open_engine(home)
    query = _asked(WorklistQuery, manager=manager, channel=channel, limit=limit)
    with reading_ledger(home, engine) as ledger, ledger.read() as connection, _in_one_line():
        answer = worklist(engine, connection, query, ledger.now_micros())
    lines = [
        f"{answer.manager or 'nobody'}: {answer.open:,} open",
        *(line for task in answer.tasks for line in _lines(task, home.settings.currency)),
    ]
    tell(answer, as_json, "\n".join(lines))


@app.command("move")
def move(context: typer.Context, to_manager: str, from_manager: Annotated[str | None, typer.Argument()] = None, channel: Channel = "call", as_json: AsJson = False) -> None:  # fmt: skip
    """Give TO_MANAGER every open task of FROM_MANAGER, or without one those that are nobody's."""
    home = Home.open(context.obj)
    engine = open_engine(home)
    request = _asked(MoveTasksRequest, from_manager=from_manager, to_manager=to_manager, channel=channel)
    with open_ledger(home) as ledger, _in_one_line():
        work = lambda connection: move_tasks(engine, connection, request, f"operator {getpass.getuser()}", ledger.now_micros())  # fmt: skip
        answer = ledger.write(work, touches=Touches(names=("worklist",))).result()
    tell(answer, as_json, f"{answer.moved:,} tasks moved")


@contextmanager
def _in_one_line() -> Generator[None]:
    """What the worklist refuses, as the command says it."""
    try:
        yield
    except DoorError as error:
        raise WorklistError(error.message) from None


def _asked(model: type[M], **said: object) -> M:
    try:
        return model.model_validate(said)
    except ValidationError:
        raise WorklistError(
            "a manager's id has 1 to 64 printable characters, a channel is one of the catalogue's"
        ) from None


def _lines(task: Task, currency: str) -> list[str]:
    worth = "" if task.expected_value_minor is None else f"  worth {money(task.expected_value_minor, currency)}"
    lines = [f"{task.customer_id}  {task.title.en}{worth}  until {task.send_before:%H:%MZ}  {task.contact_id}"]
    lines += [f"    {words.en}" for words in task.reason]
    lines += [f"    say: {task.script.en}"] if task.script else []
    lines += [f"    add: {task.legal_footer}"] if task.legal_footer else []
    lines += [
        f"    {t.at:%F} {t.channel} {t.offer_id or 'service'}: {', '.join(t.answers) or 'no answer'}"
        for t in task.last_contacts
    ]
    lines += [f"    not now: {c.title.en} ({c.about}), {c.days_left:.0f} days" for c in task.cool_downs]
    lines += [f"    CLAIM WOULD BE REFUSED: {', '.join(task.refused_now)}"] if task.refused_now else []
    return lines
