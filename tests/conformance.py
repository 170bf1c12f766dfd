"""One question to every driver: does it answer exactly what the oracle answers?"""

from typing import Any

import pyarrow as pa

from rules.decide import decide
from rules.reasons import ReasonCode
from rules.terms import Terms
from rules.types import DECISIONS, Score
from serving.spark.decide import Kit, decide_frame
from serving.spark.table import ROW, in_order, to_plain
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


class GivenScores:
    """Scores made beforehand, by customer; any batch of them is scored alike, here and on a Spark worker."""

    def __init__(self, terms: Terms, rows: list[dict[str, Any]], scores: list[dict[str, Any]]) -> None:
        self._of = {row["customer_id"]: score for row, score in zip(rows, scores, strict=True)}
        self._terms = terms

    def __call__(self) -> Score:
        """The callback."""
        return self._score

    def _score(self, customers: pa.RecordBatch, _: Any) -> pa.RecordBatch:
        return scores_batch(self._terms, [self._of[name] for name in customers.column("customer_id").to_pylist()])


def by_spark(spark: Any, terms: Terms, rows: list[dict[str, Any]], scores: list[dict[str, Any]], order: list[int],
             parts: int) -> pa.RecordBatch:  # fmt: skip
    """DECISIONS of the same rows, sent in another order and spread over partitions, back in the order given."""
    customers = customers_batch(terms, rows)
    table = pa.Table.from_batches([customers])
    sent = to_plain(table).append_column(ROW, pa.array(range(len(rows)), pa.int64())).take(pa.array(order))
    kit = Kit(terms, GivenScores(terms, rows, scores), customers.schema)
    found = decide_frame(spark.createDataFrame(sent), kit, parts).toArrow()
    return in_order(found, DECISIONS).combine_chunks().to_batches()[0]


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
