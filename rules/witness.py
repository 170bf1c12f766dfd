"""What would change it: the fewest facts that would open a cell, and the shortest true reason why it is closed.

No prover is needed: the conditions are asked at the values where they can change. A condition over one
column and constants changes nowhere else, so for those the answer is exact; where columns meet in one
comparison the values tried are those at which it turns, the other columns as they are. Nothing is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from math import nextafter

import pyarrow as pa

from rules.closures import Row, closure
from rules.example import inside
from rules.governing import governing, speakers
from rules.language import domain_of
from rules.reasons import PRECEDENCE, ReasonCode
from rules.terms import Terms
from rules.tree import (
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
    atoms,
    columns_of,
    walk,
)
from rules.tree import Any as AnyOf

FACTS_MAX = 6  # of one group of conditions; nobody is told to change more
TRIES_MAX = 200_000
Truths = frozenset[bool | None]
_ANY: Truths = frozenset({True, False, None})


@dataclass(frozen=True)
class ShortestReason:
    """One reason that closes the cell, and the fewest of the customer's facts that alone suffice for it."""

    reason: ReasonCode
    rules: tuple[str, ...]
    facts: dict[str, Scalar]


def what_would_open(row: Row, terms: Terms, cell: int, tellable: Iterable[str],
                    direction: str = "outbound") -> dict[str, Scalar] | None:  # fmt: skip
    """The smallest set of facts to be otherwise, with values, for the cell to be open; {}: it is open.

    row: the columns of terms.program. tellable: the columns that may be told; no other is changed. None:
    no values of theirs open it. Conditions without a column in common are solved apart, so the whole is
    smallest where each part is. Raises ValueError where a part is too large to be searched.
    """
    steps = governing(terms.program, direction, cell)
    if any(not columns_of(step.when) and _closes(step.when, row) for step in steps):
        return None  # a switch, or an offer that is not on the channel
    told = {name for name in tellable if name in terms.program.columns}
    changes: dict[str, Scalar] = {}
    for whens in _groups([step.when for step in steps], told):
        if any(_closes(when, row) for when in whens):
            found = _smallest(row, whens, told, terms.vocabulary)
            if found is None:
                return None
            changes |= found
    return changes


def shortest_reason(row: Row, terms: Terms, cell: int, direction: str = "outbound",
                    tellable: Iterable[str] | None = None) -> ShortestReason | None:  # fmt: skip
    """The reason that needs the fewest facts, ties by precedence; None where the cell is open.

    tellable: reasons whose facts may all be told come first, if there are any. Whatever the other facts
    were, these suffice to close the cell (a column compared with itself apart: then more are named).
    """
    told = None if tellable is None else set(tellable)
    found: list[tuple[bool, int, int, ShortestReason]] = []
    for step in governing(terms.program, direction, cell):
        truth = closure(step.when)(row)
        if truth is not False:
            names = _sufficient(step.when, row)
            rank = step.reason if truth else step.unknown
            hidden = told is not None and not set(names) <= told
            said = ShortestReason(
                PRECEDENCE[rank], speakers(terms, step, direction, cell), {name: row[name] for name in names}
            )
            found.append((hidden, len(names), rank, said))
    return min(found, key=lambda one: one[:3])[3] if found else None


def _closes(when: Node, row: Row) -> bool:
    return closure(when)(row) is not False


def _groups(whens: Sequence[Node], told: set[str]) -> list[list[Node]]:
    """Conditions that share a column which may change, together."""
    groups: list[tuple[set[str], list[Node]]] = []
    for when in dict.fromkeys(whens):
        names, members = columns_of(when) & told, [when]
        apart: list[tuple[set[str], list[Node]]] = []
        for other, held in groups:
            if other & names:
                names, members = names | other, held + members
            else:
                apart.append((other, held))
        groups = [*apart, (names, members)]
    return [members for _, members in groups]


def _smallest(row: Row, whens: Sequence[Node], told: set[str], columns: pa.Schema) -> dict[str, Scalar] | None:
    shut = [columns_of(when) & told for when in whens if _closes(when, row)]
    names = sorted(set[str]().union(*(columns_of(when) for when in whens)) & told)
    values = {name: _values(name, whens, row, columns) for name in names}
    tests, tries = [closure(when) for when in whens], 0
    for size in range(1, min(len(names), FACTS_MAX) + 1):
        for chosen in combinations(names, size):
            if any(not reads & set(chosen) for reads in shut):
                continue  # a condition that closes would not even notice
            for told_values in product(*(values[name] for name in chosen)):
                tries += 1
                if tries > TRIES_MAX:
                    raise ValueError(
                        f"more than {TRIES_MAX:,} combinations of {', '.join(names)}; let fewer facts be told"
                    )
                changed = dict(zip(chosen, told_values, strict=True))
                now = {**row, **changed}
                if all(test(now) is False for test in tests):
                    return changed
    return None


def _values(name: str, whens: Sequence[Node], row: Row, columns: pa.Schema) -> list[Scalar]:
    """Values other than the present one, one at least from each stretch in which no condition changes."""
    field = columns.field(name)
    if pa.types.is_boolean(field.type):
        found: list[Scalar] = [False, True]
    elif pa.types.is_string(field.type):
        texts = {str(v) for when in whens for v in _constants(when, name) if isinstance(v, str)}
        found = [*(domain_of(columns, name) or [*sorted(texts), "another"])]
    else:
        turns = sorted(
            {v for when in whens for v in (*_constants(when, name), *_roots(when, name, row)) if isinstance(v, float)}
        )
        between = [(a + b) / 2 for a, b in pairwise(turns)]
        ends = [turns[0] - 1, turns[-1] + 1, nextafter(turns[-1], float("inf"))] if turns else [0.0]
        present = row[name]
        near = present if isinstance(present, float) else 0.0
        wanted = sorted({*turns, *between, *ends}, key=lambda value: (abs(value - near), value))
        found = [value for value in wanted if inside(field, value)]
    return [value for value in (*found, None) if value != row[name] or (value is None) != (row[name] is None)]


def _constants(when: Node, name: str) -> list[Scalar]:
    """The constants that conditions over this column name."""
    found: list[Scalar] = []
    for part in _compares(when):
        if name in columns_of(part):
            found += part.values if isinstance(part, OneOf) else ()
            found += [leaf.value for leaf in walk(part) if isinstance(leaf, Literal)]
    return found


def _compares(when: Node) -> list[Compare | OneOf]:
    inner = [item for atom in atoms(when) for item in walk(atom)]
    return [part for part in inner if isinstance(part, Compare | OneOf)]


def _roots(when: Node, name: str, row: Row) -> list[float]:
    """Where a comparison of numbers turns in this column, the others as they are: exact where it is linear."""
    found: list[float] = []
    for part in _compares(when):
        if isinstance(part, Compare) and name in columns_of(part) and len(columns_of(part)) + _sums(part) > 1:
            at = [_gap(part, {**row, name: value}) for value in (0.0, 1.0)]
            if at[0] is not None and at[1] is not None and at[0] != at[1]:
                root = at[0] / (at[0] - at[1])
                found += [nextafter(root, float("-inf")), root, nextafter(root, float("inf"))]
    return found


def _sums(part: Node) -> int:
    return sum(isinstance(leaf, Arithmetic) for leaf in walk(part))


def _gap(part: Compare, row: Mapping[str, Scalar]) -> float | None:
    left, right = _number(part.left, row), _number(part.right, row)
    return None if left is None or right is None else left - right


def _number(node: Node, row: Mapping[str, Scalar]) -> float | None:
    if isinstance(node, Arithmetic):
        left, right = _number(node.left, row), _number(node.right, row)
        if left is None or right is None:
            return None
        return {"+": left + right, "-": left - right, "*": left * right}[node.op]
    value = row[node.name] if isinstance(node, Column) else node.value if isinstance(node, Literal) else None
    return value if isinstance(value, float) else None


def _sufficient(when: Node, row: Row) -> tuple[str, ...]:
    """The fewest columns whose present values keep the condition from being FALSE whatever the others are."""
    names = sorted(columns_of(when))
    for size in range(len(names) + 1):
        for kept in combinations(names, size):
            if False not in _possible(when, row, frozenset(kept)):
                return kept
    return tuple(names)


def _possible(node: Node, row: Row, kept: frozenset[str]) -> Truths:
    """The truths the condition may take when only the kept columns are fixed; never too few."""
    if columns_of(node) <= kept:
        return frozenset({closure(node)(row)})
    if isinstance(node, Not):
        return frozenset(None if truth is None else not truth for truth in _possible(node.item, row, kept))
    if isinstance(node, All | AnyOf):
        absorbing = isinstance(node, AnyOf)
        truths: Truths = frozenset({not absorbing})
        for item in node.items:
            some = _possible(item, row, kept)
            truths = frozenset(_joined(a, b, absorbing=absorbing) for a in truths for b in some)
        return truths
    if isinstance(node, IsNull):
        return frozenset({True, False})
    unknown = any(row[name] is None for name in columns_of(node) & kept)  # a fact that is missing for certain
    return frozenset({None}) if unknown and isinstance(node, Compare | OneOf) and not _inner(node) else _ANY


def _inner(node: Node) -> bool:
    """Whether a condition stands inside the comparison: its being unknown is then not for certain."""
    return any(isinstance(part, All | AnyOf | Not | IsNull) for part in walk(node))


def _joined(a: bool | None, b: bool | None, *, absorbing: bool) -> bool | None:
    if a is absorbing or b is absorbing:
        return absorbing
    return None if a is None or b is None else not absorbing
