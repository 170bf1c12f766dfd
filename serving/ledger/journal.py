"""What operators and runs did to the ledger, append-only and sealed with the records.

Resets of the clock, erasures, legal holds, merges, prunes, rotated keys, guarded volumes and the manifests of lists: each
is one entry in the transaction that did it.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from serving.ledger.schema import journal


class Entered(StrEnum):
    """What an entry tells of."""

    CLOCK = "clock"
    ERASE = "erase"
    HOLD = "hold"
    LIST = "list"
    MERGE = "merge"
    PRUNE = "prune"
    REASSIGN = "reassign"
    ROTATE = "rotate"
    SCHEDULE = "schedule"
    UNMERGE = "unmerge"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. subject: the customer or run it is about; body: JSON object; at: microseconds UTC."""

    entry_id: int
    kind: Entered
    subject: str | None
    principal: str
    body: dict[str, Any]
    at: int


def enter(connection: Connection, kind: Entered, subject: str | None, principal: str, now: int, **body: Any) -> None:
    """Append an entry."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    row = {"kind": str(kind), "subject": subject, "principal": principal, "body": text, "at": now}
    connection.execute(insert(journal).values(row))


def entries(connection: Connection, kind: Entered | None = None, subject: str | None = None) -> list[Entry]:
    """The entries, oldest first; of one kind, about one subject, or all."""
    query = select(journal).order_by(journal.c.entry_id)
    query = query if kind is None else query.where(journal.c.kind == str(kind))
    query = query if subject is None else query.where(journal.c.subject == subject)
    return [Entry(entry_id=r.entry_id, kind=Entered(r.kind), subject=r.subject, principal=r.principal,
                  body=json.loads(r.body), at=r.at) for r in connection.execute(query)]  # fmt: skip
