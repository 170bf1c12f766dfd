"""Cool-offs: what begins a pause, and the first instant at which it no longer holds."""

from typing import Any

import pytest
from pydantic import ValidationError

from rules.cooloffs import CoolOff
from rules.facts import DAY_MICROS, ignored_at
from rules.policy import ContactPolicy
from rules.reasons import ReasonCode
from rules.state import AnswerFact, ContactFact, customer_state
from tests import bank

SAID: dict[str, Any] = {
    "title": {"en": "x", "zh": "x"},
    "source": "§0",
    "owner": "tests",
    "reason": ReasonCode.IGNORED_REPEATEDLY,
}
AT = 20_000 * DAY_MICROS


def left(pause: CoolOff, about: str, at: int, contacts: list[ContactFact], answers: list[AnswerFact]) -> float:
    policy = ContactPolicy(id="p", title={"en": "x", "zh": "x"}, source="tests", cool_offs=(pause,))  # type: ignore[arg-type]
    return customer_state(policy, bank.catalogue(), "A", (at, at), contacts, answers, [])[pause.column(about)]


def thing(pause: CoolOff) -> str:
    return {"family": "wealth", "offer": "wealth_usd_income", "channel": "call", "all": "all"}[pause.about]


def causes(pause: CoolOff) -> tuple[list[ContactFact], list[AnswerFact], int]:
    """Facts that begin the pause, and the instant it begins."""
    kind = pause.outcomes[0]
    times = [AT - k * DAY_MICROS for k in range(pause.count)]
    if kind == "ignored":
        return [ContactFact("A", "call", "wealth", t, t, "wealth_usd_income", "", f"k{t}", True) for t in times], [], AT + pause.ignored_after_days * DAY_MICROS  # fmt: skip
    return [], [AnswerFact(kind, t, "wealth", "wealth_usd_income", "call", f"k{t}") for t in times], AT


@pytest.mark.parametrize("pause", bank.policy().cool_offs, ids=lambda pause: pause.id)
def test_p10_every_shipped_pause_begins_with_its_cause_and_ends(pause: CoolOff) -> None:
    contacts, answers, begins = causes(pause)
    ends = begins + pause.lasts_days * DAY_MICROS
    read = [left(pause, thing(pause), at, contacts, answers) for at in (begins - 1, begins, ends - 1, ends, ends + 1)]
    assert read[0] == 0
    assert read[1] == pause.lasts_days
    assert read[2] > 0
    assert read[3:] == [0, 0]  # the first instant at which it no longer holds is `ends`


IGNORED = CoolOff(
    id="ignored",
    outcomes=("ignored",),
    count=2,
    within_days=30,
    ignored_after_days=5,
    about="family",
    lasts_days=60,
    **SAID,
)


def sent(day: float, name: str, family: str = "wealth", sent: bool = True) -> ContactFact:
    at = AT + int(day * DAY_MICROS)
    return ContactFact("A", "sms", family, at, at, "wealth_usd_income", "", name, sent)


def said(kind: str, day: float, name: str) -> AnswerFact:
    return AnswerFact(kind, AT + int(day * DAY_MICROS), "wealth", "wealth_usd_income", "sms", name)


@pytest.mark.parametrize(("contacts", "answers", "days"), [
    ([sent(-20, "a"), sent(-10, "b")], [], 55),  # ignored since -15 and -5
    ([sent(-20, "a"), sent(-5, "b")], [], 60),  # the second since this instant
    ([sent(-20, "a"), sent(-4, "b")], [], 0),  # he may still answer
    ([sent(-20, "a"), sent(-4, "b")], [said("no_response", -3, "b")], 57),  # the channel knows already
    ([sent(-20, "a"), sent(-10, "b")], [said("opened", -9, "b")], 0),
    ([sent(-20, "a"), sent(-10, "b")], [said("opened", -5, "b")], 0),  # at the last instant
    ([sent(-20, "a"), sent(-10, "b")], [said("opened", -4.9, "b")], 55),  # too late
    ([sent(-20, "a"), sent(-10, "b")], [said("delivered", -9, "b"), said("no_response", -9, "a")], 55),
    ([sent(-20, "a"), sent(-10, "b")], [said("undelivered", -9.9, "b")], 0),  # he never saw it
    ([sent(-20, "a"), sent(-10, "b", "card")], [], 0),  # another family
    ([sent(-20, "a"), sent(-10, "b", sent=False)], [], 0),  # planned, not sent
    ([sent(-50, "a"), sent(-20, "b")], [], 0),  # -45 and -15: 30 days apart exactly
    ([sent(-49.9, "a"), sent(-20, "b")], [], 45),
])  # fmt: skip
def test_ignored_twice_in_thirty_days(contacts: list[ContactFact], answers: list[AnswerFact], days: float) -> None:
    assert left(IGNORED, "wealth", AT, contacts, answers) == days


def test_an_ignored_contact_is_one_cause_however_often_it_is_said() -> None:
    answers = [said("no_response", -9, "a"), said("no_response", -8, "a")]
    assert left(IGNORED, "wealth", AT, [sent(-10, "a")], answers) == 0
    assert ignored_at(0, 5, [("no_response", 7), ("no_response", 9)]) == 7
    assert ignored_at(0, 5, [("refused", 5 * DAY_MICROS)]) is None
    assert ignored_at(0, 5, [("refused", 5 * DAY_MICROS + 1)]) == 5 * DAY_MICROS


@pytest.mark.parametrize(("about", "channel_left"), [("channel", 30), ("all", 30)])
def test_a_wrong_number_rests_the_channel(about: Any, channel_left: float) -> None:
    pause = CoolOff(id="dead", outcomes=("wrong_number", "undelivered"), about=about, lasts_days=30, **SAID)
    answers = [said("wrong_number", 0, "a")]
    assert left(pause, "sms" if about == "channel" else "all", AT, [], answers) == channel_left
    if about == "channel":
        assert left(pause, "call", AT, [], answers) == 0


def test_p18_service_and_inbound_are_never_ignored_marketing() -> None:
    """Only outbound marketing becomes a ContactFact (serving.rows; test_state holds the table reading)."""
    assert left(IGNORED, "wealth", AT, [], [said("delivered", -9, "service")]) == 0


@pytest.mark.parametrize(("changes", "words"), [
    ({"outcomes": ("ignored", "no_response")}, "`ignored` holds `no_response`; keep one of the two"),
    ({"outcomes": ("refused",), "count": 2, "within_days": 400, "lasts_days": 400}, "looks 800 days back; the ledger is read for 730"),
    ({"outcomes": ("ignored",), "lasts_days": 730}, "looks 737 days back"),
])  # fmt: skip
def test_a_pause_that_cannot_be_read_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CoolOff(**({"id": "p", "lasts_days": 30, **SAID} | changes))
