"""Caps: exact sliding windows, what they count, whom they bind."""

from typing import Any

import pytest
from pydantic import ValidationError

from rules.caps import Cap, ContactCount, most
from rules.facts import DAY_MICROS
from rules.policy import ContactPolicy
from rules.reasons import ReasonCode
from rules.state import ContactFact, customer_state
from rules.terms import Audience
from tests import bank
from tests.conformance import assert_same, by_engine, by_oracle

SAID: dict[str, Any] = {"title": {"en": "x", "zh": "x"}, "source": "§0", "owner": "tests"}
WEEK = ContactCount(False, None, None, 7)
AT = 20_000 * DAY_MICROS


def with_caps(*caps: Cap) -> ContactPolicy:
    """A policy of caps alone."""
    return ContactPolicy(id="caps", title={"en": "x", "zh": "x"}, source="tests", caps=caps)  # type: ignore[arg-type]


def counted(count: ContactCount, places: list[tuple[float, float]], window: tuple[float, float] = (0, 0)) -> float:
    cap = Cap(
        id="c",
        reason=ReasonCode.CAP_TOTAL,
        max=1,
        window_days=count.window_days,
        level="unit" if count.unit else "person",
        **SAID,
    )
    facts = [ContactFact("A", "sms", "card", AT + round(a * DAY_MICROS), AT + round(b * DAY_MICROS)) for a, b in places]
    span = (AT + round(window[0] * DAY_MICROS), AT + round(window[1] * DAY_MICROS))
    return customer_state(with_caps(cap), bank.catalogue(), "A", span, facts, [], [])[count.name]


MICRO = 1 / DAY_MICROS


@pytest.mark.parametrize(("places", "window", "want"), [
    ([(-1, -1), (-6.9, -6.9)], (0, 0), 2),
    ([(-7, -7)], (0, 0), 0),  # a week old to the microsecond: another window
    ([(-7 + MICRO, -7 + MICRO)], (0, 0), 1),
    ([(7, 7)], (0, 0), 0),
    ([(7 - MICRO, 7 - MICRO)], (0, 0), 1),  # forward as well: the reserved one and the new one
    ([(-5, -5), (5, 5)], (0, 0), 1),  # ten days apart: no window of seven holds both
    ([(-3, -3), (3, 3)], (0, 0), 2),
    ([(-3.5, -3.5), (3.5, 3.5)], (0, 0), 1),  # seven days apart exactly
    ([(-6, -6), (-5, -5), (1, 1), (1.5, 1.5), (2, 2)], (0, 0), 3),
    ([(6, 8)], (0, 0), 1),  # somewhere in a window that begins within a week: placed as close as may be
    ([(7, 9)], (0, 0), 0),
    ([(7, 9)], (0, 1), 1),  # the new one may go a day later
    ([(-4, -2), (3, 5)], (0, 0), 2),  # -2 and 3 share a week
    ([(-1, 1), (0, 0), (0, 2)], (0, 1), 3),
])  # fmt: skip
def test_p11_the_most_that_one_window_can_hold(
    places: list[tuple[float, float]], window: tuple[float, float], want: int
) -> None:
    assert counted(WEEK, places, window) == want


def test_the_deepest_overlap() -> None:
    assert most([]) == 0
    assert most([(1, 3), (3, 5)]) == 2
    assert most([(1, 2), (3, 5)]) == 1
    assert most([(1, 2), (3, 5), (4, 9), (5, 6), (7, 8)]) == 3


def test_p11_the_units_contacts_count_for_the_unit_and_the_persons_for_the_person() -> None:
    other = ContactFact("B", "sms", "card", AT, AT)
    found = customer_state(bank.policy(), bank.catalogue(), "A", (AT, AT), [other], [], [])
    assert found["unit_contacts_all_marketing_1d"] == 1
    assert found["contacts_all_marketing_7d"] == 0


def test_each_counter_counts_its_own() -> None:
    caps = [Cap(id=f"c{k}", reason=ReasonCode.CAP_CHANNEL, max=1, window_days=7, **SAID, **about) for k, about in enumerate((
        {"channel": "each"}, {"family": "each"}, {"offer": "each"}, {"campaign": "each"}, {"channel": "sms", "offer": "card_gold"}))]  # fmt: skip
    policy = with_caps(*caps).for_campaigns((("spring", ("card_gold",), ("sms",)),))
    found = customer_state(
        policy,
        bank.catalogue(),
        "A",
        (AT, AT),
        [ContactFact("A", "sms", "card", AT, AT, "card_gold", "spring")],
        [],
        [],
    )
    assert {name for name, value in found.items() if value} == {
        "contacts_sms_marketing_7d", "contacts_all_marketing_card_7d", "contacts_all_marketing_offer_card_gold_7d",
        "contacts_all_marketing_campaign_spring_7d", "contacts_sms_marketing_offer_card_gold_7d"}  # fmt: skip


def test_a_cap_closes_the_cells_it_is_about() -> None:
    each = Cap(id="c", reason=ReasonCode.CAP_FAMILY, offer="each", channel="sms", max=2, window_days=7, **SAID)
    [rule] = each.rules()
    assert rule.when == "contacts_sms_marketing_offer_this_offer_7d >= 2"
    assert (rule.scope.channels, rule.scope.direction) == (("sms",), "outbound")


@pytest.mark.parametrize(("about", "said"), [
    ({"family": "card", "offer": "each"}, "family and offer together; keep the narrowest one"),
    ({"campaign": "each", "channel": "sms"}, "capped over all its channels; remove `channel`"),
    ({"level": "unit", "offer": "each"}, "a household is capped by channel or family; remove `offer`"),
    ({"level": "unit", "campaign": "each"}, "a household is capped by channel or family; remove `campaign`"),
])  # fmt: skip
def test_what_cannot_be_counted_is_refused(about: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Cap(id="c", reason=ReasonCode.CAP_TOTAL, max=1, window_days=7, **SAID, **about)


AUDIENCES = (Audience("dollars", ("deposit_usd_6m", "wealth_usd_income"), ("sms", "call"), "balance_usd_minor > 100"),
             Audience("both", ("deposit_usd_6m", "card_gold"), ("sms", "app")))  # fmt: skip


def capped() -> Any:
    cap = Cap(id="per_campaign", reason=ReasonCode.CAP_CAMPAIGN, campaign="each", max=2, window_days=30, **SAID)
    shipped = bank.policy()
    policy = ContactPolicy(
        **({name: getattr(shipped, name) for name in type(shipped).model_fields} | {"caps": (*shipped.caps, cap)})
    )
    return bank.terms(policy=policy, audiences=AUDIENCES)


def offers_of(of: Any, **spent: float) -> set[tuple[str, str]]:
    from rules.suppress import suppress

    row = bank.welcome(of) | {f"contacts_all_marketing_campaign_{name}_30d": n for name, n in spent.items()}
    open_ = suppress(bank.customers_batch(of, [row]), of).open[0]
    cells = [(o.id, c.id) for o in of.catalogue.offers for c in of.catalogue.channels]
    return {cell for cell, is_open in zip(cells, open_, strict=True) if is_open}


def test_a_spent_campaign_closes_what_only_it_covers() -> None:
    of = capped()
    everywhere = offers_of(of, dollars=0, both=0)
    assert offers_of(of, dollars=1, both=1) == everywhere
    assert everywhere - offers_of(of, dollars=2, both=0) == {
        ("deposit_usd_6m", "call"),
        ("wealth_usd_income", "sms"),
        ("wealth_usd_income", "call"),
    }
    assert offers_of(of, dollars=2, both=2) == set()


def test_a_contact_is_never_booked_on_a_spent_campaign() -> None:
    of = capped()
    row = bank.welcome(of) | {"contacts_all_marketing_campaign_dollars_30d": 2.0, "channels": 1}
    [decided] = by_engine(of, [row], bank.scores(of, 1, seed=1, unknown=0.0)).to_pylist()
    assert decided["campaign_id"] == "both"


def test_caps_per_campaign_decide_as_the_oracle_does() -> None:
    of = capped()
    rows, scores = bank.population(of, 80, seed=7), bank.scores(of, 80, seed=8, unknown=0.0)
    assert_same(of, by_engine(of, rows, scores), by_oracle(of, rows, scores))


def test_the_campaigns_do_not_change_the_policys_revision() -> None:
    of = capped()
    assert of.policy.campaigns
    assert of.policy.revision == of.policy.for_campaigns(()).revision


def test_p18_inbound_obeys_no_cap_and_outbound_does() -> None:
    of = bank.terms()
    row = bank.welcome(of) | {"contacts_all_marketing_7d": 99.0}
    scores = bank.scores(of, 1, seed=1, unknown=0.0)
    [out] = by_engine(of, [row], scores).to_pylist()
    [inbound] = by_engine(of, [row | {"direction": "inbound"}], scores).to_pylist()
    assert (out["offer_id"], out["reason"]) == (None, ReasonCode.CAP_TOTAL)
    assert inbound["offer_id"]
