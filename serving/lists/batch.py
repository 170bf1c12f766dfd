"""The local batch driver: the same decide, chunk by chunk, whole units together.

What it reads it reads once: the snapshot with what happened since, and the ledger's tables.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from features.identity import shared
from rules.arbitrate import cell_values
from rules.catalogue import Catalogue
from rules.decide import decide
from rules.suppress import suppress
from rules.terms import Terms
from rules.types import DECISIONS, INSTANT
from serving.campaign import CampaignError
from serving.engine import Engine, EngineError
from serving.ledger.book import Ledger, State, contacts_table, micros
from serving.ledger.consents import consents_table
from serving.ledger.events import events_table, suppressions_table
from serving.ledger.identity import certain_groups, persons
from serving.ledger.outcomes import outcomes_table
from serving.ledger.schema import arrow, units
from serving.ledger.switches import paused
from serving.lists.allocate import Prices, allocate
from serving.rows import INSTANT_AFTER, LOOK_BACK, batch

CHUNK = 16_384
_PERSONS = pa.schema([("customer_id", pa.string()), ("person_id", pa.string())])
_UNITS = pa.schema([("customer_id", pa.string()), ("unit_id", pa.string())])
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Inputs:
    """Everything a batch reads, as of one instant. features: sorted by unit_id, customer_id."""

    engine: Engine
    terms: Terms
    at: datetime
    features: pa.Table
    ledger: dict[str, pa.Table]
    hours: tuple[str, str]
    degraded: bool


def read_inputs(
    engine: Engine, ledger: Ledger, at: datetime, campaigns: tuple[str, ...] | None, run: str | None = None
) -> Inputs:
    """Read snapshot and ledger; what an earlier try of the same run reserved, and nobody claimed, is left out."""
    snapshot = engine.snapshot(at)
    if snapshot is None:
        raise EngineError("no feature snapshot at or before the plan's instant; nbo features build --as-of T")
    since = micros(at - LOOK_BACK)
    with ledger.read() as connection:
        scopes = paused(connection)
        tables = {"contacts": contacts_table(connection, since, micros(at)), "outcomes": outcomes_table(connection, since),
                  "suppressions": suppressions_table(connection, since), "events": events_table(connection, 0),
                  "consents": consents_table(connection, 0)}  # fmt: skip
        members = arrow(connection, select(units.c.customer_id, units.c.unit_id), _UNITS)
        person = persons(connection)
        certain = certain_groups(connection) if person else []
    tables["persons"] = pa.table({"customer_id": list(person), "person_id": list(person.values())}, _PERSONS)
    if run is not None:
        contacts = tables["contacts"]
        own = pc.fill_null(pc.equal(contacts.column("decision_id"), run), False)
        waiting = pc.equal(contacts.column("state"), str(State.RESERVED))
        tables["contacts"] = contacts.filter(pc.invert(pc.and_(own, waiting)))
    features = engine.store.overlay(snapshot.table, at + INSTANT_AFTER, tables["events"], tables["consents"])
    if person:
        features = shared(features, _groups(person), certain)
    features = _in_units(features, members).sort_by([("unit_id", "ascending"), ("customer_id", "ascending")])
    chosen = [engine.campaign(name) for name in campaigns] if campaigns is not None else []
    hours = (
        max((c.send.after for c in chosen), default="10:00"),
        min((c.send.before for c in chosen), default="19:00"),
    )
    if hours[0] >= hours[1]:
        raise CampaignError("these campaigns share no sending hours (`send`); plan them in runs of their own")
    return Inputs(engine, engine.terms(at, scopes, campaigns), at, features, tables, hours, bool(engine.problems(at)))


def chunks(inputs: Inputs, progress: Progress | None = None) -> Generator[pa.RecordBatch]:
    """CUSTOMERS batches of about CHUNK rows that never split a unit."""
    units = inputs.features.column("unit_id").to_pylist()
    start, n = 0, len(units)
    while start < n:
        end = min(start + CHUNK, n)
        while end < n and units[end] == units[end - 1]:
            end += 1
        part = inputs.features.slice(start, end - start).combine_chunks()
        after, before = send_windows(
            part.column("time_zone"), inputs.at, inputs.hours, inputs.engine.home.settings.zone
        )
        yield batch(inputs.engine, inputs.terms, part, inputs.ledger, after, before, inputs.at)
        start = end
        if progress:
            progress(start, n)


def decide_all(
    inputs: Inputs, seats: dict[str, int], progress: Progress | None = None
) -> tuple[pa.Table, Prices, np.ndarray]:
    """DECISIONS for every customer under seat prices, the prices with their bound, and what each is worth.

    The worth, (n,) int64, is the chosen cell's value before the seat price, as the bound counts it; 0
    for silence.

    Explored and household-resolved choices may differ from the priced ones; the caller trims to the
    seats, and the bound holds all the same.
    """
    catalogue = inputs.terms.catalogue
    kept: list[tuple[pa.RecordBatch, pa.RecordBatch]] = []
    values: list[np.ndarray] = []
    allowed: list[np.ndarray] = []
    for customers in chunks(inputs, progress):
        open_ = suppress(customers, inputs.terms).open
        scores = inputs.engine.score(customers, open_, inputs.degraded)
        found = cell_values(scores, inputs.terms)
        kept.append((customers, scores))
        values.append(found.gross)
        allowed.append(open_ & found.known)
    if not kept:
        raise EngineError("the newest snapshot holds no customers; import them, then nbo features build")
    channels = [channel.id for channel in catalogue.channels]
    prices = allocate(np.concatenate(values), np.concatenate(allowed), channels, seats)
    priced = replace(
        inputs.terms, prices=tuple(prices.minor[channel] for _ in catalogue.offers for channel in channels)
    )
    decided = [decide(customers, priced, lambda *_, scores=scores: scores) for customers, scores in kept]
    worth = [_worth(catalogue, batch_, gross) for batch_, gross in zip(decided, values, strict=True)]
    return pa.Table.from_batches(decided, DECISIONS), prices, np.concatenate(worth)


def _worth(catalogue: Catalogue, decided: pa.RecordBatch, gross: np.ndarray) -> np.ndarray:
    chosen = zip(decided.column("offer_id").to_pylist(), decided.column("channel").to_pylist(), strict=True)
    cells = np.array([-1 if offer is None else catalogue.cell(offer, channel) for offer, channel in chosen], np.int64)
    return np.where(cells < 0, 0, gross[np.arange(len(cells)), np.maximum(cells, 0)])


def _groups(person: dict[str, str]) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    for customer, one in person.items():
        found.setdefault(one, []).append(customer)
    return list(found.values())


def _in_units(features: pa.Table, members: pa.Table) -> pa.Table:
    """The features in the ledger's units, by which its contacts are counted; newer than the snapshot's."""
    place = pc.index_in(features.column("customer_id"), value_set=members.column("customer_id"))
    unit = pc.coalesce(members.column("unit_id").take(place), features.column("unit_id"))
    where = features.schema.get_field_index("unit_id")
    return features.set_column(where, features.schema.field(where), unit)


def send_windows(
    zones: pa.ChunkedArray, at: datetime, hours: tuple[str, str], bank_zone: str
) -> tuple[pa.Array, pa.Array]:
    """(send_after, send_before): today's sending hours of each customer, tomorrow's when they are over.

    A customer whose zone is unknown gets the bank's hours; the policy keeps him quiet anyway.
    """
    encoded = pc.dictionary_encode(pc.fill_null(zones, bank_zone)).combine_chunks()
    windows = [_window(zone, at, hours, bank_zone) for zone in encoded.dictionary.to_pylist()]
    indices = np.asarray(encoded.indices)
    after, before = (pa.array([window[side] for window in windows], INSTANT).take(pa.array(indices)) for side in (0, 1))
    return after, before


def _window(zone: str, at: datetime, hours: tuple[str, str], bank_zone: str) -> tuple[datetime, datetime]:
    try:
        tz = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        tz = ZoneInfo(bank_zone)
    local = at.astimezone(tz)
    for days in (0, 1):
        day = (local + timedelta(days=days)).date()
        after, before = (datetime.combine(day, time.fromisoformat(hour), tz) for hour in hours)
        if at < before:
            return max(at, after), before
    raise AssertionError("tomorrow's hours end after now")
