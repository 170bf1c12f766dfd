"""Conditions over one customer: Python closures, an order faster than NumPy below some sixteen rows.

A row is a mapping of column name to value: float, str, bool or None. A condition answers True,
False or None (UNKNOWN). Tied to `rules.masks` by test.
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import isnan

import pyarrow as pa

from rules.masks import numbers
from rules.tree import (
    ARITHMETIC,
    COMPARE,
    All,
    Any,
    Arithmetic,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
    Scalar,
    kind_of,
)  # fmt: skip

Row = Mapping[str, Scalar]
Closure = Callable[[Row], bool | None]


@cache
def closure(node: Node) -> Closure:
    """The condition as a function of a row."""
    if isinstance(node, Literal):
        truth = None if node.value is None else bool(node.value)
        return lambda _: truth
    if isinstance(node, Column):
        name = node.name
        return lambda row: row[name]  # pyright: ignore[reportReturnType]  # a yes/no column, checked by the parser
    if isinstance(node, Not):
        item = closure(node.item)
        return lambda row: None if (truth := item(row)) is None else not truth
    if isinstance(node, All | Any):
        return _connected(tuple(closure(item) for item in node.items), absorbing=isinstance(node, Any))
    if isinstance(node, IsNull):
        inner = _value(node.item)
        return lambda row: inner(row) is None
    if isinstance(node, OneOf):
        value, values = _value(node.item), frozenset(node.values)
        return lambda row: None if (found := value(row)) is None else found in values
    if isinstance(node, Compare):
        return _compared(node)
    raise TypeError(f"{type(node).__name__} is no condition")  # the parser lets none through


def _connected(items: tuple[Closure, ...], *, absorbing: bool) -> Closure:
    def truth(row: Row) -> bool | None:
        result: bool | None = not absorbing
        for item in items:
            found = item(row)
            if found is absorbing:
                return absorbing
            if found is None:
                result = None
        return result

    return truth


def _compared(node: Compare) -> Closure:
    compare = COMPARE[node.op]
    if isinstance(node.left, Column) and isinstance(node.right, Literal):
        name, constant = node.left.name, node.right.value  # the common case, without inner calls
        return lambda row: None if (found := row[name]) is None else compare(found, constant)  # pyright: ignore[reportArgumentType]
    left, right = _value(node.left), _value(node.right)

    def truth(row: Row) -> bool | None:
        a, b = left(row), right(row)
        return None if a is None or b is None else compare(a, b)  # pyright: ignore[reportArgumentType]  # same kind, checked

    return truth


def _value(node: Node) -> Callable[[Row], Scalar]:
    if isinstance(node, Literal):
        constant = node.value
        return lambda _: constant
    if isinstance(node, Column):
        name = node.name
        return lambda row: row[name]
    if isinstance(node, Arithmetic):
        operation, left, right = ARITHMETIC[node.op], _value(node.left), _value(node.right)

        def result(row: Row) -> Scalar:
            a, b = left(row), right(row)
            if a is None or b is None:
                return None
            found = operation(a, b)  # pyright: ignore[reportArgumentType]  # numbers, checked by the parser
            return None if isnan(found) else found

        return result
    if kind_of(node) == "bool":
        return closure(node)
    raise TypeError(f"{type(node).__name__} has no value")


def rows(batch: pa.RecordBatch, types: pa.Schema) -> list[dict[str, Scalar]]:
    """The columns the rules read as one dict per customer; NaN and texts outside their domain are None."""
    columns: list[list[Scalar]] = []
    for field in types:
        column = batch.column(field.name)
        if pa.types.is_boolean(field.type):
            columns.append(column.to_pylist())
        elif pa.types.is_string(field.type):
            declared = (field.metadata or {}).get(b"domain", b"").decode()
            allowed = frozenset(declared.split("|")) if "|" in declared else None
            columns.append([v if allowed is None or v in allowed else None for v in column.to_pylist()])
        else:
            columns.append([None if isnan(v) else v for v in numbers(column).tolist()])
    names = types.names
    return (
        [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        if names
        else [{} for _ in range(batch.num_rows)]
    )
