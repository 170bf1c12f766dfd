"""Conditions over many customers: NumPy masks.

A condition is a pair (true, false) of masks; neither is UNKNOWN. Numbers are float64 with NaN as
null, so both `a < b` and its complement `a >= b` are False where one side is null. Text is the
code of its value in the domain; a value outside the domain is null.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.errors import SchemaError
from rules.tree import (
    ARITHMETIC,
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
    kind_of,
)  # fmt: skip

Mask = np.ndarray
Truth = tuple[Mask, Mask]  # (true, false)
_COMPLEMENT: dict[str, tuple[np.ufunc, np.ufunc]] = {
    "<": (np.less, np.greater_equal), "<=": (np.less_equal, np.greater),
    ">": (np.greater, np.less_equal), ">=": (np.greater_equal, np.less)}  # fmt: skip


class Masks:
    """Evaluates conditions over one batch; every column is converted once, every condition run once."""

    def __init__(self, batch: pa.RecordBatch, types: pa.Schema) -> None:
        self.batch, self.types, self.n = batch, types, batch.num_rows
        self._numbers: dict[str, np.ndarray] = {}
        self._texts: dict[str, tuple[np.ndarray, dict[str, int]]] = {}
        self._truths: dict[Node, Truth] = {}

    def truth(self, node: Node) -> Truth:
        """(true, false) masks of a condition, each (n,) bool."""
        if node not in self._truths:
            self._truths[node] = self._truth(node)
        return self._truths[node]

    def _truth(self, node: Node) -> Truth:
        if isinstance(node, Literal):
            return np.full(self.n, node.value is True), np.full(self.n, node.value is False)
        if isinstance(node, Not):
            true, false = self.truth(node.item)
            return false, true
        if isinstance(node, All | Any):
            parts = [self.truth(item) for item in node.items]
            both: tuple[np.ufunc, np.ufunc] = (np.logical_and, np.logical_or)
            for_true, for_false = both if isinstance(node, All) else both[::-1]
            return for_true.reduce([t for t, _ in parts]), for_false.reduce([f for _, f in parts])
        if isinstance(node, Column):
            return self._flags(node.name)
        if isinstance(node, IsNull):
            known = self._known(node.item)
            return ~known, known
        return self._one_of(node) if isinstance(node, OneOf) else self._compare(node)

    def _compare(self, node: Node) -> Truth:
        if not isinstance(node, Compare):
            raise TypeError(f"{type(node).__name__} is no condition")  # the parser lets none through
        if kind_of(node.left) == "text":
            left, right = self._text_pair(node.left, node.right)
        else:
            left, right = self._number(node.left), self._number(node.right)
        if node.op in _COMPLEMENT:
            true, false = _COMPLEMENT[node.op]
            return true(left, right), false(left, right)
        equal, differ = left == right, (left < right) | (left > right)
        return (equal, differ) if node.op == "=" else (differ, equal)

    def _one_of(self, node: OneOf) -> Truth:
        if kind_of(node.item) == "text":
            codes, places = self._text(node.item)
            values = [float(places[str(v)]) for v in node.values if str(v) in places]
        else:
            codes, values = self._number(node.item), [v for v in node.values if isinstance(v, float)]
        true = np.isin(codes, values)
        return true, ~true & ~np.isnan(codes)

    def _known(self, node: Node) -> Mask:
        if kind_of(node) == "bool":
            true, false = self.truth(node)
            return true | false
        return ~np.isnan(self._text(node)[0] if kind_of(node) == "text" else self._number(node))

    def _number(self, node: Node) -> np.ndarray:
        if isinstance(node, Literal):
            return np.float64(np.nan if node.value is None else node.value)  # pyright: ignore[reportReturnType]  # broadcasts
        if isinstance(node, Column):
            if node.name not in self._numbers:
                self._numbers[node.name] = numbers(self._column(node.name))
            return self._numbers[node.name]
        if isinstance(node, Arithmetic):
            operation: Callable[..., np.ndarray] = ARITHMETIC[node.op]  # pyright: ignore[reportAssignmentType]
            with np.errstate(over="ignore", invalid="ignore"):
                return operation(self._number(node.left), self._number(node.right))
        raise TypeError(f"{type(node).__name__} is no number")

    def _text(self, node: Node) -> tuple[np.ndarray, dict[str, int]]:
        if not isinstance(node, Column):
            raise TypeError(f"{type(node).__name__} is no text column")
        if node.name not in self._texts:
            field = self.types.field(node.name)
            declared = (field.metadata or {}).get(b"domain", b"").decode()
            column = self._column(node.name)
            values = declared.split("|") if "|" in declared else pc.unique(column).drop_null().to_pylist()
            codes = pc.index_in(column, value_set=pa.array(values, pa.string()))
            self._texts[node.name] = numbers(codes), {value: place for place, value in enumerate(values)}
        return self._texts[node.name]

    def _text_pair(self, left: Node, right: Node) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(left, Literal):
            left, right = right, left
        codes, places = self._text(left)
        if isinstance(right, Literal):
            # A literal that occurs nowhere equals nothing, but a known text still differs from it.
            return codes, np.float64(places.get(str(right.value), -1))  # pyright: ignore[reportReturnType]
        other, other_places = self._text(right)
        translate = np.array(
            [places.get(value, -1 - place) for value, place in other_places.items()] or [0], dtype=float
        )
        known = ~np.isnan(other)
        aligned = np.full(self.n, np.nan)
        aligned[known] = translate[other[known].astype(np.int64)]
        return codes, aligned

    def _flags(self, name: str) -> Truth:
        column = self._column(name)
        return (np.asarray(pc.fill_null(column, False)), np.asarray(pc.fill_null(pc.invert(column), False)))

    def _column(self, name: str) -> pa.Array:
        try:
            return self.batch.column(name)
        except KeyError:
            raise SchemaError(f"no column `{name}` in the customers' table; the policy reads it") from None


def numbers(column: pa.Array) -> np.ndarray:
    """(n,) float64, NaN where null."""
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
