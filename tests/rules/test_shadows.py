"""What a policy holds in vain: planted and found, nothing else is named."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from rules.diff import compare
from rules.grid import Grid
from rules.policy import ContactPolicy
from rules.prove import UndecidedError
from rules.rule import Rule
from rules.shadows import find_shadows
from rules.terms import Audience, Terms
from tests import bank

DAY = date(2026, 6, 1)


def rule(name: str, when: str, **scope: Any) -> Rule:
    said = {"id": name, "layer": "eligibility", "reason": "not_served", "title": {"en": name, "zh": name}, "source": "test",
            "owner": "test", "when": when, "scope": scope}  # fmt: skip
    return Rule.model_validate(said)


def planted(*rules: Rule) -> Terms:
    policy: ContactPolicy = bank.policy()
    return bank.terms(day=DAY, policy=policy.model_copy(update={"rules": (*policy.rules, *rules)}))


def test_nothing_of_the_shipped_policy_is_in_vain() -> None:
    found = find_shadows(bank.terms(day=DAY))
    assert (found.dead, found.always, found.shadowed, found.closed, found.idle_campaigns, found.undecided) == (
        [],
        [],
        [],
        [],
        [],
        [],
    )


def test_planted_rules_are_found_and_no_others() -> None:
    """Three kinds planted, four found; a rule that a shadowed one seems to shadow stays."""
    of = planted(rule("dead", "age_years > 5 AND age_years < 5"), rule("dead_by_domain", "local_minute >= 1440"),
                 rule("always", "age_years IS NULL OR age_years = age_years", offers=["card_gold"], channels=["sms"]),
                 rule("shadowed", "kind = 'person' AND age_years < 16"), rule("twice", "tenure_days < 30", families=["insurance"]),
                 rule("twice_again", "tenure_days < 30", families=["insurance"]))  # fmt: skip
    found = find_shadows(of)
    assert found.dead == ["dead", "dead_by_domain"]
    assert found.always == ["always"]
    assert found.shadowed == ["shadowed", "twice_again"]
    assert found.closed == ["card_gold x sms, outbound", "card_gold x sms, inbound"]


def test_without_the_shadowed_nothing_opens() -> None:
    extra = (rule("shadowed", "kind = 'person' AND age_years < 16"), rule("twice", "staff AND vulnerable"))
    found = find_shadows(planted(*extra))
    assert found.shadowed == ["shadowed", "twice"]
    assert compare(planted(*extra), bank.terms(day=DAY)).only_tightens


def test_a_campaign_that_reaches_nobody_is_named() -> None:
    def campaign(name: str, when: str) -> Audience:
        return Audience(name, ("card_gold",), ("sms", "app"), when)

    of = replace(
        bank.terms(day=DAY),
        audiences=(campaign("young", "kind = 'person' AND age_years < 18"), campaign("all", "TRUE")),
    )
    found = find_shadows(of)
    assert found.idle_campaigns == ["young"]
    assert found.closed == []


def test_what_the_prover_cannot_decide_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(*_: object, **__: object) -> None:
        raise UndecidedError("not proved: timeout")

    monkeypatch.setattr(Grid, "some", tired)
    found = find_shadows(bank.terms(day=DAY))
    assert "staff" in found.undecided
    assert found.dead == []
