"""Plan: one run of campaigns becomes a list - decided, allocated, reserved, written, once."""

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Connection

from rules.line import Line
from rules.reasons import ReasonCode
from rules.types import DECISIONS
from serving.engine import Engine
from serving.ledger.book import (
    COUNTING,
    ContactRow,
    Ledger,
    State,
    Touches,
    contacts_of_units,
    micros,
    reserve_many,
    unit_of,
)
from serving.ledger.changes import revision_in_force
from serving.ledger.counted import COUNTS
from serving.ledger.recalling import recall_superseded
from serving.ledger.schema import consents, contacts, events, outcomes
from serving.ledger.statement import Statement, is_listed, listed
from serving.ledger.switches import paused
from serving.lists.batch import DecideAll, Inputs, decide_all, read_inputs
from serving.lists.clearing import Cleared
from serving.lists.pacing import paced
from serving.lists.shared import levers, limits_of, sharing

CHUNK = 50  # contacts of a transaction: the service's decisions wait for it
Progress = Callable[[str, int, int], object]  # stage, done, in all
Row = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """One run, before or after reservation. worth: (n,) what each decision is worth before seat prices.

    lost: customer ids left out because another door wrote about them, or a switch was turned, meanwhile. notes: what is
    to be known of how the run came about, one line each.
    """

    run: str
    campaigns: tuple[str, ...]
    inputs: Inputs
    decisions: pa.Table
    cleared: Cleared
    worth: np.ndarray
    lost: tuple[str, ...] = ()
    notes: tuple[Line, ...] = ()

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the data and the models take for granted, and the run's own notes."""
        return (*self.inputs.engine.assumptions, *map(str, self.notes))


def run_name(campaigns: Sequence[str], at: datetime) -> str:
    """The run's id: same campaigns, in any order, and same second, same run."""
    names = "+".join(sorted(set(campaigns)))
    short = names if len(names) <= 40 else names[:27] + "-" + hashlib.sha256(names.encode()).hexdigest()[:12]
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{short}"


def check_campaigns(engine: Engine, campaigns: Sequence[str], at: datetime) -> None:
    """CampaignError where a campaign is unknown or does not run that day."""
    for name in campaigns:
        engine.campaign(name).check_day(engine.day(at))


def make_plan(
    engine: Engine, ledger: Ledger, campaigns: Sequence[str], at: datetime, progress: Progress | None = None,
    deciding: DecideAll = decide_all,
) -> Plan:  # fmt: skip
    """Decide for everyone and keep the seats; writes nothing. deciding: the driver, the local one or Spark's."""
    check_campaigns(engine, campaigns, at)
    run, names = run_name(campaigns, at), tuple(sorted(set(campaigns)))
    inputs = read_inputs(engine, ledger, at, names, run)
    chosen = [engine.campaign(name) for name in names]
    inputs = replace(inputs, terms=levers(inputs.terms, chosen))
    told = None if progress is None else lambda done, of: progress("deciding", done, of)
    decided = deciding(inputs, limits_of(inputs, names), told)
    decisions = decided.decisions
    for campaign in chosen:
        decisions, late = paced(decisions, campaign.per_minute, campaign.id if len(chosen) > 1 else None)
        decisions = silenced(decisions, late, ReasonCode.NO_CAPACITY)
    notes = sharing(chosen, inputs.terms.catalogue, engine.day(at))
    return Plan(run, names, inputs, decisions, decided.cleared, decided.worth, notes=notes)


def reserve_plan(plan: Plan, ledger: Ledger, progress: Progress | None = None) -> Plan:
    """Reserve every chosen contact, fifty a transaction, each re-checked.

    A customer or unit about whom anything was written since the plan was read is left alone, and
    named in lost. What a former try of the run reserved otherwise is recalled.
    """
    chosen = plan.decisions.filter(pc.is_valid(plan.decisions.column("offer_id")))
    named = chosen.select(["customer_id", "offer_id", "channel"]).to_pylist()
    recall_superseded(ledger, plan.run, {contact_id_of(plan.run, row) for row in named})
    lost: dict[str, ReasonCode] = {}
    seen = _seen(plan)
    # Else a look at all that the plan made falls into a transaction, and every decision waits for it. There is none
    # before either: what is garbage now is seen after the unfreezing, and a look takes half a second.
    gc.freeze()
    try:
        for start in range(0, len(chosen), CHUNK):
            rows = chosen.slice(start, CHUNK).to_pylist()  # never all of them at once: a row is kilobytes
            asked = [_contact(plan, row) for row in rows]  # here, where nobody waits
            lost |= ledger.write(
                lambda connection, asked=asked: _reserve(connection, plan, asked, seen, ledger.now_micros()),
                touches=Touches(customers=[contact.customer_id for contact in asked]),
            ).result()
            if progress:
                progress("reserving", start + len(rows), len(chosen))
    finally:
        gc.unfreeze()
    decisions = plan.decisions
    for reason in sorted(set(lost.values())):
        gone = [customer for customer, why in lost.items() if why is reason]
        rows = pc.is_in(decisions.column("customer_id"), pa.array(gone, pa.string()))
        decisions = silenced(decisions, np.asarray(rows), reason)
    return replace(plan, decisions=decisions, lost=tuple(sorted(lost)))


def contact_id_of(run: str, row: Row) -> str:
    """The id of a list's contact: one run, one customer, one choice; the next try of a run finds it again."""
    named = "\x1f".join([run, *(str(row[name]) for name in ("customer_id", "offer_id", "channel"))])
    return "l" + hashlib.sha256(named.encode()).hexdigest()[:31]


def silenced(decisions: pa.Table, rows: np.ndarray, reason: ReasonCode) -> pa.Table:
    """The decisions with those rows turned into silence for the reason."""
    rows = rows & np.asarray(pc.is_valid(decisions.column("offer_id")))
    if not rows.any():
        return decisions
    mask, n = pa.array(rows), int(rows.sum())
    kept = ("customer_id", "unit_id", "as_of", "n_open", "terms")
    said = {"p_chosen": pa.repeat(1.0, n), "explored": pa.repeat(pa.scalar(False), n), "reason": pa.repeat(pa.scalar(int(reason), pa.int16()), n),
            "reasons": pa.array([[int(reason)]] * n, DECISIONS.field("reasons").type)}  # fmt: skip
    silent, others = decisions.filter(mask), decisions.filter(pc.invert(mask))
    columns = [silent.column(f.name) if f.name in kept else said.get(f.name, pa.nulls(n, f.type)) for f in DECISIONS]
    order = np.argsort(np.concatenate([np.flatnonzero(rows), np.flatnonzero(~rows)]), kind="stable")
    return pa.concat_tables([pa.table(columns, schema=DECISIONS), others]).take(pa.array(order))


@dataclass(frozen=True)
class Seen:
    """What the plan counted with. units: unit -> (contacts, closed, sent); customers: rows about each."""

    units: dict[str, tuple[int, ...]]
    customers: Counter[str]


def _marks(found: Iterable[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    """Unit -> (contacts, closed, sent) of (unit, state) pairs: any booking or move changes it."""
    marks: dict[str, list[int]] = {}
    for unit, state in found:
        mark = marks.setdefault(unit, [0, 0, 0])
        mark[0] += 1
        mark[1] += state == State.CLOSED
        mark[2] += state == State.SENT
    return {unit: tuple(mark) for unit, mark in marks.items()}


def _seen(plan: Plan) -> Seen:
    read = plan.inputs.ledger
    table = read["contacts"].filter(pc.greater_equal(read["contacts"].column("send_before"), plan.inputs.since))
    own = pc.fill_null(pc.equal(table.column("decision_id"), plan.run), False)
    table = table.filter(pc.invert(own))
    units = _marks(zip(table.column("unit_id").to_pylist(), table.column("state").to_pylist(), strict=True))
    customers: Counter[str] = Counter()
    for name in ("events", "consents", "outcomes"):
        for row in pc.value_counts(read[name].column("customer_id")).to_pylist():
            customers[row["values"]] += row["counts"]
    return Seen(units, customers)


_LISTED = bindparam("customer_ids")
_ABOUT = [
    Statement(select(events.c.customer_id, func.count()).where(is_listed(events.c.customer_id, _LISTED)).group_by(events.c.customer_id)),
    Statement(select(consents.c.customer_id, func.count()).where(is_listed(consents.c.customer_id, _LISTED)).group_by(consents.c.customer_id)),
]  # fmt: skip
_ANSWERS = Statement(
    select(contacts.c.customer_id, func.count())
    .select_from(outcomes.join(contacts, outcomes.c.contact_id == contacts.c.contact_id))
    .where(is_listed(contacts.c.customer_id, _LISTED), outcomes.c.at >= bindparam("since"), COUNTS)
    .group_by(contacts.c.customer_id)
)


def _changed(
    connection: Connection, plan: Plan, asked: list[ContactRow], here: list[ContactRow], seen: Seen
) -> set[str]:
    """Customers of whom, or of whose unit, the ledger holds something else than the plan read. here: the units' contacts."""
    of_unit = {contact.customer_id: contact.unit_id for contact in asked}
    at = micros(plan.inputs.at)
    marks = _marks((contact.unit_id, contact.standing(at)) for contact in here if contact.decision_id != plan.run)
    ids = listed(of_unit)
    about: Counter[str] = Counter()
    for found in [statement.run(connection, customer_ids=ids).fetchall() for statement in _ABOUT]:
        about.update(dict(found))
    about.update(dict(_ANSWERS.run(connection, customer_ids=ids, since=plan.inputs.since).fetchall()))
    now_in = unit_of(connection, of_unit)
    return {customer for customer, unit in of_unit.items()
            if marks.get(unit) != seen.units.get(unit) or about[customer] != seen.customers[customer] or now_in[customer] != unit}  # fmt: skip


def _reserve(
    connection: Connection, plan: Plan, asked: list[ContactRow], seen: Seen, now: int
) -> dict[str, ReasonCode]:
    """Customer -> why he was left out; the others are reserved."""
    if revision_in_force(connection, now) not in (None, plan.inputs.engine.live_set):
        return dict.fromkeys((contact.customer_id for contact in asked), ReasonCode.CONTACT_UNKNOWN)  # other rules hold
    here = contacts_of_units(connection, (contact.unit_id for contact in asked), plan.inputs.since)
    changed, known = _changed(connection, plan, asked, here, seen), {contact.contact_id: contact for contact in here}
    stopped = paused(connection) - plan.inputs.terms.paused
    lost: dict[str, ReasonCode] = {}
    wanted: list[ContactRow] = []
    for contact in asked:
        former = known.get(contact.contact_id)
        about = {"all", f"channel:{contact.channel}", f"family:{contact.family}", f"offer:{contact.offer_id}", f"campaign:{contact.campaign_id}"}  # fmt: skip
        if stopped & about:
            lost[contact.customer_id] = ReasonCode.PAUSED
        elif contact.customer_id in changed or (former is not None and former.state not in COUNTING):
            lost[contact.customer_id] = ReasonCode.CONTACT_UNKNOWN  # what may be said now is not known
        elif former is None:
            wanted.append(contact)
    reserve_many(connection, wanted)
    return lost


def _contact(plan: Plan, row: Row) -> ContactRow:
    after, before, offer = row["send_after"], row["send_before"], str(row["offer_id"])
    assert isinstance(after, datetime)
    assert isinstance(before, datetime)
    campaign = row["campaign_id"]
    return ContactRow(
        contact_id=contact_id_of(plan.run, row), customer_id=str(row["customer_id"]), unit_id=str(row["unit_id"]),
        channel=str(row["channel"]), decided_at=micros(plan.inputs.at), send_after=micros(after), send_before=micros(before),
        offer_id=offer, family=plan.inputs.engine.families[offer], treatment=None if row["treatment"] is None else str(row["treatment"]),
        campaign_id=None if campaign is None else str(campaign), p_chosen=float(str(row["p_chosen"])), decision_id=plan.run)  # fmt: skip
