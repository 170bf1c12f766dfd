"""`nbo users add | password | list | revoke`: who may sign in to the console with a password of this house."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection

from features.home import Home
from features.terminal import AsJson, tell
from serving.claims import instant
from serving.http.errors import Forbidden
from serving.http.guard import channel_of
from serving.ledger import users
from serving.ledger.keys import Principal, Role
from serving.office import open_ledger

app = typer.Typer(help="People who sign in to the console.", no_args_is_help=True)
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password's line from stdin; else it is asked for.")
]


class ListedUser(BaseModel):
    """One user, without the password. changed_at: when it was set; revoked_at: null while he may sign in."""

    name: str
    role: Role
    created_at: datetime
    changed_at: datetime
    revoked_at: datetime | None


class ListedUsers(BaseModel):
    """`nbo users list --json`: every user by name, revoked ones among them."""

    users: list[ListedUser]


class UserAnswer(BaseModel):
    """`nbo users add | password | revoke --json`: whom it was about."""

    name: str


@app.command()
def add(context: typer.Context,
        name: Annotated[str, typer.Argument(help="Of a call-centre or branch user: channel first, `call-li`.")],
        role: Annotated[Role, typer.Option(help="What he may do.")], password_stdin: FromStdin = False, as_json: AsJson = False) -> None:  # fmt: skip
    """Add a user. A person who has a key too gets the same name: four eyes are counted by name."""
    password = users.hashed(name, _password(password_stdin))
    _written(context, lambda connection, now: users.add(connection, name, password, role, now))
    try:
        channel_of(Principal(name, role))
    except Forbidden:
        print("note: the name begins with no channel, so this user has no desk and no worklist", file=sys.stderr)
    _say(name, f"{name} ({role}) may sign in at /console", as_json)


@app.command()
def password(context: typer.Context, name: str, password_stdin: FromStdin = False, as_json: AsJson = False) -> None:
    """Set another password; the user is signed out everywhere."""
    said = users.hashed(name, _password(password_stdin))
    _written(context, lambda connection, now: users.set_password(connection, name, said, now))
    _say(name, f"{name} has another password, and is signed out", as_json)


@app.command()
def revoke(context: typer.Context, name: str, as_json: AsJson = False) -> None:
    """Take a user away, at once and for good."""
    _written(context, lambda connection, now: users.revoke(connection, name, now))
    _say(name, f"{name} may not sign in any more", as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the users."""
    with open_ledger(Home.open(context.obj)) as ledger, ledger.read() as connection:
        rows = users.listed_users(connection)
    answer = ListedUsers(users=[_listed(row) for row in rows])
    if as_json:
        print(answer.model_dump_json())
        return
    table = Table("name", "role", "created", "password of", "revoked")
    for user in answer.users:
        days = (user.created_at, user.changed_at, user.revoked_at)
        table.add_row(user.name, user.role, *(f"{day:%Y-%m-%d}" if day else "" for day in days))
    Console().print(table)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    said: str = typer.prompt("password", hide_input=True, confirmation_prompt="once more", err=True)
    return said


def _written(context: typer.Context, task: Callable[[Connection, int], None]) -> None:
    with open_ledger(Home.open(context.obj)) as ledger:
        ledger.write(lambda connection: task(connection, ledger.now_micros())).result()


def _listed(row: users.UserRow) -> ListedUser:
    revoked = None if row.revoked_at is None else instant(row.revoked_at)
    return ListedUser(name=row.name, role=row.role, created_at=instant(row.created_at), changed_at=instant(row.changed_at), revoked_at=revoked)  # fmt: skip


def _say(name: str, text: str, as_json: bool) -> None:
    tell(UserAnswer(name=name), as_json, text)
