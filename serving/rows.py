"""CUSTOMERS rows: one customer's features, ledger state and local clock, side by side.

Two readings of the same columns: `online_rows` for a few customers from the ledger's connection, `batch`
for all of them from whole tables.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from features.heard import place_of_word
from features.identity import shared
from rules.closures import Plainly
from rules.quiet import clock_state
from rules.state import AnswerFact, ContactFact, SuppressionFact, contact_state, customer_state, look_back
from rules.terms import Terms
from rules.types import CUSTOMERS, INSTANT
from serving.engine import Engine
from serving.ledger.book import micros
from serving.ledger.consents import of_customers
from serving.ledger.counted import answers_of_units, counted_of_units
from serving.ledger.events import suppressions_of_units
from serving.ledger.identity import certain_groups, who_are

OUTBOUND_VALID = timedelta(hours=12)
# Features count what happened before their instant. What the ledger holds at `at` itself was accepted
# before the decision, so it is read as of the instant after; else a clock that stands still would
# offer in the instant of the opt-out.
INSTANT_AFTER = timedelta(microseconds=1)


@dataclass(frozen=True)
class Asked:
    """Whom a decision is asked for, and how. channels: ids, null for all."""

    customer_id: str
    direction: str = "outbound"
    channels: tuple[str, ...] | None = None


def online_rows(
    engine: Engine, terms: Terms, connection: Connection, asked: Sequence[Asked], at: datetime
) -> tuple[pa.RecordBatch, list[Plainly]] | None:
    """CUSTOMERS, state and model columns of those asked for, in their order; strangers are left out.

    Beside them what the rules read of each, as `decide` takes it. Null where there is no snapshot, or
    nobody is known. The send window of an outbound contact begins now; inbound has none.
    """
    if engine.snapshot(at) is None:
        return None
    names = [a.customer_id for a in asked]
    units, aliases = who_are(connection, names)
    everyone = names + [other for others in aliases.values() for other in others if other not in names]
    now = engine.store.latest(list(dict.fromkeys(everyone)), at + INSTANT_AFTER, connection)
    features = pa.Table.from_batches([now])
    said = (
        (c.customer_id, c.purpose, c.channel, c.state, c.at, c.received_at) for c in of_customers(connection, everyone)
    )
    features = with_objections(features, said)
    if aliases:
        persons = [(name, *others) for name, others in aliases.items()]
        features = shared(features, persons, certain_groups(connection, everyone))
        features = features.filter(pc.is_in(features.column("customer_id"), pa.array(names, pa.string())))
    known = set(features.column("customer_id").to_pylist())
    asked = [a for a in asked if a.customer_id in known]
    if not asked:
        return None
    window = (micros(at), micros(at + OUTBOUND_VALID))
    states = ledger_state(engine, terms, connection, asked, units, aliases, window).states
    fields = terms.policy.state_fields(engine.catalogue)
    state = {f.name: pa.array([s[f.name] for s in states], pa.float64()) for f in fields if f.name in states[0]}
    outbound = [a.direction == "outbound" for a in asked]
    instants = pa.array([at] * len(asked), INSTANT)
    fixed = {
        "customer_id": pa.array([a.customer_id for a in asked], pa.string()),
        "unit_id": pa.array([units[a.customer_id] for a in asked], pa.string()), "as_of": instants,
        "direction": pa.array([a.direction for a in asked], pa.string()),
        "channels": pa.array([channel_bits(engine, a.channels) for a in asked], pa.uint64()),
        "send_after": pa.array([at if out else None for out in outbound], INSTANT),
        "send_before": pa.array([at + OUTBOUND_VALID if out else None for out in outbound], INSTANT),
    }  # fmt: skip
    joined = _columns(engine, terms, features, fixed, state, instants)
    customers = pa.RecordBatch.from_arrays(list(joined.values()), schema=_schema(engine, terms))
    return customers, terms.plain.rows(joined, len(asked))


def batch(engine: Engine, terms: Terms, features: pa.Table, ledger: Mapping[str, pa.Table],
          send_after: pa.Array, send_before: pa.Array, at: datetime) -> pa.RecordBatch:  # fmt: skip
    """CUSTOMERS, state and model columns for every row of features, outbound on every channel.

    ledger: `contacts`, `outcomes`, `suppressions`, `consents`, `persons`, at least what concerns them; send_after, send_before: (n,) instants.
    """
    n = features.num_rows
    words = ledger["consents"].filter(pc.less_equal(ledger["consents"].column("at"), micros(at)))
    words = words.filter(pc.equal(words.column("purpose"), "profiling")).select(WORD)
    person = ledger["persons"]
    features = with_objections(features, zip(*(column.to_pylist() for column in words.columns), strict=True), person)
    who = pa.table({"customer_id": as_persons(features.column("customer_id"), person), "unit_id": features.column("unit_id"),
                    "send_after": send_after, "send_before": send_before})  # fmt: skip
    contacts, outcomes, suppressions = (
        _of_persons(ledger[name], person) for name in ("contacts", "outcomes", "suppressions")
    )
    table = contact_state(terms.policy, engine.catalogue, contacts, outcomes, suppressions, who)
    state = {name: table.column(name).combine_chunks() for name in table.column_names}
    fixed = {"customer_id": features.column("customer_id").combine_chunks(), "unit_id": features.column("unit_id").combine_chunks(),
             "as_of": pa.array([at] * n, INSTANT), "direction": pa.array(["outbound"] * n, pa.string()),
             "channels": pa.nulls(n, pa.uint64()), "send_after": send_after, "send_before": send_before}  # fmt: skip
    joined = _columns(engine, terms, features, fixed, state, send_after)
    return pa.RecordBatch.from_arrays(list(joined.values()), schema=_schema(engine, terms))


def _columns(engine: Engine, terms: Terms, features: pa.Table, fixed: dict[str, pa.Array],
             state: dict[str, pa.Array], sending: pa.Array) -> dict[str, pa.Array]:  # fmt: skip
    """The columns of `_schema`, by name."""
    n = features.num_rows
    zones = features.column("time_zone") if "time_zone" in features.column_names else pa.nulls(n, pa.string())
    state = state | clock_state(zones, sending, engine.holidays)
    columns = fixed | {"local_day": state.pop("local_day")}
    arrays: dict[str, pa.Array] = {}
    for field in _schema(engine, terms):
        name = field.name
        found = columns[name] if name in columns else state[name] if name in state else features.column(name)
        if isinstance(found, pa.ChunkedArray):
            found = found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()
        arrays[name] = found if found.type == field.type else found.cast(field.type)
    return arrays


@lru_cache(maxsize=32)
def _schema(engine: Engine, terms: Terms) -> pa.Schema:
    """CUSTOMERS, the state columns of the terms and the model columns of the engine, each once."""
    fields = {field.name: field for field in (
        *(engine.store.schema.field(name) for name in engine.live.columns), *terms.state_schema, *CUSTOMERS)}  # fmt: skip
    names = dict.fromkeys((*CUSTOMERS.names, *terms.state_schema.names, *engine.live.columns))
    return pa.schema([fields[name] for name in names])


class LedgerState(NamedTuple):
    """The ledger's state columns of each of those asked for; lapsed: units that hold what waits to be closed as expired."""

    states: list[dict[str, float]]
    lapsed: frozenset[str]


def ledger_state(engine: Engine, terms: Terms, connection: Connection, asked: Sequence[Asked], units: dict[str, str],
                  aliases: dict[str, tuple[str, ...]], window: tuple[int, int]) -> LedgerState:  # fmt: skip
    """The ledger's state columns of each of those asked for."""
    names = sorted(set(units.values()))
    suppressed = suppressions_of_units(connection, names, look_back(terms.policy, engine.catalogue, window[0]))
    since = look_back(terms.policy, engine.catalogue, window[0], [row.opened_at for row in suppressed])
    contacts: dict[str, list[ContactFact]] = defaultdict(list)
    lapsed = set[str]()
    for row in counted_of_units(connection, names, since):
        if row[1] is not None and row[1] <= window[0]:
            lapsed.add(row[0])
        else:
            contacts[row[0]].append(ContactFact(*row[2:10], bool(row[10])))
    answers: dict[str, list[AnswerFact]] = defaultdict(list)
    for row in answers_of_units(connection, names, since):
        answers[row[0]].append(AnswerFact(*row[1:]))
    stretches: dict[str, list[SuppressionFact]] = defaultdict(list)
    for row in suppressed:
        stretches[row.customer_id].append(
            SuppressionFact(row.rule_id, row.currency, row.opened_at, row.ends_at, row.closed_at)
        )
    states: list[dict[str, float]] = []
    for a in asked:
        ids = (a.customer_id, *aliases.get(a.customer_id, ()))  # what any of a person's ids met, he met
        own = contacts[units[a.customer_id]]
        if len(ids) > 1:
            own = [fact._replace(customer_id=a.customer_id) if fact.customer_id in ids else fact for fact in own]
        span = window if a.direction == "outbound" else (window[0], window[0])
        states.append(customer_state(terms.policy, engine.catalogue, a.customer_id, span, own,
                                     [fact for one in ids for fact in answers[one]], [fact for one in ids for fact in stretches[one]]))  # fmt: skip
    return LedgerState(states, frozenset(lapsed))


def as_persons(customers: pa.ChunkedArray, persons: pa.Table) -> pa.ChunkedArray:
    """Each customer's person, himself where he has one id. persons: customer_id, person_id."""
    if not persons.num_rows:
        return customers
    place = pc.index_in(customers, value_set=persons.column("customer_id").combine_chunks())
    return pc.coalesce(persons.column("person_id").take(place), customers)


def _of_persons(table: pa.Table, persons: pa.Table) -> pa.Table:
    where = table.schema.get_field_index("customer_id")
    return table.set_column(where, table.schema.field(where), as_persons(table.column("customer_id"), persons))


WORD = ["customer_id", "purpose", "channel", "state", "at", "received_at"]
Word = tuple[str, str, str, str, int, int]  # WORD


def with_objections(features: pa.Table, said: Iterable[Word], persons: pa.Table | None = None) -> pa.Table:
    """The features, `no_profiling` for those whose last word on profiling, on any channel, was no.

    persons: customer_id, person_id of those with other ids, who object for all of them.
    """
    objectors = objectors_among(said)
    place = features.schema.get_field_index("no_profiling")
    if not objectors or place < 0:
        return features
    who, these = features.column("customer_id"), pa.chunked_array([pa.array(objectors, pa.string())])
    if persons is not None:
        who, these = as_persons(who, persons), as_persons(these, persons)
    objects = pc.is_in(who, these)
    return features.set_column(place, features.schema.field(place), pc.if_else(objects, True, features.column(place)))


def objectors_among(said: Iterable[Word]) -> list[str]:
    """Whose last word on profiling, on any channel, was no."""
    last: dict[tuple[str, str], str] = {}
    for customer, purpose, channel, state, *_ in sorted(said, key=lambda w: place_of_word(w[4], w[5], w[2], w[3])):
        if purpose == "profiling":
            last[customer, channel] = state
    return sorted({customer for (customer, _), state in last.items() if state != "granted"})


def channel_bits(engine: Engine, channels: tuple[str, ...] | None) -> int | None:
    """The channels as CUSTOMERS has them, one bit each."""
    if channels is None:
        return None
    return int(np.bitwise_or.reduce([np.uint64(1 << engine.catalogue.channel_index[c]) for c in channels]))
