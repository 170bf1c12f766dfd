"""Conditions over one customer: Python closures, an order faster than NumPy for a handful of rows.

A row is a mapping of column name to value: float, str, bool or None. A condition answers True,
False or None (UNKNOWN). Tied to `rules.masks` by test.
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import isnan
from typing import Any

import numpy as np
import pyarrow as pa

from rules.masks import domain_of, numbers
from rules.tree import (
    ARITHMETIC,
    COMPARE,
    All,
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
from rules.tree import Any as AnyOf

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
    if isinstance(node, All | AnyOf):
        return _connected(tuple(closure(item) for item in node.items), absorbing=isinstance(node, AnyOf))
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


_WITH_CONSTANT: dict[str, Callable[[str, Any], Closure]] = {  # the common case, without inner calls
    "=": lambda name, constant: lambda row: None if (found := row[name]) is None else found == constant,
    "<>": lambda name, constant: lambda row: None if (found := row[name]) is None else found != constant,
    "<": lambda name, constant: lambda row: None if (found := row[name]) is None else found < constant,
    "<=": lambda name, constant: lambda row: None if (found := row[name]) is None else found <= constant,
    ">": lambda name, constant: lambda row: None if (found := row[name]) is None else found > constant,
    ">=": lambda name, constant: lambda row: None if (found := row[name]) is None else found >= constant}  # fmt: skip


def _compared(node: Compare) -> Closure:
    if isinstance(node.left, Column) and isinstance(node.right, Literal) and node.right.value is not None:
        return _WITH_CONSTANT[node.op](node.left.name, node.right.value)
    compare, left, right = COMPARE[node.op], _value(node.left), _value(node.right)

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


class Reader:
    """Reads the columns that the rules name out of small batches of one schema."""

    def __init__(self, schema: pa.Schema, types: pa.Schema) -> None:
        self.schema = schema
        places = {field.name: schema.get_field_index(field.name) for field in types}
        others = [field for field in types if field.type != pa.float64()]
        self._names = [field.name for field in others]
        self._float_names = [field.name for field in types if field.type == pa.float64()]
        self._floats = [places[name] for name in self._float_names]
        self._others = [(places[field.name], *_reading(field)) for field in others]

    def rows(self, batch: pa.RecordBatch) -> list[dict[str, Scalar]]:
        """One dict per customer; NaN and texts outside their domain are None."""
        others: list[list[Scalar]] = []
        for place, kind, allowed in self._others:
            column = batch.column(place)
            if kind == "number":
                others.append([None if isnan(v) else v for v in numbers(column).tolist()])
            else:
                values: list[Scalar] = column.to_pylist()
                others.append(values if allowed is None else [v if v in allowed else None for v in values])
        n = batch.num_rows
        found = [dict(zip(self._names, values, strict=True)) for values in zip(*others, strict=True)] or [
            {} for _ in range(n)
        ]
        if self._floats and n:  # one tensor: a column of its own would cost more than all conditions together
            table = batch.select(self._floats).to_tensor(null_to_nan=True).to_numpy()
            for row, values in zip(found, table.tolist(), strict=True):
                row.update(zip(self._float_names, values, strict=True))
            if (nans := np.isnan(table)).any():
                for place, column in np.argwhere(nans).tolist():
                    found[place][self._float_names[column]] = None
        return found


def rows(batch: pa.RecordBatch, types: pa.Schema) -> list[dict[str, Scalar]]:
    """The columns of types as one dict per customer; NaN and texts outside their domain are None."""
    return Reader(batch.schema, types).rows(batch)


def _reading(field: pa.Field) -> tuple[str, frozenset[str] | None]:
    if pa.types.is_boolean(field.type):
        return "bool", None
    if pa.types.is_string(field.type):
        domain = domain_of(field)
        return "text", None if domain is None else frozenset(domain)
    return "number", None
