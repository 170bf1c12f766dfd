"""Careless edits of the shipped policy: the cases catch them, or a reason says why nothing could."""

import random
from collections import Counter, defaultdict
from functools import cache

import pytest

from rules.cases import load_cases
from rules.policy import with_state
from rules.trial import Trial
from tests import bank
from tests.mutants import Mutant, mutants

# Mutants that change nothing anybody could see, with the reason. (part, change)
EQUIVALENT = {
    ("no_profiling", "operand 2 dropped"): "every offer of the catalogue is personalised, so `offer.personalised` is TRUE in each cell",
    ("senior_wealth", ">= -> ="): "no investment of the catalogue is riskier than grade 3, so at least 3 is 3",
    ("sunday_calls", "from_ 00:00 -> 00:01"): "evening_calls is quiet until 09:00 for the same reason",
    ("sunday_calls", "to 24:00 -> 23:59"): "evening_calls is quiet from 20:00 for the same reason",
}  # fmt: skip
EXACT = ("regulatory", "suppression")


@cache
def trial() -> Trial:
    catalogue = bank.catalogue()
    columns = bank.feature_columns(catalogue)
    cases = load_cases(bank.POLICIES / "retail.cases.yaml", bank.policy(), catalogue, columns)
    return Trial(cases, bank.policy(), catalogue, columns)


@cache
def everything() -> list[Mutant]:
    catalogue = bank.catalogue()
    return list(
        mutants(bank.policy(), catalogue, with_state(bank.feature_columns(catalogue), bank.policy(), catalogue))
    )


def survivors(chosen: list[Mutant]) -> list[Mutant]:
    return [m for m in chosen if next(trial().varied(m.policy).failures(m.part), None) is None]


def assert_killed(chosen: list[Mutant]) -> None:
    """100 % in the layers that protect, 90 % elsewhere, of those that are not listed as equivalent."""
    alive = survivors(chosen)
    told = defaultdict(list)
    for m in alive:
        if (m.part, m.change) not in EQUIVALENT:
            told[m.layer].append(f"{m.part}: {m.change}")
    tried, left = Counter(m.layer for m in chosen), Counter(m.layer for m in alive)
    for layer, n in tried.items():
        same = left[layer] - len(told[layer])
        print(f"{layer}: {n - left[layer]} of {n} killed, {same} equivalent, {len(told[layer])} alive")
        share = 1 - len(told[layer]) / (n - same)
        assert share == 1 if layer in EXACT else share >= 0.9, told[layer]


def test_the_shipped_policy_fails_none_of_its_cases() -> None:
    assert [str(failure) for failure in trial().failures()] == []


def test_a_sample_of_careless_edits_is_caught() -> None:
    rng = random.Random(11)
    by_layer: dict[str, list[Mutant]] = defaultdict(list)
    for m in everything():
        by_layer[m.layer].append(m)
    assert_killed([m for found in by_layer.values() for m in rng.sample(found, min(len(found), 40))])


@pytest.mark.long
def test_every_careless_edit_is_caught() -> None:
    assert_killed(everything())


@pytest.mark.long
def test_what_is_listed_as_equivalent_survives() -> None:
    """A mutant that the cases kill is not equivalent; one that is gone needs no reason."""
    listed = [m for m in everything() if (m.part, m.change) in EQUIVALENT]
    assert {(m.part, m.change) for m in listed} == set(EQUIVALENT)
    assert {(m.part, m.change) for m in survivors(listed)} == set(EQUIVALENT)  # a part may be edited so in two places
