"""ReasonCode: order is precedence, numbers are for ever, documentation in the same order."""

import re
from pathlib import Path

from rules.reasons import PRECEDENCE, UNKNOWN, Layer, ReasonCode

DOCS = Path(__file__).parents[2] / "docs" / "reasons.md"
# What has been on the wire keeps its number; add here, never change.
PINNED = {"PAUSED": 101, "DECEASED": 102, "DO_NOT_CONTACT": 104, "OPTED_OUT": 106, "NO_CONSENT": 107, "REGULATORY_UNKNOWN": 199,
          "FUNDS_BELOW_ENTRY": 303, "COMPLAINT_OPEN": 401, "RECENT_OUTFLOW": 403, "CAP_CHANNEL": 502, "QUIET_HOURS": 509, "HOLDOUT": 605,
          "NOT_SCORED": 701, "NO_CAPACITY": 702, "NO_VALUE": 703}  # fmt: skip


def test_numbers_never_change() -> None:
    assert {name: ReasonCode[name].value for name in PINNED} == PINNED


def test_reasons_stand_layer_by_layer_and_unknown_closes_each() -> None:
    layers = [code.layer for code in PRECEDENCE]
    assert layers == sorted(layers, key=list(Layer).index)
    for layer, code in UNKNOWN.items():
        assert [c for c in PRECEDENCE if c.layer is layer][-1] is code


def test_the_documentation_lists_them_in_the_same_order() -> None:
    listed = re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert listed == [(str(code.value), code.slug) for code in PRECEDENCE]


def test_slugs_go_back_and_forth() -> None:
    assert all(ReasonCode.of(code.slug) is code for code in ReasonCode)
