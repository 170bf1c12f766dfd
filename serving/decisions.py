"""Decisions inside one transaction: facts, decide, reservation, record, answer.

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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic_core import to_json
from sqlalchemy.engine import Connection

from rules.alone import DecidedAlone, decide_few, ranked
from rules.money import money
from rules.reasons import ReasonCode
from rules.terms import Terms
from rules.worth import Scored, each_of
from serving.engine import Engine
from serving.http.messages import DecisionRequest, DecisionResponse, Direction
from serving.ledger.book import ContactRow, micros
from serving.ledger.lifecycle import expire_unit, offering, reserving
from serving.ledger.records import DecisionRow, recording
from serving.ledger.statement import Entry, enter_all
from serving.ledger.switches import paused
from serving.ledger.vault import closed_with
from serving.plainrow import plain_rows
from serving.rows import OUTBOUND_VALID, Asked
from training.score import SINGLES

INBOUND_VALID = timedelta(minutes=30)


@dataclass(frozen=True)
class Decided:
    """An answer and what it was made of.

    engine: which decided. said: DecisionResponse by field, its contacts still without ids. row: DECISIONS as a mapping, null for a stranger.
    lapsed: his unit holds a reservation that can no longer be claimed. cipher: what his payload is closed with, null
    where it has to be looked up; keyless: where he never had a key.
    """

    engine: Engine
    said: dict[str, Any]
    row: dict[str, Any] | None
    inputs: bytes
    terms: Terms
    lapsed: bool = False
    cipher: AESGCM | None = None
    keyless: bool = False

    @property
    def answer(self) -> DecisionResponse:
        """The answer as a message, for who reads and does not write."""
        return DecisionResponse.model_validate_json(to_json(self.said))


def decide_one(
    engine: Engine, connection: Connection, request: DecisionRequest, decision_id: str, at: datetime,
    prices: tuple[int, ...] = (),
) -> Decided:  # fmt: skip
    """`decide_several` of one."""
    return decide_several(engine, connection, [(request, decision_id)], at, prices)[0]


def decide_several(
    engine: Engine, connection: Connection, asked: Sequence[tuple[DecisionRequest, str]], at: datetime,
    prices: tuple[int, ...] = (),
) -> list[Decided]:  # fmt: skip
    """Decide each request, with its decision_id, as of `at`; reads only. prices: bid prices by cell, for outbound alone.

    No two are about one unit: nobody would see what the other was offered. A customer no snapshot knows is silence
    for `regulatory_unknown`: nobody can say he consented.
    """
    ways = {request.direction for request, _ in asked}
    if prices and Direction.INBOUND in ways:
        if len(ways) > 1:  # each way has terms of its own
            apart = [
                decide_several(engine, connection, [one for one in asked if one[0].direction is way], at, prices)
                for way in ways
            ]
            by_id = {decided.said["decision_id"]: decided for several in apart for decided in several}
            return [by_id[decision_id] for _, decision_id in asked]
        prices = ()
    terms, snapshot = engine.terms(at, paused(connection), prices=prices), engine.snapshot(at)
    degraded = bool(engine.problems(at, snapshot))
    revisions = engine.revisions(at, terms, snapshot)
    people = plain_rows(engine, terms, connection, [
        Asked(request.customer_id, request.direction.value, request.channels) for request, _ in asked
    ], at, snapshot)  # fmt: skip
    known = list(people.values())
    kept: list[Scored] = []

    def score(open_: np.ndarray) -> Scored:
        units, rows = [each.who.unit_id for each in known], [each.features for each in known]
        kept.append(engine.score_few(units, rows, open_, degraded=degraded))
        return kept[0]

    decided = decide_few([each.who for each in known], terms, score) if known else []
    told = dict(zip(people, zip(known, decided, each_of(kept[0]) if kept else (), strict=True), strict=True))
    ciphers = engine.vault.ciphers(connection, people)
    done: list[Decided] = []
    for request, decision_id in asked:
        said = _answer(engine, request, decision_id, at, revisions, degraded=degraded)
        if (found := told.get(request.customer_id)) is None:
            done.append(Decided(engine, said | {"reasons": [ReasonCode.REGULATORY_UNKNOWN.slug]}, None, b"{}", terms))
            continue
        plain, of, scored = found
        if choices := _choices(engine, terms, scored, of, request.top):
            said |= {"choices": choices, "offer_id": choices[0]["offer_id"], "channel": choices[0]["channel"]}
        else:
            said["reasons"] = [ReasonCode(number).slug for number in of.decision["reasons"]]
        inputs = stored_inputs(plain.inputs, scored, degraded=degraded, prices=prices)
        name = request.customer_id
        done.append(
            Decided(
                engine, said, of.decision, inputs, terms, plain.lapsed, ciphers.get(name), keyless=name not in ciphers
            )
        )
    return done


def commit(connection: Connection, decided: Decided, now: int, asked_by: str | None = None) -> dict[str, Any]:
    """Reserve what was chosen and record the decision, in the caller's transaction; the final answer."""
    said, entries = kept(connection, decided, now, asked_by)
    enter_all(connection, entries)
    return said


def kept(
    connection: Connection, decided: Decided, now: int, asked_by: str | None = None
) -> tuple[dict[str, Any], list[Entry]]:
    """The final answer, and what has to be entered before it may go out: contacts, a key, the record.

    asked_by: the key that asked, who may read what it was told; null: nobody's.
    """
    engine, said, row, entries = decided.engine, decided.said, decided.row, list[Entry]()
    at, customer, decision_id = micros(said["as_of"]), said["customer_id"], said["decision_id"]
    unit = row["unit_id"] if row else customer
    if decided.lapsed and any(choice["send_after"] for choice in said["choices"]):
        expire_unit(connection, unit, now)
    choices: list[dict[str, Any]] = []
    for place, choice in enumerate(said["choices"]):
        assert row is not None  # a stranger has no choices
        inbound, first, contact_id = choice["send_after"] is None, place == 0, f"{decision_id}-{place}"
        contact = ContactRow(
            contact_id=contact_id, customer_id=customer, unit_id=unit, channel=choice["channel"], decided_at=at,
            send_after=micros(choice["send_after"]) if choice["send_after"] else at,
            send_before=micros(choice["send_before"] or said["expires_at"]), offer_id=choice["offer_id"],
            family=engine.families[choice["offer_id"]], treatment=choice["treatment"], campaign_id=row["campaign_id"] if first else None,
            direction="inbound" if inbound else "outbound", p_chosen=row["p_chosen"] if first else None, decision_id=decision_id)  # fmt: skip
        entries.append(offering(contact, now) if inbound else reserving(contact))
        choices.append(choice | {"contact_id": contact_id})
    said = said | {"choices": choices}
    record = DecisionRow(
        decision_id=decision_id, customer_id=customer, unit_id=unit, as_of=at, inputs=decided.inputs, result=_result(said, row, asked_by),
        reasons=json.dumps(said["reasons"]), terms=decided.terms.revision, revisions=json.dumps(said["revisions"], sort_keys=True),
        recorded_at=now)  # fmt: skip
    cipher = decided.cipher
    if cipher is None and decided.keyless:
        cipher, entry = engine.vault.keying(customer, now)
        entries.append(entry)
    entries.append(
        recording(engine.vault.closed(connection, record) if cipher is None else closed_with(cipher, record))
    )
    return said, entries


def decision_id_of(principal: str, route: str, key: str, place: int = 0) -> str:
    """The id of a decision: one idempotency key, one id, for ever."""
    return "d" + hashlib.sha256(json.dumps([principal, route, key, place]).encode()).hexdigest()[:31]


def stored_inputs(inputs: Mapping[str, Any], scored: Scored, *, degraded: bool, prices: tuple[int, ...] = ()) -> bytes:
    """What decide read of one customer, as JSON: CUSTOMERS and state columns, SCORES, and bid prices if any."""
    scores: dict[str, Any] = dict.fromkeys(Scored._fields)
    if not degraded:
        for name, part in zip(Scored._fields, scored, strict=True):
            known = part.tolist()
            scores[name] = _known(known) if name in SINGLES else [*map(_known, known)]
    return to_json({"customers": inputs, "scores": scores} | ({"prices": prices} if prices else {}))


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  # NaN is null


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; instants as ISO texts, NaN refused."""
    return _CANONICAL.encode(value).encode()


def _result(said: dict[str, Any], row: dict[str, Any] | None, asked_by: str | None) -> bytes:
    """The answer as it went out, who asked, and DECISIONS of it with instants as `canonical` writes them."""
    if row is not None:
        row = row | {name: _plain(row[name]) for name in ("as_of", "send_after", "send_before")}
    return to_json({"answer": said, "asked_by": asked_by, "row": row})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if hasattr(value, "isoformat") else value


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
)


def _choices(engine: Engine, terms: Terms, scored: Scored, found: DecidedAlone, top: int) -> list[dict[str, Any]]:
    """Choice by field, best first; their ids are given when they are kept."""
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


def _choice(engine: Engine, terms: Terms, scored: Scored, cell: int, value: int, row: dict[str, Any]) -> dict[str, Any]:
    place, where = divmod(cell, len(terms.catalogue.channels))
    offer, channel = terms.catalogue.offers[place], terms.catalogue.channels[where]
    interest, reach = float(scored.p_interest[place]), float(scored.p_reach[where])
    return {"contact_id": None, "offer_id": offer.id, "channel": channel.id, "treatment": terms.treatments[cell],
            "send_after": row["send_after"], "send_before": row["send_before"], "expected_value_minor": value,
            "p_accept": interest * reach, "why": why_words(engine, offer.title, interest, reach, value)}  # fmt: skip


def why_words(engine: Engine, title: Any, interest: float, reach: float, value: int) -> list[dict[str, str]]:
    """Why this offer, in one sentence a clerk can read out, in both languages."""
    worth = money(value, engine.catalogue.base_currency)
    return [{"en": f"{title.en}: reached with {reach:.0%}, then interested with {interest:.1%}; worth {worth}.",
             "zh": f"{title.zh}：触达概率{reach:.0%}，触达后感兴趣概率{interest:.1%}，预期价值{worth}。"}]  # fmt: skip


def _answer(engine: Engine, request: DecisionRequest, decision_id: str, at: datetime, revisions: dict[str, str], *,
            degraded: bool) -> dict[str, Any]:  # fmt: skip
    """DecisionResponse by field, in its order, before anything was chosen."""
    lasts = OUTBOUND_VALID if request.direction is Direction.OUTBOUND else INBOUND_VALID
    return {"decision_id": decision_id, "customer_id": request.customer_id, "as_of": at, "choices": [], "offer_id": None,
            "channel": None, "reasons": [], "tier": engine.live.models.tier(request.customer_id), "revisions": revisions,
            "assumptions": engine.assumptions, "degraded": degraded, "expires_at": at + lasts}  # fmt: skip
