"""Erasure, legal hold, subject access: one customer's data, found, handed out, or made unreadable.

What erasure shreds and removes: the key of every record's payload, his events with their amounts,
what suppressions say of money, stored answers. What stays, pseudonymous, under the bank's own customer
id: contacts and outcomes (caps and complaints are counted from them), consents (the proof, and the
opt-out itself), records without payload (the seal covers them), the journal. docs/ledger.md says what
to do about snapshots and lists.
"""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, text, update
from sqlalchemy.engine import Connection

from serving.ledger import consents as consent_rows
from serving.ledger.journal import Entered, enter
from serving.ledger.recall import recall
from serving.ledger.records import FIELDS, DecisionRow
from serving.ledger.schema import (
    consents,
    contacts,
    decisions,
    events,
    holds,
    idempotency,
    journal,
    merges,
    outcomes,
    suppressions,
    units,
)
from serving.ledger.vault import ErasedError, Vault, shred

GONE = json.dumps({"error": {"code": "erased", "message": "this answer was erased with the customer's data"}}).encode()


class HoldError(ValueError):
    """A legal hold forbids it, or there is none to lift; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure did. lists: runs whose files still name the customer."""

    records: int
    recalled: int
    events: int
    answers: int
    lists: tuple[str, ...]


def erase(connection: Connection, customer: str, principal: str, reason: str, now: int) -> Erased:
    """Erase a customer's payload and stop all contact; HoldError under a legal hold.

    A second erasure finds less to do and is recorded as well.
    """
    if is_held(connection, customer):
        raise HoldError("the customer is under a legal hold; nbo audit hold CUSTOMER off lifts it")
    said = (customer, "marketing", consent_rows.ALL, "withdrawn", "erasure", None, now)
    # First of all: the withdrawal recalls as well, and does not say how many.
    n_recalled = recall(connection, now, customer_id=customer, reason="opted_out")
    consent_rows.record(connection, consent_rows.ConsentRow(
        consent_id=consent_rows.consent_id(*said), customer_id=customer, purpose="marketing", channel=consent_rows.ALL,
        state="withdrawn", source="erasure", wording=None, at=now, received_at=now))  # fmt: skip
    shred(connection, customer, now)
    n_events = connection.execute(delete(events).where(events.c.customer_id == customer)).rowcount
    mine = suppressions.c.customer_id == customer
    connection.execute(update(suppressions).where(mine).values(outflow_minor=None))
    answers = connection.execute(
        update(idempotency).where(_names(connection, customer)).values(status=410, answer=GONE)
    )
    done = Erased(records=_count(connection, decisions, decisions.c.customer_id == customer), recalled=n_recalled,
                  events=n_events, answers=answers.rowcount, lists=lists_naming(connection, customer))  # fmt: skip
    enter(connection, Entered.ERASE, customer, principal, now, reason=reason, records=done.records, recalled=n_recalled,
          events=n_events, answers=done.answers, lists=list(done.lists))  # fmt: skip
    return done


def lists_naming(connection: Connection, customer: str) -> tuple[str, ...]:
    """Runs that reserved a contact for the customer: their files name him."""
    known = select(decisions.c.decision_id).where(decisions.c.decision_id == contacts.c.decision_id).exists()
    runs = select(contacts.c.decision_id).distinct().order_by(contacts.c.decision_id)
    runs = runs.where(contacts.c.customer_id == customer, contacts.c.decision_id.is_not(None), ~known)
    return tuple(connection.execute(runs).scalars())


def is_held(connection: Connection, customer: str) -> bool:
    """Whether the customer is under a legal hold."""
    return connection.execute(select(holds.c.at).where(holds.c.customer_id == customer)).first() is not None


def hold(connection: Connection, customer: str, on: bool, principal: str, reason: str, now: int) -> bool:
    """Set or lift a legal hold; False where it stood so already. Recorded."""
    if is_held(connection, customer) == on:
        return False
    if on:
        row = {"customer_id": customer, "principal": principal, "reason": reason, "at": now}
        connection.execute(insert(holds).values(row))
    else:
        connection.execute(delete(holds).where(holds.c.customer_id == customer))
    enter(connection, Entered.HOLD, customer, principal, now, on=on, reason=reason)
    return True


def own_data(connection: Connection, vault: Vault, customer: str) -> dict[str, Any]:
    """Everything the ledger holds about a customer, by table; payload readable, `erased` where it is not.

    Legal holds are not among it: they are about others as well.
    """
    about = {"contacts": contacts, "events": events, "consents": consents, "suppressions": suppressions, "units": units}
    found: dict[str, Any] = {name: _rows(connection, table, table.c.customer_id == customer)
                             for name, table in about.items()}  # fmt: skip
    ids = select(contacts.c.contact_id).where(contacts.c.customer_id == customer)
    found["outcomes"] = _rows(connection, outcomes, outcomes.c.contact_id.in_(ids))
    found["merges"] = _rows(connection, merges, (merges.c.one == customer) | (merges.c.other == customer))
    mine = (journal.c.subject == customer) & (journal.c.kind != str(Entered.HOLD))
    found["journal"] = _rows(connection, journal, mine)
    found["decisions"] = [_readable(connection, vault, row)
                          for row in _rows(connection, decisions, decisions.c.customer_id == customer)]  # fmt: skip
    return {"customer_id": customer, **found}


def _readable(connection: Connection, vault: Vault, row: dict[str, Any]) -> dict[str, Any]:
    try:
        plain = vault.opened(connection, DecisionRow(**{name: row[name] for name in FIELDS}))
    except ErasedError:
        return row | {"inputs": "erased", "result": "erased"}
    return row | {"inputs": json.loads(plain.inputs), "result": json.loads(plain.result)}


def _rows(connection: Connection, table: Table, which: Any) -> list[dict[str, Any]]:
    query = select(table).where(which).order_by(*table.primary_key.columns)
    return [dict(row) for row in connection.execute(query).mappings()]


def _count(connection: Connection, table: Table, which: Any) -> int:
    return connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()


def _names(connection: Connection, customer: str) -> Any:
    """Stored answers that name the customer, which no column does."""
    named = f'"customer_id":{json.dumps(customer, ensure_ascii=False)}'.encode()
    where = "position(:named in answer) > 0" if connection.dialect.name == "postgresql" else "instr(answer, :named) > 0"
    return text(where).bindparams(named=named)
