"""Conditions as formulas of the z3 prover: what no customer at all can be, rather than no customer tried.

Three-valued as in the tree: a condition is a pair (true, false), never both, UNKNOWN where neither. A
column is a value and a flag that it is known; a number is a real within the column's declared domain,
a text one of a finite list or, without a domain, any text. Comparisons of a column with a constant are
exact, for every float is a real and every constant is taken as the very float it is. Arithmetic is that
of reals: rounding and overflow are not modelled, hence every witness is held against the engine.

z3 is an extra (`verify`) and is imported here alone, when first asked for.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib import import_module
from typing import Any, NamedTuple

import pyarrow as pa

from rules.column import meaning
from rules.errors import RulesError
from rules.tree import All, Arithmetic, Column, Compare, IsNull, Literal, Node, Not, OneOf, Scalar, columns_of, kind_of
from rules.tree import Any as AnyOf

SECONDS = 5.0  # longer than this is not proved
Formula = Any  # z3.BoolRef; z3 is not there at import
Facts = dict[str, Scalar]


class ProverMissingError(RulesError):
    """z3 is not installed."""


class UndecidedError(RulesError):
    """The prover gave up: time was over, or the formula is beyond it. Counts as not proved."""


class Truth(NamedTuple):
    """Where a condition is TRUE and where it is FALSE; UNKNOWN where neither."""

    true: Formula
    false: Formula


class _Value(NamedTuple):
    value: Any  # z3.ArithRef: a real, or the place of a text
    known: Formula


class Prover:
    """Translates conditions over one schema of columns and asks whether some customer satisfies them.

    types: the columns conditions may read. Not for several threads at once: z3 has one context.
    """

    def __init__(self, types: pa.Schema, seconds: float = SECONDS) -> None:
        self.z3 = _z3()
        self.types, self.milliseconds = types, max(1, int(seconds * 1000))
        self._texts: dict[str, int] = {}
        self._columns: dict[str, _Value] = {}
        self._within: dict[str, Formula] = {}  # the domain of each column met
        self._truths: dict[Node, Truth] = {}

    def truth(self, node: Node) -> Truth:
        """The condition, folded (no cell fields left), as a pair of formulas."""
        found = self._truths.get(node)
        if found is None:
            found = self._truths[node] = self._truth(node)
        return found

    def find(self, formulas: Sequence[Formula], names: Iterable[str]) -> Facts | None:
        """A customer for whom all formulas hold, as the columns of these names; None: proved there is none.

        Raises UndecidedError where z3 answers neither in time.
        """
        solver = self.z3.Solver()
        solver.set("timeout", self.milliseconds)
        solver.add(*formulas, *self._within.values())
        answer = solver.check()
        if answer == self.z3.unsat:
            return None
        if answer != self.z3.sat:
            raise UndecidedError(f"not proved: {solver.reason_unknown()}; simplify the conditions or allow more time")
        return self._facts(solver.model(), names)

    def domains(self) -> list[Formula]:
        """What the columns met so far declare of their values."""
        return list(self._within.values())

    def _truth(self, node: Node) -> Truth:
        z3 = self.z3
        if isinstance(node, Literal):
            return Truth(z3.BoolVal(node.value is True), z3.BoolVal(node.value is False))
        if isinstance(node, Column):
            value, known = self._column(node.name)
            return Truth(z3.And(known, value), z3.And(known, z3.Not(value)))
        if isinstance(node, Not):
            true, false = self.truth(node.item)
            return Truth(false, true)
        if isinstance(node, All | AnyOf):
            parts = [self.truth(item) for item in node.items]
            every, some = (z3.And, z3.Or) if isinstance(node, All) else (z3.Or, z3.And)
            return Truth(every([part.true for part in parts]), some([part.false for part in parts]))
        if isinstance(node, IsNull):
            known = self._known(node.item)
            return Truth(z3.Not(known), known)
        if isinstance(node, OneOf):
            value, known = self._value(node.item)
            found = z3.Or([value == self._constant(one) for one in node.values])
            return Truth(z3.And(known, found), z3.And(known, z3.Not(found)))
        if isinstance(node, Compare):
            (left, knows), (right, too) = self._value(node.left), self._value(node.right)
            holds = {"=": left == right, "<>": left != right, "<": left < right, "<=": left <= right,
                     ">": left > right, ">=": left >= right}[node.op]  # fmt: skip
            return Truth(z3.And(knows, too, holds), z3.And(knows, too, z3.Not(holds)))
        raise TypeError(f"{type(node).__name__} is no condition")  # folded: no cell field is left

    def _known(self, node: Node) -> Formula:
        if kind_of(node) == "bool":
            true, false = self.truth(node)
            return self.z3.Or(true, false)
        return self._value(node).known

    def _value(self, node: Node) -> _Value:
        z3 = self.z3
        if isinstance(node, Literal):
            constant = z3.RealVal(0) if node.value is None else self._constant(node.value)
            return _Value(constant, z3.BoolVal(node.value is not None))
        if isinstance(node, Column):
            return self._column(node.name)
        if isinstance(node, Arithmetic):
            left, right = self._value(node.left), self._value(node.right)
            result = {"+": left.value + right.value, "-": left.value - right.value, "*": left.value * right.value}[
                node.op
            ]
            return _Value(result, z3.And(left.known, right.known))
        raise TypeError(f"{type(node).__name__} is no value")  # the parser lets none through

    def _constant(self, value: Scalar) -> Any:
        if isinstance(value, str):
            return self.z3.IntVal(self._texts.setdefault(value, len(self._texts)))
        return self.z3.RealVal(Fraction(float(value or 0.0)))

    def _column(self, name: str) -> _Value:
        if name not in self._columns:
            field, z3 = self.types.field(name), self.z3
            known = z3.Bool(f"{name}?")
            if pa.types.is_boolean(field.type):
                value = z3.Bool(name)
            elif pa.types.is_string(field.type):
                value = z3.Int(f"{name}#")
                self._within[name] = self._text_domain(field, value)
            else:
                value = z3.ToReal(z3.Int(f"{name}#")) if pa.types.is_integer(field.type) else z3.Real(name)
                self._within[name] = _number_domain(z3, field, value)
            self._columns[name] = _Value(value, known)
        return self._columns[name]

    def _text_domain(self, field: pa.Field, value: Any) -> Formula:
        domain = meaning(field, "domain")
        if "|" not in domain:
            return value >= 0
        return self.z3.Or([value == self._constant(text) for text in domain.split("|")])

    def _facts(self, model: Any, names: Iterable[str]) -> Facts:
        facts: Facts = {}
        texts = {place: text for text, place in self._texts.items()}
        for name in sorted(set(names)):
            value, known = self._column(name)
            found = model.eval(value, model_completion=True)
            if not self.z3.is_true(model.eval(known, model_completion=True)):
                facts[name] = None
            elif pa.types.is_boolean(self.types.field(name).type):
                facts[name] = self.z3.is_true(found)
            elif pa.types.is_string(self.types.field(name).type):
                facts[name] = texts.get(found.as_long(), f"another text {found.as_long()}")
            else:
                facts[name] = _float(found)
        return facts


def columns_read(nodes: Iterable[Node]) -> set[str]:
    """Every column the conditions read."""
    return set[str]().union(*(columns_of(node) for node in nodes))


def number_range(field: pa.Field) -> tuple[float | None, float | None, bool, bool] | None:
    """(low, high, low belongs, high belongs) of a declared number; an end of None is open; None: undeclared."""
    domain = meaning(field, "domain")
    if domain[:1] not in ("[", "(") or "," not in domain:
        return None
    low, high = (float(end) if end else None for end in domain[1:-1].split(","))
    return low, high, domain.startswith("["), domain.endswith("]")


def _number_domain(z3: Any, field: pa.Field, value: Any) -> Formula:
    found = number_range(field)
    if found is None:
        return z3.BoolVal(True)
    low, high, low_in, high_in = found
    ends = []
    if low is not None:
        ends.append(value >= Fraction(low) if low_in else value > Fraction(low))
    if high is not None:
        ends.append(value <= Fraction(high) if high_in else value < Fraction(high))
    return z3.And(ends)


def _float(found: Any) -> float:
    """A number of the model; an irrational one (columns multiplied) to 20 digits."""
    if hasattr(found, "as_fraction"):
        return float(found.as_fraction())
    return float(found.approx(20).as_fraction()) if hasattr(found, "approx") else float(found.as_long())


def _z3() -> Any:
    try:
        return import_module("z3")
    except ImportError:
        raise ProverMissingError(
            "proofs need z3, which is not installed: pip install 'next-best-offer[verify]'"
        ) from None
