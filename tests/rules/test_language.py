"""The language of conditions: what it refuses and how, and three readings of it that must agree."""

import math
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.closures import closure, rows
from rules.errors import ConditionError
from rules.language import Language
from rules.masks import Masks
from rules.tree import fold
from tests import bank
from tests.conditions import CONDITION, LANGUAGE, ROWS, WIDE, WIDE_LANGUAGE, columns
from tests.oracle import evaluate

REFUSED = [
    ("chanel.id = 'sms'", "unknown column `chanel.id`: did you mean `channel.id`?"),
    ("balance_usd_minr > 5", "unknown column `balance_usd_minr`: did you mean `balance_usd_minor`?"),
    ("a = 'x'", "cannot compare number with text: `a = 'x'`"),
    ("kind = 'persn'", "`persn` is no value of `kind`: did you mean `person`?"),
    ("kind < 'person'", "`<` compares numbers only: `kind < 'person'`"),
    ("channel.id = 'smss'", "`smss` is no value of `channel.id`: did you mean `sms`?"),
    ("a > 1 AND flag OR done", "AND and OR mix without parentheses; put parentheses round each group"),
    ("SUM(a) > 1", "`SUM(a)`: Sum is not allowed in a rule; compute it as a column"),
    ("a / b > 1", "`a / b`: Div is not allowed in a rule; compute it as a column"),
    ("CURRENT_TIMESTAMP > 1", "`CURRENT_TIMESTAMP`: CurrentTimestamp is not allowed in a rule; compute it as a column"),
    ("a IN (SELECT 1)", "`a IN (SELECT 1)`: In is not allowed in a rule; compute it as a column"),
    ("flag IS TRUE", "`flag IS TRUE`: Is is not allowed in a rule; compute it as a column"),
    ("a + 1", "condition is a number, not true or false: `a + 1`"),
    ("a AND flag", "AND needs a condition, not a number: `a`"),
    ("flag; done", "condition is empty or holds a `;`; write one condition"),
    ("a IN (1, NULL)", "IN takes a list of number literals; `NULL` is none"),
    ("a > 1e999", "`1e999` is too large a number"),
    ("flag = done", "compare a yes/no column with TRUE or FALSE: `flag = done`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_what_is_not_in_the_language_is_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ConditionError) as refused:
        LANGUAGE.parse(text)
    assert str(refused.value) == line


@pytest.mark.parametrize("text", ["", "a >", "((a > 1)", "kind = 'per", "a > 1 1", "(" * 300 + "flag" + ")" * 300, "NOT " * 90 + "flag",
                                  "flag OR " * 900 + "flag", "x" * 5000])  # fmt: skip
def test_broken_or_huge_text_is_refused_without_a_traceback(text: str) -> None:
    with pytest.raises(ConditionError) as refused:
        LANGUAGE.parse(text)
    assert "\n" not in str(refused.value)


def test_a_long_chain_is_not_a_deep_one() -> None:
    assert LANGUAGE.parse(" OR ".join(f"a = {k}" for k in range(200)))


def batch_of(found: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(found, schema=columns())


@settings(max_examples=300, deadline=None)
@given(CONDITION, st.lists(ROWS, min_size=1, max_size=4), st.integers(0, 49))
def test_closures_masks_and_oracle_agree(text: str, found: list[dict[str, Any]], cell: int) -> None:
    language = LANGUAGE
    facts = language.cells[cell]
    wide = [row | {f"balance_{c}_minor": row["balance_usd_minor"] for c in ("cny", "eur")}
            | {f"contacts_{c}_7d": row["contacts_sms_7d"] for c in ("email", "app", "call", "branch")} for row in found]  # fmt: skip
    schema = WIDE
    node = WIDE_LANGUAGE.parse(text)
    residual = fold(node, facts)
    batch = pa.RecordBatch.from_pylist(wide, schema=schema)
    true, false = Masks(batch, schema).truth(residual)
    by_closure = [closure(residual)(row) for row in rows(batch, schema)]
    for place, row in enumerate(wide):
        want = evaluate(node, row, facts)
        assert by_closure[place] is want, text
        assert (bool(true[place]), bool(false[place])) == (want is True, want is False), text


@settings(max_examples=150, deadline=None)
@given(
    CONDITION.filter(lambda t: "this_" not in t and "." not in t.replace("2.5", "")),
    st.lists(ROWS, min_size=1, max_size=5),
)
def test_duckdb_reads_the_text_alike(text: str, found: list[dict[str, Any]]) -> None:
    def tame(value: Any) -> Any:  # NaN is null for us; huge integers are floats for us
        return (
            None
            if isinstance(value, float) and math.isnan(value)
            else float(value)
            if isinstance(value, int) and not isinstance(value, bool)
            else value
        )

    clean = [{name: tame(value) for name, value in row.items()} for row in found]
    schema = pa.schema([f.with_type(pa.float64()) if pa.types.is_integer(f.type) else f for f in columns()])
    table = pa.Table.from_pylist(clean, schema=schema)
    with duckdb.connect() as connection:
        connection.register("customers", table)
        said = [row[0] for row in connection.execute(f"SELECT CAST({text} AS BOOLEAN) FROM customers").fetchall()]
    node = Language(schema, bank.catalogue()).parse(text)
    assert said == [evaluate(node, row, {}) for row in clean]
