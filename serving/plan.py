"""Plan: one run of campaigns becomes a list - decided, allocated, reserved, written, once."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from rules.reasons import ReasonCode
from rules.types import DECISIONS
from serving.allocate import Prices
from serving.batch import Inputs, decide_all, read_inputs
from serving.engine import Engine
from serving.events import suppressions_of_units
from serving.ledger import ContactRow, Ledger, contacts_of_units, micros, reserve_many
from serving.ledger import find as find_contact
from serving.rows import LOOK_BACK
from serving.switches import paused

CHUNK = 1_000
Progress = Callable[[str, int, int], object]  # stage, done, in all


@dataclass(frozen=True)
class Plan:
    """One run, before or after reservation. lost: customer ids another door was faster with."""

    run: str
    campaigns: tuple[str, ...]
    inputs: Inputs
    decisions: pa.Table
    prices: Prices
    seats: dict[str, int]
    lost: tuple[str, ...] = ()


def run_name(campaigns: Sequence[str], at: datetime) -> str:
    """The run's id: same campaigns and instant, same run."""
    names = "+".join(sorted(campaigns))
    short = names if len(names) <= 40 else names[:27] + "-" + hashlib.sha256(names.encode()).hexdigest()[:12]
    return f"{at:%Y%m%dT%H%M%SZ}-{short}"


def make_plan(
    engine: Engine, ledger: Ledger, campaigns: Sequence[str], at: datetime, progress: Progress | None = None
) -> Plan:
    """Decide for everyone and keep the seats; writes nothing."""
    run, names = run_name(campaigns, at), tuple(dict.fromkeys(campaigns))
    seats: dict[str, int] = {}
    for name in names:  # campaigns of one run share a clearing house; their seats add up
        for channel, count in engine.campaign(name).seats.items():
            seats[channel] = seats.get(channel, 0) + count
    inputs = read_inputs(engine, ledger, at, names, run)
    told = None if progress is None else lambda done, of: progress("deciding", done, of)
    decisions, prices = decide_all(inputs, seats, told)
    return Plan(run, names, inputs, _within_seats(decisions, seats), prices, seats)


def reserve_plan(plan: Plan, ledger: Ledger, progress: Progress | None = None) -> Plan:
    """Reserve every chosen contact, about 1,000 units a transaction, each unit re-checked.

    A unit about which anything was written since the plan was read is left alone, and named in lost.
    """
    chosen = plan.decisions.filter(pc.is_valid(plan.decisions.column("offer_id"))).to_pylist()
    lost: list[str] = []
    seen = _seen(plan.inputs)
    for start in range(0, len(chosen), CHUNK):
        rows = chosen[start : start + CHUNK]
        lost += ledger.write(lambda connection, rows=rows: _reserve(connection, plan, rows, seen)).result()
        if progress:
            progress("reserving", start + len(rows), len(chosen))
    gone = pc.is_in(plan.decisions.column("customer_id"), pa.array(lost, pa.string()))
    return Plan(plan.run, plan.campaigns, plan.inputs, silenced(plan.decisions, np.asarray(gone), ReasonCode.CAP_TOTAL), plan.prices,
                plan.seats, tuple(lost))  # fmt: skip


def contact_id_of(run: str, customer_id: str) -> str:
    """The id of a list's contact: one run, one customer, one contact."""
    return "l" + hashlib.sha256(f"{run}\x1f{customer_id}".encode()).hexdigest()[:31]


def silenced(decisions: pa.Table, rows: np.ndarray, reason: ReasonCode) -> pa.Table:
    """The decisions with those rows turned into silence for the reason."""
    if not rows.any():
        return decisions
    kept = ("customer_id", "unit_id", "as_of", "n_open", "terms")
    said = {"p_chosen": 1.0, "explored": False, "reason": int(reason), "reasons": [int(reason)]}
    changed = [{name: row[name] for name in kept} | said if silent and row["offer_id"] is not None else row
               for row, silent in zip(decisions.to_pylist(), rows.tolist(), strict=True)]  # fmt: skip
    return pa.Table.from_pylist(changed, schema=DECISIONS)


def _within_seats(decisions: pa.Table, seats: dict[str, int]) -> pa.Table:
    """Drop the least valuable contacts of a channel beyond its seats (exploration may overshoot)."""
    over = np.zeros(len(decisions), dtype=bool)
    channels = np.asarray(decisions.column("channel").to_pylist(), dtype=object)
    values = np.asarray(decisions.column("expected_value_minor").fill_null(0))
    for channel, count in seats.items():
        rows = np.flatnonzero(channels == channel)
        if len(rows) > count:
            order = rows[np.argsort(-values[rows], kind="stable")]
            over[order[count:]] = True
    return silenced(decisions, over, ReasonCode.NO_CAPACITY)


Seen = dict[str, tuple[int, int]]


def _seen(inputs: Inputs) -> Seen:
    """Unit -> (contacts, suppressions) the plan counted with."""
    seen: dict[str, list[int]] = {}
    for place, table in enumerate((inputs.ledger["contacts"], inputs.ledger["suppressions"])):
        for row in pc.value_counts(table.column("unit_id")).to_pylist():
            seen.setdefault(row["values"], [0, 0])[place] = row["counts"]
    return {unit: (counts[0], counts[1]) for unit, counts in seen.items()}


def _reserve(connection: Connection, plan: Plan, rows: list[dict[str, object]], seen: Seen) -> list[str]:
    units = sorted({str(row["unit_id"]) for row in rows})
    since = micros(plan.inputs.at - LOOK_BACK)
    now: dict[str, list[int]] = {}
    for contact in contacts_of_units(connection, units, since):
        if contact.decision_id != plan.run:
            now.setdefault(contact.unit_id, [0, 0])[0] += 1
    for stretch in suppressions_of_units(connection, units, since):
        now.setdefault(stretch.unit_id, [0, 0])[1] += 1
    changed = {unit for unit in units if tuple(now.get(unit, (0, 0))) != seen.get(unit, (0, 0))}
    stopped = paused(connection) - plan.inputs.terms.paused
    lost: list[str] = []
    wanted: list[ContactRow] = []
    for row in rows:
        customer = str(row["customer_id"])
        if row["unit_id"] in changed or stopped:
            lost.append(customer)
        elif find_contact(connection, contact_id_of(plan.run, customer)) is None:
            wanted.append(_contact(plan, row))
    reserve_many(connection, wanted)
    return lost


def _contact(plan: Plan, row: dict[str, object]) -> ContactRow:
    after, before, offer = row["send_after"], row["send_before"], str(row["offer_id"])
    assert isinstance(after, datetime)
    assert isinstance(before, datetime)
    campaign = row["campaign_id"]
    return ContactRow(
        contact_id=contact_id_of(plan.run, str(row["customer_id"])), customer_id=str(row["customer_id"]), unit_id=str(row["unit_id"]),
        channel=str(row["channel"]), decided_at=micros(plan.inputs.at), send_after=micros(after), send_before=micros(before),
        offer_id=offer, family=plan.inputs.engine.families[offer], treatment=None if row["treatment"] is None else str(row["treatment"]),
        campaign_id=None if campaign is None else str(campaign), p_chosen=float(str(row["p_chosen"])), decision_id=plan.run)  # fmt: skip
