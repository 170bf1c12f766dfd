"""Conditions over one customer: Python closures, an order faster than NumPy for a handful of rows.

A row is a mapping of column name to value: float, str, bool or None. A condition answers True,
False or None (UNKNOWN). Tied to `rules.masks` by test.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import isnan
from typing import Any

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
Plainly = dict[str, Scalar]  # a row as read: column -> value
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


class Plain:
    """Makes plain rows of the columns the rules read: one dict per customer, column -> value.

    NaN and texts outside their domain are None. For columns that are at hand one by one, before they are
    put into a batch: a batch hands each of them out as a Python object at half a microsecond, and a hundred
    of one row cost more than its conditions.
    """

    def __init__(self, types: pa.Schema) -> None:
        self.floats = [f.name for f in types if f.type == pa.float64()]
        rest = [f for f in types if f.type != pa.float64()]
        self.others = [f.name for f in rest]
        self._whole = {f.name for f in rest if not (pa.types.is_boolean(f.type) or pa.types.is_string(f.type))}
        self._domains = [(f.name, frozenset(d)) for f in rest if pa.types.is_string(f.type) and (d := domain_of(f))]
        self._names = [*self.floats, *self.others]

    def one(self, values: Mapping[str, Any]) -> Plainly:
        """The plain row of one customer from his values by name, NaN or None where not known."""
        row = {name: None if (v := values[name]) != v else v for name in self._names}
        for name in self._whole:
            whole = row[name]
            row[name] = None if whole is None else float(whole)
        for name, domain in self._domains:
            if row[name] not in domain:
                row[name] = None
        return row

    def rows(self, columns: Mapping[str, pa.Array], n: int) -> list[Plainly]:
        """Plain rows of columns of n values; what `Reader.rows` says of a batch of them."""
        floats = [columns[name].to_pylist() for name in self.floats]
        return self.joined(zip(*floats, strict=True) if floats else [()] * n, columns, n)

    def joined(self, floats: Iterable[Sequence[Any]], columns: Mapping[str, pa.Array], n: int) -> list[Plainly]:
        """Plain rows of n rows of floats, null or NaN where not known, and the other columns."""
        others: list[list[Any]] = [columns[name].to_pylist() for name in self.others]
        if self._whole:
            others = [numbers(columns[name]).tolist() if name in self._whole else column
                      for name, column in zip(self.others, others, strict=True)]  # fmt: skip
        found: list[Plainly] = []
        for known, rest in zip(floats, zip(*others, strict=True) if others else [()] * n, strict=True):
            row = dict(zip(self._names, [*[None if v != v else v for v in known], *rest], strict=True))  # noqa: PLR0124
            for name in self._whole:
                row[name] = None if row[name] != row[name] else row[name]  # NaN is null
            for name, domain in self._domains:
                if row[name] not in domain:
                    row[name] = None
            found.append(row)
        return found


class Reader:
    """Reads the columns that the rules name out of small batches of one schema."""

    def __init__(self, schema: pa.Schema, plain: Plain) -> None:
        self.schema, self._plain = schema, plain
        self._floats = [schema.get_field_index(name) for name in plain.floats]
        self._others = [(name, schema.get_field_index(name)) for name in plain.others]

    def rows(self, batch: pa.RecordBatch) -> list[Plainly]:
        """One dict per customer; NaN and texts outside their domain are None."""
        floats: Iterable[Sequence[Any]] = [()] * batch.num_rows
        if self._floats and batch.num_rows:  # one tensor: cheaper than a Python object for each column
            floats = batch.select(self._floats).to_tensor(null_to_nan=True).to_numpy().tolist()
        others = {name: batch.column(place) for name, place in self._others}
        return self._plain.joined(floats, others, batch.num_rows)


def rows(batch: pa.RecordBatch, types: pa.Schema) -> list[Plainly]:
    """The columns of types as one dict per customer; NaN and texts outside their domain are None."""
    return Reader(batch.schema, Plain(types)).rows(batch)
