"""P15: the plain road of one customer against the Arrow road: the same row, scores, decision and stored bytes."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy.engine import Connection

from rules.alone import decide_alone
from rules.closures import Plainly
from rules.decide import decide
from serving import plainrow
from serving.account import restored
from serving.decisions import canonical, decide_one
from serving.engine import Engine
from serving.http.messages import DecisionRequest, Direction
from serving.ledger.identity import Link, merge
from serving.ledger.seed import assign_units
from serving.office import Office
from serving.plainrow import PlainCustomer, online_row
from serving.rows import Asked, objectors_among, online_rows
from tests.home import COUPLE, HERO, Clock, ask, call, move, said

WHO = [HERO, *COUPLE, *(f"C{n:07d}" for n in range(4, 40))]
WAYS = (("outbound", None), ("inbound", None), ("outbound", ("sms", "call")))


def lived(office: Office, clock: Clock) -> None:
    """Contacts, dollars gone, words on marketing and profiling, and two ids that are one person, two that may be."""
    for customer in WHO[3:12]:
        ask(office, customer)
        clock.forward(minutes=20)
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    for place, customer in enumerate(WHO[12:18]):
        office.consent(
            said(clock.now, ("withdrawn", "granted")[place % 2], customer, ("all", "sms")[place % 3 == 0]), call()
        ).result(30)
    clock.forward(hours=1)


def both(
    engine: Engine, connection: Connection, asked: Asked, clock: Clock
) -> tuple[PlainCustomer, pa.RecordBatch, Plainly]:
    terms = engine.terms(clock.now)
    plain, batch = (
        online_row(engine, terms, connection, asked, clock.now),
        online_rows(engine, terms, connection, [asked], clock.now),
    )
    assert plain is not None and batch is not None
    return plain, batch[0], batch[1][0]


def same(engine: Engine, connection: Connection, customers: Sequence[str], clock: Clock) -> set[bool]:
    """Every column, score and decision of these customers is equal on both roads; who got an offer."""
    terms, won = engine.terms(clock.now), set[bool]()
    for customer in customers:
        for direction, channels in WAYS:
            plain, batch, row = both(engine, connection, Asked(customer, direction, channels), clock)
            names = [*plain.inputs]
            assert plain.inputs == {name: batch.column(name)[0].as_py() for name in names}
            assert plain.who.row == row
            kept: list[Any] = []

            def score(part: pa.RecordBatch, open_: np.ndarray, kept: list[Any] = kept) -> pa.RecordBatch:
                kept[:] = [engine.score(part, open_), open_]
                return kept[0]

            whole = decide(batch, terms, score).to_pylist()[0]
            scored = engine.score_few([plain.who.unit_id], [plain.features], kept[1])
            known = {
                name: [None if x != x else x for x in v.reshape(-1).tolist()] for name, v in scored._asdict().items()
            }
            told = kept[0].to_pylist()[0]
            assert known == {name: v if isinstance(v, list) else [v] for name, v in told.items()}
            assert decide_alone(plain.who, terms, lambda _, s=scored: s).decision == whole
            request = DecisionRequest(customer_id=customer, direction=Direction(direction), channels=channels)
            decided = decide_one(engine, connection, request, "x", clock.now)
            assert canonical(decided.row) == canonical(whole)
            stored = {"customers": {name: batch.column(name)[0].as_py() for name in names}, "scores": told}
            kept_, told_ = (restored(terms, json.loads(text)) for text in (decided.inputs, canonical(stored)))
            assert kept_[0].equals(told_[0]) and kept_[1].equals(told_[1])
            assert json.loads(decided.inputs)["customers"].keys() == set(names)
            won.add(whole["offer_id"] is not None)
    return won


def test_p15_the_plain_road_says_what_the_arrow_road_says(office: Office, clock: Clock) -> None:
    lived(office, clock)
    with office.ledger.read() as connection:
        assert same(office.engine, connection, WHO, clock) == {True, False}


def test_p15_who_has_other_ids_is_the_same_on_both_roads(office: Office, clock: Clock) -> None:
    """Shared features, contacts and objections of a person who goes by two ids."""
    lived(office, clock)
    office.consent(said(clock.now, "denied", WHO[21], "all", "profiling"), call()).result(30)
    now = office.ledger.now_micros()

    def linked(connection: Connection) -> None:
        assign_units(connection, {customer: customer for customer in WHO[20:24]})
        merge(connection, Link(WHO[20], WHO[21], 1.0, "test"), "t", "r", now)
        merge(connection, Link(WHO[22], WHO[23], 0.6, "test"), "t", "r", now)

    office.ledger.write(linked).result(30)
    clock.forward(minutes=1)
    with office.ledger.read() as connection:
        same(office.engine, connection, WHO[20:24], clock)
        terms = office.engine.terms(clock.now)
        objector = online_row(office.engine, terms, connection, Asked(WHO[21]), clock.now)
    assert objector is not None and objector.inputs["no_profiling"] is True


def test_p15_a_road_that_forgets_the_ledger_is_caught(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant reads no contacts, answers and suppressions."""
    lived(office, clock)
    real = plainrow.ledger_state

    def empty(*args: Any) -> list[dict[str, float]]:
        found = real(*args)
        return found._replace(states=[dict.fromkeys(state, 0.0) for state in found.states])

    monkeypatch.setattr(plainrow, "ledger_state", empty)
    with office.ledger.read() as connection, pytest.raises(AssertionError):
        same(office.engine, connection, WHO, clock)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_words_on_profiling_of_one_instant_the_later_come_holds(order: int) -> None:
    """Mutant: by `at` alone, so that the ids' alphabet decides."""
    said = [("C1", "profiling", "all", "denied", 5, 7), ("C1", "profiling", "all", "granted", 5, 6)]
    assert objectors_among(said[::order]) == ["C1"]
    assert not objectors_among([("C1", "profiling", "all", "granted", 5, 8), *said][::order])
    assert objectors_among([("C1", "profiling", "all", "granted", 5, 7), *said][::order]) == ["C1"]
