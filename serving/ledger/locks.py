"""What a request holds alone until its transaction ends.

SQLite has one writer, who holds everything. PostgreSQL has many: each takes an advisory lock for
every unit and every name (an Idempotency-Key, an event's id) its group touches, in the order of
the locks' own numbers, so that no two transactions ever wait in a circle. A name may be shared: a
claim reads the switches, and a pause, which holds them alone, waits for it and sees it. Above them stands one
lock of all: shared by those who name what they touch, alone for those who do not. Under it no
customer changes units, so what a customer's unit is can be asked before the unit is locked.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, bindparam, select
from sqlalchemy.engine import Connection

from serving.ledger.schema import contacts, units
from serving.ledger.statement import Statement, is_listed

ALL, CLOCK, RECALLS = 4720260602, 4720260603, 4720260605  # the same in every worker; the others are hashes


@dataclass(frozen=True, slots=True)
class Touches:
    """What a request counts, reads and then writes.

    customers: their units; contacts: the units of these contacts, known or not; names: whatever
    else there may be only one of; shared: names that must stand still, but for others who share them.
    """

    units: Sequence[str] = ()
    customers: Sequence[str] = ()
    contacts: Sequence[str] = ()
    names: Sequence[str] = ()
    shared: Sequence[str] = ()


NOTHING = Touches()
_MIXED = (
    "SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared(held) ELSE pg_advisory_xact_lock(held) END"
    " FROM unnest(%s::bigint[], %s::boolean[]) AS asked(held, shared)"
)
_UNITS = Statement(
    select(units.c.customer_id, units.c.unit_id).where(is_listed(units.c.customer_id, bindparam("customer_ids")))
)
_OF_CONTACTS = Statement(
    select(contacts.c.contact_id, contacts.c.unit_id).where(is_listed(contacts.c.contact_id, bindparam("contact_ids")))
)


def together(touched: Iterable[Touches | None]) -> Touches | None:
    """All that a group touches; null where one of them may touch anything."""
    of_units: list[str] = []
    customers: list[str] = []
    of_contacts: list[str] = []
    names: list[str] = []
    shared: list[str] = []
    for one in touched:
        if one is None:
            return None
        of_units += one.units
        customers += one.customers
        of_contacts += one.contacts
        names += one.names
        shared += one.shared
    return Touches(of_units, customers, of_contacts, names, shared)


def hold(connection: Connection, touches: Touches | None) -> None:
    """Hold what is touched, null: everything, until the transaction ends. SQLite: holds all already."""
    if connection.dialect.name != "postgresql":
        return
    cursor = connection.connection.cursor()
    if touches is None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ALL,))
        return
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (ALL,))
    alone = lock_numbers(_units_of(connection, touches), touches.names)
    # Who holds a name alone does not share it first: two who both did would wait for each other.
    shared = set(lock_numbers((), touches.shared)).difference(alone)
    if shared:  # a function scan goes through the arrays in their order
        numbers = sorted({*alone, *shared})
        cursor.execute(_MIXED, (numbers, [number in shared for number in numbers]))
    elif alone:
        cursor.execute("SELECT pg_advisory_xact_lock(held) FROM unnest(%s::bigint[]) AS held", (alone,))


def hold_clock(connection: Connection, _: object = None) -> None:
    """Wait until no worker is about to write what time it is, and let none until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.connection.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (CLOCK,))


def hold_recalls(connection: Connection) -> None:
    """Let no other worker recall until the transaction ends, so that recalls are committed in the order of their instants.

    INVARIANT: whoever holds it waits for no contact's row. Taken after the units' locks; a contact is written by who holds
    its unit, or under this lock and passed over where somebody writes it (`unheld`). Else a group that holds rows of its
    earlier requests would wait here for one who waits for those rows.
    """
    if connection.dialect.name == "postgresql":
        connection.connection.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (RECALLS,))


def unheld(connection: Connection, ids: Select[tuple[str]]) -> Select[tuple[str]]:
    """Those contacts of any unit whose rows no other worker writes in this moment, theirs until the transaction ends."""
    hold_recalls(connection)
    return ids.with_for_update(skip_locked=True) if connection.dialect.name == "postgresql" else ids


def lock_numbers(of_units: Iterable[str], names: Iterable[str] = ()) -> list[int]:
    """The locks' numbers, ascending: sorted by number and not by name, for two names may share one."""
    texts = {*(f"unit\0{unit}" for unit in of_units), *(f"name\0{name}" for name in names)}
    return sorted(
        {int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "big", signed=True) for t in texts}
    )


def unit_of(connection: Connection, customer_ids: Iterable[str]) -> dict[str, str]:
    """Customer -> unit for each of the customers; whoever has no entry is a unit of his own."""
    asked = list(dict.fromkeys(customer_ids))
    rows = _UNITS.run(connection, customer_ids=json.dumps(asked)).fetchall()
    return {customer_id: customer_id for customer_id in asked} | dict(rows)


def units_of_contacts(connection: Connection, contact_ids: Iterable[str]) -> dict[str, str]:
    """Contact -> unit for each of the contacts that there are."""
    if not (asked := sorted(set(contact_ids))):
        return {}
    return dict(_OF_CONTACTS.run(connection, contact_ids=json.dumps(asked)).fetchall())


def _units_of(connection: Connection, touches: Touches) -> set[str]:
    found = {*touches.units, *units_of_contacts(connection, touches.contacts).values()}
    if touches.customers:
        found.update(unit_of(connection, touches.customers).values())
    return found
