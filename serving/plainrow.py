"""A few customers on the plain road: their feature rows, ledger state and local clock as values by name.

What `serving.rows.online_rows` says of them, without a column of Arrow; a test ties the two.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from sqlalchemy.engine import Connection

from features.base import Row
from features.identity import shared
from features.snapshot import Snapshot
from rules.alone import Alone
from rules.quiet import CLOCK, MINUTE_MICROS, clock_at
from rules.terms import Terms
from rules.types import CUSTOMERS
from serving.engine import Engine
from serving.ledger.book import micros
from serving.ledger.consents import of_customers
from serving.ledger.identity import certain_groups, who_are
from serving.rows import (
    INSTANT_AFTER,
    OUTBOUND_VALID,
    Asked,
    channel_bits,
    ledger_state,
    objectors_among,
    with_objections,
)

CLOCK_NAMES = frozenset(column.name for column in CLOCK)


class PlainCustomer(NamedTuple):
    """One customer on the plain road.

    who: as the rules take him; inputs: CUSTOMERS and state columns by name, as values; features: his feature row.
    lapsed: his unit holds a reservation that can no longer be claimed.
    """

    who: Alone
    inputs: dict[str, Any]
    features: Row
    lapsed: bool


def online_row(engine: Engine, terms: Terms, connection: Connection, asked: Asked, at: datetime,
               snapshot: Snapshot | None = None) -> PlainCustomer | None:  # fmt: skip
    """`plain_rows` of one customer; null where there is no snapshot, or nobody knows him."""
    return plain_rows(engine, terms, connection, [asked], at, snapshot).get(asked.customer_id)


def plain_rows(engine: Engine, terms: Terms, connection: Connection, asked: Sequence[Asked], at: datetime,
               snapshot: Snapshot | None = None) -> dict[str, PlainCustomer]:  # fmt: skip
    """Each of different customers as `online_rows` has him, without Arrow; none of whom no snapshot knows."""
    if (snapshot := snapshot or engine.snapshot(at)) is None:
        return {}
    names = [one.customer_id for one in asked]
    units, aliases = who_are(connection, names)
    features = _features_of(engine, connection, names, aliases, at, snapshot)
    asked = [one for one in asked if one.customer_id in features]
    if not asked:
        return {}
    moment, before = micros(at), at + OUTBOUND_VALID
    found = ledger_state(engine, terms, connection, asked, units, aliases, (moment, micros(before)))
    plan = _plan(engine, terms)
    people: dict[str, PlainCustomer] = {}
    for one, state in zip(asked, found.states, strict=True):
        name, row, outbound = one.customer_id, features[one.customer_id], one.direction == "outbound"
        zone = row.texts[plan.zone] if plan.zone is not None else None
        clock = clock_at(zone, moment // MINUTE_MICROS, engine.holidays)
        fixed: dict[str, Any] = {
            "customer_id": name, "unit_id": units[name], "as_of": at, "local_day": clock["local_day"],
            "direction": one.direction, "channels": channel_bits(engine, one.channels),
            "send_after": at if outbound else None, "send_before": before if outbound else None}  # fmt: skip
        inputs = fixed | plan.state(row, state, clock)
        who = Alone(**fixed, time_zone=inputs.get("time_zone"), row=terms.plain.one(inputs))
        people[name] = PlainCustomer(who, inputs, row, units[name] in found.lapsed)
    return people


class _Plan:
    """Where each state column of the terms comes from: the clock, the ledger, or a place in a feature row."""

    def __init__(self, engine: Engine, terms: Terms) -> None:
        one, ledger = engine.store.one_row, {field.name for field in terms.policy.state_fields(engine.catalogue)}
        numbers, flags, texts = (
            {name: place for place, name in enumerate(names)} for names in (one.numbers, one.flags, one.texts)
        )
        names = [name for name in terms.state_schema.names if name not in CUSTOMERS.names]
        self.clock = [name for name in names if name in CLOCK_NAMES]
        self.ledger = [name for name in names if name in ledger and name not in CLOCK_NAMES]
        rest = [name for name in names if name not in CLOCK_NAMES and name not in ledger]
        self.numbers, self.flags, self.texts = (
            [(name, at[name]) for name in rest if name in at] for at in (numbers, flags, texts)
        )
        self.zone = texts.get("time_zone")

    def state(self, features: Row, ledger: dict[str, float], clock: dict[str, Any]) -> dict[str, Any]:
        """Every state column, None where not known."""
        numbers, flags, texts = features.numbers, features.flags.tolist(), features.texts
        found: dict[str, Any] = {name: clock[name] for name in self.clock}
        for name in self.ledger:
            found[name] = float(ledger[name])
        for name, place in self.numbers:
            value = numbers[place]
            found[name] = value if value == value else None  # noqa: PLR0124  # NaN is null
        for name, place in self.flags:
            found[name] = None if flags[place] > 1 else flags[place] == 1
        for name, place in self.texts:
            found[name] = texts[place]
        return found


@lru_cache(maxsize=32)
def _plan(engine: Engine, terms: Terms) -> _Plan:
    return _Plan(engine, terms)


def _features_of(engine: Engine, connection: Connection, names: Sequence[str], aliases: dict[str, tuple[str, ...]],
                 at: datetime, snapshot: Snapshot) -> dict[str, Row]:  # fmt: skip
    """Features as of the instant after, with what each said of profiling and shares with his other ids."""
    everyone = list(dict.fromkeys([*names, *(other for others in aliases.values() for other in others)]))
    said = [
        (c.customer_id, c.purpose, c.channel, c.state, c.at, c.received_at) for c in of_customers(connection, everyone)
    ]
    alone, one = [name for name in names if name not in aliases], engine.store.one_row
    rows = engine.store.latest_rows(alone, at + INSTANT_AFTER, connection, snapshot)
    if "no_profiling" in one.flags:
        place = one.flags.index("no_profiling")
        for name in objectors_among(said):
            if name in rows:
                rows[name].flags[place] = 1
    for name, others in aliases.items():
        person = [name, *others]
        now = engine.store.latest(person, at + INSTANT_AFTER, connection, snapshot)
        table = with_objections(pa.Table.from_batches([now]), said)
        table = shared(table, [person], certain_groups(connection, person))
        ids = table.column("customer_id").to_pylist()
        if name in ids:
            rows[name] = one.read(table, ids.index(name))
    return rows
