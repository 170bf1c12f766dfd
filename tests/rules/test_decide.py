"""decide() against the oracle: same answer for every customer, whatever the batch."""

import random

import pyarrow as pa
import pytest

from rules.terms import Audience, Exploration, Holdout, Terms
from tests import bank
from tests.conformance import assert_same, by_engine, by_oracle

CAMPAIGNS = (Audience("dollars", ("deposit_usd_6m", "wealth_usd_income"), ("sms", "call"), "balance_usd_minor > 100"),
             Audience("cards", ("card_gold", "card_cashback"), ("sms", "email", "app"), "age_years BETWEEN 20 AND 60"),
             Audience("all_year", ("deposit_cny_12m", "card_gold", "retention_bonus"), ("app", "branch")))  # fmt: skip


def variants() -> dict[str, Terms]:
    prices = tuple(range(0, 50 * 400, 400))
    return {"plain": bank.terms(), "campaigns": bank.terms(audiences=CAMPAIGNS), "worded": bank.terms(audiences=bank.WORDED),
            "paused": bank.terms(audiences=CAMPAIGNS, paused=frozenset({"channel:sms", "campaign:all_year", "offer:card_gold"})),
            "exploring": bank.terms(exploration=Exploration(0.3, 5000), holdout=Holdout(0.1, "2026H1")),
            "priced": bank.terms(prices=prices, exploration=Exploration(0.2, 100_000))}  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "campaigns", "worded", "paused", "exploring", "priced"])
def test_p15_every_decision_equals_the_oracles(name: str) -> None:
    terms = variants()[name]
    rows, scores = bank.population(terms, 160, seed=7), bank.scores(terms, 160, seed=8)
    decided = by_engine(terms, rows, scores)
    truth = by_oracle(terms, rows, scores)
    assert_same(terms, decided, truth)
    assert 20 < sum(d.cell is not None for d in truth.values()) < 140  # both answers occur


@pytest.mark.parametrize("size", [1, 5, 17, 64])
def test_p15_any_split_between_units_gives_the_same_bytes(size: int) -> None:
    terms = variants()["exploring"]
    rows, scores = bank.population(terms, 120, seed=3), bank.scores(terms, 120, seed=4)
    whole = {row["customer_id"]: row for row in by_engine(terms, rows, scores).to_pylist()}
    parts, start = [], 0
    while start < len(rows):
        end = min(start + size, len(rows))
        while end < len(rows) and rows[end]["unit_id"] == rows[end - 1]["unit_id"]:
            end += 1  # units are never split
        parts += by_engine(terms, rows[start:end], scores[start:end]).to_pylist()
        start = end
    assert {row["customer_id"]: row for row in parts} == whole


def test_p15_shuffled_rows_give_the_same_answers() -> None:
    terms = variants()["campaigns"]
    rows, scores = bank.population(terms, 90, seed=5), bank.scores(terms, 90, seed=6)
    order = list(range(90))
    random.Random(1).shuffle(order)
    straight = {row["customer_id"]: row for row in by_engine(terms, rows, scores).to_pylist()}
    shuffled = by_engine(terms, [rows[i] for i in order], [scores[i] for i in order]).to_pylist()
    assert {row["customer_id"]: row for row in shuffled} == straight


def test_an_empty_batch_gives_an_empty_answer() -> None:
    terms = bank.terms()
    assert by_engine(terms, [], []).num_rows == 0


def test_p11_two_members_in_one_batch_share_the_household_cap() -> None:
    terms = bank.terms()
    rows = [bank.welcome(terms) | {"customer_id": name, "unit_id": "U"} for name in ("A", "B")]
    scores = bank.scores(terms, 1, seed=1, unknown=0.0) * 2
    decided = by_engine(terms, rows, scores).to_pylist()
    assert [row["offer_id"] is not None for row in decided] == [True, False]  # ties go to customer A
    apart = [row | {"unit_id": row["customer_id"]} for row in rows]
    assert all(row["offer_id"] for row in by_engine(terms, apart, scores).to_pylist())


def test_null_scores_are_silent_and_say_so() -> None:
    terms = bank.terms()
    scores = bank.scores(terms, 1, seed=1, unknown=1.1)
    [row] = by_engine(terms, [bank.welcome(terms)], scores).to_pylist()
    assert row["offer_id"] is None
    assert row["reason"] == 701


def test_a_missing_column_is_named() -> None:
    from rules.errors import SchemaError

    terms = bank.terms()
    batch = bank.customers_batch(terms, [bank.welcome(terms)])
    place = batch.schema.get_field_index("deceased")
    with pytest.raises(SchemaError, match="customers' table has no column `deceased`"):
        from rules.decide import decide

        decide(pa.RecordBatch.from_arrays([c for i, c in enumerate(batch.columns) if i != place],
                                          schema=batch.schema.remove(place)), terms, lambda *_: batch)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_p11_members_closed_by_the_household_keep_only_the_reasons_of_the_last_look(seed: int) -> None:
    """Units of up to five, many scores missing: who is looked at again must not keep what he met before."""
    terms = bank.terms(exploration=Exploration(0.3, 20_000))
    rows = [row | {"unit_id": f"U{place // 5}", "direction": "inbound" if place % 7 == 0 else "outbound"}
            for place, row in enumerate(bank.population(terms, 60, seed=seed, unknown=0.001))]  # fmt: skip
    random.Random(seed).shuffle(rows)
    scores = bank.scores(terms, 60, seed=seed, unknown=0.3)
    assert_same(terms, by_engine(terms, rows, scores), by_oracle(terms, rows, scores))
