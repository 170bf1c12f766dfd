"""The prover's formulas against the closures and the oracle: one truth for each condition and customer."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules import prove
from rules.closures import closure
from rules.prove import Prover, ProverMissingError, UndecidedError, _float
from rules.tree import Arithmetic, Compare, fold, walk
from tests.conditions import CONDITION, NUMBERS, ROWS, WIDE, WIDE_LANGUAGE
from tests.oracle import evaluate

EXACT = st.one_of(st.none(), st.sampled_from([0.0, 1.0, -1.0, 2.5, 2.0, -3.0, 500_000.0]))
WIDE_ROWS = st.tuples(ROWS, st.fixed_dictionaries(dict.fromkeys(WIDE.names[-6:], NUMBERS)))
EXACT_ROWS = st.tuples(
    ROWS, st.fixed_dictionaries({f.name: EXACT for f in WIDE if f.type != "bool" and f.type != "string"})
)


def formula_says(node: Any, row: dict[str, Any], prover: Prover) -> bool | None:
    """The two formulas with the customer put in."""
    z3, (true, false) = prover.z3, prover.truth(node)
    pairs = []
    for name, (value, known) in prover._columns.items():
        pairs.append((known, z3.BoolVal(row[name] is not None)))
        told = row[name]
        if told is not None:
            inner = value.arg(0) if value.decl().name() == "to_real" else value
            constant = z3.BoolVal(told) if isinstance(told, bool) else prover._constant(told)
            pairs.append((inner, z3.IntVal(int(told)) if inner is not value else constant))
    said = [z3.is_true(z3.simplify(z3.substitute(part, *pairs))) for part in (true, false)]
    assert said != [True, True]
    return True if said[0] else False if said[1] else None


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in row.items()}


def agree(text: str, row: dict[str, Any], cell: int) -> None:
    facts = WIDE_LANGUAGE.cells[cell]
    parsed = WIDE_LANGUAGE.parse(text)
    node = fold(parsed, facts)
    truth = formula_says(node, row, Prover(WIDE))
    assert truth is closure(node)(row)
    assert truth is evaluate(parsed, row, facts)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(CONDITION, WIDE_ROWS, st.integers(0, 49))
def test_formula_closure_and_oracle_agree_for_every_float_where_nothing_is_computed(
    text: str, rows: Any, cell: int
) -> None:
    """Killed: IS NULL negated, OR's FALSE as some instead of every part, `<>` true of unknown texts."""
    if any(isinstance(part, Arithmetic) for part in walk(fold(WIDE_LANGUAGE.parse(text), WIDE_LANGUAGE.cells[cell]))):
        return
    agree(text, plain(rows[0] | rows[1]), cell)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONDITION, EXACT_ROWS, st.sampled_from([0, 6, 11, 24, 45]))
def test_formula_closure_and_oracle_agree_on_arithmetic_that_is_exact(text: str, rows: Any, cell: int) -> None:
    agree(text, plain(rows[0] | rows[1] | {"n": 3}), cell)


@pytest.mark.parametrize("mutant", ["<", "<=", "true of unknown", "null is known"])
def test_a_wrong_translation_disagrees(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The differential test would see it: planted mistakes give another truth for one of a few rows."""
    real = Prover._truth

    def wrong(self: Prover, node: Any) -> Any:
        found = real(self, node)
        if isinstance(node, Compare):
            if mutant in ("<", "<="):
                return real(self, Compare(mutant, node.left, node.right))
            if mutant == "true of unknown":
                return prove.Truth(self.z3.Not(found.false), found.false)
        elif mutant == "null is known":
            return prove.Truth(found.false, found.true)
        return found

    monkeypatch.setattr(Prover, "_truth", wrong)
    rows: list[dict[str, Any]] = [{"a": 1.0}, {"a": 2.0}, {"a": 3.0}, {"a": None}]
    nodes = [WIDE_LANGUAGE.parse(text) for text in ("a > 2", "a >= 2", "a IS NULL")]
    assert any(formula_says(node, row, Prover(WIDE)) is not closure(node)(row) for node in nodes for row in rows)


def test_a_customer_is_found_within_the_domains_or_proved_not_to_be() -> None:
    prover = Prover(WIDE)
    node = WIDE_LANGUAGE.parse("a > 1 AND kind <> 'person' AND n = 2 AND flag")
    facts = prover.find([prover.truth(node).true], ["a", "kind", "n", "flag", "done"])
    assert facts
    assert closure(node)(facts) is True
    assert (facts["kind"], facts["n"]) == ("corporate", 2.0)
    never = WIDE_LANGUAGE.parse("kind <> 'person' AND kind <> 'corporate'")
    assert prover.find([prover.truth(never).true], []) is None


def test_what_takes_too_long_is_undecided() -> None:
    prover = Prover(WIDE, seconds=0.001)
    power = "((((((a * a) * a) * b) * b) * a) * n) + (((a * b) * n) * ((n * n) * b))"
    node = WIDE_LANGUAGE.parse(f"{power} = 7919.5 AND ({power}) * b > a * a AND ((a * a) * a) * a = b + 3.7")
    with pytest.raises(UndecidedError, match="not proved"):
        prover.find([prover.truth(node).true], ["a"])


def test_an_irrational_number_becomes_the_float_beside_it() -> None:
    prover = Prover(WIDE)
    facts = prover.find([prover.truth(WIDE_LANGUAGE.parse("a * a = 2 AND a > 0")).true], ["a"])
    assert facts
    assert facts["a"] == pytest.approx(math.sqrt(2), abs=1e-15)
    assert _float(prover.z3.RealVal("0.6")) == 0.6


def test_without_the_prover_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(prove, "import_module", missing)
    with pytest.raises(ProverMissingError, match=r"next-best-offer\[verify\]"):
        Prover(WIDE)
