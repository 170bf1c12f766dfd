"""Sessions of the console: a random token in a cookie, its hash here, an end by the wall clock.

They live in the ledger so that signing out, or taking a user away, acts at once on every worker. Nothing is written
when somebody only looks.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.keys import Principal, Role
from serving.ledger.schema import sessions, users
from serving.ledger.statement import Statement

LASTS_SECONDS = 8 * 3600  # a working day; then the password again
KEPT_SECONDS = 90 * 86_400  # who was signed in when
_MICROS = 1_000_000
_FIND = Statement(
    select(sessions.c.name, sessions.c.role, sessions.c.way, sessions.c.expires_at)
    .where(sessions.c.token_sha256 == bindparam("digest"), sessions.c.ended_at.is_(None))
)  # fmt: skip


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in. way: password, proxy or oidc. digest: of the token."""

    principal: Principal
    way: str
    digest: str


def begin(connection: Connection, principal: Principal, way: str, password: str | None = None,
          at: float | None = None) -> str | None:  # fmt: skip
    """The token of a new session, which is stored nowhere.

    password: the hash that was matched; null where it is no longer the user's: he was revoked, or changed it, meanwhile.
    at: seconds since 1970 by the wall clock, null for now.
    """
    if way == "password":
        held = (users.c.name == principal.name) & (users.c.password == password) & users.c.revoked_at.is_(None)
        if connection.execute(select(users.c.name).where(held)).first() is None:
            return None
    now = _now(at)
    connection.execute(delete(sessions).where(sessions.c.expires_at < now - KEPT_SECONDS * _MICROS))
    token = secrets.token_urlsafe(32)
    row = {"token_sha256": _digest(token), "name": principal.name, "role": str(principal.role), "way": way,
           "began_at": now, "expires_at": now + LASTS_SECONDS * _MICROS}  # fmt: skip
    connection.execute(insert(sessions).values(row))
    return token


def find(connection: Connection, token: str, at: float | None = None) -> Session | None:
    """The session of a token; null: unknown, ended or over."""
    digest = _digest(token)
    row = _FIND.run(connection, digest=digest).fetchone()
    if row is None or _now(at) >= row[3]:
        return None
    return Session(Principal(row[0], Role(row[1])), row[2], digest)


def end(connection: Connection, digest: str, at: float | None = None) -> None:
    """End a session now; a second call changes nothing."""
    open_ = (sessions.c.token_sha256 == digest) & sessions.c.ended_at.is_(None)
    connection.execute(update(sessions).where(open_).values(ended_at=_now(at)))


def _now(at: float | None) -> int:
    return int((time.time() if at is None else at) * _MICROS)


def _digest(token: str) -> str:
    return hashlib.sha256(b"session\0" + token.encode()).hexdigest()
