"""P24: careless edits of the layers that protect are caught by a case or a proof - or are proved to change nothing."""

import random
from datetime import date
from functools import cache

import pytest

from rules.diff import compare
from rules.proofs import prove
from tests import bank
from tests.mutants import Mutant
from tests.rules.test_mutation import EXACT, everything, survivors
from tests.rules.test_proofs import stated, terms

DAY = date(2026, 6, 1)


@cache
def protecting() -> tuple[Mutant, ...]:
    return tuple(m for m in everything() if m.layer in EXACT)


def refuted(mutant: Mutant) -> bool:
    """Whether an invariant that the part keeps fails; columns a changed part no longer brings stay declared."""
    asked = [each for each in stated().invariants if mutant.part in each.kept_by]
    of = bank.terms(day=DAY, policy=mutant.policy, columns=terms().vocabulary)
    return any(proof.outcome == "refuted" for proof in prove(asked, of))


def same(mutant: Mutant) -> bool:
    """Proved: nobody is newly allowed and nobody newly suppressed."""
    found = compare(terms(), bank.terms(day=DAY, policy=mutant.policy))
    return found.only_tightens and found.only_loosens


def assert_caught(chosen: list[Mutant]) -> None:
    alive = survivors(chosen)
    unproved = [m for m in alive if not refuted(m)]
    equivalent = [m for m in unproved if same(m)]
    print(f"{len(chosen)} edits: {len(chosen) - len(alive)} caught by cases, {len(alive) - len(unproved)} by proofs alone,"
          f" {len(equivalent)} proved to change nothing")  # fmt: skip
    assert [(m.part, m.change) for m in unproved if m not in equivalent] == []


def test_p24_a_sample_of_edits_of_the_protecting_layers_is_caught() -> None:
    rng = random.Random(24)
    chosen = [m for layer in EXACT for m in rng.sample([m for m in protecting() if m.layer == layer], 30)]
    equivalent = [m for m in protecting() if (m.part, m.change) == ("no_profiling", "operand 2 dropped")]
    assert_caught(chosen + equivalent)


@pytest.mark.long
def test_p24_every_edit_of_the_protecting_layers_is_caught() -> None:
    assert_caught(list(protecting()))
