"""Every stateful notion is a declared column: unit, null meaning, source, words in both languages."""

from typing import Any

import pyarrow as pa
import pytest

from rules.caps import Cap
from rules.column import declare, silences
from rules.cooloffs import CoolOff
from rules.errors import PolicyError
from rules.order import Order
from rules.policy import ContactPolicy, with_state
from rules.reasons import ReasonCode
from tests import bank

SAID: dict[str, Any] = {"title": {"en": "x", "zh": "x"}, "source": "§0", "owner": "tests"}
NOTIONS = ["contacts_sms_marketing_7d", "unit_contacts_all_marketing_1d", "cooloff_refused_wealth_days_left",
           "suppressed_outflow_usd_days_left", "local_minute", "local_weekday", "is_holiday"]  # fmt: skip


def full() -> ContactPolicy:
    """The shipped policy with a part of every kind."""
    shipped = bank.policy()
    caps = tuple(Cap(id=f"x{k}", reason=ReasonCode.CAP_CHANNEL, max=1, window_days=9, **about, **SAID)
                 for k, about in enumerate(({"channel": "each"}, {"family": "each"}, {"offer": "each"}, {"campaign": "each"}, {"level": "unit"})))  # fmt: skip
    cool_offs = tuple(CoolOff(id=f"p{about}", reason=ReasonCode.RECENTLY_REFUSED, outcomes=("refused",), about=about, lasts_days=9, **SAID)
                      for about in ("family", "offer", "channel", "all"))  # fmt: skip
    orders = tuple(Order.model_validate(SAID | {"id": f"o{k}", "reason": "wrong_order", "within_days": 9} | said) for k, said in enumerate((
        {"never": {"family": "card"}, "with": {"family": "loan"}, "level": "unit"}, {"never": {"family": "card"}, "after": {"offer": "card_gold"}},
        {"only": {"family": "card"}, "after": {"family": "loan"}}, {"only": {"family": "card"}, "after": {"offer": "card_gold"}, "once": "accepted"})))  # fmt: skip
    content = {name: getattr(shipped, name) for name in type(shipped).model_fields}
    content |= {"caps": (*shipped.caps, *caps), "cool_offs": (*shipped.cool_offs, *cool_offs), "orders": orders}
    return ContactPolicy(**content).for_campaigns((("spring", ("card_gold",), ("sms",)),))


@pytest.mark.parametrize("policy", [bank.policy(), full()], ids=["shipped", "every kind"])
def test_every_state_column_says_what_it_is(policy: ContactPolicy) -> None:
    fields = policy.state_fields(bank.catalogue())
    assert silences(fields) == []
    assert len(set(fields.names)) == len(fields.names)
    assert all(name == name.lower() and " " not in name for name in fields.names)


@pytest.mark.parametrize("notion", NOTIONS)
def test_every_stateful_notion_is_listed(notion: str) -> None:
    assert notion in bank.policy().state_fields(bank.catalogue()).names


def test_all_columns_a_rule_may_name_are_features_and_state_side_by_side() -> None:
    catalogue = bank.catalogue()
    every = with_state(bank.feature_columns(catalogue), bank.policy(), catalogue)
    for name in (*NOTIONS, "consent_marketing_sms", "reachable_call"):
        assert name in every.names


def test_a_column_that_is_silent_about_itself_is_named() -> None:
    field = declare("x", pa.float64(), unit="", null="n", source=" ", en="x", zh="")
    assert silences(pa.schema([field])) == ["x: unit", "x: source", "x: zh"]


def test_two_parts_may_not_share_a_column() -> None:
    pauses = [CoolOff(id=name, reason=ReasonCode.RECENTLY_REFUSED, outcomes=("refused",), about=about, lasts_days=9, **SAID)
              for name, about in (("x", "family"), ("x_card", "all"))]  # fmt: skip
    policy = ContactPolicy(id="p", title={"en": "x", "zh": "x"}, source="t", cool_offs=tuple(pauses))  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="column `cooloff_x_card_days_left` would be two things; rename"):
        policy.state_fields(bank.catalogue())


def test_a_reason_of_another_layer_is_refused_for_every_part() -> None:
    cap = Cap(id="c", reason=ReasonCode.RECENT_OUTFLOW, max=1, window_days=9, **SAID)
    with pytest.raises(
        ValueError, match="part `c`: reason `recent_outflow` belongs to layer `suppression`, not `contact`"
    ):
        ContactPolicy(id="p", title={"en": "x", "zh": "x"}, source="t", caps=(cap,))  # type: ignore[arg-type]
