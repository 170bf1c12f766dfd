"""One decision inside one transaction: facts, decide, reservation, record, answer.

The road of every answer that leaves the house. Ids come from the caller's idempotency key, so the
same key can never make a second contact.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from rules.alone import DecidedAlone, decide_alone, ranked
from rules.reasons import ReasonCode
from rules.terms import Terms
from rules.worth import Scored
from serving.engine import Engine
from serving.http.messages import Choice, DecisionRequest, DecisionResponse, Direction, Words
from serving.ledger.book import ContactRow, claim, micros, reserve
from serving.ledger.lifecycle import State, expire_unit
from serving.ledger.records import DecisionRow, record
from serving.ledger.switches import paused
from serving.plainrow import online_row
from serving.rows import OUTBOUND_VALID, Asked
from training.score import SINGLES

INBOUND_VALID = timedelta(minutes=30)


@dataclass(frozen=True)
class Decided:
    """An answer and what it was made of. row: DECISIONS as a mapping, null for a stranger."""

    answer: DecisionResponse
    row: dict[str, Any] | None
    inputs: bytes
    terms: Terms


def decide_one(
    engine: Engine, connection: Connection, request: DecisionRequest, decision_id: str, at: datetime,
    prices: tuple[int, ...] = (),
) -> Decided:  # fmt: skip
    """Decide for one customer as of `at`; reads only. prices: bid prices by cell, for outbound alone.

    A customer no snapshot knows is silence for `regulatory_unknown`: nobody can say he consented.
    """
    prices = prices if request.direction is Direction.OUTBOUND else ()
    terms = engine.terms(at, paused(connection), prices=prices)
    snapshot = engine.snapshot(at)
    degraded = bool(engine.problems(at, snapshot))
    asked = Asked(request.customer_id, request.direction.value, request.channels)
    known = online_row(engine, terms, connection, asked, at, snapshot)
    if known is None:
        answer = _silence(engine, request, decision_id, at, terms, degraded)
        return Decided(answer, None, b"{}", terms)
    kept: list[Scored] = []

    def score(open_: np.ndarray) -> Scored:
        kept.append(engine.score_one(known.who.unit_id, known.features, open_, degraded=degraded))
        return kept[0]

    found = decide_alone(known.who, terms, score)
    choices, row = _choices(engine, terms, kept[0], found, request.top), found.decision
    answer = DecisionResponse(
        decision_id=decision_id, customer_id=request.customer_id, as_of=at, choices=tuple(choices),
        offer_id=choices[0].offer_id if choices else None, channel=choices[0].channel if choices else None,
        reasons=() if choices else tuple(ReasonCode(number).slug for number in row["reasons"]),
        tier=engine.models.tier(request.customer_id), revisions=engine.revisions(at, terms, snapshot), assumptions=engine.assumptions, degraded=degraded,
        expires_at=at + (OUTBOUND_VALID if request.direction is Direction.OUTBOUND else INBOUND_VALID))  # fmt: skip
    inputs = stored_inputs(known.inputs, kept[0], degraded=degraded, prices=prices)
    return Decided(answer, row, inputs, terms)


def commit(engine: Engine, connection: Connection, decided: Decided, now: int) -> DecisionResponse:
    """Reserve what was chosen and record the decision, in the caller's transaction; the final answer."""
    answer, choices = decided.answer, []
    for place, choice in enumerate(answer.choices):
        inbound = choice.send_after is None
        contact_id = f"{answer.decision_id}-{place}"
        starts = choice.send_after or answer.as_of
        ends = choice.send_before or answer.expires_at
        assert decided.row is not None  # a stranger has no choices
        contact = ContactRow(
            contact_id=contact_id, customer_id=answer.customer_id, unit_id=decided.row["unit_id"], channel=choice.channel,
            decided_at=micros(answer.as_of), send_after=micros(starts), send_before=micros(ends), offer_id=choice.offer_id,
            family=engine.families[choice.offer_id], treatment=choice.treatment, campaign_id=decided.row["campaign_id"] if place == 0 else None,
            direction="inbound" if inbound else "outbound", state=State.RESERVED, p_chosen=decided.row["p_chosen"] if place == 0 else None,
            decision_id=answer.decision_id)  # fmt: skip
        if not inbound:
            expire_unit(connection, contact.unit_id, now)
        reserve(connection, contact)
        if inbound:  # made by answering: there is nothing left to claim, and its outcome may come at once
            claim(connection, contact_id, now)
        choices.append(choice.model_copy(update={"contact_id": contact_id}))
    answer = answer.model_copy(update={"choices": tuple(choices)})
    row = DecisionRow(
        decision_id=answer.decision_id, customer_id=answer.customer_id,
        unit_id=decided.row["unit_id"] if decided.row else answer.customer_id, as_of=micros(answer.as_of),
        inputs=decided.inputs, result=canonical(_result(answer, decided.row)), reasons=json.dumps(list(answer.reasons)),
        terms=decided.terms.revision, revisions=json.dumps(answer.revisions, sort_keys=True), recorded_at=now)  # fmt: skip
    record(connection, engine.vault.closed(connection, row))
    return answer


def decision_id_of(principal: str, route: str, key: str, place: int = 0) -> str:
    """The id of a decision: one idempotency key, one id, for ever."""
    return "d" + hashlib.sha256(json.dumps([principal, route, key, place]).encode()).hexdigest()[:31]


def stored_inputs(inputs: Mapping[str, Any], scored: Scored, *, degraded: bool, prices: tuple[int, ...] = ()) -> bytes:
    """What decide read of one customer, as canonical JSON: CUSTOMERS and state columns, SCORES, and bid prices if any."""
    scores: dict[str, Any] = dict.fromkeys(Scored._fields)
    if not degraded:
        for name, part in zip(Scored._fields, scored, strict=True):
            known = [None if v != v else v for v in part.reshape(-1).tolist()]  # noqa: PLR0124  # NaN is null
            scores[name] = known[0] if name in SINGLES else known
    return canonical({"customers": inputs, "scores": scores} | ({"prices": prices} if prices else {}))


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; instants as ISO texts, NaN refused."""
    return _CANONICAL.encode(value).encode()


def _result(answer: DecisionResponse, row: dict[str, Any] | None) -> dict[str, Any]:
    return {"answer": answer.model_dump(mode="json"), "row": row}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if hasattr(value, "isoformat") else value


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
)


def _choices(engine: Engine, terms: Terms, scored: Scored, found: DecidedAlone, top: int) -> list[Choice]:
    row = found.decision
    if row["offer_id"] is None:
        return []
    n_channels, cell = len(terms.catalogue.channels), terms.catalogue.cell(row["offer_id"], row["channel"])
    chosen = [(cell, row["expected_value_minor"])]
    if top > 1:  # one choice was decided already; ranking the others costs as much again
        for cell, value in ranked(found, terms):
            if len(chosen) < top and cell // n_channels not in {c // n_channels for c, _ in chosen}:
                chosen.append((cell, value))  # one choice per offer: the same thing twice is no choice
    return [_choice(engine, terms, scored, cell, value, row) for cell, value in chosen]


def _choice(engine: Engine, terms: Terms, scored: Scored, cell: int, value: int, row: dict[str, Any]) -> Choice:
    place, where = divmod(cell, len(terms.catalogue.channels))
    offer, channel = terms.catalogue.offers[place], terms.catalogue.channels[where]
    interest, reach = float(scored.p_interest[0, place]), float(scored.p_reach[0, where])
    return Choice(contact_id=None, offer_id=offer.id, channel=channel.id, treatment=terms.treatments[cell],
                  send_after=row["send_after"], send_before=row["send_before"], expected_value_minor=value,
                  p_accept=interest * reach, why=why_words(engine, offer.title, interest, reach, value))  # fmt: skip


def why_words(engine: Engine, title: Any, interest: float, reach: float, value: int) -> tuple[Words, ...]:
    """Why this offer, in one sentence a clerk can read out."""
    worth = f"{value / 100:,.2f} {engine.catalogue.base_currency}"
    return (Words(en=f"{title.en}: reached with {reach:.0%}, then interested with {interest:.1%}; worth {worth}.",
                  zh=f"{title.zh}：触达概率{reach:.0%}，触达后感兴趣概率{interest:.1%}，预期价值{worth}。"),)  # fmt: skip


def _silence(
    engine: Engine, request: DecisionRequest, decision_id: str, at: datetime, terms: Terms, degraded: bool
) -> DecisionResponse:
    reasons: Sequence[ReasonCode] = (ReasonCode.REGULATORY_UNKNOWN,)
    return DecisionResponse(decision_id=decision_id, customer_id=request.customer_id, as_of=at, choices=(), offer_id=None, channel=None,
                            reasons=tuple(code.slug for code in reasons), tier=engine.models.tier(request.customer_id), revisions=engine.revisions(at, terms),
                            assumptions=engine.assumptions, degraded=degraded, expires_at=at + OUTBOUND_VALID)  # fmt: skip
