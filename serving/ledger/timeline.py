"""All that the ledger holds of one customer in the order of time, a page at a time. Reads only."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.engine import Connection

from serving.ledger.schema import consents, contacts, decisions, events, outcomes, suppressions

_OWN = {
    "contact": (contacts, contacts.c.contact_id, contacts.c.decided_at),
    "event": (events, events.c.event_id, events.c.booked_at),
    "consent": (consents, consents.c.consent_id, consents.c.at),
    "suppression": (suppressions, suppressions.c.suppression_id, suppressions.c.opened_at),
    "decision": (decisions, decisions.c.decision_id, decisions.c.as_of),
}


@dataclass(frozen=True)
class Moment:
    """One thing that happened. row: the columns of its table; of a decision without its payload. at: microseconds UTC."""

    kind: str  # contact, outcome, event, consent, suppression, decision
    at: int
    row: dict[str, Any]


def timeline(connection: Connection, customer_id: str, start: int, limit: int) -> tuple[list[Moment], int]:
    """(the moments from place `start` on, the newest first, how many there are in all)."""
    parts = [select(literal(kind).label("kind"), name.label("id"), literal("").label("more"), at.label("at"))
             .where(table.c.customer_id == customer_id) for kind, (table, name, at) in _OWN.items()]  # fmt: skip
    parts.append(
        select(literal("outcome"), outcomes.c.contact_id, outcomes.c.kind, outcomes.c.at)
        .join_from(outcomes, contacts)
        .where(contacts.c.customer_id == customer_id)
    )
    everything = union_all(*parts).subquery()
    n = connection.execute(select(func.count()).select_from(everything)).scalar_one()
    order = (everything.c.at.desc(), everything.c.kind, everything.c.id, everything.c.more)
    found = connection.execute(select(everything).order_by(*order).offset(start).limit(limit)).all()
    rows = {kind: _rows(connection, kind, [row.id for row in found if row.kind == kind]) for kind in _OWN}
    return [Moment(row.kind, row.at, {"contact_id": row.id, "outcome": row.more} if row.kind == "outcome" else rows[row.kind][row.id])
            for row in found], n  # fmt: skip


def open_suppressions(connection: Connection, customer_id: str, now: int) -> list[dict[str, Any]]:
    """Event suppressions that hold for the customer now, the one that ends first at the top."""
    holds = (suppressions.c.customer_id == customer_id, suppressions.c.opened_at <= now, suppressions.c.ends_at > now,
             func.coalesce(suppressions.c.closed_at, suppressions.c.ends_at) > now)  # fmt: skip
    found = connection.execute(select(suppressions).where(*holds).order_by(suppressions.c.ends_at))
    return [dict(row) for row in found.mappings()]


def open_by_rule(connection: Connection, now: int) -> dict[str, int]:
    """Rule -> customers for whom its event suppression holds now."""
    holds = (suppressions.c.opened_at <= now, func.coalesce(suppressions.c.closed_at, suppressions.c.ends_at) > now,
             suppressions.c.ends_at > now)  # fmt: skip
    query = select(suppressions.c.rule_id, func.count(func.distinct(suppressions.c.customer_id))).where(*holds).group_by(suppressions.c.rule_id)  # fmt: skip
    return {str(rule): int(n) for rule, n in connection.execute(query.order_by(suppressions.c.rule_id))}


def _rows(connection: Connection, kind: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    table, name, _ = _OWN[kind]
    columns = [column for column in table.c if not (kind == "decision" and column.name in ("inputs", "result"))]
    found = connection.execute(select(*columns).where(name.in_(ids))).mappings() if ids else ()
    told = {row[name.name]: dict(row) for row in found}
    for row in told.values():
        if kind == "decision":
            row["reasons"] = json.loads(row["reasons"])
    return told
