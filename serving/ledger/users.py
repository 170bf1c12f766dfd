"""People who sign in to the console: a name, a role, and a password that is kept as its argon2id hash.

Hashing takes a core some fifty milliseconds, on purpose. So it happens before the transaction, never inside: `hashed` and
`matches` touch no database, everything else is quick. A person who has a key too gives both the same name, for
four eyes are counted by name.
"""

from dataclasses import dataclass

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.keys import Role
from serving.ledger.schema import sessions, users

PASSWORD_LEAST, PASSWORD_MOST = 12, 128
_HASHER = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
# Of a password nobody has: an unknown name takes as long as a wrong password.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$RCWDIbjulygWgkuICTFu5Q$L5gSBzUh7yzlgw9/oqSvnJfq6QsbYBeBbCACEon3zvg"


class UserError(ValueError):
    """There is no such user, or the name or password will not do; one line."""


@dataclass(frozen=True)
class UserRow:
    """A user without the password; instants in microseconds UTC, revoked_at null: he may sign in."""

    name: str
    role: Role
    created_at: int
    changed_at: int
    revoked_at: int | None


@dataclass(frozen=True)
class Stored:
    """What a password is compared with; role null: nobody of that name may sign in, and no password fits."""

    password: str
    role: Role | None


def hashed(name: str, password: str) -> str:
    """The hash of a new password; UserError where it is too short, too long, or the name."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise UserError(f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters; choose another")
    if name.casefold() in password.casefold():
        raise UserError("the password holds the name; choose another")
    return _HASHER.hash(password)


def matches(stored: Stored, password: str) -> bool:
    """Whether it is the password. Takes as long where there is no such user."""
    try:
        return _HASHER.verify(stored.password, password[: PASSWORD_MOST + 1]) and stored.role is not None
    except (VerificationError, InvalidHashError):
        return False


def stored(connection: Connection, name: str) -> Stored:
    """What the password of that name has to match."""
    query = select(users.c.password, users.c.role).where(users.c.name == name, users.c.revoked_at.is_(None))
    row = connection.execute(query).first()
    return Stored(_NOBODY, None) if row is None else Stored(row.password, Role(row.role))


def add(connection: Connection, name: str, password: str, role: Role, now: int) -> None:
    """A new user. password: its hash. UserError where the name is taken - a revoked one stays taken - or unfit."""
    if not 0 < len(name) <= 64 or not name.isprintable() or name != name.strip():
        raise UserError("a user needs a printable name of 1 to 64 characters without outer spaces; choose one")
    if connection.execute(select(users.c.name).where(users.c.name == name)).first():
        raise UserError(f"there is a user `{name}` already; nbo users password sets another password")
    row = {"name": name, "password": password, "role": str(role), "created_at": now, "changed_at": now}
    connection.execute(insert(users).values(row))


def set_password(connection: Connection, name: str, password: str, now: int) -> None:
    """Another password for a user, who is signed out everywhere. password: its hash."""
    _known(connection, name)
    connection.execute(update(users).where(users.c.name == name).values(password=password, changed_at=now))
    _sign_out(connection, name, now)


def revoke(connection: Connection, name: str, now: int) -> None:
    """Sign a user out everywhere, for good; a second call changes nothing."""
    _known(connection, name)
    standing = (users.c.name == name) & users.c.revoked_at.is_(None)
    connection.execute(update(users).where(standing).values(revoked_at=now))
    _sign_out(connection, name, now)


def listed_users(connection: Connection) -> list[UserRow]:
    """All users by name, revoked ones among them."""
    rows = connection.execute(select(users).order_by(users.c.name)).all()
    return [UserRow(r.name, Role(r.role), r.created_at, r.changed_at, r.revoked_at) for r in rows]


def _known(connection: Connection, name: str) -> None:
    if not connection.execute(select(users.c.name).where(users.c.name == name)).first():
        raise UserError(f"there is no user `{name}`; nbo users list names them")


def _sign_out(connection: Connection, name: str, now: int) -> None:
    mine = (sessions.c.name == name) & (sessions.c.way == "password") & sessions.c.ended_at.is_(None)
    connection.execute(update(sessions).where(mine).values(ended_at=now))
