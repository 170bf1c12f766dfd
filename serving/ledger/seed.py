"""The bank's contact history becomes ledger rows, so that caps do not start at zero.

Idempotent: a contact or outcome that is known stays; one that was not yet sent when last imported
takes its sending over. Chunks of about 1,000 rows, a transaction each, so that a service that runs
beside it never waits long.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger, unit_of
from serving.ledger.contact import FIELDS
from serving.ledger.identity import in_force, settle
from serving.ledger.lifecycle import find
from serving.ledger.outcomes import WITHDRAWING, Kind, withdraw
from serving.ledger.schema import contacts, outcomes, suppressions, units
from serving.ledger.statement import Statement, is_listed, listed

CHUNK = 1_000

_CONTACT = Statement(
    insert(contacts),
    "ON CONFLICT (contact_id) DO UPDATE SET state = excluded.state, sent_at = excluded.sent_at,"
    " send_after = excluded.send_after, send_before = excluded.send_before,"
    " closed_at = NULL, close_reason = NULL"
    " WHERE contacts.source = 'import' AND contacts.sent_at IS NULL"
    " AND excluded.sent_at IS NOT NULL",
)
_OUTCOME = Statement(insert(outcomes), "ON CONFLICT DO NOTHING")
_KNOWN = Statement(select(contacts.c.contact_id).where(is_listed(contacts.c.contact_id, bindparam("contact_ids"))))
_UNIT = Statement(
    insert(units).values(
        customer_id=bindparam("customer_id"), unit_id=bindparam("unit_id"), base_unit_id=bindparam("unit_id")
    ),
    "ON CONFLICT (customer_id) DO UPDATE SET unit_id = excluded.unit_id, base_unit_id = excluded.unit_id",
)
Progress = Callable[[int, int], object]  # rows done, rows in all


@dataclass(frozen=True)
class Seeded:
    """What an import changed. unknown: outcomes left out because nobody knows their contact."""

    units: int
    contacts: int
    outcomes: int
    withdrawals: int
    unknown: int


def seed(
    ledger: Ledger,
    contacts: pa.Table,
    outcomes: pa.Table,
    units: pa.Table,
    families: Mapping[str, str],
    progress: Progress | None = None,
) -> Seeded:
    """Import contact history; what changed. A second import of the same changes nothing.

    Args:
        contacts, outcomes: The bank's tables (`features.tables`). A contact without sent_at was
            never sent and enters as closed. Opt-outs withdraw consent, as they do online.
        units: customer_id, unit_id; merges and splits move the customers' contacts along.
        families: Offer -> family, from the catalogue.
        progress: Called after each chunk.
    """
    n_all, n_done = units.num_rows + contacts.num_rows + outcomes.num_rows, 0
    changed = {"units": 0, "contacts": 0, "outcomes": 0, "withdrawals": 0, "unknown": 0}
    steps: tuple[tuple[pa.Table, Step], ...] = (
        (units, _enter_units),
        (contacts, partial(_enter_contacts, families=families)),
        (outcomes, _enter_outcomes),
    )
    for table, step in steps:
        for rows in _chunks(table):
            counts = ledger.write(partial(_stamped, step, rows, ledger)).result()
            for name, count in counts.items():
                changed[name] += count
            n_done += len(rows)
            if progress is not None:
                progress(n_done, n_all)
    return Seeded(**changed)


def assign_units(connection: Connection, mapping: Mapping[str, str]) -> int:
    """Enter customer -> unit, as the source has it; how many changed. Their contacts and suppressions move along.

    Merges in force stay in force: who is merged stays in the unit of both. Rows keep their customer,
    so everything is undone by assigning the old units again.
    """
    before = unit_of(connection, mapping)
    moved = {customer: unit for customer, unit in mapping.items() if before[customer] != unit}
    _UNIT.run_many(connection, [{"customer_id": c, "unit_id": u} for c, u in mapping.items()])
    for rows in (_CONTACT_UNIT, _SUPPRESSION_UNIT):
        rows.run_many(connection, [{"customer": c, "unit": u} for c, u in moved.items()])
    merged = {name for row in in_force(connection) for name in (row.one, row.other)}
    if merged:
        settle(connection, merged)
    return len(moved)


_CONTACT_UNIT, _SUPPRESSION_UNIT = (
    Statement(update(table).where(table.c.customer_id == bindparam("customer")).values(unit_id=bindparam("unit")))
    for table in (contacts, suppressions)
)
Rows = list[dict[str, Any]]
Step = Callable[[Connection, Rows, int], dict[str, int]]


def _stamped(step: Step, rows: Rows, ledger: Ledger, connection: Connection) -> dict[str, int]:
    return step(connection, rows, ledger.now_micros())


def _enter_units(connection: Connection, rows: Rows, _now: int) -> dict[str, int]:
    return {"units": assign_units(connection, {r["customer_id"]: r["unit_id"] for r in rows})}


def _enter_contacts(connection: Connection, rows: Rows, _now: int, families: Mapping[str, str]) -> dict[str, int]:
    unit = unit_of(connection, [row["customer_id"] for row in rows])
    entered = [_contact(row, unit[row["customer_id"]], families) for row in rows]
    return {"contacts": _CONTACT.run_many(connection, entered)}


def _contact(row: dict[str, Any], unit_id: str, families: Mapping[str, str]) -> dict[str, Any]:
    went_out = row["sent_at"] is not None
    at = row["sent_at"] if went_out else row["decided_at"]
    known = {name: row.get(name) for name in FIELDS} | {"unit_id": unit_id, "source": "import"}
    return known | {
        "family": families.get(row["offer_id"] or ""),
        "state": "sent" if went_out else "closed",
        "send_after": at,
        "send_before": at,
        "closed_at": None if went_out else at,
        "close_reason": None if went_out else "not_sent",
    }


def _enter_outcomes(connection: Connection, rows: Rows, now: int) -> dict[str, int]:
    ids = listed({row["contact_id"] for row in rows})
    known = {found[0] for found in _KNOWN.run(connection, contact_ids=ids).fetchall()}
    mine = [row | {"recorded_at": now} for row in rows if row["contact_id"] in known]
    n_new = _OUTCOME.run_many(connection, mine)
    withdrawing = [row for row in mine if row["kind"] in WITHDRAWING] if n_new else []
    for row in withdrawing:
        contact = find(connection, str(row["contact_id"]))
        assert contact is not None  # it was among the known ones of this transaction
        withdraw(connection, contact, Kind(row["kind"]), row["at"], now)
    return {
        "outcomes": n_new,
        "withdrawals": len(withdrawing),
        "unknown": len(rows) - len(mine),
    }


def _chunks(table: pa.Table) -> Generator[Rows]:
    for batch in _in_micros(table).to_batches(max_chunksize=CHUNK):
        columns: dict[str, list[Any]] = batch.to_pydict()
        if batch.num_rows:
            yield [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _in_micros(table: pa.Table) -> pa.Table:
    """The table with its instants as the ledger keeps them: int64 microseconds UTC."""
    for kind in (pa.timestamp("us", "UTC"), pa.int64()):
        is_instant = [pa.types.is_timestamp(held) for held in table.schema.types]
        fields = zip(table.schema.names, table.schema.types, is_instant, strict=True)
        table = table.cast(pa.schema([(name, kind if at else held) for name, held, at in fields]))
    return table
