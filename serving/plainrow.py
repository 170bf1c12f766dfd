"""One customer's row on the plain road: features, ledger state and local clock as Python values.

Says what `serving.rows.online_rows` says of him, without a column of Arrow; a test ties the two.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from features.base import Row
from features.identity import shared
from features.snapshot import Snapshot
from rules.alone import Alone
from rules.quiet import CLOCK, MINUTE_MICROS, clock_at
from rules.terms import Terms
from rules.types import CUSTOMERS
from serving.engine import Engine
from serving.ledger.book import micros, unit_of
from serving.ledger.consents import of_customers
from serving.ledger.identity import aliases_of, certain_groups
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
    """

    who: Alone
    inputs: dict[str, Any]
    features: Row


def online_row(engine: Engine, terms: Terms, connection: Connection, asked: Asked, at: datetime,
               snapshot: Snapshot | None = None) -> PlainCustomer | None:  # fmt: skip
    """What `online_rows` says of one customer, without Arrow; null where there is no snapshot, or nobody knows him."""
    if (snapshot := snapshot or engine.snapshot(at)) is None:
        return None
    name = asked.customer_id
    aliases = aliases_of(connection, [name])
    features = _features_of(engine, connection, name, aliases.get(name, ()), at, snapshot)
    if features is None:
        return None
    units = unit_of(connection, [name])
    [state] = ledger_state(
        engine, terms, connection, [asked], units, aliases, (micros(at), micros(at + OUTBOUND_VALID))
    )
    plan, outbound = _plan(engine, terms), asked.direction == "outbound"
    zone = features.texts[plan.zone] if plan.zone is not None else None
    clock = clock_at(zone, micros(at) // MINUTE_MICROS, engine.holidays)
    fixed: dict[str, Any] = {
        "customer_id": name, "unit_id": units[name], "as_of": at, "local_day": clock["local_day"],
        "direction": asked.direction, "channels": channel_bits(engine, asked.channels),
        "send_after": at if outbound else None, "send_before": at + OUTBOUND_VALID if outbound else None}  # fmt: skip
    inputs = fixed | plan.state(features, state, clock)
    row = terms.plain.one(inputs)
    return PlainCustomer(Alone(**fixed, time_zone=inputs.get("time_zone"), row=row), inputs, features)


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


def _features_of(engine: Engine, connection: Connection, name: str, others: tuple[str, ...], at: datetime,
                 snapshot: Snapshot) -> Row | None:  # fmt: skip
    """His features as of the instant after, with what he said of profiling and shares with his other ids."""
    said = ((c.customer_id, c.purpose, c.channel, c.state, c.at) for c in of_customers(connection, (name, *others)))
    if not others:
        row, objectors = engine.store.latest_row(name, at + INSTANT_AFTER, connection, snapshot), objectors_among(said)
        if row is not None and objectors and "no_profiling" in engine.store.one_row.flags:
            row.flags[engine.store.one_row.flags.index("no_profiling")] = 1
        return row
    everyone = [name, *others]
    features = with_objections(engine.store.latest(everyone, at + INSTANT_AFTER, connection, snapshot), said)
    features = shared(features, [everyone], certain_groups(connection, everyone))
    names = features.column("customer_id").to_pylist()
    return engine.store.one_row.read(features, names.index(name)) if name in names else None
