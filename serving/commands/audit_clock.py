"""`nbo audit clock`: what time it is for the ledger, and an operator's word on it."""

import getpass
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.claims import instant
from serving.ledger.book import read_meta
from serving.ledger.errors import ClockError
from serving.office import open_ledger, reading_ledger


class ClockCommandError(ValueError):
    """A reset without its reason; one line."""


class ClockAnswer(BaseModel):
    """`nbo audit clock --json`. seen: what the ledger saw last, null: nothing yet; refused: why the clock is not believed."""

    seen: datetime | None
    refused: str | None
    was_reset: bool


def clock(context: typer.Context,
          reset: Annotated[bool, typer.Option("--reset", help="Believe the clock as it stands; recorded.")] = False,
          reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "", as_json: AsJson = False) -> None:  # fmt: skip
    """Say what time the ledger saw last; --reset believes the clock as it stands, after a jump that was refused."""
    home = Home.open(context.obj)
    if reset:
        if not reason.strip():
            raise ClockCommandError("--reason is empty; say why the clock jumped, for the record")
        with open_ledger(home) as ledger:
            at = ledger.reset_clock(f"operator {getpass.getuser()}", reason)
        answer = ClockAnswer(seen=instant(at), refused=None, was_reset=True)
    else:
        answer = _look(home)
    seen = "nothing yet" if answer.seen is None else f"{answer.seen:%FT%TZ}"
    lines = [f"reset: the ledger goes on from {seen}" if reset else f"seen last: {seen}"]
    lines += [f"REFUSED: {answer.refused}"] if answer.refused else []
    tell(answer, as_json, "\n".join(lines))
    if answer.refused:
        raise typer.Exit(1)


def _look(home: Home) -> ClockAnswer:
    refused = None
    with reading_ledger(home) as ledger, ledger.read() as connection:
        seen = read_meta(connection, "last_seen")
        try:
            ledger.check_clock(connection)
        except ClockError as error:
            refused = str(error)
    return ClockAnswer(seen=None if seen is None else instant(int(seen)), refused=refused, was_reset=False)
