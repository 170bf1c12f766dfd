"""What the models hold: the same words as the tables, instants in UTC, and no silent change."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from features.tables import OUTCOMES, TABLES, TRANSACTION_KINDS
from rules.reasons import PRECEDENCE
from serving.http import messages
from serving.http.messages import (
    Cell,
    ConsentChannel,
    ConsentPurpose,
    ConsentState,
    ContactState,
    DecisionRequest,
    Direction,
    EventKind,
    EventRequest,
    OutcomeKind,
    OutcomeRequest,
    Purpose,
)
from serving.http.messages.base import Message
from serving.ledger import outcomes
from serving.ledger.contact import State

T = "2026-06-01T09:30:00Z"


def values(kind):
    """The words of an enum, in order."""
    return tuple(member.value for member in kind)


def test_the_words_of_messages_are_those_of_the_tables_and_the_ledger():
    consents, contacts = TABLES["consents"], TABLES["contacts"]
    assert values(OutcomeKind) == OUTCOMES
    assert set(OutcomeKind) == set(outcomes.Kind)
    assert values(EventKind) == TRANSACTION_KINDS
    assert values(ContactState) == values(State)
    assert values(ConsentPurpose) == consents.column("purpose").domain
    assert values(ConsentChannel) == consents.column("channel").domain
    assert values(ConsentState) == consents.column("state").domain
    assert values(Direction) == contacts.column("direction").domain
    assert values(Purpose) == contacts.column("purpose").domain


@pytest.mark.parametrize("text", ["2026-06-01T09:30:00Z", "2026-06-01T17:30:00+08:00", "2026-05-31T21:30:00.000-12:00"])
def test_an_instant_is_kept_in_utc(text):
    body = f'{{"contact_id": "K", "kind": "opened", "at": "{text}"}}'
    at = OutcomeRequest.model_validate_json(body).at
    assert (at, at.tzinfo) == (datetime(2026, 6, 1, 9, 30, tzinfo=UTC), UTC)


def test_an_answer_is_built_from_python_instants():
    at = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
    answer = messages.ContactResponse(contact_id="K", state=ContactState.SENT, at=at)
    assert answer.model_dump_json() == f'{{"contact_id":"K","state":"sent","at":"{T}"}}'


def test_reasons_are_slugs_of_the_reason_codes():
    for code in PRECEDENCE:
        cell = {"offer_id": "a", "channel": "sms", "open": False, "reasons": (code.slug,),
                "expected_value_minor": None}  # fmt: skip
        assert Cell(**cell).reasons == (code.slug,)
    with pytest.raises(ValidationError, match="unknown reason"):
        Cell(**(cell | {"reasons": ("because",)}))


def test_the_defaults_of_a_request_are_the_cautious_ones():
    request = DecisionRequest.model_validate_json('{"customer_id": "C"}')
    assert (request.direction, request.top, request.channels) == (Direction.OUTBOUND, 1, None)
    assert request.context is None


def test_a_message_cannot_be_changed():
    request = DecisionRequest(customer_id="C")
    with pytest.raises(ValidationError, match="frozen"):
        request.top = 3


def test_an_event_without_money_is_fine_and_a_balance_alone_too():
    start = f'{{"event_id":"E","customer_id":"C","kind":"fee","booked_at":"{T}","recorded_at":"{T}"'
    assert EventRequest.model_validate_json(start + "}").amount_minor is None
    text = start + ',"balance_after_minor":-3,"currency":"USD"}'
    assert EventRequest.model_validate_json(text).balance_after_minor == -3


@pytest.mark.parametrize("name", [n for n in messages.__all__ if n != "Message"])
def test_every_public_message_says_what_it_is(name):
    kind = getattr(messages, name)
    assert kind.__doc__, name
    if issubclass(kind, Message):
        assert kind.model_config["extra"] == "forbid"
        assert kind.model_config["strict"]
        assert not kind.model_config["allow_inf_nan"]
        missing = [field for field, info in kind.model_fields.items() if not info.description]
        assert missing == [], name
