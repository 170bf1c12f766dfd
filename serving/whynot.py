"""Why one offer on one channel would not reach a customer: decided anew, told in words, nothing written."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import Connection

from rules.arbitrate import cell_values
from rules.why import why_closed
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


class WhyNot(BaseModel):
    """The cell and what stands against it.

    open: no rule closes it. expected_value_minor: what it is worth, null where closed or unknown.
    chosen: `offer on channel` that would be said instead, null for silence.
    """

    customer_id: str
    offer_id: str
    channel: str
    as_of: datetime
    open: bool
    reasons: list[WhyNotReason]
    expected_value_minor: int | None
    chosen: str | None
    sentences: list[str]


def why_not(engine: Engine, connection: Connection, customer: str, offer: str, channel: str, at: datetime) -> WhyNot:
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
        return WhyNot(**told, open=False, reasons=[unknown], expected_value_minor=None, sentences=[why])
    terms = decided.terms
    customers, scores = restored(terms, json.loads(decided.inputs))
    cell, values = terms.catalogue.cell(offer, channel), cell_values(scores, terms)
    closings = why_closed(customers, terms, cell)
    reasons = [WhyNotReason(layer=str(c.reason.layer), reason=c.reason.slug, rules=list(c.rules)) for c in closings]
    worth = int(values.minor[0, cell]) if not closings and values.known[0, cell] else None
    sentences = [f"{offer} on {channel} is closed: {r.reason.replace('_', ' ')} ({r.layer}; by {', '.join(r.rules)})"
                 for r in reasons] or [_beaten(engine, offer, channel, worth, chosen, answer.reasons, answer.degraded)]  # fmt: skip
    return WhyNot(**told, open=not closings, reasons=reasons, expected_value_minor=worth, sentences=sentences)


def _beaten(engine: Engine, offer: str, channel: str, worth: int | None, chosen: str | None,
            reasons: tuple[str, ...], degraded: bool) -> str:  # fmt: skip
    if chosen == f"{offer} on {channel}":
        return f"{offer} on {channel} is what would be said now"
    if worth is None:
        why = "; ".join(engine.damaged or ()) or "the models say nothing of it"
        return f"{offer} on {channel} is open, but its value is unknown{': ' + why if degraded else ''}"
    value = f"{worth / 100:,.2f} {engine.catalogue.base_currency}"
    if chosen is not None:
        return f"{offer} on {channel} is open and worth {value}; {chosen} was preferred"
    return f"{offer} on {channel} is open and worth {value}; silence was preferred ({', '.join(reasons)})"


def _check(engine: Engine, offer: str, channel: str) -> None:
    offers = [one.id for one in engine.catalogue.offers]
    if offer not in offers:
        raise WhyNotError(f"unknown offer `{offer[:64]}`; there are: {', '.join(offers)}")
    if channel not in engine.catalogue.channel_index:
        raise WhyNotError(f"unknown channel `{channel[:64]}`; there are: {', '.join(engine.catalogue.channel_index)}")
