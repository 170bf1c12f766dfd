"""How long each table is kept, and the pruning of what is older; a pruned sealed row leaves its leaf.

The days stand in HOME/retention.yaml, where it is there, else below. Nothing is pruned that a cap, a
pause or a suppression may still count, nothing of a customer under a legal hold, and nothing that is
not sealed. The journal's entry is written first and named by `verify`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select
from sqlalchemy.engine import Connection

from rules.document import read_document
from serving.ledger.journal import Entered, enter
from serving.ledger.schema import contacts, decisions, events, holds, idempotency, leaves, outcomes, seals, suppressions
from serving.ledger.sealed import OUTCOME

DAY_MICROS = 86_400_000_000
COUNTED_DAYS = 740  # what counters look back; a shorter time would open a cap
FOLDED_DAYS = 820  # what the fold of a late event looks back
CHUNK = 1_000


class RetentionError(ValueError):
    """A time is shorter than what decisions are made of, or the file is none; one line."""


class Retention(BaseModel):
    """Days each table is kept. Consents, switches, seals, leaves, journal and the vault stay: they are the proof."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decisions: Annotated[int, Field(ge=30)] = 1_095
    contacts: Annotated[int, Field(ge=COUNTED_DAYS)] = 2_555  # with their outcomes
    events: Annotated[int, Field(ge=FOLDED_DAYS)] = 1_095
    suppressions: Annotated[int, Field(ge=COUNTED_DAYS)] = 1_095
    idempotency: Annotated[int, Field(ge=1)] = 30


@dataclass(frozen=True)
class _Rule:
    """table, how its rows are named, and which are over at an instant."""

    table: Table
    key: ColumnElement[Any]
    over: Callable[[int], ColumnElement[bool]]
    sealed_as: str | None = None


def read_retention(file: Path) -> Retention:
    """The times of a home; the defaults where there is no file. RetentionError, one line."""
    if not file.is_file():
        return Retention()
    document = read_document(file)
    try:
        return Retention.model_validate(document.value)
    except ValidationError as error:
        raise RetentionError(document.explain(error, Retention)) from None


def plan_prune(connection: Connection, retention: Retention, now: int) -> dict[str, int]:
    """Table -> rows that are over; reads only."""
    return {name: connection.execute(select(func.count()).select_from(rule.table).where(rule.over(cutoff))).scalar_one()
            for name, rule, cutoff in _rules(retention, now)}  # fmt: skip


def announce(connection: Connection, retention: Retention, principal: str, now: int, counts: dict[str, int]) -> None:
    """Enter into the journal what is about to be pruned; `verify` misses those rows no more."""
    before = {rule.sealed_as: cutoff for _, rule, cutoff in _rules(retention, now) if rule.sealed_as}
    before["outcome"] = before.pop("contact")
    enter(connection, Entered.PRUNE, None, principal, now, rows=counts, sealed_before=before)


def prune_some(connection: Connection, retention: Retention, now: int) -> int:
    """Delete about CHUNK rows of each table that are over; how many. 0: there are none left."""
    gone = 0
    for name, rule, cutoff in _rules(retention, now):
        keys = connection.execute(select(rule.key).where(rule.over(cutoff)).limit(CHUNK)).scalars().all()
        if not keys:
            continue
        if name == "contacts":  # the outcomes refer to them
            connection.execute(delete(outcomes).where(outcomes.c.contact_id.in_(keys)))
        over = rule.key.in_(set(keys)) & rule.over(cutoff)
        gone += connection.execute(delete(rule.table).where(over)).rowcount
    return gone


def _rules(retention: Retention, now: int) -> Iterator[tuple[str, _Rule, int]]:
    for name, rule in _RULES.items():
        yield name, rule, now - getattr(retention, name) * DAY_MICROS


def _free(customer: ColumnElement[str]) -> ColumnElement[bool]:
    return ~select(holds.c.at).where(holds.c.customer_id == customer).exists()


def _sealed_before(kind: str, row_id: ColumnElement[str], cutoff: int) -> ColumnElement[bool]:
    covering = select(leaves.c.place).join(seals, seals.c.seal_id == leaves.c.seal_id)
    return covering.where(leaves.c.kind == kind, leaves.c.row_id == row_id, seals.c.sealed_at < cutoff).exists()


def _contact_over(cutoff: int) -> ColumnElement[bool]:
    answered = outcomes.c.contact_id == contacts.c.contact_id
    lately = select(outcomes.c.at).where(answered, or_(outcomes.c.at >= cutoff, outcomes.c.recorded_at >= cutoff))
    unsealed = select(outcomes.c.at).where(answered, ~_sealed_before("outcome", OUTCOME.row_id, cutoff), OUTCOME.among)
    done = contacts.c.state.in_(("sent", "closed")) & (contacts.c.send_before < cutoff)
    return and_(done, ~lately.exists(), ~unsealed.exists(), _free(contacts.c.customer_id))


_RULES = {
    "decisions": _Rule(
        decisions, decisions.c.decision_id,
        lambda cutoff: and_(decisions.c.recorded_at < cutoff, _free(decisions.c.customer_id),
                            _sealed_before("decision", decisions.c.decision_id, cutoff)), "decision"),
    "contacts": _Rule(contacts, contacts.c.contact_id, _contact_over, "contact"),
    "events": _Rule(
        events, events.c.event_id,
        lambda cutoff: and_(events.c.booked_at < cutoff, events.c.received_at < cutoff, _free(events.c.customer_id))),
    "suppressions": _Rule(
        suppressions, suppressions.c.suppression_id,
        lambda cutoff: and_(suppressions.c.ends_at < cutoff, _free(suppressions.c.customer_id))),
    "idempotency": _Rule(
        idempotency, idempotency.c.recorded_at, lambda cutoff: idempotency.c.recorded_at < cutoff),
}  # fmt: skip
