"""What is sealed, and how a row becomes a leaf: decisions, consents, outcomes, switches, the journal, changes.

Outcomes of imported contacts are the bank's own files, and stay outside. A decision brings the hash
it was written with; the others are hashed when they are sealed, at most a second later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Table, Text, bindparam, cast, literal, select, true

from serving.ledger import records
from serving.ledger.records import fields_sha256
from serving.ledger.schema import change_steps, consents, contacts, decisions, journal, leaves, outcomes, switches
from serving.ledger.statement import Statement


@dataclass(frozen=True)
class Sort:
    """One sort of sealed rows.

    row_id: the text that names a row. at: when it was recorded, microseconds. columns: what is hashed,
    in this order; leaf: columns -> hash as it is to be sealed. fresh: row_id, at and columns that no
    leaf covers, recorded at `since` or later, the oldest first, `limit` of them.
    """

    kind: str
    table: Table
    row_id: ColumnElement[str]
    at: ColumnElement[int]
    columns: tuple[ColumnElement[Any], ...]
    leaf: Callable[[tuple[Any, ...]], str]
    among: ColumnElement[bool]
    fresh: Statement

    def rows(self, columns: tuple[ColumnElement[Any], ...]) -> Select[Any]:
        """row_id and the columns of every row that is to be sealed."""
        return select(self.row_id, *columns).where(self.among)


def _sort(
    kind: str,
    table: Table,
    row_id: ColumnElement[str],
    at: ColumnElement[int],
    columns: tuple[ColumnElement[Any], ...],
    leaf: Callable[[tuple[Any, ...]], str] = fields_sha256,
    among: ColumnElement[bool] | None = None,
) -> Sort:
    among = true() if among is None else among
    covered = select(leaves.c.place).where(leaves.c.kind == literal(kind, Text), leaves.c.row_id == row_id).exists()
    query = select(row_id, at, *columns).where(at >= bindparam("since"), ~covered)
    query = query if among is true() else query.where(among)
    query = query.order_by(at, row_id).limit(bindparam("limit", type_=Integer))
    return Sort(kind, table, row_id, at, columns, leaf, among, Statement(query))


def _named(table: Table, names: str) -> tuple[ColumnElement[Any], ...]:
    return tuple(table.c[name] for name in names.split())  # INVARIANT: never changes, or old seals break


def _first(values: tuple[Any, ...]) -> str:
    return str(values[0])


_of_import = select(contacts.c.contact_id).where(
    contacts.c.contact_id == outcomes.c.contact_id, contacts.c.source == literal("import", Text)
)
DECISION = _sort(
    "decision", decisions, decisions.c.decision_id, decisions.c.recorded_at, (decisions.c.row_sha256,), _first
)
OUTCOME = _sort(
    "outcome",
    outcomes,
    outcomes.c.contact_id + " " + outcomes.c.kind + " " + cast(outcomes.c.at, Text),
    outcomes.c.recorded_at,
    _named(outcomes, "contact_id kind at recorded_at"),
    among=~_of_import.exists(),
)
SORTS = (
    DECISION,
    _sort("consent", consents, consents.c.consent_id, consents.c.received_at,
          _named(consents, "consent_id customer_id purpose channel state source wording at received_at")),
    OUTCOME,
    _sort("switch", switches, cast(switches.c.switch_id, Text), switches.c.at,
          _named(switches, "switch_id scope action principal reason at")),
    _sort("journal", journal, cast(journal.c.entry_id, Text), journal.c.at,
          _named(journal, "entry_id kind subject principal body at")),
    _sort("change", change_steps, cast(change_steps.c.step_id, Text), change_steps.c.at,
          _named(change_steps, "step_id change_id act principal role kinds base target at effective_at passed note report previous signature")),
)  # fmt: skip


def hashed_again(sort: Sort) -> tuple[tuple[ColumnElement[Any], ...], Callable[[tuple[Any, ...]], str]]:
    """(columns, hash over them) from a row's own content: what `verify` compares its leaf with."""
    if sort is DECISION:
        return tuple(decisions.c[name] for name in records.FIELDS), fields_sha256
    return sort.columns, sort.leaf
