"""What one customer would be offered now, and why everything else is closed to him: decided, told, and not written."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from pydantic import ValidationError
from sqlalchemy.engine import Connection

from rules.arbitrate import cell_values
from rules.column import meaning
from rules.terms import Terms
from rules.types import CUSTOMERS
from rules.why import Closing, why_closed
from serving.account import restored
from serving.bids import bid_prices
from serving.decisions import decide_one
from serving.engine import Engine
from serving.http.errors import NotFound
from serving.http.messages import DecisionRequest, DecisionResponse, Direction
from serving.ledger.book import micros


@dataclass(frozen=True)
class OutlookCell:
    """One offer on one channel. closings: empty where it is open; value_minor: null where it is closed or not known."""

    offer_id: str
    channel: str
    closings: tuple[Closing, ...]
    value_minor: int | None


@dataclass(frozen=True)
class Fact:
    """One thing that is known of him, or is not: value null. en, zh, unit, null: as the column declares them."""

    name: str
    value: Any
    en: str
    zh: str
    unit: str
    null: str


@dataclass(frozen=True)
class Outlook:
    """answer: without ids, for nothing was reserved. cells and facts: () for a customer no snapshot knows."""

    answer: DecisionResponse
    cells: tuple[OutlookCell, ...]
    factors: dict[str, float | None]
    facts: tuple[Fact, ...]


def outlook(engine: Engine, connection: Connection, customer_id: str, direction: Direction, at: datetime) -> Outlook:
    """Decide for the customer as of `at`, alone and under the bid prices of the moment; NotFound where the id is none."""
    try:
        request = DecisionRequest(customer_id=customer_id, direction=direction)
    except ValidationError:
        raise NotFound("that is no customer's id; it has 1 to 64 printable characters") from None
    decided = decide_one(engine, connection, request, "dry", at, bid_prices(connection, engine.catalogue, micros(at)))
    if decided.row is None:
        return Outlook(decided.answer, (), {}, ())
    terms, stored = decided.terms, json.loads(decided.inputs)
    won = decided.row["factors"] if decided.row["offer_id"] is not None else {}
    return Outlook(
        decided.answer, _cells(terms, *restored(terms, stored)), won or {}, _facts(engine, terms, stored["customers"])
    )


def _cells(terms: Terms, customers: pa.RecordBatch, scores: pa.RecordBatch) -> tuple[OutlookCell, ...]:
    values, found = cell_values(scores, terms), list[OutlookCell]()
    for offer in terms.catalogue.offers:
        for channel in terms.catalogue.channels:
            cell = terms.catalogue.cell(offer.id, channel.id)
            closings = tuple(why_closed(customers, terms, cell))
            worth = int(values.minor[0, cell]) if not closings and values.known[0, cell] else None
            found.append(OutlookCell(offer.id, channel.id, closings, worth))
    return tuple(found)


def _facts(engine: Engine, terms: Terms, said: dict[str, Any]) -> tuple[Fact, ...]:
    fields = {field.name: field for field in (*engine.store.schema, *terms.policy.state_fields(engine.catalogue))}
    return tuple(Fact(name, value, *(meaning(fields[name], key) for key in ("en", "zh", "unit", "null")))
                 for name, value in said.items() if name in fields and name not in CUSTOMERS.names)  # fmt: skip
