"""The account of a decision: what won and by which factors, what was closed and why."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import Connection

from rules.arbitrate import cell_values
from rules.reasons import ReasonCode
from rules.terms import Terms
from rules.types import CUSTOMERS, scores_schema
from rules.why import why_closed
from serving.changes.live import sibling
from serving.engine import Engine
from serving.http.messages import Cell, DecisionWhyResponse, Words
from serving.ledger import switches
from serving.ledger.records import DecisionRow
from serving.lists.words import LAYER_NAMES, REASONS
from serving.reasoning import drivers, would_change


class AccountError(ValueError):
    """A decision cannot be explained from what is stored; one line."""


def account(
    engine: Engine, connection: Connection, record: DecisionRow, channel: str | None = None
) -> DecisionWhyResponse:
    """Read the record back and say why, cell by cell; ErasedError where its payload was erased. Writes nothing.

    channel: tell of the cells of this one only; null: of all.
    """
    record = engine.vault.opened(connection, record)
    stored, result = json.loads(record.inputs), json.loads(record.result)
    row = result["row"]
    at = datetime.fromisoformat(result["answer"]["as_of"])
    by = deciding(engine, connection, record)
    terms = terms_of(by, connection, record.terms, at, prices_in(stored))
    cells, moved, change = (), (), ()
    won = row if row is not None and row["offer_id"] is not None else None
    if stored and terms is not None:
        customers, scores = restored(terms, stored)
        cells = tuple(cell for cell in _cells(terms, customers, scores) if channel in (None, cell.channel))
        moved = drivers(by, connection, terms, record)
        change = would_change(by, terms, customers, scores, won, channel)
    return DecisionWhyResponse(
        decision_id=record.decision_id, offer_id=won["offer_id"] if won else None, channel=won["channel"] if won else None,
        sentences=tuple(_sentences(result)), factors=won["factors"] if won else {}, p_chosen=won["p_chosen"] if won else None,
        explored=bool(won and won["explored"]), drivers=moved, would_change=change, cells=cells)  # fmt: skip


def prices_in(stored: dict[str, Any]) -> tuple[int, ...]:
    """The bid prices a record's inputs were decided under; (): none."""
    return tuple(stored.get("prices", ()))


def deciding(engine: Engine, connection: Connection, record: DecisionRow) -> Engine:
    """The engine of the live set that decided, whatever is in force today; the one given where none is named."""
    named = json.loads(record.revisions).get("live_set")
    return engine if named in (None, engine.live_set) else sibling(engine, connection, named)


def terms_of(engine: Engine, connection: Connection, revision: str, at: datetime, prices: tuple[int, ...] = ()) -> Terms | None:  # fmt: skip
    """The terms of that revision, with the switches as they stood, under those prices; null: no longer in force."""
    scopes: set[str] = set()
    stood = [frozenset(scopes)]
    for change in switches.history(connection):
        (scopes.discard if change.action == "resume" else scopes.add)(change.scope)
        stood.append(frozenset(scopes))
    for paused in dict.fromkeys(reversed(stood)):  # the latest first: most decisions are asked about soon
        terms = engine.terms(at, paused, prices=prices)
        if terms.revision == revision:
            return terms
    return None


def restored(terms: Terms, stored: dict[str, Any]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(CUSTOMERS and state columns, SCORES) of one customer from a record's inputs."""
    schema = pa.schema([*CUSTOMERS, *terms.state_schema])
    row = {field.name: _typed(stored["customers"].get(field.name), field.type) for field in schema}
    catalogue = terms.catalogue
    scores = pa.RecordBatch.from_pylist(
        [stored["scores"]], schema=scores_schema(len(catalogue.offers), len(catalogue.channels))
    )
    return pa.RecordBatch.from_pylist([row], schema=schema), scores


def _typed(value: Any, type_: pa.DataType) -> Any:
    if value is not None and pa.types.is_timestamp(type_):
        return datetime.fromisoformat(value).astimezone(UTC)
    return date.fromisoformat(value) if value is not None and pa.types.is_date(type_) else value


def _cells(terms: Terms, customers: pa.RecordBatch, scores: pa.RecordBatch) -> list[Cell]:
    values = cell_values(scores, terms)
    found: list[Cell] = []
    for offer in terms.catalogue.offers:
        for channel in terms.catalogue.channels:
            cell = terms.catalogue.cell(offer.id, channel.id)
            reasons = tuple(closing.reason.slug for closing in why_closed(customers, terms, cell))
            value = int(values.minor[0, cell]) if not reasons and values.known[0, cell] else None
            found.append(
                Cell(
                    offer_id=offer.id, channel=channel.id, open=not reasons, reasons=reasons, expected_value_minor=value
                )
            )
    return found


def _sentences(result: dict[str, Any]) -> list[Words]:
    answer = result["answer"]
    if answer["choices"]:
        return [Words(**words) for words in answer["choices"][0]["why"]]
    decisive = result["row"] and ReasonCode(result["row"]["reason"]).slug
    # The reason that closed the last cell first: without it there would have been an offer.
    slugs = sorted(answer["reasons"], key=lambda slug: slug != decisive)
    said = [(*REASONS[ReasonCode.of(slug)], *LAYER_NAMES[ReasonCode.of(slug).layer]) for slug in slugs]
    return [Words(en=f"Silent: {en} ({layer}).", zh=f"静默：{zh}（{layer_zh}）。") for en, zh, layer, layer_zh in said]
