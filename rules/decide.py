"""Decide: suppress, score what is open, arbitrate - one row in, one row out, silence included.

The members of a unit are resolved together, highest value first (ties by customer_id): a contact
chosen for one raises the unit's counters for the others, whose cells are then closed again.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rules.arbitrate import Choice, Values, cell_values, choose, matrix
from rules.masks import Masks, numbers
from rules.program import Audience
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.suppress import Suppressed, suppress
from rules.terms import Terms
from rules.types import CUSTOMERS, DECISIONS, FACTORS, INSTANT, Score

MINUTE_MICROS = 60_000_000


@dataclass
class _Work:
    customers: pa.RecordBatch
    terms: Terms
    found: Suppressed
    values: Values
    choice: Choice


def decide(customers: pa.RecordBatch, terms: Terms, score: Score) -> pa.RecordBatch:
    """Choose at most one offer and channel for each customer.

    Args:
        customers: CUSTOMERS and terms.state_schema, (n,), whole units, any order.
        terms: Frozen; its revision is copied to every decision.
        score: Called once with the customers and the open cells (n, n_cells); null scores close
            what depends on them.

    Returns:
        DECISIONS, (n,), in input order; reason is null and reasons empty iff an offer won.

    Raises:
        SchemaError: A column is missing or has another type, or the scores do not fit.
    """
    found = suppress(customers, terms)
    scores = score(customers, found.open)
    values = cell_values(scores, terms)
    unscored = found.open & ~values.known
    allowed = found.open & values.known
    found.reasons |= np.where(unscored.any(axis=1), np.uint64(1 << RANK[ReasonCode.NOT_SCORED]), np.uint64(0))
    work = _Work(customers, terms, found, values, choose(values.minor, allowed, customers, terms))
    _resolve_units(work, allowed)
    _explain_silence(work, allowed)
    return _decisions(work, scores)


def _resolve_units(work: _Work, allowed: np.ndarray) -> None:
    """Settle the members of each unit one after another, raising the unit's counters."""
    counters = [count for count in work.terms.policy.counts(work.terms.catalogue) if count.unit]
    counters = [count for count in counters if count.name in work.terms.state_schema.names]
    outbound = [d == "outbound" for d in work.customers.column("direction").to_pylist()]
    members: dict[str, list[int]] = defaultdict(list)
    for row, unit in enumerate(work.customers.column("unit_id").to_pylist()):
        if work.choice.cell[row] >= 0 and outbound[row]:
            members[unit].append(row)
    pending = [rows for rows in members.values() if len(rows) > 1] if counters else []
    if not pending:
        return
    names = work.customers.column("customer_id").to_pylist()
    raised: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    channels, offers = work.terms.catalogue.channels, work.terms.catalogue.offers
    while pending:
        again: list[int] = []
        for rows in pending:
            first = min(rows, key=lambda row: (-int(work.values.minor[row, work.choice.cell[row]]), names[row]))
            rows.remove(first)
            offer, channel = divmod(int(work.choice.cell[first]), len(channels))
            for count in counters:
                if count.channel in (None, channels[channel].id) and count.family in (None, offers[offer].family):
                    for row in rows:
                        raised[row][count.name] += 1
            again += rows
        if again:
            _again(work, allowed, sorted(again), raised)
        pending = [left for rows in pending if (left := [row for row in rows if work.choice.cell[row] >= 0])]


def _again(work: _Work, allowed: np.ndarray, rows: list[int], raised: dict[int, dict[str, int]]) -> None:
    part = work.customers.take(pa.array(rows))
    for name in sorted({name for row in rows for name in raised[row]}):
        place = part.schema.get_field_index(name)
        more = numbers(part.column(place)) + np.array([float(raised[row].get(name, 0)) for row in rows])
        part = part.set_column(place, part.schema.field(place), pa.array(more, from_pandas=True))
    found = suppress(part, work.terms)
    allowed[rows] = found.open & work.values.known[rows]
    choice = choose(work.values.minor[rows], allowed[rows], part, work.terms)
    work.choice.cell[rows], work.choice.p_chosen[rows], work.choice.explored[rows] = (
        choice.cell,
        choice.p_chosen,
        choice.explored,
    )
    work.found.open[rows] = found.open
    work.found.reasons[rows] |= found.reasons
    work.found.decisive[rows] = found.decisive


def _explain_silence(work: _Work, allowed: np.ndarray) -> None:
    """Name the reason of those for whom a cell was open, but nothing was worth saying."""
    silent = (work.choice.cell < 0) & (work.found.decisive < 0)
    wanted = (allowed & (work.values.gross > 0)).any(axis=1)
    for code, rows in ((ReasonCode.NOT_SCORED, silent & ~allowed.any(axis=1)),
                       (ReasonCode.NO_CAPACITY, silent & allowed.any(axis=1) & wanted),
                       (ReasonCode.NO_VALUE, silent & allowed.any(axis=1) & ~wanted)):  # fmt: skip
        work.found.decisive[rows] = RANK[code]
        work.found.reasons[rows] |= np.uint64(1 << RANK[code])
    won = work.choice.cell >= 0
    work.found.reasons[won], work.found.decisive[won] = 0, -1


def _decisions(work: _Work, scores: pa.RecordBatch) -> pa.RecordBatch:
    catalogue, cell = work.terms.catalogue, work.choice.cell
    won = cell >= 0
    offer, channel = np.where(won, cell, 0) // len(catalogue.channels), np.where(won, cell, 0) % len(catalogue.channels)
    row = np.arange(len(cell))
    interest, reach = matrix(scores, "p_interest")[row, offer], matrix(scores, "p_reach")[row, channel]
    treatments = [catalogue.treatment(o.id, c.id) for o in catalogue.offers for c in catalogue.channels]
    numbers_of = np.array([int(code) for code in PRECEDENCE], np.int16)
    bits = np.unpackbits(
        np.ascontiguousarray(work.found.reasons).view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
    )
    ends = np.concatenate(([0], np.cumsum(bits.sum(axis=1, dtype=np.int64)))).astype(np.int32)
    columns = {
        **{name: work.customers.column(name) for name in ("customer_id", "unit_id", "as_of")},
        "offer_id": _pick([o.id for o in catalogue.offers], offer, won),
        "channel": _pick([c.id for c in catalogue.channels], channel, won),
        "treatment": _pick(treatments, np.where(won, cell, 0), won),
        "campaign_id": _campaigns(work, won),
        **_window(work, channel, won),
        "expected_value_minor": pa.array(work.values.minor[row, np.where(won, cell, 0)], mask=~won),
        "p_accept": pa.array(interest * reach, mask=~won),
        "p_chosen": pa.array(work.choice.p_chosen), "explored": pa.array(work.choice.explored),
        "factors": _factors(work, scores, offer, channel, won),
        "n_open": pa.array(work.found.open.sum(axis=1).astype(np.int16)),
        "reason": pa.array(numbers_of[np.maximum(work.found.decisive, 0)], mask=work.found.decisive < 0),
        "reasons": pa.ListArray.from_arrays(pa.array(ends), pa.array(numbers_of[np.nonzero(bits)[1]])),
        "terms": pa.array([work.terms.revision] * len(cell), pa.string()),
    }  # fmt: skip
    return pa.RecordBatch.from_arrays([columns[name] for name in DECISIONS.names], schema=DECISIONS)


def _pick(names: list[str | None] | list[str], index: np.ndarray, won: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index, mask=~won))


def _campaigns(work: _Work, won: np.ndarray) -> pa.Array:
    """The first running campaign that covers the cell and has the customer in its audience."""
    names: list[str | None] = [None] * len(won)
    audiences: tuple[Audience, ...] = work.terms.program.audiences
    rows = np.flatnonzero(won)
    if audiences and len(rows):
        masks = Masks(work.customers.take(pa.array(rows)), work.terms.program.types)
        belongs = {a.campaign_id: masks.truth(a.when)[0] for a in audiences}
        for place, row in enumerate(rows):
            names[row] = next((a.campaign_id for a in audiences if a.cells >> int(work.choice.cell[row]) & 1
                               and f"campaign:{a.campaign_id}" not in work.terms.paused
                               and belongs[a.campaign_id][place]), None)  # fmt: skip
    return pa.array(names, pa.string())


def _window(work: _Work, channel: np.ndarray, won: np.ndarray) -> dict[str, pa.Array]:
    """The customer's send window, cut where the channel's quiet hours begin."""
    after = np.asarray(work.customers.column("send_after").cast(pa.int64()).fill_null(0))
    before = np.asarray(work.customers.column("send_before").cast(pa.int64()).fill_null(0)).copy()
    known = won & ~np.asarray(work.customers.column("send_before").is_null())
    if "local_minute" in work.customers.schema.names:
        minute = numbers(work.customers.column("local_minute"))
        outbound = np.array([d == "outbound" for d in work.customers.column("direction").to_pylist()], dtype=bool)
        for quiet in work.terms.policy.quiet_hours:
            silent = np.array([c.id in quiet.channels for c in work.terms.catalogue.channels])
            for row in np.flatnonzero(known & outbound & silent[channel] & ~np.isnan(minute)):
                until = (
                    int(after[row]) // MINUTE_MICROS * MINUTE_MICROS
                    + int(quiet.minutes_until(minute[row])) * MINUTE_MICROS
                )
                before[row] = min(before[row], until)
    no_after = np.asarray(work.customers.column("send_after").is_null())
    return {"send_after": pa.array(after, pa.int64(), mask=~won | no_after).cast(INSTANT),
            "send_before": pa.array(before, pa.int64(), mask=~known).cast(INSTANT)}  # fmt: skip


def _factors(work: _Work, scores: pa.RecordBatch, offer: np.ndarray, channel: np.ndarray, won: np.ndarray) -> pa.Array:
    offers, channels, row = work.terms.catalogue.offers, work.terms.catalogue.channels, np.arange(len(won))
    prices = np.array(work.terms.prices or (0,) * work.terms.catalogue.n_cells, dtype=np.float64)
    parts = {
        "p_interest": matrix(scores, "p_interest")[row, offer], "p_reach": matrix(scores, "p_reach")[row, channel],
        "p_organic": matrix(scores, "p_organic")[row, offer],
        "margin_minor": np.array([float(o.margin_minor) for o in offers])[offer],
        "cost_minor": np.array([float(c.cost_minor) for c in channels])[channel],
        "p_harm": matrix(scores, "p_harm")[row, channel], "p_churn": numbers(scores.column("p_churn")),
        "lifetime_value_minor": numbers(scores.column("lifetime_value_minor")),
        "save_rate": np.array([o.save_rate if o.save_rate is not None else np.nan for o in offers])[offer],
        "context": np.ones(len(won)), "lever": np.array([o.lever for o in offers])[offer],
        "bid_price_minor": prices[offer * len(channels) + channel]}  # fmt: skip
    arrays = [pa.array(parts[field.name], pa.float64(), from_pandas=True) for field in FACTORS]
    return pa.StructArray.from_arrays(arrays, fields=list(FACTORS), mask=pa.array(~won))


__all__ = ["CUSTOMERS", "DECISIONS", "decide"]
