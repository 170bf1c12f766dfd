"""Where the business knows the sign: the score may only rise (+1) or only fall (-1) with a feature.

Declared here and nowhere else. LightGBM is constrained while it grows; the logistic baseline drops a
feature whose weight comes out against the sign. What is not named is free.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from features.tables import MARKETING_CHANNELS
from training.encode import Feature

_CONTACTS = (*(f"contacts_{channel}_count_{days}d" for channel in MARKETING_CHANNELS for days in (30, 90)),
             "contacts_count_30d", "contacts_count_365d")  # fmt: skip

SIGNS: Mapping[str, Mapping[str, int]] = MappingProxyType({
    # More messages never calm anybody, nor does one more left unanswered; a complaint grows old.
    "harm": MappingProxyType({**dict.fromkeys(_CONTACTS, 1), "ignored_in_a_row": 1, "days_since_last_complaint": -1}),
    # Who opens is reached again; who has let ten messages pass is not reached sooner by that.
    "reach": MappingProxyType({"ignored_in_a_row": -1, "opened_count_90d": 1}),
    "interest": MappingProxyType({"ignored_in_a_row": -1, "accepted_count_365d": 1}),
})  # fmt: skip


def constraints(features: Sequence[Feature], signs: Mapping[str, int]) -> list[int]:
    """+1, -1 or 0 (free) for each column of the matrix, in order; codes have no order and are free."""
    return [0 if feature.kind == "enum" else signs.get(feature.name, 0) for feature in features]
