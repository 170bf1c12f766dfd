"""Cases: strict loading, the exact set of reasons, and careless edits named by check or cases."""

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from rules.cases import Cases, load_cases
from rules.errors import PolicyError
from rules.policy import ContactPolicy, load_policy
from rules.reasons import ReasonCode
from rules.trial import NOW, SELF, Trial
from rules.types import CUSTOMERS
from rules.why import why_closed
from tests import bank
from tests.oracle import closing

FILE = bank.POLICIES / "retail.cases.yaml"
TEXT = FILE.read_text("utf-8")
POLICY = (bank.POLICIES / "retail.yaml").read_text("utf-8")


@cache
def shipped() -> Cases:
    return load_cases(FILE, bank.policy(), bank.catalogue(), bank.feature_columns(bank.catalogue()))


def trial(policy: ContactPolicy | None = None) -> Trial:
    return Trial(shipped(), policy or bank.policy(), bank.catalogue(), bank.feature_columns(bank.catalogue()))


def test_every_part_fires_just_does_not_fire_and_is_unknown_in_some_case() -> None:
    assert trial().gaps() == []
    assert {case.about for case in shipped().cases} == {part.id for part in bank.policy().parts}


def test_every_case_and_decision_holds() -> None:
    assert [str(failure) for failure in (*trial().failures(), *trial().decision_failures())] == []


def test_the_baseline_customer_may_hear_of_everything() -> None:
    found, catalogue = trial(), bank.catalogue()
    found.check_baseline()
    row = found.row(shipped().cases[0].history, {})
    for direction, cell in product(("outbound", "inbound"), range(catalogue.n_cells)):
        offer, channel = divmod(cell, len(catalogue.channels))
        on = catalogue.channels[channel].id in catalogue.offers[offer].channels
        assert set(found.reasons(row, cell, direction)) == (set() if on else {ReasonCode.OFFER_NOT_ON_CHANNEL})


def test_the_trial_the_oracle_and_why_agree_on_every_cell_of_every_case() -> None:
    found, terms, catalogue = trial(), bank.terms(), bank.catalogue()
    for case in shipped().cases[::7]:
        row = found.row(case.history, case.customer)
        for direction, cell in product(case.directions, case.cells(catalogue)):
            whole = row | dict.fromkeys((*CUSTOMERS.names, "time_zone")) | {
                "customer_id": SELF, "unit_id": SELF, "direction": direction, "as_of": NOW}  # fmt: skip
            reasons = set(found.reasons(row, cell, direction))
            assert reasons == closing(whole, cell, terms), case.id
            closings = why_closed(bank.customers_batch(terms, [whole]), terms, cell)
            assert reasons == {closing.reason for closing in closings}, case.id


SPOILED: list[tuple[Callable[[str], str], str]] = [
    (lambda t: t.replace("deceased_yes, about: deceased", "deceased_yes, about: decesed"), "case `deceased_yes`: no part of the policy `decesed`: did you mean `deceased`?"),
    (lambda t: t.replace("customer: {age_years: 17}", "customer: {age_yers: 17}", 1), "case `aged_17`: unknown column `age_yers`: did you mean `age_years`?"),
    (lambda t: t.replace("customer: {age_years: 17}", "customer: {age_years: young}", 1), "case `aged_17`: `age_years` is `young`; write a number or unknown"),
    (lambda t: t.replace("customer: {deceased: yes}", "customer: {deceased: ja}", 1), "case `deceased_yes`: `deceased` is `ja`; write yes, no or unknown"),
    (lambda t: t.replace("consent_marketing_app: withdrawn}", "consent_marketing_app: withdrown}", 1), "case `withdrawn_app`: `withdrown` is no value of `consent_marketing_app`: did you mean `withdrawn`?"),
    (lambda t: t.replace("channels: [app], expect: [deceased]", "channels: [ap], expect: [deceased]", 1), "case `deceased_yes`: no channel `ap`: did you mean `app`?"),
    (lambda t: t.replace("families: [card, loan, wealth], channels", "families: [card, lon, wealth], channels", 1), "case `vulnerable_obligations`: no family `lon`: did you mean `loan`?"),
    (lambda t: t.replace("offers: [card_gold], channels", "offers: [card_gld], channels", 1), "case `has_gold`: no offer `card_gld`: did you mean `card_gold`?"),
    (lambda t: t.replace("expect: [deceased]", "expect: [decesed]", 1), "`deceased_yes`: unknown reason `decesed`: did you mean `deceased`?"),
    (lambda t: t.replace("expect: [deceased]", "expect: closed", 1), "`deceased_yes`: `expect` is `open` or a list of reasons; mend it"),
    (lambda t: t.replace("expect: [deceased]", "expct: [deceased]", 1), "`deceased_yes`: "),
    (lambda t: t.replace("id: deceased_no,", "id: deceased_yes,"), "case `deceased_yes` stands twice; give each its own id"),
    (lambda t: t.replace("policy: retail", "policy: coupons"), "the cases are of policy `coupons`, not `retail`"),
    (lambda t: t.replace("kind: refused, days_ago: 59.9", "kind: refusd, days_ago: 59.9"), "`refused_59_days_ago`: `kind` is `refusd`: did you mean `refused`?"),
    (lambda t: t.replace("  staff: no\n", "", 1), "rule `staff`: baseline lacks `staff`, which the rule reads; add it to the cases"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "said"), SPOILED)
def test_a_spoiled_cases_file_is_refused_in_one_line_that_names_the_case(
    tmp_path: Path, spoil: Callable[[str], str], said: str
) -> None:
    path = tmp_path / "retail.cases.yaml"
    assert spoil(TEXT) != TEXT
    path.write_text(spoil(TEXT), "utf-8")
    catalogue = bank.catalogue()
    columns = bank.feature_columns(catalogue)
    with pytest.raises(PolicyError) as refused:
        Trial(load_cases(path, bank.policy(), catalogue, columns), bank.policy(), catalogue, columns).check_baseline()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    if "baseline lacks" not in said:
        assert str(refused.value).startswith(f"{path}:")


def test_the_line_named_is_the_line_of_the_mistake(tmp_path: Path) -> None:
    path = tmp_path / "retail.cases.yaml"
    path.write_text(TEXT.replace("customer: {age_years: 17}", "customer: {age_yers: 17}", 1), "utf-8")
    line = next(n for n, text in enumerate(path.read_text("utf-8").splitlines(), 1) if "age_yers" in text)
    with pytest.raises(PolicyError, match=f":{line}: case `aged_17`"):
        load_cases(path, bank.policy(), bank.catalogue(), bank.feature_columns(bank.catalogue()))


CARELESS = [
    ("when: risk_assessment_age_days > 365", "when: risk_assessment_age_days >= 365", "risk_assessed", "assessed_365_days_ago"),
    ("when: arrears_days > 0", "when: arrears_days >= 0", "in_arrears", "overdue_0_days"),
    ("scope: {channels: [sms, call], direction: outbound}", "scope: {channels: [sms], direction: outbound}", "holiday", "holiday_yes"),
    ("channels: [sms, app]\n", "channels: [sms]\n", "night", "at_21_00"),
    ("max: 2\n    window_days: 7", "max: 3\n    window_days: 7", "cap_sms_week", "sms_twice"),
    ("event: {days: 14, share: 0.5", "event: {days: 14, share: 0.6", "outflow", "half_the_dollars_left"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "part", "case"), CARELESS)
def test_a_careless_edit_fails_a_case_about_the_part(tmp_path: Path, old: str, new: str, part: str, case: str) -> None:
    assert old in POLICY
    path = tmp_path / "retail.yaml"
    path.write_text(POLICY.replace(old, new, 1), "utf-8")
    failures = list(trial(load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))).failures())
    assert (part, case) in {(failure.about, failure.case) for failure in failures}
    assert {rule for failure in failures for rule in failure.rules} <= {part}  # nobody else is blamed
    assert f"case `{case}` about `{part}`" in " ".join(map(str, failures))


def test_a_removed_rule_is_named(tmp_path: Path) -> None:
    path = tmp_path / "retail.yaml"
    start = POLICY.index("  - id: complaint_open")
    path.write_text(POLICY[:start] + POLICY[POLICY.index("  - id: hardship") :], "utf-8")
    policy = load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))
    with pytest.raises(PolicyError, match="no part of the policy `complaint_open`"):
        load_cases(FILE, policy, bank.catalogue(), bank.feature_columns(bank.catalogue()))


def test_a_part_without_cases_is_a_gap() -> None:
    cases = shipped().model_copy(
        update={"cases": tuple(c for c in shipped().cases if c.id != "aged_18" and c.about != "staff")}
    )
    gaps = Trial(cases, bank.policy(), bank.catalogue(), bank.feature_columns(bank.catalogue())).gaps()
    assert [*map(str, gaps)] == ["`staff` has no case in which it fires", "`staff` has no case in which it just does not fire",
                                 "`staff` has no case in which it is unknown"]  # fmt: skip
    assert gaps[-1].zh == "`staff` 没有使其结果未知的用例"
