"""One question to every driver: does it answer exactly what the oracle answers?"""

from typing import Any

import pyarrow as pa

from rules.decide import decide
from rules.reasons import ReasonCode
from rules.terms import Terms
from tests.bank import customers_batch, scores_batch
from tests.oracle import Decision, decide_unit


def by_oracle(terms: Terms, rows: list[dict[str, Any]], scores: list[dict[str, Any]]) -> dict[str, Decision]:
    """customer_id -> decision, unit by unit."""
    units: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        units.setdefault(row["unit_id"], []).append(place)
    answers: dict[str, Decision] = {}
    for places in units.values():
        decisions = decide_unit([rows[p] for p in places], terms, [scores[p] for p in places])
        answers |= {rows[p]["customer_id"]: decision for p, decision in zip(places, decisions, strict=True)}
    return answers


def by_engine(terms: Terms, rows: list[dict[str, Any]], scores: list[dict[str, Any]]) -> pa.RecordBatch:
    """DECISIONS of one batch."""
    return decide(customers_batch(terms, rows), terms, lambda *_: scores_batch(terms, scores))


def assert_same(terms: Terms, decided: pa.RecordBatch, truth: dict[str, Decision]) -> None:
    """Every column of every row equals the oracle's answer."""
    catalogue = terms.catalogue
    for row in decided.to_pylist():
        want = truth[row["customer_id"]]
        offer = None if want.cell is None else catalogue.offers[want.cell // len(catalogue.channels)].id
        channel = None if want.cell is None else catalogue.channels[want.cell % len(catalogue.channels)].id
        expected = {"offer_id": offer, "channel": channel, "campaign_id": want.campaign_id,
                    "expected_value_minor": want.value_minor, "p_chosen": want.p_chosen, "explored": want.explored,
                    "n_open": len(want.open_cells), "reason": want.reason, "reasons": list(want.reasons)}  # fmt: skip
        found = {name: row[name] for name in expected}
        found["reason"] = None if row["reason"] is None else ReasonCode(row["reason"])
        found["reasons"] = [ReasonCode(number) for number in row["reasons"]]
        assert found == expected, (row["customer_id"], found, expected)
