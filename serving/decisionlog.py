"""The decision log as a table: every action a decision could have taken, its probability, what came of it.

Read back from the records: their stored inputs are decided on again, and a row whose probability does
not come out as it was recorded is left out and counted. What the columns mean: training/decisionlog.py.

Contacts of lists are left out and counted too. An explorer whose drawn cell gets no seat under a limit falls silent, and
silence is not in the log: which draws are seen depends on what all others were worth, and `p_chosen` does not
know that. Weighted by it, a policy would be judged by those draws alone that found room.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from rules.arbitrate import cell_values
from rules.suppress import suppress
from rules.terms import Terms
from rules.worth import matrix
from serving.account import deciding, prices_in, restored, terms_of
from serving.claims import instant
from serving.engine import Engine
from serving.ledger.records import FIELDS, DecisionRow
from serving.ledger.schema import contacts, decisions, outcomes
from serving.ledger.vault import ErasedError

RIPE = timedelta(days=30)  # as long as an answer may come (training.labels.ANSWER_DAYS)
OF_LISTS = "contacts of lists: an explorer who gets no seat falls silent, so no probability is that of the choice"
LOG = pa.schema([
    ("decision_id", pa.string()), ("unit_id", pa.string()), ("as_of", pa.timestamp("us", "UTC")), ("action", pa.string()),
    ("p_log", pa.float64()), ("chosen", pa.bool_()), ("reward", pa.float64()), ("q", pa.float64()),
])  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """rows: LOG, one per decision and action. n_decisions: in it. left_out: why -> how many are not."""

    rows: pa.Table
    n_decisions: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class _Recorded:
    decision_id: str
    unit_id: str
    as_of: int
    action: str
    p_chosen: float
    inputs: bytes


def export_log(engine: Engine, connection: Connection, since: int, now: int) -> Exported:
    """All decisions recorded from `since` to `now` (microseconds) that offered something; none of lists.

    reward: 1 where the contact was accepted within 30 days, else 0, null while it may still be; that it
    was never sent counts as 0, for the decision is what is judged. q: p_accept of the models that decided.
    """
    found: dict[str, list[_Recorded]] = defaultdict(list)
    decided_by: dict[str, Engine] = {}  # terms -> the engine of their live set
    left_out: Counter[str] = Counter()
    query = select(*(decisions.c[name] for name in FIELDS))
    chosen = query.where(decisions.c.as_of >= since, decisions.c.as_of <= now).order_by(
        decisions.c.as_of, decisions.c.decision_id
    )
    for stored in connection.execute(chosen.execution_options(yield_per=1_000)).mappings():
        try:
            row = engine.vault.opened(connection, DecisionRow(**stored))
        except ErasedError:
            left_out["erased"] += 1
            continue
        result = json.loads(row.result)
        made = result["row"]
        if made is None or made["offer_id"] is None:
            left_out["silent: nothing to choose from"] += 1
        elif len(result["answer"]["choices"]) > 1:
            left_out["several choices shown at once"] += 1
        else:
            action = f"{made['offer_id']}|{made['channel']}"
            if row.terms not in decided_by:
                decided_by[row.terms] = deciding(engine, connection, row)
            found[row.terms].append(
                _Recorded(row.decision_id, row.unit_id, row.as_of, action, made["p_chosen"], row.inputs)
            )
    accepted = _accepted(connection, since)
    if of_lists := _contacts_of_lists(connection, since, now):
        left_out[OF_LISTS] = of_lists
    parts: list[pa.RecordBatch] = []
    for revision, rows in found.items():
        terms = terms_of(
            decided_by[revision], connection, revision, instant(rows[0].as_of), prices_in(json.loads(rows[0].inputs))
        )
        if terms is None:
            left_out["decided under terms no longer in force"] += len(rows)
            continue
        parts += _part(terms, rows, accepted, now, left_out)
    table = pa.Table.from_batches(parts, LOG).sort_by([("decision_id", "ascending"), ("action", "ascending")])
    return Exported(table, len(set(table.column("decision_id").to_pylist())), dict(sorted(left_out.items())))


def chances(open_: np.ndarray, minor: np.ndarray, dated: np.ndarray, terms: Terms) -> np.ndarray:
    """The probability of each cell, (n, n_cells), as `rules.arbitrate` draws; rows of zeros are silent.

    open_: (n, n_cells) cells that are open and scored; minor: their values after the bid price. dated: (n,)
    the customer's day is known; nobody else explores.
    """
    offered = np.where(open_, np.maximum(minor, 0), 0)
    best = offered.argmax(axis=1)
    rows = np.arange(len(offered))
    most, share = offered[rows, best], terms.exploration.share
    pool = (offered >= np.maximum(most - terms.exploration.max_loss_minor, 1)[:, None]) & (most > 0)[:, None]
    size = np.where(dated, np.maximum(pool.sum(axis=1), 1), 1)
    p = pool * np.where(size > 1, share / size, 0.0)[:, None]
    p[rows, best] += np.where(size > 1, 1.0 - share, 1.0) * (most > 0)
    return p


def _part(
    terms: Terms, rows: list[_Recorded], accepted: set[str], now: int, left_out: Counter[str]
) -> list[pa.RecordBatch]:
    inputs = [restored(terms, json.loads(row.inputs)) for row in rows]
    customers = pa.Table.from_batches([c for c, _ in inputs]).combine_chunks().to_batches()[0]
    scores = pa.Table.from_batches([s for _, s in inputs]).combine_chunks().to_batches()[0]
    values, n_channels = cell_values(scores, terms), len(terms.catalogue.channels)
    p = chances(
        suppress(customers, terms).open & values.known,
        values.minor,
        np.asarray(customers.column("local_day").is_valid()),
        terms,
    )
    q = np.repeat(matrix(scores, "p_interest"), n_channels, axis=1) * np.tile(
        matrix(scores, "p_reach"), (1, len(terms.catalogue.offers))
    )
    names = terms.catalogue.cell_names
    place = {name: number for number, name in enumerate(names)}
    kept: list[pa.RecordBatch] = []
    for number, row in enumerate(rows):
        cells = np.flatnonzero(p[number] > 0)
        if abs(p[number, place[row.action]] - row.p_chosen) > 1e-12:
            left_out["the recorded probability does not come out again"] += 1
            continue
        ripe = row.as_of + micros_of(RIPE) <= now
        reward = float(row.decision_id in accepted) if ripe else None
        made = [names[cell] == row.action for cell in cells]
        columns = [[row.decision_id] * len(cells), [row.unit_id] * len(cells), [instant(row.as_of)] * len(cells), [names[c] for c in cells],
                   p[number, cells], made, [reward if mine else None for mine in made], q[number, cells]]  # fmt: skip
        kept.append(
            pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, LOG, strict=True)], schema=LOG)
        )
    return kept


def micros_of(length: timedelta) -> int:
    """Microseconds of a length of time."""
    return length // timedelta(microseconds=1)


def _contacts_of_lists(connection: Connection, since: int, now: int) -> int:
    """Contacts that lists decided on and no later try of the run replaced: those whose decision is no record."""
    recorded = select(decisions.c.decision_id).where(decisions.c.decision_id == contacts.c.decision_id).exists()
    query = select(func.count()).where(
        contacts.c.source == "decision",
        contacts.c.decided_at.between(since, now),
        contacts.c.decision_id.is_not(None),
        func.coalesce(contacts.c.recall_reason, "") != "superseded",
        ~recorded,
    )
    return int(connection.execute(query).scalar_one())


def _accepted(connection: Connection, since: int) -> set[str]:
    """Decisions one of whose contacts was accepted within 30 days."""
    query = (
        select(contacts.c.decision_id)
        .select_from(outcomes.join(contacts, outcomes.c.contact_id == contacts.c.contact_id))
        .where(
            outcomes.c.kind == "accepted",
            contacts.c.decided_at >= since,
            outcomes.c.at <= contacts.c.decided_at + micros_of(RIPE),
        )
    )
    return {str(decision) for (decision,) in connection.execute(query) if decision is not None}


__all__ = ["LOG", "OF_LISTS", "Exported", "chances", "export_log"]
