"""Why this one, and what would change it: in words of both languages, from the record and the models.

Features are not stored with a decision. They are read again as of its instant and from its snapshot; only where
the score comes out to the stored six decimals is it said what moved it.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import Connection

from features.base import Row
from rules.arbitrate import cell_values
from rules.closures import Plainly
from rules.errors import PolicyError
from rules.folder import SHIPPED
from rules.invariants import load_invariants
from rules.language import Language
from rules.money import money
from rules.reasons import ReasonCode
from rules.sentence import Tongue, fact_words
from rules.suppress import checked_reader
from rules.terms import Terms
from rules.why import why_closed
from rules.witness import what_would_open
from serving.claims import instant
from serving.engine import Engine
from serving.http.messages import Words
from serving.ledger.records import DecisionRow
from serving.plainrow import online_row
from serving.rows import Asked

STRONGEST = 3
BEYOND_RULES = frozenset({ReasonCode.CHANNEL_NOT_ASKED, ReasonCode.HOLDOUT})  # no fact of the customer opens these
TONGUES: tuple[Tongue, Tongue] = ("en", "zh")
NOTHING: tuple[Words, ...] = ()


def drivers(engine: Engine, connection: Connection, terms: Terms, record: DecisionRow) -> tuple[Words, ...]:
    """What spoke most for and against the offer that won, strongest first; empty for silence, or where it cannot be told.

    engine: of the set that decided; the terms are its own, and today's rules may read columns they do not have.
    """
    stored, won = json.loads(record.inputs), json.loads(record.result)["row"]
    if not won or won["offer_id"] is None or (row := _features(engine, connection, terms, record)) is None:
        return NOTHING
    found = engine.explained(record.unit_id, row, won["offer_id"])
    known = stored["scores"]["p_interest"][terms.catalogue.offer_index[won["offer_id"]]]
    if found is None or found.p != known:
        return NOTHING
    values = dict(zip(engine.store.one_row.vector_names, engine.store.one_row.vectors([row])[0].tolist(), strict=True))
    values |= dict(zip(engine.store.one_row.texts, row.texts, strict=True))
    language = Language(engine.store.schema, terms.catalogue)
    strongest = [one for one in found.contributions if one.added][:STRONGEST]
    return tuple(_moved(language, one.column, values[one.column], one.added) for one in strongest)


def would_change(engine: Engine, terms: Terms, customers: pa.RecordBatch, scores: pa.RecordBatch,
                 won: dict[str, Any] | None, channel: str | None = None) -> tuple[Words, ...]:  # fmt: skip
    """What would have to be otherwise for another answer: of an offer its margin of victory, of silence what keeps it shut.

    channel: tell of the cells of this one only; null: of all.
    """
    told_of = [cell for cell in range(terms.catalogue.n_cells) if channel in (None, _named(terms, cell)[1])]
    if won is None:
        return _would_open(engine, terms, customers, told_of)
    values, cell = cell_values(scores, terms), terms.catalogue.cell(won["offer_id"], won["channel"])
    worth = {place: int(values.minor[0, place]) for place in told_of
             if place != cell and values.known[0, place] and not why_closed(customers, terms, place)}  # fmt: skip
    factors, best = won["factors"], int(values.minor[0, cell])
    second = max(worth, key=lambda place: (worth[place], -place), default=None)
    gain = factors["p_reach"] * factors["margin_minor"] * factors["lever"] * factors["context"]
    needed = factors["p_interest"] - best / gain if gain > 0 and factors["save_rate"] is None else 0.0
    told: list[Words] = []
    if second is not None and worth[second] > 0:
        offer, channel = _named(terms, second)
        told.append(Words(en=f"Worth less than {_money(engine, worth[second])} it would give way to {offer} on {channel}.",
                          zh=f"若预期价值低于{_money(engine, worth[second])}，则改为{offer}（{channel}）。"))  # fmt: skip
    if needed > 0:
        told.append(Words(en=f"Below an interest of {needed:.2%} it would not be worth saying.",
                          zh=f"感兴趣概率低于{needed:.2%}时不值得推介。"))  # fmt: skip
    return tuple(told)


def _would_open(engine: Engine, terms: Terms, customers: pa.RecordBatch, told_of: Sequence[int]) -> tuple[Words, ...]:
    """For the cells with the fewest reasons against them: the fewest facts that would open one."""
    tellable = _tellable(engine)
    [row] = checked_reader(customers.schema, terms).rows(customers)
    direction = customers.column("direction")[0].as_py()
    why = {cell: {closing.reason for closing in why_closed(customers, terms, cell)} for cell in told_of}
    shut = [(len(reasons), cell) for cell, reasons in why.items() if not BEYOND_RULES & reasons]
    language, told = Language(terms.state_schema, terms.catalogue), list[Words]()
    for _, cell in sorted(shut):
        if len(told) < STRONGEST and (changes := _opening(row, terms, cell, tellable, direction)):
            offer, channel = _named(terms, cell)
            en, zh = (
                [fact_words(name, value, language, tongue) for name, value in changes.items()] for tongue in TONGUES
            )
            told.append(Words(en=f"{offer} on {channel} would be open if {' and '.join(en)}.",
                              zh=f"若{'且'.join(zh)}，则{offer}（{channel}）可推介。"))  # fmt: skip
    return tuple(told)


def _opening(row: Plainly, terms: Terms, cell: int, tellable: tuple[str, ...], direction: str) -> dict[str, Any] | None:
    try:
        return what_would_open(row, terms, cell, tellable, direction)
    except ValueError:  # too many facts to be searched: then nothing short can be said
        return None


def _tellable(engine: Engine) -> tuple[str, ...]:
    """The facts a customer may be told: of the home's invariants file, else of the shipped one; none where it does not fit."""
    own = engine.home.policies / f"{engine.policy.id}.invariants.yaml"
    shipped = SHIPPED / own.name
    file = own if own.is_file() else shipped
    if not file.is_file():
        return ()
    try:
        return load_invariants(file, engine.policy, engine.catalogue, engine.store.schema).tellable
    except PolicyError:  # `nbo rules prove` says what is wrong with it
        return ()


def _features(engine: Engine, connection: Connection, terms: Terms, record: DecisionRow) -> Row | None:
    """His feature row as of the decision, from its own snapshot; null where that is no longer the one at hand."""
    at = instant(record.as_of)
    snapshot = engine.snapshot(at)
    if snapshot is None or snapshot.path.stem != json.loads(record.revisions).get("snapshot"):
        return None
    plain = online_row(engine, terms, connection, Asked(record.customer_id), at, snapshot)
    return plain and plain.features


def _moved(language: Language, column: str, value: Any, added: float) -> Words:
    name = language.columns.field(column)
    if isinstance(value, float):
        value = None if value != value else bool(value) if pa.types.is_boolean(name.type) else round(value, 2)  # noqa: PLR0124
    en, zh = (fact_words(column, value, language, tongue) for tongue in TONGUES)
    return Words(en=f"{'For' if added > 0 else 'Against'} it: {en} ({added:+.2f}).",
                 zh=f"{'有利' if added > 0 else '不利'}：{zh}（{added:+.2f}）。")  # fmt: skip


def _named(terms: Terms, cell: int) -> tuple[str, str]:
    place, where = divmod(cell, len(terms.catalogue.channels))
    return terms.catalogue.offers[place].id, terms.catalogue.channels[where].id


def _money(engine: Engine, minor: int) -> str:
    return money(minor, engine.catalogue.base_currency)


__all__ = ["drivers", "would_change"]
