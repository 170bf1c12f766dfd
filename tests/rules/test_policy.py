"""Loading a policy: every mistake is one line with file, line, rule and the nearest right name."""

from pathlib import Path

import pytest

from rules.catalogue import load_catalogue
from rules.errors import CatalogueError, PolicyError
from rules.policy import load_policy
from tests import bank

TEXT = (bank.POLICIES / "retail.yaml").read_text("utf-8")

SPOILED = [
    ("when: deceased\n", "when: deceasd\n", "rule `deceased`: unknown column `deceasd`: did you mean `deceased`?"),
    ("reason: deceased\n", "reason: decesed\n", "`deceased`: unknown reason `decesed`"),
    ("    layer: regulatory\n    reason: deceased", "    layer: suitability\n    reason: deceased",
     "rule `deceased`: reason `deceased` belongs to layer `regulatory`, not `suitability`; change one of the two"),
    ("scope: {families: [card, loan, wealth]}", "scope: {families: [card, loan, welth]}",
     "rule `vulnerable_credit`: unknown family `welth`: did you mean `wealth`?"),
    ("scope: {families: [card, loan, wealth]}", "scpe: {families: [card, loan, wealth]}", "`vulnerable_credit`: unknown key `scpe`: did you mean `scope`?"),
    ("    owner: compliance\n    when: fraud_lock", "    when: fraud_lock", "`fraud_lock`: `owner` is missing; add it"),
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
