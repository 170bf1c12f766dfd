"""The condition of a rule as a typed tree, and its folding over one cell of the catalogue.

Logic is Kleene's: TRUE, FALSE, UNKNOWN (None). Numbers are float64, NaN is null. A *cell field*
(`offer.entry_minor`, `channel.id`) and a *placeholder* in a column name (`balance_this_currency_minor`)
are constants once the cell is known; `fold` puts them in and simplifies, so that 50 cells share a few
residual conditions over customer columns alone.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Literal as Is

Kind = Is["number", "text", "bool"]
Scalar = float | str | bool | None
PLACEHOLDERS = ("this_offer", "this_family", "this_currency", "this_product", "this_channel")
CellFacts = Mapping[str, Scalar]  # cell fields and placeholders -> value; None: the offer has none


@dataclass(frozen=True)
class Literal:
    """A constant; None is UNKNOWN (for a condition) or null (for a value)."""

    value: Scalar
    kind: Kind


@dataclass(frozen=True)
class Column:
    """A fact about the customer."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class CellField:
    """A fact about the cell: `offer.risk_grade`."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Arithmetic:
    """left op right on numbers; op is + - or *."""

    op: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Compare:
    """left op right; op is = <> < <= > >=."""

    op: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class OneOf:
    """item IN (values)."""

    item: "Node"
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class IsNull:
    """item IS NULL: never UNKNOWN."""

    item: "Node"


@dataclass(frozen=True)
class Not:
    """NOT item."""

    item: "Node"


@dataclass(frozen=True)
class All:
    """item AND item AND ..."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Any:
    """item OR item OR ..."""

    items: tuple["Node", ...]


Node = Literal | Column | CellField | Arithmetic | Compare | OneOf | IsNull | Not | All | Any
TRUE, FALSE, UNKNOWN = Literal(True, "bool"), Literal(False, "bool"), Literal(None, "bool")

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul}  # fmt: skip
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge}  # fmt: skip


def kind_of(node: Node) -> Kind:
    """number, text or bool: what the node's value is."""
    if isinstance(node, Literal | Column | CellField):
        return node.kind
    return "number" if isinstance(node, Arithmetic) else "bool"


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    if isinstance(node, All | Any):
        return node.items
    if isinstance(node, Arithmetic | Compare):
        return (node.left, node.right)
    return (node.item,) if isinstance(node, OneOf | IsNull | Not) else ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def atoms(node: Node) -> Iterator[Node]:
    """The conditions that AND, OR and NOT connect, left to right."""
    if isinstance(node, All | Any | Not):
        for child in children(node):
            yield from atoms(child)
    else:
        yield node


def columns_of(node: Node) -> set[str]:
    """Names of the customer columns the condition reads; placeholders as written."""
    return {part.name for part in walk(node) if isinstance(part, Column)}


def resolve(name: str, cell: CellFacts) -> str | None:
    """The column's name with its placeholder filled in; None where the offer has no such fact."""
    for placeholder in PLACEHOLDERS:
        if placeholder in name:
            value = cell[placeholder]
            return None if value is None else name.replace(placeholder, str(value).lower())
    return name


def fold(node: Node, cell: CellFacts) -> Node:
    """The condition with the cell's facts put in and everything constant worked out."""
    if isinstance(node, Column):
        name = resolve(node.name, cell)
        return Literal(None, node.kind) if name is None else Column(name, node.kind)
    if isinstance(node, CellField):
        return Literal(_number(cell[node.name]), node.kind)
    if isinstance(node, Arithmetic):
        return _arithmetic(node.op, fold(node.left, cell), fold(node.right, cell))
    if isinstance(node, Compare):
        return _compare(node.op, fold(node.left, cell), fold(node.right, cell))
    if isinstance(node, OneOf):
        item = fold(node.item, cell)
        if isinstance(item, Literal):
            return UNKNOWN if item.value is None else _truth(item.value in node.values)
        return OneOf(item, node.values)
    if isinstance(node, IsNull):
        item = fold(node.item, cell)
        return _truth(item.value is None) if isinstance(item, Literal) else IsNull(item)
    if isinstance(node, Not):
        item = fold(node.item, cell)
        if isinstance(item, Literal):
            return UNKNOWN if item.value is None else _truth(not item.value)
        return item.item if isinstance(item, Not) else Not(item)
    if isinstance(node, All | Any):
        return _connect(node, [fold(item, cell) for item in node.items])
    return node


def _number(value: Scalar) -> Scalar:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _truth(value: bool) -> Literal:
    return TRUE if value else FALSE


def _arithmetic(op: str, left: Node, right: Node) -> Node:
    if isinstance(left, Literal) and isinstance(right, Literal):
        if not isinstance(left.value, float) or not isinstance(right.value, float):
            return Literal(None, "number")
        value = ARITHMETIC[op](left.value, right.value)
        return Literal(None if isnan(value) else value, "number")
    for side in (left, right):
        if isinstance(side, Literal) and side.value is None:
            return side
    return Arithmetic(op, left, right)


def _compare(op: str, left: Node, right: Node) -> Node:
    for side in (left, right):
        if isinstance(side, Literal) and side.value is None:
            return UNKNOWN
    if isinstance(left, Literal) and isinstance(right, Literal):
        return _truth(COMPARE[op](left.value, right.value))  # pyright: ignore[reportArgumentType]  # same kind, checked by the parser
    return Compare(op, left, right)


def _connect(node: All | Any, items: list[Node]) -> Node:
    absorbing, neutral = (FALSE, TRUE) if isinstance(node, All) else (TRUE, FALSE)
    flat: list[Node] = []
    for item in items:
        if item == absorbing:
            return absorbing
        if item == neutral or item in flat:
            continue
        flat.extend(part for part in (item.items if isinstance(item, type(node)) else (item,)) if part not in flat)
    if not flat:
        return neutral
    return flat[0] if len(flat) == 1 else type(node)(tuple(flat))
