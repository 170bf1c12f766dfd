"""Decide: suppress, score what is open, arbitrate - one row in, one row out, silence included.

The members of a unit are resolved together (`rules.units`): a contact chosen for one raises the
unit's counters for the others, whose cells are then closed again.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rules.arbitrate import arbitrate, check_scores, picked
from rules.closures import Row
from rules.masks import Masks, numbers
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.suppress import suppress
from rules.terms import Terms
from rules.types import CUSTOMERS, DECISIONS, FACTORS, INSTANT, Score
from rules.units import Allotted, Work, is_outbound, note, resolve_units
from rules.window import cut_windows

MAY_LACK = ("p_churn", "save_rate")  # factors that a value can do without


def decide(customers: pa.RecordBatch, terms: Terms, score: Score, rows: Sequence[Row] | None = None) -> pa.RecordBatch:
    """Choose at most one offer and channel for each customer.

    Args:
        customers: CUSTOMERS and terms.state_schema, (n,), whole units, any order.
        terms: Frozen; its revision is copied to every decision.
        score: Called once with the customers and the open cells (n, n_cells); null scores close
            what depends on them.
        rows: The customers' state as `terms.plain` reads it, where the caller has it at hand.

    Returns:
        DECISIONS, (n,), in input order; reason is null and reasons empty iff an offer won.

    Raises:
        SchemaError: A column is missing or has another type, or the scores do not fit.
    """
    found = suppress(customers, terms, rows)
    scores = score(customers, found.open)
    check_scores(scores, terms)
    return _settled(Work(customers, scores, terms, found, arbitrate(customers, scores, found, terms)))


def issue(customers: pa.RecordBatch, terms: Terms, scores: pa.RecordBatch, allotted: Allotted) -> pa.RecordBatch:
    """Decide as a clearing house allotted: each customer gets that cell or silence, with the reasons of it.

    customers, terms, scores, what comes back: as in decide. A cell that a rule, or the contact of another
    member of the unit, closes is not given whoever allotted it.
    """
    found = suppress(customers, terms)
    check_scores(scores, terms)
    choice = replace(allotted.choice)
    allotted.into(choice, found, slice(None))
    return _settled(Work(customers, scores, terms, found, choice, allotted))


def _settled(work: Work) -> pa.RecordBatch:
    found = work.found
    note(found.reasons, ReasonCode.NOT_SCORED, work.choice.unscored)
    resolve_units(work)
    _explain_silence(work)
    return _decisions(work)


def _explain_silence(work: Work) -> None:
    """Name the reason of those for whom a cell was open, but nothing was worth saying."""
    found, choice = work.found, work.choice
    silent = (choice.cell < 0) & (found.decisive < 0)
    for code, rows in ((ReasonCode.NOT_SCORED, silent & ~choice.scored),
                       (ReasonCode.NO_CAPACITY, silent & choice.scored & choice.wanted),
                       (ReasonCode.NO_VALUE, silent & choice.scored & ~choice.wanted)):  # fmt: skip
        found.decisive[rows] = RANK[code]
        note(found.reasons, code, rows)
    won = choice.cell >= 0
    found.reasons[won], found.decisive[won] = 0, -1


def _decisions(work: Work) -> pa.RecordBatch:
    catalogue, found, choice = work.terms.catalogue, work.found, work.choice
    won = choice.cell >= 0
    cell = np.where(won, choice.cell, 0)
    offer, channel = np.divmod(cell, len(catalogue.channels))
    factors = _factors(work, np.flatnonzero(won), offer, channel)
    codes = np.array([int(code) for code in PRECEDENCE], np.int16)
    met = np.unpackbits(found.reasons[found.reasons > 0].view(np.uint8), bitorder="little").view(bool)
    ends = np.concatenate(([0], np.cumsum(np.bitwise_count(found.reasons), dtype=np.int32)), dtype=np.int32)
    columns = {
        **{name: work.customers.column(name) for name in ("customer_id", "unit_id", "as_of")},
        "offer_id": _pick([o.id for o in catalogue.offers], offer, won),
        "channel": _pick([c.id for c in catalogue.channels], channel, won),
        "treatment": _pick(work.terms.treatments, cell, won),
        "campaign_id": _campaigns(work, won),
        **_window(work, won),
        "expected_value_minor": pa.array(choice.minor, mask=~won),
        "p_accept": pa.array(factors["p_interest"] * factors["p_reach"], mask=~won),
        "p_chosen": pa.array(choice.p_chosen), "explored": pa.array(choice.explored),
        "factors": pa.StructArray.from_arrays([pa.array(factors[f.name], from_pandas=f.name in MAY_LACK) for f in FACTORS],
                                              fields=list(FACTORS), mask=pa.array(~won)),
        "n_open": pa.array(np.bitwise_count(found.packed).sum(axis=1, dtype=np.int16)),
        "reason": pa.array(codes[np.maximum(found.decisive, 0)], mask=found.decisive < 0),
        "reasons": pa.ListArray.from_arrays(pa.array(ends), pa.array(codes[np.flatnonzero(met) % 64])),
        "terms": pa.repeat(pa.scalar(work.terms.revision), len(cell)),
    }  # fmt: skip
    return pa.RecordBatch.from_arrays([columns[name] for name in DECISIONS.names], schema=DECISIONS)


def _pick(names: Sequence[str | None], index: np.ndarray, won: np.ndarray) -> pa.Array:
    return pa.array(list(names), pa.string()).take(pa.array(index, mask=~won))


def _campaigns(work: Work, won: np.ndarray) -> pa.Array:
    """The first running campaign that covers the cell and has the customer in its audience."""
    audiences = [a for a in work.terms.program.audiences if f"campaign:{a.campaign_id}" not in work.terms.paused]
    rows, n_cells = np.flatnonzero(won), work.terms.program.n_cells
    first = np.full(len(rows), len(audiences))
    if audiences and len(rows):
        masks = Masks(work.customers.take(pa.array(rows)), work.terms.program.types)
        for place, audience in reversed(list(enumerate(audiences))):
            covers = np.array([audience.cells >> cell & 1 for cell in range(n_cells)], dtype=bool)
            first[covers[work.choice.cell[rows]] & masks.truth(audience.when)[0]] = place
    chosen = np.full(len(won), len(audiences))
    chosen[rows] = first
    return pa.array([*(a.campaign_id for a in audiences), None], pa.string()).take(pa.array(chosen))


def _window(work: Work, won: np.ndarray) -> dict[str, pa.Array]:
    """The customer's send window, cut where the clock would close the chosen cell (`rules.window`)."""
    after_, before_ = (work.customers.column(name).cast(pa.int64()) for name in ("send_after", "send_before"))
    after, before = np.asarray(after_.fill_null(0)), np.asarray(before_.fill_null(0)).copy()
    known = won & np.asarray(before_.is_valid())
    if "time_zone" in work.terms.state_schema.names:
        rows = np.flatnonzero(known & np.asarray(after_.is_valid()) & is_outbound(work.customers))
        zones = work.customers.column("time_zone").take(pa.array(rows))
        before[rows] = cut_windows(work.terms, zones, work.choice.cell[rows], after[rows], before[rows])
    return {"send_after": pa.array(after, mask=~(won & np.asarray(after_.is_valid()))).cast(INSTANT),
            "send_before": pa.array(before, mask=~known).cast(INSTANT)}  # fmt: skip


def _factors(work: Work, rows: np.ndarray, offer: np.ndarray, channel: np.ndarray) -> dict[str, np.ndarray]:
    """The factors of each winner's value, (n,) float64; 0 where nobody won, NaN where the value has none."""
    offers, channels, scores = work.terms.catalogue.offers, work.terms.catalogue.channels, work.scores
    offer, channel = offer[rows], channel[rows]
    prices = np.array(work.terms.prices or (0,) * work.terms.catalogue.n_cells, dtype=np.float64)
    bids = prices[offer * len(channels) + channel] if work.allotted is None else work.allotted.bid_minor[rows]
    parts = {
        "p_interest": picked(scores, "p_interest", rows, offer), "p_reach": picked(scores, "p_reach", rows, channel),
        "p_organic": picked(scores, "p_organic", rows, offer),
        "margin_minor": np.array([float(o.margin_minor) for o in offers])[offer],
        "cost_minor": np.array([float(c.cost_minor) for c in channels])[channel],
        "p_harm": picked(scores, "p_harm", rows, channel), "p_churn": numbers(scores.column("p_churn"))[rows],
        "lifetime_value_minor": numbers(scores.column("lifetime_value_minor"))[rows],
        "save_rate": np.array([o.save_rate if o.save_rate is not None else np.nan for o in offers])[offer],
        "context": np.ones(len(rows)), "lever": np.array([o.lever for o in offers])[offer],
        "bid_price_minor": bids}  # fmt: skip
    for name, values in parts.items():
        parts[name] = np.zeros(len(work.choice.cell))
        parts[name][rows] = values
    return parts


__all__ = ["CUSTOMERS", "DECISIONS", "decide", "issue"]
