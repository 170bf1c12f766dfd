"""What a policy looks back at is kept: windows longer than that are refused with a line, never cut short."""

from pathlib import Path

import pytest

from features.home import Home
from rules.catalogue import load_catalogue
from rules.errors import RulesError
from rules.facts import DAY_MICROS
from rules.policy import load_policy
from rules.state import look_back
from serving.engine import Engine
from serving.ledger.book import micros
from serving.ledger.retention import COUNTED_DAYS, FOLDED_DAYS
from tests.home import NOW

POLICY = Path("policies/retail.yaml")
STATED = "title: {{en: Test., zh: 测试。}}, source: test, owner: test"
# Section, what stands there first of its kind -> a part, as long as may be and too long, and what is said of it.
CAP = f"{{{{id: t_cap, reason: cap_channel, {STATED}, max: 3, window_days: {{}}}}}}"
PAUSE = f"{{{{id: t_pause, reason: recently_refused, {STATED}, outcomes: [refused], count: 2, within_days: {{}}, lasts_days: 365}}}}"
IGNORED = f"{{{{id: t_ignored, reason: recently_refused, {STATED}, outcomes: [ignored], count: 2, within_days: {{}}, lasts_days: 365}}}}"
ORDER = f"{{{{id: t_order, reason: wrong_order, {STATED}, never: {{{{family: loan}}}}, with: {{{{family: card}}}}, within_days: {{}}}}}}"
ONLY = f"{{{{id: t_only, reason: not_yet_due, {STATED}, only: {{{{family: loan}}}}, after: {{{{family: card}}}}, once: accepted, within_days: {{}}}}}}"
EVENT = (f"{{{{id: t_out, reason: recent_outflow, {STATED}, event: {{{{days: 90, share: 0.5}}}}, families: [wealth], currencies: [USD], lasts_days: 365,"
         " lengthened: {{by_days: 10, at_most_days: 100, within_days: {}, after_days: 30}}}}")  # fmt: skip
PARTS = {
    "cap": ("caps", CAP, 730, 731, "less than or equal to 730"),
    "pause": ("cool_offs", PAUSE, 365, 366, "pause `t_pause`: looks 731 days back; the ledger is read for 730"),
    "ignored": ("cool_offs", IGNORED, 358, 359, "pause `t_ignored`: looks 731 days back; the ledger is read for 730"),
    "order": ("orders", ORDER, 730, 731, "less than or equal to 730"),
    "precedent": ("orders", ONLY, 730, 731, "less than or equal to 730"),
    "event": (
        "event_suppressions",
        EVENT,
        235,
        236,
        "suppression `t_out`: looks 731 days back, `lengthened` included; the ledger is read for 730",
    ),
}


def with_part(bank: Path, section: str, part: str, days: int) -> Path:
    path = bank / POLICY
    text = path.read_text("utf-8")
    assert f"\n{section}:\n" in text
    path.write_text(text.replace(f"\n{section}:\n", f"\n{section}:\n  - {part.format(days)}\n", 1), "utf-8")
    return path


@pytest.mark.parametrize("name", PARTS)
def test_a_window_longer_than_the_ledger_is_read_is_refused_with_a_line(bank: Path, name: str) -> None:
    section, part, _, too_long, said = PARTS[name]
    with_part(bank, section, part, too_long)
    with pytest.raises(RulesError) as refused:
        Engine.open(Home.open(bank))
    line = str(refused.value)
    assert said in line and "retail.yaml:" in line and "\n" not in line


@pytest.mark.parametrize("name", PARTS)
def test_the_longest_window_that_is_taken_is_read_and_kept(bank: Path, name: str) -> None:
    """In days before a contact: what a decision and a list read, what retention keeps, what the fold of a late event sees."""
    section, part, longest, _, _ = PARTS[name]
    path = with_part(bank, section, part, longest)
    catalogue = load_catalogue(bank / "catalogue.yaml")
    policy = load_policy(path, catalogue, Engine.open(Home.open(bank)).store.schema)
    since = look_back(policy, catalogue, micros(NOW))
    days = (micros(NOW) - since) / DAY_MICROS
    assert 30 < days <= COUNTED_DAYS
    assert max(rule.reach_days for rule in policy.event_suppressions) <= FOLDED_DAYS


def test_a_rule_over_a_window_that_no_feature_has_is_refused_with_a_line(bank: Path) -> None:
    path = bank / POLICY
    path.write_text(path.read_text("utf-8").replace("when: deceased\n", "when: purchase_sum_1000d > 0\n", 1), "utf-8")
    with pytest.raises(RulesError, match=r"retail\.yaml:\d+.*`purchase_sum_1000d`.*did you mean `purchase_sum_"):
        Engine.open(Home.open(bank))
