"""The shipped invariants: proved of the shipped policy, refuted - with a real customer - of every spoiled copy."""

from datetime import date
from functools import cache
from typing import Any

import pytest

from rules.invariants import Invariant, Invariants, load_invariants
from rules.language import Language
from rules.policy import ContactPolicy
from rules.proofs import Proof, prove, rule_days
from rules.prove import Prover, UndecidedError
from rules.rule import Effective, Rule
from rules.terms import Terms
from tests import bank, oracle

DAY = date(2026, 6, 1)
SECTIONS = ("rules", "caps", "cool_offs", "event_suppressions", "orders", "quiet_hours")


@cache
def stated() -> Invariants:
    return load_invariants(bank.POLICIES / "retail.invariants.yaml", bank.policy(), bank.catalogue(), terms().columns)


@cache
def terms() -> Terms:
    return bank.terms(day=DAY)


def without(part: str) -> ContactPolicy:
    policy = bank.policy()
    return policy.model_copy(update={s: tuple(p for p in getattr(policy, s) if p.id != part) for s in SECTIONS})


def with_columns_of_shipped(policy: ContactPolicy) -> Terms:
    """A cap or pause that is gone takes its column along; the claim still names it, so it stays declared."""
    return bank.terms(day=DAY, policy=policy, columns=terms().vocabulary)


def proved(invariant: Invariant, of: Terms) -> Proof:
    [proof] = prove([invariant], of)
    return proof


def assert_broken(proof: Proof, of: Terms) -> None:
    """The witness, cell by cell and rule by rule, without folding: open, and the claim is not TRUE."""
    assert proof.outcome == "refuted", proof.note
    seen = proof.witness
    assert seen
    row: dict[str, Any] = (
        dict.fromkeys(of.vocabulary.names)
        | seen.facts
        | {"direction": seen.direction, "channels": None, "unit_id": "-"}
    )
    cell = of.catalogue.cell(seen.offer, seen.channel)
    assert oracle.closing(row, cell, of) == set()
    language = Language(of.vocabulary, of.catalogue)
    assert oracle.evaluate(language.parse(proof.invariant.open_only_if), row, language.cells[cell]) is not True
    assert seen.words(language, "en") != seen.words(language, "zh")


def test_p24_every_shipped_invariant_is_proved() -> None:
    proofs = list(prove(stated().invariants, terms()))
    assert len(proofs) >= 20
    assert [p.invariant.id for p in proofs if p.outcome != "proved"] == []
    assert all(p.seconds > 0 for p in proofs)


SPOILED = [(invariant.id, part) for invariant in stated().invariants for part in invariant.kept_by]


@pytest.mark.parametrize(("name", "part"), SPOILED)
def test_p24_an_invariant_fails_without_any_part_that_keeps_it(name: str, part: str) -> None:
    """The mutant: the policy without the part."""
    [invariant] = [each for each in stated().invariants if each.id == name]
    of = with_columns_of_shipped(without(part))
    assert_broken(proved(invariant, of), of)


def test_every_invariant_names_what_keeps_it_or_a_switch() -> None:
    assert all(each.kept_by or each.paused for each in stated().invariants)


@pytest.mark.parametrize("name", [each.id for each in stated().invariants if each.paused])
def test_what_a_switch_keeps_fails_without_it(name: str) -> None:
    """The mutant: an engine that does not hear the switch."""
    [invariant] = [each for each in stated().invariants if each.id == name]
    assert_broken(proved(invariant.model_copy(update={"paused": ()}), terms()), terms())


def test_a_careless_edit_of_the_quiet_hours_is_told_with_a_customer() -> None:
    late = bank.policy().quiet_hours[0].model_copy(update={"from_": "22:00"})
    of = bank.terms(
        day=DAY, policy=bank.policy().model_copy(update={"quiet_hours": (late, *bank.policy().quiet_hours[1:])})
    )
    [invariant] = [each for each in stated().invariants if each.id == "quiet_at_night"]
    proof = proved(invariant, of)
    assert_broken(proof, of)
    assert proof.witness
    assert 1260 <= float(proof.witness.facts["local_minute"] or 0) < 1320
    assert "local time of sending is 21:" in proof.witness.words(Language(of.vocabulary, of.catalogue), "en")


def test_a_rule_that_ends_one_day_keeps_nothing_from_then_on() -> None:
    def ended(rule: Rule) -> Rule:
        return (
            rule.model_copy(update={"effective": Effective.model_validate({"to": "2026-09-30"})})
            if rule.id == "staff"
            else rule
        )

    policy = bank.policy().model_copy(update={"rules": tuple(map(ended, bank.policy().rules))})
    assert rule_days(policy, DAY) == [DAY, date(2026, 10, 1)]
    assert rule_days(policy, None) == [None]
    [invariant] = [each for each in stated().invariants if each.id == "staff_scheme"]
    proof = proved(invariant, bank.terms(day=DAY, policy=policy))
    assert (proof.outcome, proof.day) == ("refuted", date(2026, 10, 1))


def test_what_is_not_decided_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(*_: object) -> None:
        raise UndecidedError("not proved: timeout")

    monkeypatch.setattr(Prover, "find", tired)
    proof = proved(stated().invariants[0], terms())
    assert (proof.outcome, proof.witness, proof.note) == ("unknown", None, "not proved: timeout")


def test_a_customer_the_engine_does_not_see_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed: a witness shown unasked."""
    monkeypatch.setattr("rules.proofs.is_open", lambda *_: False)
    [invariant] = [each for each in stated().invariants if each.id == "staff_scheme"]
    assert proved(invariant, with_columns_of_shipped(without("staff"))).outcome == "unknown"
