"""The semantic diff against brute force: who is said to be newly allowed is, and where nobody is, nobody is found."""

import random
from datetime import date
from functools import cache

import numpy as np
import pytest

from rules.catalogue import Catalogue
from rules.diff import compare, merged_columns
from rules.errors import PolicyError
from rules.line import Line
from rules.policy import with_state
from rules.prove import Prover, UndecidedError
from rules.suppress import suppress
from rules.terms import Terms
from tests import bank, oracle
from tests.mutants import Mutant, mutants
from tests.rules.test_proofs import without

DAY = date(2026, 6, 1)


@cache
def everything() -> list[Mutant]:
    catalogue = bank.catalogue()
    return list(
        mutants(bank.policy(), catalogue, with_state(bank.feature_columns(catalogue), bank.policy(), catalogue))
    )


def of(mutant: Mutant) -> Terms:
    return bank.terms(day=DAY, policy=mutant.policy)


def closed_by_oracle(terms: Terms, change_row: dict[str, object], cell: int) -> bool:
    return oracle.closing(change_row, cell, terms) != set()


def test_a_policy_and_itself_differ_in_nothing() -> None:
    found = compare(bank.terms(day=DAY), bank.terms(day=DAY))
    assert (found.text, found.allowed, found.suppressed, found.only_tightens, found.only_loosens) == (
        [],
        [],
        [],
        True,
        True,
    )


def test_an_added_rule_only_tightens_and_a_removed_one_only_loosens() -> None:
    shipped, spoiled = bank.terms(day=DAY), bank.terms(day=DAY, policy=without("staff"))
    added, removed = compare(spoiled, shipped), compare(shipped, spoiled)
    assert (added.only_tightens, added.only_loosens) == (True, False)
    assert (removed.only_tightens, removed.only_loosens) == (False, True)
    [change] = removed.allowed
    assert (change.part, change.example.facts["staff"]) == ("staff", True)
    assert len(change.cells) == len(removed.allowed[0].cells) == 94
    assert removed.text == [Line(en="part `staff` removed", zh="条款 `staff` 已删除")]


@pytest.mark.parametrize("seed", range(2))
def test_differences_hold_before_the_oracle_and_for_a_population(seed: int) -> None:
    """Killed: the two sides exchanged, `only_tightens` without asking every cell."""
    shipped = bank.terms(day=DAY)
    for mutant in random.Random(seed).sample([m for m in everything() if m.change != "removed"], 4):
        changed = of(mutant)
        if set(changed.state_schema.names) - set(shipped.vocabulary.names):
            continue  # a cap of another length counts in another column
        found = compare(shipped, changed)
        assert found.undecided == []
        for change, closed, opened in [(c, shipped, changed) for c in found.allowed] + [
            (c, changed, shipped) for c in found.suppressed
        ]:
            seen = change.example
            names = {*shipped.vocabulary.names, *changed.vocabulary.names}
            row = dict.fromkeys(names) | seen.facts | {"direction": seen.direction, "channels": None, "unit_id": "-"}
            cell = opened.catalogue.cell(seen.offer, seen.channel)
            assert oracle.closing(row, cell, opened) == set()
            assert closed_by_oracle(closed, row, cell)
        rows = bank.population(shipped, 300, seed)
        was, now = (
            suppress(bank.customers_batch(t, [bank.welcome(t) | row for row in rows]), t).open
            for t in (shipped, changed)
        )
        assert not (found.only_tightens and np.any(now & ~was)), mutant
        assert not (found.only_loosens and np.any(was & ~now)), mutant


def test_a_new_offer_is_newly_allowed_and_its_text_told() -> None:
    catalogue = bank.catalogue()
    twin = catalogue.offers[5].model_copy(update={"id": "card_black"})
    told = catalogue.model_dump() | {"offers": [offer.model_dump() for offer in (*catalogue.offers, twin)]}
    larger = bank.terms(day=DAY, catalogue=Catalogue.model_validate(told))
    found = compare(bank.terms(day=DAY), larger)
    assert Line(en="offer `card_black` added", zh="产品 `card_black` 新增") in found.text
    assert {change.part for change in found.allowed} == {"catalogue"}
    assert all(cell.startswith("card_black x ") for cell in found.allowed[0].cells)


def test_undecided_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(*_: object) -> None:
        raise UndecidedError("not proved: timeout")

    monkeypatch.setattr(Prover, "find", tired)
    found = compare(bank.terms(day=DAY, policy=without("staff")), bank.terms(day=DAY))
    assert not found.only_tightens or not found.only_loosens
    assert found.undecided


def test_columns_of_two_types_are_not_compared() -> None:
    left = bank.terms().vocabulary
    place = left.get_field_index("staff")
    with pytest.raises(PolicyError, match="column `staff` is bool in the one and double in the other"):
        merged_columns(left, left.set(place, left.field("age_years").with_name("staff")))
