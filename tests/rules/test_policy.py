"""Loading a policy: every mistake is one line with file, line, rule and the nearest right name."""

import re
from pathlib import Path

import pytest

from rules.catalogue import load_catalogue
from rules.errors import CatalogueError, PolicyError
from rules.policy import load_policy
from tests import bank

TEXT = (bank.POLICIES / "retail.yaml").read_text("utf-8")

SPOILED = [
    ("when: deceased\n", "when: deceasd\n", "rule `deceased`: unknown column `deceasd`: did you mean `deceased`?"),
    ("reason: deceased\n", "reason: decesed\n", "`deceased`: unknown reason `decesed`: did you mean `deceased`?"),
    ("    layer: regulatory\n    reason: deceased", "    layer: suitability\n    reason: deceased",
     "rule `deceased`: reason `deceased` belongs to layer `regulatory`, not `suitability`; change one of the two"),
    ("scope: {families: [card, loan, wealth]}", "scope: {families: [card, loan, welth]}",
     "rule `vulnerable_credit`: unknown family `welth`: did you mean `wealth`?"),
    ("scope: {families: [card, loan, wealth]}", "scpe: {families: [card, loan, wealth]}", "`vulnerable_credit`: unknown key `scpe`: did you mean `scope`?"),
    ("    owner: compliance\n    effective: {from: 2024-01-01}\n    when: fraud_lock", "    when: fraud_lock", "`fraud_lock`: `owner` is missing; add it"),
    ("layer: regulatory\n    reason: deceased", "layer: regulatry\n    reason: deceased", "`deceased`: `layer` is `regulatry`: did you mean `regulatory`?"),
    ("direction: outbound}\n    when: consent_marketing_this_channel IN", "direction: outbond}\n    when: consent_marketing_this_channel IN",
     "`opted_out`: `scope.direction` is `outbond`: did you mean `outbound`?"),
    ("effective: {from: 2024-01-01}", "effective: {from: soon}", "`deceased`: `effective.from` is `soon`: "),
    ("when: consent_marketing_this_channel = 'none'", "when: consent_marketing_this_channel = 'non'", "rule `no_consent`: `non` is no value of `consent_marketing_this_channel`: did you mean `none`?"),
    ("when: consent_marketing_this_channel = 'none'", "when: consent_marketing_this_chanel = 'none'", "rule `no_consent`: unknown column `consent_marketing_this_chanel`: did you mean `consent_marketing_"),
    ("outcomes: [ignored]", "outcomes: [ignord]", "`ignored`: `outcomes` is `ignord`: did you mean `ignored`?"),
    ("families: [wealth, deposit]\n    currencies", "families: [welth, deposit]\n    currencies", "rule `outflow`: unknown family `welth`: did you mean `wealth`?"),
    ("never: {family: loan}", "never: {family: laon}", "`borrow_after_saving`: unknown family `laon`: did you mean `loan`?"),
    ("weekdays: [sun]", "weekdays: [son]", "`sunday_calls`: `weekdays` is `son`: did you mean `sun`?"),
    ("max: 2\n    window_days: 7", "max: two\n    window_days: 7", "`cap_sms_week`: `max` is `two`: input should be a valid integer"),
    ("max: 2\n    window_days: 7", "max: -1\n    window_days: 7", "`cap_sms_week`: `max` is `-1`: input should be greater than or equal to 0"),
    ('from: "21:00"', "from: 21", "`night`: `from` is `21`: string should match pattern"),
    ("- id: staff", "- id: deceased", "id `deceased` stands twice; every rule, cap and pause needs its own"),
    ("id: retail\n", "id: retail\nid: other\n", "key `id` stands twice; remove one"),
    ("when: fraud_lock", "when: &x fraud_lock", "anchors (`&`, `*`) are not allowed; write the value out"),
    ("when: fraud_lock", "when: !!python/object fraud_lock", "is not allowed; remove it"),
    ("when: arrears_days > 0", "when: arrears_days > 0 AND staff OR deceased", "rule `in_arrears`: AND and OR mix without parentheses"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), SPOILED)
def test_a_spoiled_policy_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in TEXT
    path = tmp_path / "retail.yaml"
    path.write_text(TEXT.replace(old, new, 1), "utf-8")
    with pytest.raises(PolicyError) as refused:
        load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))
    line = str(refused.value)
    assert said in line
    assert line.startswith(f"{path}:")
    assert "\n" not in line


def test_the_line_named_is_the_line_of_the_mistake(tmp_path: Path) -> None:
    path = tmp_path / "retail.yaml"
    path.write_text(TEXT.replace("when: fraud_lock", "when: fraud_lck"), "utf-8")
    wanted = path.read_text("utf-8").splitlines().index("    when: fraud_lck") + 1
    with pytest.raises(PolicyError, match=f":{wanted}: rule `fraud_lock`"):
        load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))


@pytest.mark.parametrize("text", ["", "[", "a: [" * 40, "\x00", "id: x", "- a", "a: " + "b" * 1_100_000])
def test_what_is_no_policy_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert "\n" not in str(refused.value)


def test_words_that_yaml_would_turn_into_numbers_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "retail.yaml"
    path.write_text(TEXT.replace('from: "21:00"', "from: 21:00").replace('to: "08:00"', "to: 08:00"), "utf-8")
    assert load_policy(path).revision == load_policy(bank.POLICIES / "retail.yaml").revision


def test_equal_content_has_equal_revision_and_a_changed_constant_another(tmp_path: Path) -> None:
    path = tmp_path / "retail.yaml"
    path.write_text(TEXT + "\n# a comment changes nothing\n", "utf-8")
    shipped = load_policy(bank.POLICIES / "retail.yaml")
    assert load_policy(path).revision == shipped.revision
    path.write_text(TEXT.replace("max: 2\n", "max: 3\n", 1), "utf-8")
    assert load_policy(path).revision != shipped.revision


def test_both_shipped_policies_load() -> None:
    assert len(bank.policy().lowered(bank.catalogue())) >= 25
    catalogue = load_catalogue(bank.POLICIES / "coupons.catalogue.yaml")
    assert load_policy(bank.POLICIES / "coupons.yaml").lowered(catalogue)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("family: wealth\n", "family: welth\n", "offer `wealth_usd_income`: no family `welth`"),
    ("channels: [app, call, branch]", "channels: [app, fax]", "offer `retention_bonus`: no channel `fax`"),
    ("- id: card_cashback", "- id: card_gold", "offer `card_gold` stands twice"),
    ("    currency: USD\n    entry_minor: 500000", "    entry_minor: 500000", "offer `wealth_usd_income`: entry_minor without currency"),
    ("offer: deposit_usd_6m, channel: sms", "offer: wealth_eur_bond, channel: sms", "is not on channel `sms`"),
])  # fmt: skip
def test_a_contradictory_catalogue_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (bank.POLICIES / "retail.catalogue.yaml").read_text("utf-8")
    assert old in text
    path = tmp_path / "catalogue.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(CatalogueError) as refused:
        load_catalogue(path)
    assert said in str(refused.value)


def test_every_part_names_a_paragraph_of_the_contact_policy_and_every_paragraph_has_a_part() -> None:
    text = (Path(__file__).parents[2] / "docs" / "contact-policy.md").read_text("utf-8")
    paragraphs = re.findall(r"^- \*\*(§\d+\.\d+)", text, re.MULTILINE)
    assert set(paragraphs) == {part.source for part in bank.policy().parts}
    assert len(set(paragraphs)) == len(paragraphs)


def test_every_part_speaks_both_languages_and_says_since_when() -> None:
    assert 30 <= len(bank.policy().rules) <= 40
    assert {str(rule.layer) for rule in bank.policy().rules} == {
        "regulatory", "eligibility", "suitability", "suppression", "contact", "campaign"}  # fmt: skip
    for part in bank.policy().parts:
        assert part.explanation, part.id
        assert part.effective.from_, part.id
        for words in (part.title, part.explanation):
            assert re.search(r"[\u4e00-\u9fff]", words.zh), part.id
            assert not re.search(r"[\u4e00-\u9fff]", words.en), part.id
