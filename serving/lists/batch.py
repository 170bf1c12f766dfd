"""The local batch driver: the same decide, chunk by chunk, whole units together.

What it reads it reads once: the snapshot with what happened since, and the ledger's tables.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from rules.arbitrate import arbitrate, cell_values
from rules.decide import issue
from rules.state import look_back
from rules.suppress import suppress
from rules.terms import Terms
from rules.types import CUSTOMERS, DECISIONS, INSTANT
from serving.campaign import Campaign, CampaignError
from serving.engine import Engine, EngineError
from serving.ledger.book import Ledger, State, contacts_table, micros
from serving.ledger.consents import consents_table
from serving.ledger.events import events_table, suppressions_table
from serving.ledger.identity import certain_groups, persons
from serving.ledger.leases import holder_of, leased
from serving.ledger.outcomes import outcomes_table
from serving.ledger.schema import units
from serving.ledger.statement import arrow
from serving.ledger.switches import paused
from serving.lists.choosers import choosers_of
from serving.lists.clearing import (
    Cleared,
    Market,
    Stalls,
    cell_prices,
    clear,
    priced_terms,
    seat_prices,
    seats_given,
)
from serving.lists.dealt import CHUNK, Dealt, Queue, deal
from serving.lists.limits import Limit
from serving.lists.people import queue_of, read_people
from serving.lists.spill import Spill, spilling
from serving.rows import INSTANT_AFTER, batch

_PERSONS = pa.schema([("customer_id", pa.string()), ("person_id", pa.string())])
_CONTACT = ("contact_id", "customer_id", "unit_id", "offer_id", "family", "channel", "campaign_id", "purpose", "direction", "state",
            "decision_id", "decided_at", "send_after", "send_before", "sent_at")  # fmt: skip
_OUTCOME = ("contact_id", "kind", "at", "customer_id", "offer_id", "family", "channel")
_CONSENT = ("customer_id", "purpose", "channel", "state", "at", "received_at")
_UNITS = pa.schema([("customer_id", pa.string()), ("unit_id", pa.string())])
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Inputs:
    """Everything a batch reads, as of one instant. features: in the order of the queue.

    problems: why everybody stays silent, one line each; leased: channel -> seats of the bank's day that the service's workers hold.
    """

    engine: Engine
    terms: Terms
    at: datetime
    features: pa.Table
    people: Queue
    dealt: Dealt
    hours: tuple[str, str]
    problems: tuple[str, ...]
    leased: Mapping[str, int]
    since: int  # contacts and outcomes are read from this instant on, microseconds

    @property
    def ledger(self) -> Mapping[str, pa.Table]:
        """The ledger's tables whole; a chunk's rows of each in the order they were read, else in none."""
        return self.dealt.tables

    @property
    def degraded(self) -> bool:
        """Whether everybody stays silent."""
        return bool(self.problems)


def read_inputs(
    engine: Engine,
    ledger: Ledger,
    at: datetime,
    campaigns: tuple[str, ...] | None,
    run: str | None = None,
    also: Sequence[Terms] = (),
) -> Inputs:
    """Read snapshot and ledger; what an earlier try of the same run reserved, and nobody claimed, is left out.

    also: other terms that will be asked about the same customers, who may look further back.
    """
    snapshot = engine.snapshot(at)
    if snapshot is None:
        raise EngineError(
            "no feature snapshot of this version at or before the plan's instant; nbo features build --as-of T"
        )
    hours = sending_hours([engine.campaign(name) for name in campaigns or ()])
    with ledger.read() as connection:
        terms = engine.terms(at, paused(connection), campaigns)
        asked = (terms, *also)
        suppressed = suppressions_table(connection, _since(asked, at))
        # One that was renewed and renewed began long ago, and counts what was sent before it began.
        since = _since(asked, at, suppressed.column("opened_at").to_pylist())
        held = leased(connection, str(engine.day(at)), ledger.now_micros(), but=holder_of(run))
        tables = {"contacts": contacts_table(connection, since, micros(at), _CONTACT), "outcomes": outcomes_table(connection, since, _OUTCOME),
                  "suppressions": suppressed, "events": events_table(connection, 0),
                  "consents": consents_table(connection, 0, _CONSENT)}  # fmt: skip
        members = arrow(connection, select(units.c.customer_id, units.c.unit_id), _UNITS)
        person = persons(connection)
        certain = certain_groups(connection) if person else []
    tables["persons"] = pa.table({"customer_id": list(person), "person_id": list(person.values())}, _PERSONS)
    if run is not None:
        contacts = tables["contacts"]
        own = pc.fill_null(pc.equal(contacts.column("decision_id"), run), False)
        waiting = pc.equal(contacts.column("state"), str(State.RESERVED))
        tables["contacts"] = contacts.filter(pc.invert(pc.and_(own, waiting)))
        del contacts, own, waiting
    people = queue_of(snapshot, members, CHUNK)
    dealt = deal(tables, people)
    features = read_people(engine.store, snapshot, at + INSTANT_AFTER, people, dealt, certain)
    counted = dealt.tables["events"].select(["customer_id"])  # from here on only how many each has is asked
    dealt = replace(dealt, tables={**dealt.tables, "events": counted})
    return Inputs(engine, terms, at, features, people, dealt, hours, engine.problems(at), held, since)


def sending_hours(campaigns: Sequence[Campaign]) -> tuple[str, str]:
    """The hours that all of them may send in; 10:00 to 19:00 where nobody says."""
    after = max((one.send.after for one in campaigns), default="10:00")
    before = min((one.send.before for one in campaigns), default="19:00")
    if after >= before:
        raise CampaignError("these campaigns share no sending hours (`send`); plan them in runs of their own")
    return after, before


def _since(asked: Sequence[Terms], at: datetime, openings: Sequence[int] = ()) -> int:
    """The instant from which on the ledger's facts move a state column of some of the terms."""
    return min(look_back(terms.policy, terms.catalogue, micros(at), openings) for terms in asked)


def chunks(inputs: Inputs, progress: Progress | None = None) -> Generator[pa.RecordBatch]:
    """CUSTOMERS batches of about CHUNK rows that never split a unit."""
    for place in range(len(inputs.people.ends)):
        mine = inputs.people.rows(place, place + 1)
        part = inputs.features.slice(mine.start, mine.stop - mine.start).combine_chunks()
        after, before = send_windows(
            part.column("time_zone"), inputs.at, inputs.hours, inputs.engine.home.settings.zone
        )
        heard = inputs.dealt.of(place, place + 1)
        yield batch(inputs.engine, inputs.terms, part, heard, after, before, inputs.at)
        if progress:
            progress(mine.stop, inputs.features.num_rows)


@dataclass(frozen=True)
class Decided:
    """A run decided. decisions: DECISIONS; worth: (n,) int64, the chosen cell's value before any price, 0 for silence."""

    decisions: pa.Table
    worth: np.ndarray
    cleared: Cleared


DecideAll = Callable[[Inputs, Sequence[Limit], Progress | None], Decided]


def decide_all(inputs: Inputs, limits: Sequence[Limit], progress: Progress | None = None) -> Decided:
    """DECISIONS for every customer, every limit kept, with the worth of each and the proof.

    Three passes: what is open and what it is worth; explorers, under the prices of all; the decisions.
    """
    terms = inputs.terms
    with spilling() as spill:
        market = _market(inputs, limits, spill, progress)
        price = seat_prices(market, limits, terms)
        priced = priced_terms(terms, cell_prices(price, limits, terms))
        wishes = [arbitrate(customers, scores, suppress(customers, terms), priced) for customers, scores in spill]
        drawn = np.concatenate([np.where(wish.explored, wish.cell, -1) for wish in wishes])
        cleared = clear(market, limits, terms, drawn)
        decided: list[pa.RecordBatch] = []
        worth: list[np.ndarray] = []
        start = 0
        for (customers, scores), wish in zip(spill, wishes, strict=True):
            gross = cell_values(scores, terms).gross
            rows = slice(start, start + customers.num_rows)
            given = seats_given(cleared.cell[rows], cleared.bid_milli[rows], wish, gross, terms.exploration.share)
            decided.append(issue(customers, priced, scores, given))
            won = np.asarray(decided[-1].column("offer_id").is_valid())
            worth.append(np.where(won, gross[np.arange(len(won)), np.maximum(cleared.cell[rows], 0)], 0))
            start = rows.stop
    return Decided(pa.Table.from_batches(decided, DECISIONS), np.concatenate(worth), cleared)


def _market(inputs: Inputs, limits: Sequence[Limit], spill: Spill, progress: Progress | None) -> Market:
    terms, stalls = inputs.terms, Stalls()
    needed = [*CUSTOMERS.names, *terms.state_schema.names]
    for customers in chunks(inputs, progress):
        found = suppress(customers, terms)
        scores = inputs.engine.score(customers, found.open, inputs.degraded)
        values = cell_values(scores, terms)
        stalls.add(found.open & values.known, values, choosers_of(customers, found, terms))
        spill.add(customers.select(needed), scores)
    if not spill.n:
        raise EngineError("the newest snapshot holds no customers; import them, then nbo features build")
    return stalls.market(inputs.features, limits)


def send_windows(
    zones: pa.ChunkedArray, at: datetime, hours: tuple[str, str], bank_zone: str
) -> tuple[pa.Array, pa.Array]:
    """(send_after, send_before): today's sending hours of each customer, tomorrow's when they are over.

    A customer whose zone is unknown gets the bank's hours; the policy keeps him quiet anyway.
    """
    encoded = pc.dictionary_encode(pc.fill_null(zones, bank_zone)).combine_chunks()
    windows = [window(zone, at, hours, bank_zone) for zone in encoded.dictionary.to_pylist()]
    indices = np.asarray(encoded.indices)
    after, before = (pa.array([window[side] for window in windows], INSTANT).take(pa.array(indices)) for side in (0, 1))
    return after, before


def window(zone: str, at: datetime, hours: tuple[str, str], bank_zone: str) -> tuple[datetime, datetime]:
    """(send_after, send_before) in a zone: today's sending hours, tomorrow's when they are over."""
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
