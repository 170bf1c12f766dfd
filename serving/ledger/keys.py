"""Keys of the HTTP service: shown once, kept as an HMAC, with a role, an end and a revocation."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.schema import keys
from serving.ledger.statement import Statement

DAY_MICROS = 86_400_000_000


class Role(StrEnum):
    """What the holder of a key may do; the routes say which roles they admit."""

    CHANNEL = "channel"
    MARKETING = "marketing"
    COMPLIANCE = "compliance"
    DATA_SCIENCE = "data_science"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    name: str
    role: Role


@dataclass(frozen=True)
class KeyRow:
    """A key without the key; instants in microseconds UTC, revoked_at null: in force."""

    name: str
    role: Role
    created_at: int
    expires_at: int
    revoked_at: int | None


_FIND = Statement(
    select(keys.c.name, keys.c.role, keys.c.key_sha256, keys.c.expires_at, keys.c.revoked_at).where(
        keys.c.key_sha256 == bindparam("key_sha256")
    )
)


def add(connection: Connection, name: str, role: Role, *, secret: bytes, now: int, days: int = 365) -> str:
    """A new key for the name, good for `days`. It is stored nowhere: show it once.

    ValueError where the name is empty or taken (a revoked one stays taken: its record names it),
    or days is less than 1.
    """
    if not name or len(name) > 64 or not name.isprintable():
        raise ValueError("a key needs a printable name of 1 to 64 characters; choose one")
    if days < 1:
        raise ValueError(f"a key cannot last `{days}` days; give 1 or more")
    if connection.execute(select(keys.c.name).where(keys.c.name == name)).first():
        raise ValueError(f"there is a key `{name}` already; revoke it and take another name")
    key = "nbo_" + secrets.token_urlsafe(32)
    connection.execute(
        insert(keys).values(
            name=name, key_sha256=_digest(secret, key), role=Role(role).value,
            created_at=now, expires_at=now + days * DAY_MICROS,
        )
    )  # fmt: skip
    return key


def who(connection: Connection, presented: str, *, secret: bytes, now: int) -> Principal | None:
    """Whose key it is; null where it is unknown, expired or revoked."""
    digest = _digest(secret, presented)
    row = _FIND.run(connection, key_sha256=digest).fetchone()
    if row is None or not hmac.compare_digest(row[2], digest):
        return None
    if now >= row[3] or row[4] is not None:
        return None
    return Principal(row[0], Role(row[1]))


def revoke(connection: Connection, name: str, now: int) -> None:
    """End a key now; a second call changes nothing. ValueError where no key has that name."""
    if not connection.execute(select(keys.c.name).where(keys.c.name == name)).first():
        raise ValueError(f"there is no key `{name}`; `nbo keys list` names them")
    in_force = (keys.c.name == name) & keys.c.revoked_at.is_(None)
    connection.execute(update(keys).where(in_force).values(revoked_at=now))


def listed_keys(connection: Connection) -> list[KeyRow]:
    """All keys by name, revoked and expired ones among them."""
    rows = connection.execute(select(keys).order_by(keys.c.name)).all()
    return [KeyRow(r.name, Role(r.role), r.created_at, r.expires_at, r.revoked_at) for r in rows]


def _digest(secret: bytes, key: str) -> str:
    return hmac.new(secret, b"key\0" + key.encode(), hashlib.sha256).hexdigest()
