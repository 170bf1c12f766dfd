"""Orders: never A with B, never B after A, only B after A."""

from typing import Any

import pytest
from pydantic import ValidationError

from rules.errors import PolicyError
from rules.facts import DAY_MICROS
from rules.order import Order
from rules.policy import ContactPolicy, load_policy
from rules.reasons import ReasonCode
from rules.state import AnswerFact, ContactFact, customer_state
from rules.suppress import suppress
from tests import bank
from tests.conformance import assert_same, by_engine, by_oracle

AT = 20_000 * DAY_MICROS
SAID: dict[str, Any] = {
    "id": "o",
    "title": {"en": "x", "zh": "x"},
    "source": "§0",
    "owner": "tests",
    "reason": "wrong_order",
}
WITH = Order.model_validate(
    {**SAID, "never": {"family": "card"}, "with": {"offer": "deposit_usd_6m"}, "within_days": 7}
)
AFTER = Order.model_validate({**SAID, "never": {"family": "loan"}, "after": {"family": "card"}, "within_days": 30})
ONLY = Order.model_validate({**SAID, "reason": "not_yet_due", "only": {"offer": "wealth_usd_income"}, "after": {"offer": "deposit_usd_6m"},
                             "once": "accepted", "at_least_days": 30, "within_days": 365})  # fmt: skip
SENT = Order.model_validate(
    {**SAID, "only": {"family": "wealth"}, "after": {"family": "deposit"}, "at_least_days": 3, "within_days": 60}
)
FAMILIES = {
    "card_gold": "card",
    "card_cashback": "card",
    "deposit_usd_6m": "deposit",
    "deposit_cny_12m": "deposit",
    "loan_personal": "loan",
}


def terms_of(*orders: Order) -> Any:
    shipped = bank.policy()
    content = {name: getattr(shipped, name) for name in type(shipped).model_fields} | {"orders": orders}
    return bank.terms(policy=ContactPolicy(**content))


def contact(offer: str, day: float, customer: str = "A", days: float = 0, sent: bool = True) -> ContactFact:
    starts = AT + round(day * DAY_MICROS)
    return ContactFact(
        customer, "sms", FAMILIES[offer], starts, starts + round(days * DAY_MICROS), offer, "", f"{offer}{day}", sent
    )


def accepted(offer: str, day: float) -> AnswerFact:
    return AnswerFact("accepted", AT + round(day * DAY_MICROS), FAMILIES[offer], offer, "call", "k")


def closed(
    order: Order, contacts: list[ContactFact], answers: list[AnswerFact] = [], direction: str = "outbound"
) -> set[str]:
    """The offers the order alone closes on every channel they have."""
    of = terms_of(order)
    state = customer_state(of.policy, of.catalogue, "A", (AT, AT), contacts, answers, [])
    names = [*(c.name for c in order.counts()), *(p.name for p in order.precedents())]
    free = {f"{name}": value for name, value in state.items() if name in names}
    rest = bank.welcome(of) | dict.fromkeys((p.name for p in order.precedents()), 1.0)
    open_ = [suppress(bank.customers_batch(of, [row | {"direction": direction}]), of).open[0].reshape(len(of.catalogue.offers), -1).any(axis=1)
             for row in (rest, rest | free)]  # fmt: skip
    return {offer.id for offer, was, now in zip(of.catalogue.offers, *open_, strict=True) if was and not now}


CARDS = {"card_gold", "card_cashback"}


@pytest.mark.parametrize(("order", "contacts", "want"), [
    (WITH, [contact("card_gold", -6)], {"deposit_usd_6m"}),
    (WITH, [contact("deposit_usd_6m", -6)], CARDS),
    (WITH, [contact("deposit_cny_12m", -6)], set()),
    (WITH, [contact("card_gold", -7)], set()),  # seven days apart: not in one window
    (WITH, [contact("card_gold", 5, days=9, sent=False)], {"deposit_usd_6m"}),  # planned, as near as five days
    (AFTER, [contact("card_gold", -29)], {"loan_personal"}),
    (AFTER, [contact("card_gold", -30)], set()),
    (AFTER, [contact("card_gold", 2, sent=False)], set()),  # the card comes after: no loan after a card
    (AFTER, [contact("loan_personal", 2, sent=False)], CARDS),  # but a card now would be followed by the loan
    (AFTER, [contact("loan_personal", -2)], set()),
    (SENT, [], {"wealth_usd_income", "wealth_cny_balanced", "wealth_eur_bond"}),
    (SENT, [contact("deposit_cny_12m", -3)], set()),
    (SENT, [contact("deposit_cny_12m", -2.9)], {"wealth_usd_income", "wealth_cny_balanced", "wealth_eur_bond"}),
    (SENT, [contact("deposit_cny_12m", -60)], {"wealth_usd_income", "wealth_cny_balanced", "wealth_eur_bond"}),
    (SENT, [contact("deposit_cny_12m", -59.9, sent=False)], {"wealth_usd_income", "wealth_cny_balanced", "wealth_eur_bond"}),
])  # fmt: skip
def test_what_an_order_closes(order: Order, contacts: list[ContactFact], want: set[str]) -> None:
    assert closed(order, contacts) == want


@pytest.mark.parametrize(("answers", "want"), [
    ([], {"wealth_usd_income"}), ([accepted("deposit_usd_6m", -30)], set()), ([accepted("deposit_usd_6m", -29.9)], {"wealth_usd_income"}),
    ([accepted("deposit_usd_6m", -365)], {"wealth_usd_income"}), ([accepted("deposit_usd_6m", -364.9)], set()),
    ([accepted("deposit_cny_12m", -40)], {"wealth_usd_income"}),
])  # fmt: skip
def test_only_after_it_was_accepted_long_enough_ago_and_not_too_long(answers: list[AnswerFact], want: set[str]) -> None:
    assert closed(ONLY, [], answers) == want
    assert closed(ONLY, [], answers, "inbound") == want  # not_yet_due is of the suppression layer


def test_wrong_order_binds_what_goes_out_only() -> None:
    assert closed(WITH, [contact("card_gold", -1)], direction="inbound") == set()


def test_p10_an_order_ends() -> None:
    assert closed(AFTER, [contact("card_gold", -30 + 1 / DAY_MICROS)]) == {"loan_personal"}
    assert closed(AFTER, [contact("card_gold", -30)]) == set()


HOUSEHOLD = Order.model_validate(
    {**SAID, "never": {"family": "card"}, "with": {"family": "card"}, "within_days": 7, "level": "unit"}
)


def test_p11_members_in_one_batch_keep_the_households_order() -> None:
    of = terms_of(HOUSEHOLD)
    of = bank.terms(
        policy=ContactPolicy(
            **({name: getattr(of.policy, name) for name in type(of.policy).model_fields} | {"caps": ()})
        )
    )
    alone = ["loan", "wealth", "deposit", "insurance", "retention"]
    of = bank.terms(policy=of.policy, paused=frozenset(f"family:{name}" for name in alone))
    rows = [bank.welcome(of) | {"customer_id": name, "unit_id": "U"} for name in ("A", "B")]
    scores = bank.scores(of, 1, seed=1, unknown=0.0) * 2
    decided = by_engine(of, rows, scores).to_pylist()
    assert [row["offer_id"] is not None for row in decided] == [True, False]
    assert ReasonCode.WRONG_ORDER in decided[1]["reasons"]


def test_orders_decide_as_the_oracle_does() -> None:
    of = terms_of(
        WITH,
        AFTER.model_copy(update={"id": "after"}),
        ONLY.model_copy(update={"id": "only"}),
        HOUSEHOLD.model_copy(update={"id": "unit"}),
    )
    rows, scores = bank.population(of, 80, seed=3), bank.scores(of, 80, seed=4, unknown=0.0)
    assert_same(of, by_engine(of, rows, scores), by_oracle(of, rows, scores))


@pytest.mark.parametrize(("written", "said"), [
    ({"never": {"family": "card"}, "within_days": 7}, "`never` needs `with` or `after`, `only` needs `after`"),
    ({"within_days": 7, "after": {"family": "card"}}, "needs `never` or `only`, one of the two"),
    ({"only": {"family": "card"}, "with": {"family": "loan"}, "within_days": 7}, "`only` needs `after`"),
    ({"only": {"family": "card"}, "after": {"family": "loan"}, "at_least_days": 7, "within_days": 7}, "it could never be met"),
    ({"never": {"family": "card"}, "after": {"family": "loan"}, "at_least_days": 2, "within_days": 7}, "belong to `only`; remove them"),
    ({"never": {"offer": "card_gold"}, "with": {"family": "loan"}, "level": "unit", "within_days": 7}, "name families"),
    ({"never": {"offer": "card_gold", "family": "card"}, "with": {"family": "loan"}, "within_days": 7}, "one of the two"),
    ({"never": {"family": "card"}, "with": {"family": "loan"}, "within_days": 7, "reason": "holiday"}, "take wrong_order or not_yet_due"),
])  # fmt: skip
def test_an_order_without_sense_is_refused(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Order.model_validate(SAID | written)


YAML = """id: small
title: {en: x, zh: x}
source: tests
orders:
  - id: loan_after_card
    reason: wrong_order
    title: {en: No loan within 30 days after a card., zh: 信用卡后30天内不推贷款。}
    source: §5.9
    owner: marketing
    never: {family: loan}
    after: {family: card}
    within_days: 30
"""


def test_an_order_is_written_as_it_is_said(tmp_path: Any) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(YAML, "utf-8")
    policy = load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))
    assert [rule.when for rule in policy.lowered(bank.catalogue())] == [
        "contacts_all_marketing_card_30d_before >= 1", "contacts_all_marketing_loan_30d_after >= 1"]  # fmt: skip
    path.write_text(YAML.replace("family: card}", "family: crad}"), "utf-8")
    with pytest.raises(PolicyError, match=r"rule `loan_after_card`: unknown family `crad`: did you mean `card`\?"):
        load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))
