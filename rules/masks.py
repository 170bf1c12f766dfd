"""Conditions over many customers: NumPy masks, one bit per customer.

A mask is (ceil(n / 8),) uint8, customer i in bit i % 8 of byte i // 8, as Arrow keeps its flags; what
stands in the bits beyond n means nothing. A condition is a pair (true, unknown); unknown None: it is
known for all. Numbers are float64 with NaN as null. Text is compared within its domain; a value
outside the domain is null.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.errors import SchemaError
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
    kind_of,
)  # fmt: skip

Bits = np.ndarray
ALL_BITS = np.uint8(255)


class Truth(NamedTuple):
    """Where a condition is TRUE and where it is UNKNOWN (None: nowhere); never both."""

    true: Bits
    unknown: Bits | None


class _Numbers(NamedTuple):
    values: np.ndarray  # (n,) float64 or a scalar; anything where not known
    known: Bits | None  # None: all


class _Texts(NamedTuple):
    column: pa.Array
    codes: np.ndarray | None  # (n,) place of the text in its domain; None: the column has no domain
    places: dict[str, int]
    known: Bits | None


class Masks:
    """Evaluates conditions over one batch; every column is converted once."""

    def __init__(self, batch: pa.RecordBatch, types: pa.Schema) -> None:
        self.batch, self.types, self.n = batch, types, batch.num_rows
        self._numbers: dict[str, _Numbers] = {}
        self._texts: dict[str, _Texts] = {}

    def truth(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """(true, false) of a condition, each (n,) bool."""
        true, unknown = self.bits(node)
        false = ~true if unknown is None else ~(true | unknown)
        return unpacked(true, self.n), unpacked(false, self.n)

    def bits(self, node: Node) -> Truth:
        """Where a condition is TRUE and where it is UNKNOWN, as masks."""
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, Literal):
            return Truth(self._all(node.value is True), self._all(True) if node.value is None else None)
        if isinstance(node, Not):
            true, unknown = self.bits(node.item)
            return Truth(~true if unknown is None else ~(true | unknown), unknown)
        if isinstance(node, (All, Any)):
            return self._connected(node)
        if isinstance(node, Column):
            return self._flags(node.name)
        if isinstance(node, IsNull):
            known = self._known(node.item)
            return Truth(self._all(False) if known is None else ~known, None)
        if isinstance(node, OneOf):
            return self._one_of(node)
        raise TypeError(f"{type(node).__name__} is no condition")  # the parser lets none through

    def _all(self, value: bool) -> Bits:
        return np.full(-(-self.n // 8), ALL_BITS if value else 0, np.uint8)

    def _connected(self, node: All | Any) -> Truth:
        """Kleene: true is the conjunction (disjunction) of the true, possible that of the possible."""
        parts = [self.bits(item) for item in node.items]
        join: np.ufunc = np.bitwise_and if isinstance(node, All) else np.bitwise_or
        true = join.reduce([part.true for part in parts])
        if all(part.unknown is None for part in parts):
            return Truth(true, None)
        possible = join.reduce([p.true if p.unknown is None else p.true | p.unknown for p in parts])
        return Truth(true, possible ^ true)

    def _compare(self, node: Compare) -> Truth:
        if kind_of(node.left) == "text":
            found, known = self._text_equal(node.left, node.right)
            return _limited(found if node.op == "=" else ~found, known)
        left, right = self._number(node.left), self._number(node.right)
        found: np.ndarray = COMPARE[node.op](left.values, right.values)  # pyright: ignore[reportArgumentType, reportAssignmentType]  # operators take arrays
        return _limited(packed(found) if np.ndim(found) else self._all(bool(found)), both(left.known, right.known))

    def _one_of(self, node: OneOf) -> Truth:
        if kind_of(node.item) == "text":
            texts = self._text(node.item)
            values = [str(value) for value in node.values]
            if texts.codes is None:
                found = pc.is_in(texts.column, value_set=pa.array(values, pa.string()))
                return _limited(_bits(found.buffers()[1], found.offset, self.n), texts.known)
            column, constants = texts.codes, [texts.places[value] for value in values if value in texts.places]
            known = texts.known
        else:
            column, known = self._number(node.item)
            constants = [value for value in node.values if isinstance(value, float)]
        found = self._all(False)
        for constant in constants:
            found |= packed(column == constant)
        return _limited(found, known)

    def _known(self, node: Node) -> Bits | None:
        if kind_of(node) == "bool":
            unknown = self.bits(node).unknown
            return None if unknown is None else ~unknown
        return self._text(node).known if kind_of(node) == "text" else self._number(node).known

    def _number(self, node: Node) -> _Numbers:
        if isinstance(node, Literal):
            return _Numbers(np.float64(node.value or 0.0), self._all(False) if node.value is None else None)  # pyright: ignore[reportArgumentType]  # broadcasts
        if isinstance(node, Column):
            if node.name not in self._numbers:
                self._numbers[node.name] = _read_numbers(self._column(node.name))
            return self._numbers[node.name]
        if isinstance(node, Arithmetic):
            operation: Callable[..., np.ndarray] = ARITHMETIC[node.op]  # pyright: ignore[reportAssignmentType]
            left, right = self._number(node.left), self._number(node.right)
            with np.errstate(over="ignore", invalid="ignore"):
                values = operation(left.values, right.values)
            nans = np.isnan(values)
            known = None if not nans.any() else ~packed(nans) if np.ndim(nans) else self._all(False)
            return _Numbers(values, both(both(left.known, right.known), known))
        raise TypeError(f"{type(node).__name__} is no number")

    def _text(self, node: Node) -> _Texts:
        if not isinstance(node, Column):
            raise TypeError(f"{type(node).__name__} is no text column")
        if node.name not in self._texts:
            column, domain = self._column(node.name), domain_of(self.types.field(node.name))
            places = {value: place for place, value in enumerate(domain or ())}
            codes = pc.index_in(column, value_set=pa.array(domain, pa.string())) if domain else None
            values = None if codes is None else np.frombuffer(codes.buffers()[1], np.int32, self.n)
            self._texts[node.name] = _Texts(column, values, places, _valid(column if codes is None else codes))
        return self._texts[node.name]

    def _text_equal(self, left: Node, right: Node) -> tuple[Bits, Bits | None]:
        if isinstance(left, Literal):
            left, right = right, left
        texts = self._text(left)
        if isinstance(right, Literal):
            if texts.codes is not None:  # a literal that the domain lacks equals nothing
                place = texts.places.get(str(right.value))
                return (self._all(False) if place is None else packed(texts.codes == place)), texts.known
            equal, known = pc.equal(texts.column, str(right.value)), texts.known
        else:
            other = self._text(right)
            equal, known = pc.equal(texts.column, other.column), both(texts.known, other.known)
        return _bits(equal.buffers()[1], equal.offset, self.n), known

    def _flags(self, name: str) -> Truth:
        column = self._column(name)
        return _limited(_bits(column.buffers()[1], column.offset, self.n), _valid(column))

    def _column(self, name: str) -> pa.Array:
        try:
            return self.batch.column(name)
        except KeyError:
            raise SchemaError(f"no column `{name}` in the customers' table; the policy reads it") from None


def numbers(column: pa.Array) -> np.ndarray:
    """(n,) float64, NaN where null."""
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def domain_of(field: pa.Field) -> list[str] | None:
    """The values a declared text column may have; None: any."""
    declared = (field.metadata or {}).get(b"domain", b"").decode()
    return declared.split("|") if "|" in declared else None


def packed(flags: np.ndarray) -> Bits:
    """(n,) bool as a mask."""
    return np.packbits(flags, bitorder="little")


def unpacked(bits: Bits, n: int) -> np.ndarray:
    """A mask as (n,) bool."""
    return np.unpackbits(bits, count=n, bitorder="little").view(bool)


def both(left: Bits | None, right: Bits | None) -> Bits | None:
    """Where both hold; None: everywhere."""
    if left is None or right is None:
        return right if left is None else left
    return left & right


def _limited(found: Bits, known: Bits | None) -> Truth:
    return Truth(found, None) if known is None else Truth(found & known, ~known)


def _read_numbers(column: pa.Array) -> _Numbers:
    if column.type.id != pa.float64().id:
        values = numbers(column)
    else:  # zero copy; what stands under a null is anything
        values = np.frombuffer(column.buffers()[1], np.float64, len(column), column.offset * 8)
    nans = np.isnan(values)
    return _Numbers(values, both(_valid(column), ~packed(nans) if nans.any() else None))


def _valid(column: pa.Array) -> Bits | None:
    return _bits(column.buffers()[0], column.offset, len(column)) if column.null_count else None


def _bits(buffer: pa.Buffer, offset: int, n: int) -> Bits:
    """So many bits of a buffer from a bit on, without copying where that bit begins a byte."""
    bits = np.frombuffer(buffer, np.uint8)[offset // 8 : (offset + n + 7) // 8]
    if offset % 8:
        return packed(np.unpackbits(bits, bitorder="little")[offset % 8 : offset % 8 + n])
    return bits


__all__ = ["ALL_BITS", "Bits", "Masks", "Truth", "both", "domain_of", "numbers", "packed", "unpacked"]
