"""What systems report: outcomes of contacts, money events, consents."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from features.tables import INFLOW_KINDS, OUTFLOW_KINDS
from serving.http.messages.base import Currency, Id, Instant, Message, Money, Note


class OutcomeKind(StrEnum):
    """What came of a contact (features.tables.OUTCOMES)."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    OPENED = "opened"
    CLICKED = "clicked"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    NO_RESPONSE = "no_response"
    WRONG_NUMBER = "wrong_number"
    DO_NOT_CALL = "do_not_call"
    COMPLAINED = "complained"
    OPTED_OUT = "opted_out"


class EventKind(StrEnum):
    """What happened on an account (features.tables.TRANSACTION_KINDS)."""

    CASH_WITHDRAWAL = "cash_withdrawal"
    TRANSFER_OUT = "transfer_out"
    FX_SALE = "fx_sale"
    SALARY = "salary"
    CASH_DEPOSIT = "cash_deposit"
    TRANSFER_IN = "transfer_in"
    FX_PURCHASE = "fx_purchase"
    PURCHASE = "purchase"
    FEE = "fee"
    INTEREST = "interest"
    LOAN_PAYMENT = "loan_payment"
    REFUND = "refund"
    OWN_TRANSFER = "own_transfer"


class ConsentPurpose(StrEnum):
    """What a consent is for."""

    MARKETING = "marketing"
    PROFILING = "profiling"


class ConsentChannel(StrEnum):
    """Where a consent holds."""

    ALL = "all"
    SMS = "sms"
    EMAIL = "email"
    APP = "app"
    CALL = "call"
    BRANCH = "branch"
    MAIL = "mail"


class ConsentState(StrEnum):
    """What the customer said."""

    GRANTED = "granted"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


class OutcomeRequest(Message):
    """Report what came of a contact. The same contact, kind and instant again changes nothing."""

    contact_id: Id
    """The contact, or an inbound offer's contact."""
    kind: OutcomeKind
    """What came of it."""
    at: Instant | None = None
    """When; null: now, by the service's clock."""


class OutcomeResponse(Message):
    """The outcome is stored and acts from the next decision on."""

    contact_id: Id
    """The contact."""
    kind: OutcomeKind
    """What came of it."""
    new: bool
    """False: it had been reported before."""


class EventRequest(Message):
    """Report that money moved. It acts on the very next decision."""

    event_id: Id
    """The source's key; the same key again is the same event."""
    customer_id: Id
    """Whose money."""
    kind: EventKind
    """What it was."""
    amount_minor: Money | None = None
    """Signed, minor units: + in, - out; null: the source does not say, which a kind that brings or takes money must."""
    currency: Currency | None = None
    """ISO 4217 code; goes with an amount or a balance."""
    balance_after_minor: Money | None = None
    """Balance of the account just after, minor units; null: the source does not say."""
    booked_at: Instant
    """When it happened."""
    recorded_at: Instant
    """When the source knew."""
    transaction_id: Id | None = None
    """The booking in the bank's own tables, which counts once however often it is told; null: the
    source does not know it, and the event_id is taken for it."""
    account_id: Id | None = None
    """The account in the bank's own tables; null: the source does not say."""

    @model_validator(mode="after")
    def _money_is_whole(self) -> Self:
        amount = self.amount_minor
        names_money = amount is not None or self.balance_after_minor is not None
        if names_money != (self.currency is not None):
            raise ValueError("`currency` goes with an amount or a balance; send both or neither")
        if amount is not None and amount > 0 and self.kind in OUTFLOW_KINDS:
            raise ValueError("`amount_minor` is above 0, but this kind takes money out; send it negative")
        if amount is not None and amount < 0 and self.kind in INFLOW_KINDS:
            raise ValueError("`amount_minor` is below 0, but this kind brings money in; send it positive")
        return self


class EventResponse(Message):
    """The event is stored, with the suppressions it opened and closed, in one transaction."""

    event_id: Id
    """The event."""
    new: bool
    """False: it had been reported before."""
    opened: tuple[Id, ...]
    """Rules whose event suppression it opened or lengthened."""
    closed: tuple[Id, ...]
    """Rules whose event suppression it ended."""
    caused: Id | None = None
    """The decision it caused by a trigger of the bank, an offer or silence; its contact is due as any other. Null: none."""


class ConsentRequest(Message):
    """Report what the customer said about being contacted. It acts from the next decision on."""

    consent_id: Id | None = None
    """The source's key; the same key again is the same consent. Null: we make one."""
    customer_id: Id
    """Who said it."""
    purpose: ConsentPurpose
    """What for."""
    channel: ConsentChannel
    """Where; `all` for every channel."""
    state: ConsentState
    """What was said."""
    source: Note | None = None
    """Form, branch, app ...; null: not known."""
    wording: Note | None = None
    """Version of the text shown; null: not known."""
    at: Instant
    """When it was said."""


class ConsentResponse(Message):
    """The consent is stored."""

    consent_id: Id
    """Its key."""
    new: bool
    """False: it had been reported before."""
    recalled: Annotated[int, Field(ge=0)]
    """Contacts taken back because of it: reserved ones, and claimed ones not yet sent; all stand in /v1/recalls."""
