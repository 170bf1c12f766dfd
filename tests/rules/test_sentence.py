"""The printed sentence and the SQL text: what people and the audit twin read is what the engine runs."""

import math
import re
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language import Language
from rules.masks import Masks
from rules.rule import Rule
from rules.sentence import scope_sentence, sentence
from rules.sql import condition_sql, condition_text
from rules.tree import Node, columns_of, fold
from tests import bank
from tests.conditions import CONDITION, WIDE, WIDE_LANGUAGE


@cache
def language() -> Language:
    return Language(bank.terms().vocabulary, bank.catalogue())


def said(when: str, tongue: Any = "en") -> str:
    rule = bank.policy().lowered(bank.catalogue())[0].model_copy(update={"when": when})
    return sentence(rule, language(), tongue)


SENTENCES = [
    ("balance_this_currency_minor < offer.entry_minor", "Silent when balance in the offer's currency is below the offer's entry amount, or not known.",
     "产品币种余额低于起购金额时静默；情况不明时同样静默。"),
    ("kind = 'person' AND age_years < 18", "Silent when kind of customer is person and the number of completed years of age is below 18, or when that cannot be told for want of a fact.",
     "客户类型为个人，且周岁年龄低于18时静默；情况不明时同样静默。"),
    ("consent_marketing_this_channel IN ('denied', 'withdrawn')", "Silent when consent to marketing by this channel is denied or withdrawn, or not known.",
     "该渠道营销同意为已拒绝或已撤回时静默；情况不明时同样静默。"),
    ("NOT reachable_this_channel", "Silent when no way to reach the customer by this channel is on record, or not known.", "没有“该渠道可触达”记录时静默；情况不明时同样静默。"),
    ("home_branch IS NULL", "Silent when home branch is not known.", "归属网点不明时静默。"),
    ("offer.risk_grade > risk_tolerance", "Silent when risk tolerance is below the offer's risk grade, or not known.", "风险承受等级低于产品风险等级时静默；情况不明时同样静默。"),
    ("local_minute >= 1260 OR local_minute < 480", "Silent when local time of sending is at or after 21:00, or local time of sending is before 08:00,"
     " or when that cannot be told for want of a fact.", "发送时的当地时间不早于21:00，或发送时的当地时间早于08:00时静默；情况不明时同样静默。"),
    ("outflow_cny_sum_14d >= 5000000", "Silent when CNY going out, 14 days is at least CNY 50,000.00, or not known.", "14天CNY 流出不低于CNY 50,000.00时静默；情况不明时同样静默。"),
    ("NOT (staff OR deceased)", "Silent when no employment by the bank is on record and no reported death is on record, or when that cannot be told for want of a fact.",
     "没有“本行员工”记录，且没有“已登记身故”记录时静默；情况不明时同样静默。"),
    ("staff AND (deceased OR age_years BETWEEN 3 AND 4)", "Silent when employment by the bank is on record and (reported death is on record, or (the number of completed"
     " years of age is at least 3 and the number of completed years of age is at most 4)), or when that cannot be told for want of a fact.", None),
    ("TRUE", "Always silent.", "始终静默。"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "en", "zh"), SENTENCES)
def test_a_condition_reads_as_a_sentence_in_both_languages(when: str, en: str, zh: str | None) -> None:
    assert said(when) == en
    assert zh is None or said(when, "zh") == zh


def test_an_amount_is_read_in_the_units_of_its_currency() -> None:
    """Mutant: hundredths of a yen."""
    assert said("outflow_jpy_sum_14d >= 5000000") == said("outflow_cny_sum_14d >= 5000000").replace("CNY", "JPY").replace("50,000.00", "5,000,000")  # fmt: skip


def test_every_shipped_rule_has_a_sentence_without_column_names() -> None:
    for rule in bank.policy().lowered(bank.catalogue()):
        for tongue in ("en", "zh"):
            text = sentence(rule, language(), tongue) + scope_sentence(rule, bank.catalogue(), tongue)
            assert not re.search(r"this_|_minor|_days\b|[a-z]_\d+d", text), (rule.id, text)
            assert ("静默" in text) == (tongue == "zh")


@settings(max_examples=200, deadline=None)
@given(CONDITION)
def test_the_text_of_a_tree_parses_to_the_same_truths(text: str) -> None:
    node = WIDE_LANGUAGE.parse(text)
    again = WIDE_LANGUAGE.parse(condition_text(node))
    for facts in WIDE_LANGUAGE.cells[::13]:
        assert fold(again, facts) == fold(node, facts)


def by_duckdb(nodes: list[Node], table: pa.Table) -> list[list[bool | None]]:
    with duckdb.connect() as connection:
        connection.register("customers", table)
        asked = ", ".join(f"CAST(({condition_sql(node)}) AS BOOLEAN)" for node in nodes)
        return [
            list(column)
            for column in zip(*connection.execute(f"SELECT {asked} FROM customers").fetchall(), strict=True)
        ]


def by_masks(node: Node, batch: pa.RecordBatch) -> list[bool | None]:
    true, false = Masks(batch, batch.schema).truth(node)
    return [bool(t) if t or f else None for t, f in zip(true, false, strict=True)]


def test_duckdb_reads_every_shipped_rule_as_the_masks_do() -> None:
    terms = bank.terms()
    people = bank.population(terms, 300, seed=5, unknown=0.1)
    batch = bank.customers_batch(terms, people).select(terms.state_schema.names)
    nodes = list(dict.fromkeys(fold(language().parse(rule.when), facts) for rule in bank.policy().lowered(bank.catalogue())
                               for facts in language().cells))  # fmt: skip
    nodes = [node for node in nodes if columns_of(node) <= set(batch.schema.names)]
    assert len(nodes) > 80
    for node, found in zip(nodes, by_duckdb(nodes, pa.Table.from_batches([batch])), strict=True):
        assert found == by_masks(node, batch), condition_sql(node)


@settings(max_examples=150, deadline=None)
@given(CONDITION, st.integers(0, 49), st.integers(0, 2**32 - 1))
def test_duckdb_reads_made_up_rules_as_the_masks_do(text: str, cell: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = [None, 0.0, 1.0, -1.0, 2.5, 0.1, 3e15, -7.25]

    def value(field: pa.Field) -> Any:
        if pa.types.is_boolean(field.type):
            return [None, True, False][rng.integers(3)]
        if pa.types.is_string(field.type):
            return [None, *(field.metadata or {})[b"domain"].decode().split("|")][rng.integers(3)]
        return numbers[rng.integers(len(numbers))]

    doubles = pa.schema([f.with_type(pa.float64()) if pa.types.is_integer(f.type) else f for f in WIDE])
    batch = pa.RecordBatch.from_pylist([{f.name: value(f) for f in WIDE} for _ in range(5)], schema=doubles)
    node = fold(WIDE_LANGUAGE.parse(text), WIDE_LANGUAGE.cells[cell])
    assert by_duckdb([node], pa.Table.from_batches([batch]))[0] == by_masks(node, batch), condition_sql(node)


def test_arithmetic_that_is_no_number_is_null_in_sql_as_well() -> None:
    node = Language(pa.schema([("a", pa.float64())]), bank.catalogue()).parse("a - a < 1")
    batch = pa.RecordBatch.from_pylist([{"a": math.inf}, {"a": 1.0}], schema=pa.schema([("a", pa.float64())]))
    assert by_duckdb([node], pa.Table.from_batches([batch]))[0] == by_masks(node, batch) == [None, True]


def test_a_rule_says_where_it_holds() -> None:
    rule = next(r for r in bank.policy().lowered(bank.catalogue()) if r.id == "holiday")
    assert scope_sentence(rule, bank.catalogue(), "en") == "text message, telephone call; outbound only"
    assert scope_sentence(rule, bank.catalogue(), "zh") == "短信、电话；仅限主动外呼和发送"
    assert isinstance(rule, Rule)
