"""The lines of proofs, diffs and impacts: Chinese where the page is Chinese, and the same names and counts in both."""

import re
from datetime import date

import pytest

from rules.impact import Impact, Impacts
from rules.line import Line
from rules.proof_answers import ChangeAnswer, DiffAnswer, Proof, ProveAnswer
from rules.proof_lines import (
    allowed_lines,
    impact_lines,
    suppressed_lines,
    undecided_lines,
    unproved_lines,
    vain_lines,
)

CUSTOMER = Line(en="loan x sms, outbound: days in arrears is 3", zh="loan x sms, outbound：逾期天数为 3")
CHANGE = ChangeAnswer(
    part="in_arrears", cells=["a", "b"], customer=CUSTOMER, facts={"arrears_days": 3.0}, day=date(2026, 6, 1)
)
DIFF = DiffAnswer(before="a", after="b", only_tightens=False, only_loosens=False, newly_allowed=None, newly_suppressed=None,
                  text=[], allowed=[CHANGE], suppressed=[CHANGE], undecided=["cap_week"])  # fmt: skip
PROOFS = ProveAnswer(
    ok=False, revision="r", dead=["one"], always=["two"], shadowed=["three"], closed=["loan x app, inbound"],
    idle_campaigns=["spring"], undecided=["four"], seconds=1.0,
    proofs=[Proof(invariant="no_staff", title=Line(en="No staff.", zh="不向员工推介。"), outcome=outcome, witness=None, cell=None,
                  words=Line(en="open to a customer", zh="仍对一位客户开放"), day=None, seconds=0.1)
            for outcome in ("proved", "refuted", "unknown")])  # fmt: skip
IMPACT = Impacts(
    customers=1_200,
    opened=3,
    silenced=4,
    total=Impact(9, 8, 7, 6, 5, 4),
    parts={"in_arrears": Impact(9, 8, 7, 6, 5, 4)},
)


def numbers_and_names(text: str) -> list[str]:
    return sorted(re.findall(r"`[^`]+`|\d[\d,]*", text))


@pytest.mark.parametrize(
    "lines",
    [
        allowed_lines(DIFF),
        suppressed_lines(DIFF),
        undecided_lines(DIFF),
        unproved_lines(PROOFS),
        vain_lines(PROOFS),
        impact_lines(IMPACT, scored=True),
        impact_lines(IMPACT, scored=False),
    ],
)
def test_both_languages_tell_the_same(lines: list[Line]) -> None:
    assert lines
    for line in lines:
        assert re.search("[一-鿿]", line.zh) and not re.search("[一-鿿]", line.en)
        assert numbers_and_names(line.en) == numbers_and_names(line.zh)


def test_only_what_is_not_proved_is_told_as_unproved() -> None:
    assert [line.en.split(":")[0] for line in unproved_lines(PROOFS)] == [
        "invariant `no_staff` is refuted",
        "invariant `no_staff` is unknown",
    ]


def test_everything_held_in_vain_has_its_line() -> None:
    assert [line.en.split(":")[0] for line in vain_lines(PROOFS)] == [
        "one", "two", "three", "loan x app, inbound", "spring", "four"]  # fmt: skip
