"""`nbo keys add | list | revoke | rotate-secret`: who may call the HTTP service, and what seals and encrypts."""

import getpass
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection

from features.home import Home
from features.terminal import AsJson, tell
from serving.engine import keyring_of
from serving.http.errors import Forbidden
from serving.http.guard import channel_of
from serving.ledger import keys
from serving.ledger.book import Ledger
from serving.ledger.journal import Entered, enter
from serving.ledger.keys import KeyRow, Principal, Role
from serving.ledger.vault import Vault
from serving.ledger.writer import EPOCH, SIMULATED, WALL

app = typer.Typer(help="Keys of the HTTP service.", no_args_is_help=True)

T = TypeVar("T")
DAYS = 365


class NewKey(BaseModel):
    """`nbo keys add --json`: the only time the key is shown."""

    name: str
    """Whose key it is; records name it."""
    role: Role
    """What it may do."""
    key: str
    """The bearer key."""
    expires_at: datetime
    """When it ends, UTC."""


class ListedKey(BaseModel):
    """One key, without the key itself."""

    name: str
    """Whose key it is."""
    role: Role
    """What it may do."""
    created_at: datetime
    """When it was made, UTC."""
    expires_at: datetime
    """When it ends, UTC."""
    revoked_at: datetime | None
    """When it was revoked, UTC; null: it was not."""


class ListedKeys(BaseModel):
    """`nbo keys list --json`: every key by name, ended ones among them."""

    keys: list[ListedKey]
    """The keys."""


class RevokedKey(BaseModel):
    """`nbo keys revoke --json`: the key works no more."""

    name: str
    """Whose key it was."""


class RotatedSecret(BaseModel):
    """`nbo keys rotate-secret --json`: the key in force, and how many customers' keys it wraps now."""

    key_id: str
    """Its id in keyring.json; seals name it."""
    wrapped: int
    """Customers' keys wrapped anew."""


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="For a channel key: channel first, `sms-gateway`.")],
    role: Annotated[Role, typer.Option(help="What the key may do.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it works.")] = DAYS,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it once."""
    home = Home.open(context.obj)
    secret = home.secret()

    def make(connection: Connection, now: int) -> tuple[str, KeyRow]:
        key = keys.add(connection, name, role, secret=secret, now=now, days=days)
        return key, next(row for row in keys.listed_keys(connection) if row.name == name)

    key, row = _written(home, make)
    answer = NewKey(name=row.name, role=row.role, key=key, expires_at=_instant(row.expires_at))
    try:
        channel_of(Principal(row.name, row.role))
    except Forbidden:
        note = "note: the name begins with no channel, so this key can read and claim no contacts"
        print(note, file=sys.stderr)
    if as_json:
        print(answer.model_dump_json())
        return
    print(f"key for {row.name} ({row.role}), good until {answer.expires_at:%Y-%m-%d}")
    print("keep it now, it is not shown again:")
    print(key)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, never the keys themselves."""
    home = Home.open(context.obj)
    with _ledger(home) as ledger, ledger.read() as connection:
        rows = keys.listed_keys(connection)
    answer = ListedKeys(keys=[_listed(row) for row in rows])
    if as_json:
        print(answer.model_dump_json())
        return
    table = Table("name", "role", "created", "expires", "revoked")
    for key in answer.keys:
        days = (key.created_at, key.expires_at, key.revoked_at)
        table.add_row(key.name, key.role, *(f"{day:%Y-%m-%d}" if day else "" for day in days))
    Console().print(table)


@app.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key.")],
    as_json: AsJson = False,
) -> None:
    """End a key; running services refuse it within a second."""
    _written(Home.open(context.obj), lambda connection, now: keys.revoke(connection, name, now))
    tell(RevokedKey(name=name), as_json, f"the key of {name} is revoked")


@app.command("rotate-secret")
def rotate_secret(context: typer.Context, as_json: AsJson = False) -> None:
    """Put a new key for seals and for the vault in force; old seals still verify, customers' keys are wrapped anew."""
    home = Home.open(context.obj)
    vault = Vault(keyring_of(home))
    with _ledger(home) as ledger:
        key_id = vault.keyring.rotate()
        n_wrapped, after, more = 0, "", True
        while more:  # a thousand a transaction: a service beside it never waits long
            more, after = ledger.write(lambda c, after=after: vault.rewrap(c, after), units=()).result()
            n_wrapped += more
        told = {"key_id": key_id, "wrapped": n_wrapped}
        principal = f"operator {getpass.getuser()}"
        ledger.write(
            lambda c: enter(c, Entered.ROTATE, None, principal, ledger.now_micros(), **told), units=()
        ).result()
    answer = RotatedSecret(key_id=key_id, wrapped=n_wrapped)
    print(
        answer.model_dump_json() if as_json else f"key {key_id} is in force; {n_wrapped:,} customers' keys wrapped anew"
    )


def _ledger(home: Home) -> Ledger:
    bounds = SIMULATED if home.settings.clock == "simulated" else WALL
    return Ledger.open(home.database_url, home.now, home.secret(), bounds=bounds)


def _written(home: Home, task: Callable[[Connection, int], T]) -> T:
    with _ledger(home) as ledger:
        return ledger.write(lambda connection: task(connection, ledger.now_micros())).result()


def _listed(row: KeyRow) -> ListedKey:
    revoked = None if row.revoked_at is None else _instant(row.revoked_at)
    return ListedKey(
        name=row.name, role=row.role, created_at=_instant(row.created_at),
        expires_at=_instant(row.expires_at), revoked_at=revoked,
    )  # fmt: skip


def _instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)
