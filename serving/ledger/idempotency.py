"""Same key, same bytes: what was answered once is answered again, and done once.

The answer is stored in the transaction that did the work, so a twin in flight waits for the writer
and then reads it.
"""

from typing import NamedTuple

from sqlalchemy import and_, bindparam, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.schema import idempotency
from serving.ledger.statement import Statement


class ConflictError(ValueError):
    """The same key or id came with other content. Nothing was kept."""


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
_INSERT = Statement(insert(idempotency))


def remembered(connection: Connection, principal: str, route: str, key: str, body_sha256: str) -> Answer | None:
    """The answer this principal got for this key on this route; null where the key is new.

    ConflictError where the key came with another body.
    """
    row = _FIND.run(connection, principal=principal, route=route, key=key).fetchone()
    if row is None:
        return None
    if row[0] != body_sha256:
        raise ConflictError("this Idempotency-Key came with another body before; take a new key")
    return Answer(int(row[1]), bytes(row[2]))


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
    _INSERT.run(
        connection, principal=principal, route=route, key=key, body_sha256=body_sha256,
        status=answer.status, answer=answer.body, recorded_at=now,
    )  # fmt: skip


def forget(connection: Connection, before: int) -> int:
    """Drop keys recorded before an instant; how many. A dropped key would be done again."""
    old = idempotency.c.recorded_at < before
    return connection.execute(idempotency.delete().where(old)).rowcount
