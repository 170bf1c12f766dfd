"""The grid of places against the prover with its arithmetic: one answer to each question."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rules.column import declare
from rules.grid import Grid
from rules.language import Language
from rules.prove import Prover, UndecidedError
from rules.tree import Node, fold
from tests import bank
from tests.conditions import CONDITION, WIDE, WIDE_LANGUAGE


def column(name: str, type_: pa.DataType, domain: str = "") -> pa.Field:
    return declare(name, type_, unit="", null="", source="", en=name, zh=name, domain=domain)


TYPES = pa.schema([column("a", pa.float64(), "[0,2.5)"), column("b", pa.float64(), "(1,)"), column("c", pa.float64()), column("n", pa.int64(), "(0,4)"),
                   column("m", pa.int64()), column("flag", pa.bool_()), column("word", pa.string(), "x|y|z"), column("free", pa.string())])  # fmt: skip
LANGUAGE = Language(TYPES, bank.catalogue())
ATOMS = st.one_of(
    st.tuples(st.sampled_from("abcnm"), st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), st.sampled_from(["0", "1", "2", "2.5", "3", "4", "-1"]))
    .map(" ".join),
    st.tuples(st.sampled_from(["0", "1", "2.5"]), st.sampled_from(["<", ">="]), st.sampled_from("abcnm")).map(" ".join),
    st.sampled_from(["flag", "word = 'x'", "word <> 'y'", "word IN ('x', 'z')", "free = 'p'", "free <> 'q'", "free IN ('p', 'r')", "a IN (0, 2.5)",
                     "n IN (1, 3)", "a IS NULL", "word IS NOT NULL", "n BETWEEN 1 AND 2", "m BETWEEN 0 AND 1"]),
)  # fmt: skip
SAID = st.recursive(ATOMS, lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"(({t[0]}) {t[1]} ({t[2]}))"), inner.map(lambda t: f"NOT ({t})")), max_leaves=5)  # fmt: skip


def answers(nodes: list[Node], types: pa.Schema) -> Iterator[tuple[bool, bool]]:
    """(the grid's answer, the prover's) to each kind of question."""
    grid, prover = Grid(types, nodes, 5.0), Prover(types)
    truth = [prover.truth(node) for node in nodes]
    first, second, third = nodes
    for true, false, open_ in (([first], [second], []), ([], [first, second], [third]), ([first, second], [], []), ([], [first], [second, third])):  # fmt: skip
        wanted = [*(truth[nodes.index(n)].true for n in true), *(truth[nodes.index(n)].false for n in false)]
        wanted += [prover.z3.Or([prover.z3.Not(truth[nodes.index(n)].false) for n in open_])] if open_ else []
        yield grid.some(true=true, false=false, not_false=open_), prover.find(wanted, ()) is not None


@given(st.lists(SAID, min_size=3, max_size=3))
@settings(max_examples=120, deadline=None)
def test_columns_that_meet_constants_alone(said: list[str]) -> None:
    nodes = [LANGUAGE.parse(text) for text in said]
    grid = Grid(TYPES, nodes, 5.0)
    assert not grid._mixed
    assert all(ours == theirs for ours, theirs in answers(nodes, TYPES))


@given(st.lists(CONDITION, min_size=3, max_size=3), st.integers(0, 20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_columns_that_meet_each_other_and_are_added_up(said: list[str], cell: int) -> None:
    facts = WIDE_LANGUAGE.cells[cell % len(WIDE_LANGUAGE.cells)]
    nodes = [fold(WIDE_LANGUAGE.parse(text), facts) for text in said]
    try:
        assert all(ours == theirs for ours, theirs in answers(nodes, WIDE))
    except UndecidedError:
        assume(False)  # products of columns: neither is asked to know


@pytest.mark.parametrize("law", ["_ordered", "_one_word"])
def test_the_mutant_without_a_law_is_seen(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grid, law, lambda *_: iter(()))
    nodes = [LANGUAGE.parse(text) for text in ("c > 3", "c > 1", "word = 'x' AND word = 'y'")]
    found = list(answers(nodes, TYPES))
    grid = Grid(TYPES, nodes, 5.0)
    wrong = [ours != theirs for ours, theirs in found] + [grid.some(true=[nodes[2]])]
    assert any(wrong)
