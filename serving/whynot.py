"""Why one offer on one channel would not reach a customer: decided anew, told in words, nothing written."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import Connection

from rules.arbitrate import cell_values
from rules.closures import rows
from rules.money import money
from rules.suppress import row_facts
from rules.terms import Terms
from rules.tree import Scalar
from rules.why import why_closed
from rules.witness import shortest_reason, what_would_open
from serving.account import restored
from serving.decisions import decide_one
from serving.engine import Engine
from serving.http.messages import DecisionRequest


class WhyNotError(ValueError):
    """The question names something that is not there; one line."""


class WhyNotReason(BaseModel):
    """One reason that closes the cell. rules: ids of the policy's parts that say so."""

    layer: str
    reason: str
    rules: list[str]


class WhyNotShortest(BaseModel):
    """One true reason, and the fewest facts that alone suffice for it."""

    reason: str
    rules: list[str]
    facts: dict[str, Scalar]


class WhyNot(BaseModel):
    """The cell and what stands against it.

    open: no rule closes it. expected_value_minor: what it is worth, null where closed or unknown.
    chosen: `offer on channel` that would be said instead, null for silence. shortest: the one reason that needs
    the fewest of his facts, and those. would_open: the fewest facts of those that may be told (`tellable` in the
    invariants file), with the values at which the rules would leave it open; null: none of them would.
    """

    customer_id: str
    offer_id: str
    channel: str
    as_of: datetime
    open: bool
    reasons: list[WhyNotReason]
    expected_value_minor: int | None
    chosen: str | None
    shortest: WhyNotShortest | None
    would_open: dict[str, Scalar] | None
    sentences: list[str]


def why_not(
    engine: Engine,
    connection: Connection,
    customer: str,
    offer: str,
    channel: str,
    at: datetime,
    tellable: Sequence[str] = (),
) -> WhyNot:
    """Decide for the customer as of `at`, outbound, and tell of that one cell; reads only."""
    _check(engine, offer, channel)
    try:
        request = DecisionRequest(customer_id=customer)
    except ValidationError:
        raise WhyNotError("a customer id has 1 to 64 printable characters without outer spaces; mend it") from None
    decided = decide_one(engine, connection, request, "dry", at)
    answer = decided.answer
    chosen = f"{answer.offer_id} on {answer.channel}" if answer.offer_id else None
    told: dict[str, Any] = {
        "customer_id": customer,
        "offer_id": offer,
        "channel": channel,
        "as_of": at,
        "chosen": chosen,
    }
    if decided.row is None:
        why = "no snapshot knows this customer, so nobody can say he consented: silence"
        unknown = WhyNotReason(layer="regulatory", reason="regulatory_unknown", rules=[])
        return WhyNot(
            **told,
            open=False,
            reasons=[unknown],
            expected_value_minor=None,
            shortest=None,
            would_open=None,
            sentences=[why],
        )
    terms = decided.terms
    customers, scores = restored(terms, json.loads(decided.inputs))
    cell, values = terms.catalogue.cell(offer, channel), cell_values(scores, terms)
    closings = why_closed(customers, terms, cell)
    reasons = [WhyNotReason(layer=str(c.reason.layer), reason=c.reason.slug, rules=list(c.rules)) for c in closings]
    worth = int(values.minor[0, cell]) if not closings and values.known[0, cell] else None
    sentences = [f"{offer} on {channel} is closed: {r.reason.replace('_', ' ')} ({r.layer}; by {', '.join(r.rules)})"
                 for r in reasons] or [_beaten(engine, offer, channel, worth, chosen, answer.reasons, answer.degraded)]  # fmt: skip
    shortest, opening = _turning(customers, terms, cell, tellable) if closings else (None, {})
    if shortest is not None and shortest.facts:
        sentences.append(f"shortest: {shortest.reason.replace('_', ' ')}, for {_listed(shortest.facts)}")
    if closings and opening:
        sentences.append(f"would be open if {_listed(opening)}")
    return WhyNot(**told, open=not closings, reasons=reasons, expected_value_minor=worth, shortest=shortest, would_open=opening,
                  sentences=sentences)  # fmt: skip


def _turning(
    customers: pa.RecordBatch, terms: Terms, cell: int, tellable: Sequence[str]
) -> tuple[WhyNotShortest | None, dict[str, Scalar] | None]:
    """(the shortest true reason, the fewest tellable facts that would open the cell)."""
    [row] = rows(customers, terms.program.types)
    found = shortest_reason(row, terms, cell, tellable=tellable or None)
    shortest = found and WhyNotShortest(reason=found.reason.slug, rules=list(found.rules), facts=found.facts)
    held = any(cells >> cell & 1 and who[0] for _, cells, who in row_facts(customers, terms))  # by no fact of his
    return shortest, None if held else what_would_open(row, terms, cell, tellable)


def _listed(facts: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name} = {'unknown' if value is None else value}" for name, value in facts.items())


def _beaten(engine: Engine, offer: str, channel: str, worth: int | None, chosen: str | None,
            reasons: tuple[str, ...], degraded: bool) -> str:  # fmt: skip
    if chosen == f"{offer} on {channel}":
        return f"{offer} on {channel} is what would be said now"
    if worth is None:
        why = "; ".join(engine.live.damaged or ()) or "the models say nothing of it"
        return f"{offer} on {channel} is open, but its value is unknown{': ' + why if degraded else ''}"
    value = money(worth, engine.catalogue.base_currency)
    if chosen is not None:
        return f"{offer} on {channel} is open and worth {value}; {chosen} was preferred"
    return f"{offer} on {channel} is open and worth {value}; silence was preferred ({', '.join(reasons)})"


def _check(engine: Engine, offer: str, channel: str) -> None:
    offers = [one.id for one in engine.catalogue.offers]
    if offer not in offers:
        raise WhyNotError(f"unknown offer `{offer[:64]}`; there are: {', '.join(offers)}")
    if channel not in engine.catalogue.channel_index:
        raise WhyNotError(f"unknown channel `{channel[:64]}`; there are: {', '.join(engine.catalogue.channel_index)}")
