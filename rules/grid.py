"""Conditions as formulas without arithmetic: a column that only meets constants is its place among them.

Where every condition compares a column with constants alone, only the order of its value and those constants
matters: one proposition for each `x < c` and `x <= c`, each implying the next. What is satisfied by a value is
satisfied by a place, and every place has a value, so the answers are those of `rules.prove`, and a solver of
propositions gives them orders sooner. Columns that meet other columns, or are added up, stay as they are there.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import ceil, floor
from typing import Any

import pyarrow as pa

from rules.column import meaning
from rules.prove import Formula, Prover, Truth, UndecidedError, number_range
from rules.tree import Column, Compare, IsNull, Literal, Node, OneOf, columns_of, kind_of, walk

_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
Place = tuple[float, bool]  # (c, False): x < c; (c, True): x <= c


class Grid(Prover):
    """A prover for a known set of conditions; `some` asks about them again and again on one solver."""

    def __init__(self, types: pa.Schema, nodes: Iterable[Node], seconds: float) -> None:
        super().__init__(types, seconds)
        nodes = list(dict.fromkeys(nodes))
        self._places, self._words, mixed = _met(types, nodes)
        self._mixed = frozenset(mixed)
        self._below: dict[tuple[str, Place], Formula] = {}
        self._is: dict[tuple[str, str], Formula] = {}
        self._shut: dict[Node, Formula] = {}
        z3 = self.z3
        laws = [law for name in self._places if name not in self._mixed for law in self._ordered(name)]
        laws += [law for name in self._words if name not in self._mixed for law in self._one_word(name)]
        self._switch: dict[Node, Formula] = {}
        solver: Any = z3.Solver() if self._mixed else z3.SolverFor("QF_FD")
        solver.set("timeout", self.milliseconds)
        for place, node in enumerate(nodes):
            true, false = self.truth(node)
            for side, formula in (("t", true), ("f", false)):
                held = z3.Bool(f"?{side}{place}")
                solver.add(z3.Implies(held, formula))
                if side == "t":
                    self._switch[node] = held
                else:
                    self._shut[node] = held
        solver.add(*laws, *self.domains())
        self._solver = solver

    def some(self, *, true: Iterable[Node] = (), false: Iterable[Node] = (), not_false: Sequence[Node] = ()) -> bool:
        """Whether for some customer these are TRUE, those FALSE, and one of the last, if any, is not FALSE.

        UndecidedError as in `find`. The nodes are those the grid was made of.
        """
        z3, wanted = self.z3, [*(self._switch[node] for node in true), *(self._shut[node] for node in false)]
        if not_false:
            self._solver.push()
            self._solver.add(z3.Or([z3.Not(self.truth(node).false) for node in not_false]))
        answer = self._solver.check(*wanted)
        reason = self._solver.reason_unknown() if answer == z3.unknown else ""
        if not_false:
            self._solver.pop()
        if reason:
            raise UndecidedError(f"not proved: {reason}; simplify the conditions or allow more time")
        return bool(answer == z3.sat)

    def _truth(self, node: Node) -> Truth:
        if isinstance(node, Compare) and (met := _against(node)) is not None and met[0] not in self._mixed:
            return self._known_and(met[0], self._compared(*met))
        if isinstance(node, OneOf) and isinstance(node.item, Column) and node.item.name not in self._mixed:
            name = node.item.name
            return self._known_and(name, self.z3.Or([self._compared(name, "=", value) for value in node.values]))
        if isinstance(node, IsNull) and isinstance(node.item, Column) and node.item.name not in self._mixed:
            known = self._flag(node.item.name)
            return Truth(self.z3.Not(known), known)
        return super()._truth(node)

    def _known_and(self, name: str, holds: Formula) -> Truth:
        known = self._flag(name)
        return Truth(self.z3.And(known, holds), self.z3.And(known, self.z3.Not(holds)))

    def _flag(self, name: str) -> Formula:
        return self.z3.Bool(f"{name}?")

    def _compared(self, name: str, op: str, value: Any) -> Formula:
        z3 = self.z3
        if isinstance(value, str):
            found = self._is.setdefault((name, value), z3.Bool(f"{name}={value}"))
            return found if op == "=" else z3.Not(found)
        number = float(value) + 0.0  # one zero
        less, most = self._at(name, (number, False)), self._at(name, (number, True))
        return {"<": less, "<=": most, ">": z3.Not(most), ">=": z3.Not(less), "=": z3.And(most, z3.Not(less)),
                "<>": z3.Or(less, z3.Not(most))}[op]  # fmt: skip

    def _at(self, name: str, place: Place) -> Formula:
        """`x < c` or `x <= c`; of whole numbers the largest that still holds."""
        if pa.types.is_integer(self.types.field(name).type):
            place = (float(floor(place[0]) if place[1] else ceil(place[0]) - 1), True)
        return self._below.setdefault((name, place), self.z3.Bool(f"{name}{'<=' if place[1] else '<'}{place[0]!r}"))

    def _ordered(self, name: str) -> Iterator[Formula]:
        """What the places of one column imply of each other and of the domain."""
        z3, found = self.z3, sorted({(c, closed) for c in self._places[name] for closed in (False, True)})
        rungs = [self._at(name, place) for place in found]
        yield from (z3.Implies(lower, upper) for lower, upper in pairwise(rungs))
        declared = number_range(self.types.field(name))
        if declared is None:
            return
        low, high, low_in, high_in = declared
        if pa.types.is_integer(self.types.field(name).type):  # the ends that belong
            low = None if low is None else float(ceil(low) if low_in else floor(low) + 1)
            high = None if high is None else float(floor(high) if high_in else ceil(high) - 1)
            low_in = high_in = True
        if low is not None:  # nothing lies below: `x < low`, and `x <= low` where low itself does not belong
            yield from (z3.Not(rung) for rung in rungs[: bisect_left(found, (low, low_in))])
            if not low_in:
                yield from (z3.Not(rung) for place, rung in zip(found, rungs, strict=True) if place == (low, True))
        if high is not None:
            yield from (rung for place, rung in zip(found, rungs, strict=True) if place >= (high, high_in))

    def _one_word(self, name: str) -> Iterator[Formula]:
        domain = meaning(self.types.field(name), "domain")
        words = sorted({*self._words[name], *(domain.split("|") if "|" in domain else ())})
        said = [self._compared(name, "=", word) for word in words]
        yield self.z3.AtMost(*said, 1)
        if "|" in domain:
            yield self.z3.Or(said)


def _against(node: Compare) -> tuple[str, str, Any] | None:
    """(column, operator, constant) of a comparison of the two; null: it is none."""
    left, right, op = node.left, node.right, node.op
    if isinstance(left, Literal) and isinstance(right, Column):
        left, right, op = right, left, _MIRRORED[op]
    if isinstance(left, Column) and isinstance(right, Literal) and right.value is not None and kind_of(left) != "bool":
        return left.name, op, right.value
    return None


def _met(types: pa.Schema, nodes: Sequence[Node]) -> tuple[dict[str, set[float]], dict[str, set[str]], set[str]]:
    """(numbers each column meets, texts each column meets, columns that meet more than constants)."""
    numbers: dict[str, set[float]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    mixed: set[str] = set()
    for part in {part for node in nodes for part in walk(node)}:
        values: Sequence[Any] = ()
        if isinstance(part, Compare):
            met = _against(part)
            if met is None:
                mixed |= {name for name in columns_of(part) if not pa.types.is_boolean(types.field(name).type)}
                continue
            name, values = met[0], (met[2],)
        elif isinstance(part, OneOf):
            if not isinstance(part.item, Column):
                mixed |= columns_of(part)
                continue
            name, values = part.item.name, part.values
        elif isinstance(part, IsNull) and not isinstance(part.item, Column):
            mixed |= {name for name in columns_of(part) if not pa.types.is_boolean(types.field(name).type)}
            continue
        else:
            continue
        for value in values:
            if isinstance(value, str):
                texts[name].add(value)
            elif value is not None:
                numbers[name].add(float(value) + 0.0)
    return numbers, texts, mixed
