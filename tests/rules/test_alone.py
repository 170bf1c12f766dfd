"""One customer alone, in plain Python, against `rules.decide` on one-row batches of generated customers."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rules import alone
from rules.alone import Alone, DecidedAlone, decide_alone, ranked
from rules.arbitrate import cell_values
from rules.catalogue import Catalogue
from rules.decide import decide
from rules.suppress import suppress
from rules.terms import Audience, Exploration, Holdout, Terms
from rules.worth import Scored
from tests import bank

N = 150


def scored_of(scores: dict[str, Any]) -> Scored:
    """The scores as numbers, NaN where null."""
    lists = (np.array([[np.nan if v is None else v for v in scores[name]]]) for name in Scored._fields[:4])
    singles = (np.array([np.nan if scores[name] is None else scores[name]]) for name in Scored._fields[4:])
    return Scored(*lists, *singles)


def alone_of(terms: Terms, row: dict[str, Any]) -> Alone:
    """The customer as the plain road takes him."""
    fixed = ("customer_id", "unit_id", "as_of", "local_day", "direction", "channels", "send_after", "send_before")
    return Alone(**{name: row[name] for name in fixed}, time_zone=row["time_zone"], row=terms.plain.one(row))


def by_both(terms: Terms, row: dict[str, Any], scores: dict[str, Any]) -> tuple[DecidedAlone, dict[str, Any]]:
    """The plain road's answer and the batch's."""
    opened: list[np.ndarray] = []

    def score(open_: np.ndarray) -> Scored:
        opened.append(open_)
        return scored_of(scores)

    found = decide_alone(alone_of(terms, row), terms, score)
    batch = bank.customers_batch(terms, [row])
    asked: list[np.ndarray] = []

    def score_batch(_: pa.RecordBatch, open_: np.ndarray) -> pa.RecordBatch:
        asked.append(open_)
        return bank.scores_batch(terms, [scores])

    [whole] = decide(batch, terms, score_batch).to_pylist()
    assert opened[0].tolist() == asked[0].tolist()
    return found, whole


@cache
def several_terms() -> dict[str, Terms]:
    """Terms that reach every step."""
    levers = Catalogue.model_validate(bank.catalogue().model_dump() | {"offers": [
        offer.model_dump() | {"lever": 1.5 if place % 2 else 0.5} for place, offer in enumerate(bank.catalogue().offers)]})  # fmt: skip
    n_cells, offers = bank.catalogue().n_cells, tuple(offer.id for offer in bank.catalogue().offers)
    campaigns = (Audience("rich", offers[:4], ("sms", "call"), "balance_total_minor > 5000000"),
                 Audience("rest", offers, tuple(c.id for c in bank.catalogue().channels), "NOT deceased"))  # fmt: skip
    return {
        "plain": bank.terms(),
        "explored": bank.terms(exploration=Exploration(0.5, 2_000), holdout=Holdout(0.2, "2026H1")),
        "priced": bank.terms(prices=tuple(range(0, 300 * n_cells, 300)), exploration=Exploration(0.9, 50_000)),
        "campaigns": bank.terms(audiences=campaigns, paused=frozenset({"channel:push", "campaign:rich"})),
        "levers": bank.terms(catalogue=levers),
        "worded": bank.terms(audiences=bank.WORDED),
    }


@pytest.mark.parametrize("name", ["plain", "explored", "priced", "campaigns", "levers", "worded"])
def test_p15_one_customer_alone_is_decided_as_in_a_batch(name: str) -> None:
    """Column for column, with floats equal bit for bit."""
    terms = several_terms()[name]
    rows, scores = bank.population(terms, N, seed=5), bank.scores(terms, N, seed=6)
    won = 0
    for row, score in zip(rows, scores, strict=True):
        found, whole = by_both(terms, row, score)
        assert list(found.decision) == list(whole)
        assert found.decision == whole
        assert repr(found.decision["factors"]) == repr(whole["factors"])
        won += whole["offer_id"] is not None
    assert N / 30 < won < N


def test_the_other_cells_are_ranked_by_their_value() -> None:
    terms = several_terms()["priced"]
    rows, scores = bank.population(terms, 60, seed=7), bank.scores(terms, 60, seed=8)
    some = 0
    for row, score in zip(rows, scores, strict=True):
        found, _ = by_both(terms, row, score)
        values = cell_values(bank.scores_batch(terms, [score]), terms)
        open_ = suppress(bank.customers_batch(terms, [row]), terms).open[0]
        good = np.flatnonzero(open_ & values.known[0] & (values.minor[0] > 0)).tolist()
        wanted = sorted(good, key=lambda cell: (-int(values.minor[0, cell]), cell))
        assert ranked(found, terms) == [(cell, int(values.minor[0, cell])) for cell in wanted]
        some += len(wanted) > 1
    assert some > 5


def test_neither_outbound_nor_inbound_is_silence_without_a_rule() -> None:
    terms = several_terms()["plain"]
    row = bank.welcome(terms) | {"direction": "sideways"}
    found, whole = by_both(terms, row, bank.scores(terms, 1, seed=1)[0])
    assert found.decision == whole and found.open == 0


@pytest.mark.parametrize(("name", "mutant"), [
    ("_facts", lambda who, terms: []),  # asked channels and holdout forgotten
    ("_explored", lambda who, terms, best, offered: best),
    ("_campaign", lambda who, terms, cell: None),
])  # fmt: skip
def test_p15_a_road_that_forgets_a_step_is_caught(name: str, mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mutants answers otherwise for somebody."""
    monkeypatch.setattr(alone, name, mutant)
    terms = replace(several_terms()["explored"], audiences=several_terms()["campaigns"].audiences)
    rows, scores = bank.population(terms, N, seed=5), bank.scores(terms, N, seed=6)
    pairs = []
    for row, score in zip(rows, scores, strict=True):
        found = decide_alone(alone_of(terms, row), terms, lambda _, s=score: scored_of(s))
        whole = decide(bank.customers_batch(terms, [row]), terms, lambda *_, s=score: bank.scores_batch(terms, [s]))
        pairs.append((found.decision, whole.to_pylist()[0]))
    assert any(found != whole for found, whole in pairs)
