"""Lint: what loads but cannot have been meant is named, and P06: missing data never opens a cell."""

import math
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.closures import closure, rows
from rules.document import parse_document
from rules.language import Language
from rules.lint import Finding, lint, opens_on_missing
from rules.masks import Masks
from rules.policy import ContactPolicy, with_state
from rules.suppress import suppress
from rules.tree import columns_of, fold
from tests import bank

DAY = date(2026, 6, 1)
HEAD = """
id: small
title: {en: small, zh: 小}
source: test
rules:
  - id: some_rule
    layer: eligibility
    reason: not_served
    title: {en: some rule, zh: 规则}
    explanation: {en: because, zh: 因为}
    source: §1
    owner: compliance
"""


def found(rest: str) -> list[Finding]:
    document = parse_document(HEAD + "".join(f"    {line}\n" for line in rest.split("\n")), "small.yaml")
    policy = ContactPolicy.model_validate(document.value)
    return lint(policy, bank.catalogue(), bank.feature_columns(bank.catalogue()), document, DAY)


FINDINGS = [
    ("when: days_since_last_complaint IS NOT NULL AND days_since_last_complaint < 30", "error", "opens on missing data: closed where days_since_last_complaint = "),
    ("when: NOT (kind IS NULL OR age_years < 18)", "error", "opens on missing data: closed where "),
    ("scope: {families: [deposit]}\nwhen: holds_this_product AND tenure_days < 9", "", ""),
    ("when: holds_this_product", "warning", "is always unknown, so always closes, for `retention_bonus`"),
    ("when: balance_this_currency_minor < 5", "warning", "is always unknown, so always closes, for `card_cashback`, `card_gold`, `insurance_travel`"),
    ("scope: {families: [card], offers: [loan_personal]}\nwhen: staff", "error", "its scope holds no cell"),
    ("scope: {families: [cards]}\nwhen: staff", "error", "unknown family `cards`: did you mean `card`?"),
    ("when: stuff", "error", "unknown column `stuff`: did you mean `staff`?"),
    ("when: arrears_days > 1 AND offer.currency = 'GBP'", "warning", "`offer.currency = 'GBP'` is true in no cell of its scope"),
    ("when: arrears_days > 1 AND channel.disturbs\nscope: {channels: [email]}", "error", "never fires: its condition is FALSE in every cell"),
    ("when: arrears_days > 1 AND (offer.currency = 'GBP' OR staff)", "warning", "`offer.currency = 'GBP'` is true in no cell of its scope"),
    ("when: offer.risk_grade > 5 OR staff", "warning", "`offer.risk_grade > 5`"),
    ("when: channel.id IN ('sms', 'email')\nscope: {channels: [sms]}", "warning", "`channel.id IN ('email')` is true in no cell"),
    ("when: TRUE", "warning", "always fires: its condition is TRUE in every cell"),
    ("when: local_minute >= 1440 OR staff", "warning", "`local_minute >= 1440` is FALSE for every value the column can take"),
    ("when: local_weekday <= 7 AND staff", "warning", "`local_weekday <= 7` is TRUE for every value the column can take"),
    ("when: staff\neffective: {to: 2026-05-31}", "warning", "ended on 2026-05-31"),
    ("when: staff\neffective: {from: 2026-05-31, to: 2026-01-01}", "error", "it is never in force"),
    ("when: home_branch IS NULL", "", ""),
    ("when: staff", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("rest", "severity", "said"), FINDINGS)
def test_what_cannot_have_been_meant_is_found(rest: str, severity: str, said: str) -> None:
    findings = found(rest)
    assert all(finding.part == "some_rule" and finding.line > 1 for finding in findings)
    if severity:
        assert any(finding.severity == severity and said in finding.what.en for finding in findings), findings
    else:
        assert findings == []


def test_a_placeholder_without_a_column_for_some_offer_is_named() -> None:
    columns = bank.feature_columns(bank.catalogue())
    fewer = pa.schema([field for field in columns if field.name != "balance_eur_minor"])
    document = parse_document((bank.POLICIES / "retail.yaml").read_text("utf-8"), "retail.yaml")
    findings = lint(bank.policy(), bank.catalogue(), fewer, document, DAY)
    assert [(f.severity, f.part, f.what.en[:31]) for f in findings] == [
        ("error", "entry_amount", "no column `balance_eur_minor`: ")
    ]


@pytest.mark.parametrize("name", ["retail", "coupons"])
def test_the_shipped_policies_have_no_findings(name: str) -> None:
    from rules.folder import find_policies

    [one] = [p for p in find_policies(bank.POLICIES, None) if p.policy_file.stem == name]
    findings = lint(one.policy, one.catalogue, one.columns, one.document, DAY)
    assert [finding for finding in findings if finding.severity != "note"] == []


@cache
def residuals() -> list[tuple[str, Any]]:
    """(rule id, folded condition) of every rule and cell of the shipped policy, each once."""
    catalogue, policy = bank.catalogue(), bank.policy()
    language = Language(with_state(bank.feature_columns(catalogue), policy, catalogue), catalogue)
    return list(dict.fromkeys((rule.id, fold(language.parse(rule.when), facts))
                              for rule in policy.lowered(catalogue) for cell, facts in enumerate(language.cells)
                              if rule.scope.cells(catalogue) >> cell & 1))  # fmt: skip


def test_p06_no_shipped_rule_can_open_on_missing_data() -> None:
    vocabulary = bank.terms().vocabulary
    for rule, residual in residuals():
        assert opens_on_missing(residual, [residual], vocabulary) is None, rule


def values(field: pa.Field) -> st.SearchStrategy[Any]:
    if pa.types.is_boolean(field.type):
        return st.booleans()
    if pa.types.is_string(field.type):
        domain = (field.metadata or {}).get(b"domain", b"").decode().split("|")
        return st.sampled_from([*domain, "neither"])
    return st.one_of(st.sampled_from([0.0, 1.0, 7.0, 14.0, 18.0, 90.0, 365.0, 480.0, 1260.0]), st.floats(-1e9, 1e9))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_p06_losing_any_fact_of_any_rule_never_opens(data: st.DataObject) -> None:
    rule, residual = data.draw(st.sampled_from([pair for pair in residuals() if columns_of(pair[1])]))
    names, vocabulary = sorted(columns_of(residual)), bank.terms().vocabulary
    row = {name: data.draw(values(vocabulary.field(name)), label=name) for name in names}
    schema = pa.schema([vocabulary.field(name) for name in names])
    lost = [row, *({**row, name: gone} for name in names for gone in (
        [None, math.nan] if pa.types.is_floating(vocabulary.field(name).type) else [None]))]  # fmt: skip
    batch = pa.RecordBatch.from_pylist(lost, schema=schema)
    by_closure = [closure(residual)(one) is not False for one in rows(batch, schema)]
    _, false = Masks(batch, schema).truth(residual)
    assert by_closure == [not open_ for open_ in false]
    assert all(closed or not by_closure[0] for closed in by_closure[1:]), (rule, row)


@pytest.mark.parametrize("gone", [None, math.nan])
def test_p06_losing_any_column_only_shrinks_what_is_allowed(gone: float | None) -> None:
    terms = bank.terms()
    edges: list[dict[str, Any]] = [  # customers for whom a fact that seldom matters does
        {}, {"holds_deposit_cny": True}, {"outflow_share_cny_14d": 0.9, "outflow_cny_sum_14d": 100.0},
        {"outflow_share_cny_14d": 0.1, "outflow_cny_sum_14d": 9e6}, {"age_years": 20.0}]  # fmt: skip
    people = [*(bank.welcome(terms) | edge for edge in edges), *bank.population(terms, 20, seed=17, unknown=0.0)]
    before = suppress(bank.customers_batch(terms, people), terms).open
    assert before.any()
    for field in terms.state_schema:
        if gone is not None and not pa.types.is_floating(field.type):
            continue
        after = suppress(bank.customers_batch(terms, [row | {field.name: gone} for row in people]), terms).open
        assert not (after & ~before).any(), field.name
        # A lost zone shuts no cell by itself: the clock's own columns do, and the send window is cut.
        assert field.name == "time_zone" or (after != before).any(), f"{field.name} is read by no rule that binds"


def test_p06_mutant_is_not_null_lets_a_lost_fact_open() -> None:
    language = Language(bank.terms().vocabulary, bank.catalogue())
    node = language.parse("maturity_ahead_days IS NOT NULL AND maturity_ahead_days <= 14")
    assert closure(node)({"maturity_ahead_days": 3.0}) is True
    assert closure(node)({"maturity_ahead_days": None}) is False  # the bug
    assert opens_on_missing(node, [node], language.columns)


def test_a_check_reads_only_the_folder_it_is_given(tmp_path: Path) -> None:
    from rules.errors import PolicyError
    from rules.folder import find_policies

    with pytest.raises(PolicyError, match="holds no policy"):
        find_policies(tmp_path, None)


def test_every_finding_is_told_in_both_languages() -> None:
    ours = [finding for rest, severity, _ in FINDINGS if severity for finding in found(rest)]
    alike = {finding.what.en for finding in ours if finding.what.zh == finding.what.en}
    assert alike == {"unknown column `stuff`: did you mean `staff`?"}  # the loader's own: it has no Chinese
    assert all(any("\u4e00" <= sign <= "\u9fff" for sign in finding.what.zh) for finding in ours if finding.what.en not in alike)  # fmt: skip
