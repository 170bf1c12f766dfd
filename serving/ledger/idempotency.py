"""Same key, same bytes: what was answered once is answered again, and done once.

The answer is stored in the transaction that did the work, so a twin in flight waits for the writer
and then reads it.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.schema import idempotency
from serving.ledger.statement import Entry, Statement, enter_all, is_listed


class ConflictError(ValueError):
    """The same key or id came with other content. Nothing was kept."""


class Asked(NamedTuple):
    """Who asked what, and with which body."""

    principal: str
    route: str
    key: str
    body_sha256: str


class Answer(NamedTuple):
    """What was answered: HTTP status and body."""

    status: int
    body: bytes


_FIND = Statement(
    select(idempotency.c.body_sha256, idempotency.c.status, idempotency.c.answer).where(
        and_(
            idempotency.c.principal == bindparam("principal"),
            idempotency.c.route == bindparam("route"),
            idempotency.c.key == bindparam("key"),
        )
    )
)
_FIELDS = tuple(idempotency.c.keys())
_FIND_MANY = Statement(
    select(*(idempotency.c[name] for name in ("principal", "route", "key", "body_sha256", "status", "answer"))).where(
        is_listed(idempotency.c.key, bindparam("keys")),
        is_listed(idempotency.c.principal, bindparam("principals")),
        is_listed(idempotency.c.route, bindparam("routes")),
    )
)
_INSERT = Statement(insert(idempotency))


def remembered(connection: Connection, principal: str, route: str, key: str, body_sha256: str) -> Answer | None:
    """The answer this principal got for this key on this route; null where the key is new.

    ConflictError where the key came with another body.
    """
    [found] = remembered_many(connection, [Asked(principal, route, key, body_sha256)])
    if isinstance(found, ConflictError):
        raise found
    return found


def remembered_many(connection: Connection, asked: Sequence[Asked]) -> list[Answer | ConflictError | None]:
    """`remembered` of each, all at once; the ConflictError is handed out, for the others have done nothing wrong."""
    if len(asked) == 1:
        [(principal, route, key, body_sha256)] = asked
        return [_same(_FIND.run(connection, principal=principal, route=route, key=key).fetchone(), body_sha256)]
    principals, routes, keys = (
        json.dumps(list(dict.fromkeys(values))) for values in list(zip(*asked, strict=True))[:3]
    )
    rows = _FIND_MANY.run(connection, principals=principals, routes=routes, keys=keys).fetchall()
    known = {(principal, route, key): answer for principal, route, key, *answer in rows}
    return [_same(known.get(one[:3]), one.body_sha256) for one in asked]


def _same(found: Sequence[Any] | None, body_sha256: str) -> Answer | ConflictError | None:
    if found is None:
        return None
    if found[0] != body_sha256:
        return ConflictError("this Idempotency-Key came with another body before; take a new key")
    return Answer(int(found[1]), bytes(found[2]))


def remember(
    connection: Connection,
    principal: str,
    route: str,
    key: str,
    body_sha256: str,
    answer: Answer,
    now: int,
) -> None:
    """Store the answer beside the work it tells of; RowError where the key is taken."""
    enter_all(connection, [remembering(Asked(principal, route, key, body_sha256), answer, now)])


def remembering(asked: Asked, answer: Answer, now: int) -> Entry:
    """What `remember` enters."""
    return Entry(_INSERT, _FIELDS, (*asked, answer.status, answer.body, now))


def forget(connection: Connection, before: int) -> int:
    """Drop keys recorded before an instant; how many. A dropped key would be done again."""
    old = idempotency.c.recorded_at < before
    return connection.execute(idempotency.delete().where(old)).rowcount
