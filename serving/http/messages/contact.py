"""The life of a contact over HTTP: due, claimed, sent, cancelled, recalled, told by others."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from serving.http.messages.base import Cursor, Id, Instant, Message, Name, Note
from serving.http.messages.decision import Direction

PAGE_MAX = 500


class ContactState(StrEnum):
    """Where a contact stands; all but `closed` count for caps."""

    RESERVED = "reserved"
    CLAIMED = "claimed"
    SENT = "sent"
    CLOSED = "closed"


class Purpose(StrEnum):
    """What a contact is for: marketing is capped, service never."""

    MARKETING = "marketing"
    SERVICE = "service"


class CancelReason(StrEnum):
    """Why a contact is given back unsent.

    `unreachable` and `wrong_number` say what was met with a claimed contact. They count as outcomes there, once, from
    a key that may report outcomes; elsewhere they only close the contact.
    """

    NOT_SENT = "not_sent"
    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"
    WRONG_NUMBER = "wrong_number"


class DueContactsQuery(Message):
    """Which reserved contacts of a channel may be sent now."""

    channel: Name
    """The channel; a channel key reads its own only."""
    due: Instant | None = None
    """Contacts whose send_after is not later than this; null: now."""
    cursor: Cursor | None = None
    """The `cursor` of the page before; null: from the start."""
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    """Rows a page."""


class DueContact(Message):
    """A reserved contact. Claim it within 60 s before sending: no claim, no send."""

    contact_id: Id
    """Key to claim it by."""
    customer_id: Id
    """Whom to reach."""
    offer_id: Id | None
    """What to offer; null: a service message."""
    family: Id | None
    """The offer's family; null: a service message."""
    channel: Name
    """Where."""
    treatment: Id | None
    """The wording; null: the catalogue has none."""
    campaign_id: Id | None
    """The campaign; null: a decision outside campaigns."""
    send_after: Instant
    """Not to be sent earlier."""
    send_before: Instant
    """Not to be sent later."""
    decision_id: Id | None
    """The decision behind it; null: a list's, recorded in its manifest."""


class DueContactsResponse(Message):
    """A page of due contacts, by contact_id."""

    contacts: Annotated[tuple[DueContact, ...], Field(max_length=PAGE_MAX)]
    """The page; empty: nothing is due."""
    cursor: Cursor | None
    """Send it to go on after this page; null: this was the last page."""


class ClaimRequest(Message):
    """Claim a reserved contact just before sending. No fields: `{}`."""


class ClaimResponse(Message):
    """The contact is yours to send until `claim_expires_at`.

    A claim that the rules refuse (opt-out, pause, suppression since the decision) answers 409
    with code `claim_refused`, and the contact is closed: do not send. So does the same Idempotency-Key
    once its claim is over: sent, cancelled, recalled, or past `claim_expires_at`.
    """

    contact_id: Id
    """The contact."""
    state: ContactState
    """`claimed`."""
    customer_id: Id
    """Whom to reach."""
    offer_id: Id | None
    """What to offer; null: a service message."""
    channel: Name
    """Where."""
    treatment: Id | None
    """The wording; null: the catalogue has none."""
    send_before: Instant
    """Not to be sent later."""
    claim_expires_at: Instant
    """A minute from now, at most `send_before`. Send by then, and report it sent. What has not gone out by then must
    not go out any more: cancel it with reason `not_sent`, which frees its cap, and ask for a new decision. A contact
    is claimed once."""
    language: str | None = None
    """Of the wording, for this customer; null: the campaign names no wordings, or both are approved and his is not known."""
    legal_footer: str | None = None
    """What has to be said too; null: the campaign names nothing."""


class SentRequest(Message):
    """Report that a claimed contact went out."""

    sent_at: Instant | None = None
    """When; null: now."""


class CancelRequest(Message):
    """Give a reserved or claimed contact back unsent; its cap is free again.

    Only a key of its channel closes what is claimed: it alone knows that nothing went out. From any other key that is a
    recall: the contact stays `claimed` and counts, and stands in /v1/recalls.
    """

    reason: CancelReason = CancelReason.CANCELLED
    """Why."""


class ContactResponse(Message):
    """Where the contact stands after the request."""

    contact_id: Id
    """The contact."""
    state: ContactState
    """Its state now."""
    at: Instant
    """Since when."""


class ExternalContactRequest(Message):
    """A contact another system made without asking us: it counts for caps from now on."""

    contact_id: Id
    """The other system's key; the same key again is the same contact."""
    customer_id: Id
    """Who was contacted."""
    channel: Name
    """Where."""
    purpose: Purpose
    """What for."""
    direction: Direction = Direction.OUTBOUND
    """Who began."""
    offer_id: Id | None = None
    """What was offered; null: nothing of the catalogue."""
    family: Id | None = None
    """Family of what was offered; null: the offer's, or none."""
    campaign_id: Id | None = None
    """The other system's campaign; null: none."""
    sent_at: Instant
    """When it went out."""


class RecallsQuery(Message):
    """Contacts handed over (in a list or a feed) that must not be sent any more."""

    cursor: Cursor | None = None
    """The `cursor` of the page before; null: from the start."""
    channel: Name | None = None
    """One channel only; null: all. A channel key always reads its own only."""
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    """Rows a page."""


class Recall(Message):
    """A contact that must not be sent any more.

    Where it is claimed and has not gone out, cancel it with reason `not_sent`; it counts until then. Where it has
    gone out meanwhile, report it sent all the same: that is recorded, and the recall stays.
    """

    contact_id: Id
    """The contact."""
    channel: Name
    """Where it would have gone."""
    campaign_id: Id | None
    """The campaign; null: none."""
    reason: Note
    """Why: a reason slug such as `opted_out`, `operator` for a recall or a cancel by hand, `superseded` where its
    run was planned anew; `recalled` where nobody said."""
    recalled_at: Instant
    """Since when."""


class RecallsResponse(Message):
    """A page of recalls, oldest first."""

    recalls: Annotated[tuple[Recall, ...], Field(max_length=PAGE_MAX)]
    """The page; empty: nothing new."""
    cursor: Cursor | None
    """Keep it and send it next time; null: there has never been a recall."""
