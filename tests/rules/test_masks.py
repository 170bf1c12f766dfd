"""Masks: Arrow's own buffers, whatever their offset, type, nulls and domains."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rules.closures import closure, rows
from rules.column import declare
from rules.masks import Masks, packed, unpacked
from rules.tree import (
    FALSE,
    TRUE,
    UNKNOWN,
    All,
    Arithmetic,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
)  # fmt: skip
from rules.tree import Any as AnyOf


def field(name: str, type_: pa.DataType, domain: str = "") -> pa.Field:
    return declare(name, type_, unit="", null="unknown", source="tests", en=name, zh=name, domain=domain)


SCHEMA = pa.schema([field("x", pa.float64()), field("i", pa.int64()), field("f", pa.float32()), field("b", pa.bool_()),
                    field("t", pa.string(), "red|green"), field("u", pa.string(), "green|red|blue"), field("free", pa.string())])  # fmt: skip
X, I, F, B = (Column(name, kind) for name, kind in (("x", "number"), ("i", "number"), ("f", "number"), ("b", "bool")))  # type: ignore[arg-type]
T, U, FREE = (Column(name, "text") for name in ("t", "u", "free"))
CONDITIONS: list[Node] = [
    TRUE, FALSE, UNKNOWN, B, Not(B), IsNull(B), IsNull(X), IsNull(T), IsNull(FREE), IsNull(Compare("<", X, I)),
    *(Compare(op, left, right) for op in ("=", "<>", "<", "<=", ">", ">=") for left, right in (
        (X, Literal(1.0, "number")), (Literal(1.0, "number"), F), (X, I), (Arithmetic("*", X, I), F), (X, Literal(None, "number")),
        (Arithmetic("-", X, X), Literal(0.0, "number")))),
    *(Compare(op, left, right) for op in ("=", "<>") for left, right in (
        (T, Literal("red", "text")), (Literal("green", "text"), U), (T, Literal("mauve", "text")), (T, U), (FREE, Literal("red", "text")),
        (FREE, Literal("mauve", "text")), (FREE, T))),
    OneOf(X, (1.0, 2.0)), OneOf(T, ("red", "mauve")), OneOf(FREE, ("red", "x")), OneOf(FREE, ("mauve",)),
    All((B, Compare("<", X, I), Compare("=", T, U))), AnyOf((B, Compare("<", X, I), Compare("=", T, U))),
    Not(All((B, UNKNOWN))), AnyOf((TRUE, UNKNOWN)), All((IsNull(X), Not(IsNull(I)))),
]  # fmt: skip


def table(n: int, seed: int, nulls: float) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    values: dict[str, list[Any]] = {"x": [0.0, 1.0, -2.0, float("nan"), float("inf"), -float("inf")], "i": [0, 1, 2, -(2**60)], "f": [0.5, 1.0, -0.0, float("nan")],
                                    "b": [True, False], "t": ["red", "green", "grey"], "u": ["red", "green", "blue", ""], "free": ["red", "x", ""]}  # fmt: skip
    return pa.RecordBatch.from_pylist(
        [{name: None if rng.random() < nulls else some[rng.integers(len(some))] for name, some in values.items()} for _ in range(n)], schema=SCHEMA)  # fmt: skip


@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("start", [0, 1, 8, 11])
def test_masks_and_closures_agree_on_every_kind_of_condition(start: int, nulls: float) -> None:
    batch = table(75, seed=start, nulls=nulls).slice(start)
    found, masks = rows(batch, SCHEMA), Masks(batch, SCHEMA)
    for node in CONDITIONS:
        true, false = masks.truth(node)
        want = [closure(node)(row) for row in found]
        assert true.tolist() == [truth is True for truth in want], node
        assert false.tolist() == [truth is False for truth in want], node


def test_an_all_null_column_is_unknown_everywhere() -> None:
    batch = pa.RecordBatch.from_arrays([pa.nulls(20, f.type) for f in SCHEMA], schema=SCHEMA)
    for node in (B, Compare("<", X, I), Compare("=", T, U), OneOf(T, ("red",))):
        true, false = Masks(batch, SCHEMA).truth(node)
        assert not true.any()
        assert not false.any()


@pytest.mark.parametrize("n", [0, 1, 8, 9, 64])
def test_bits_come_back_as_they_went(n: int) -> None:
    flags = np.random.default_rng(n).random(n) < 0.5
    assert unpacked(packed(flags), n).tolist() == flags.tolist()
