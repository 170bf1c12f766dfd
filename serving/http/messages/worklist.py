"""A manager's worklist over HTTP: whom to call today, in which order, and moving tasks to a colleague."""

from typing import Annotated

from pydantic import Field

from serving.http.messages.base import Id, Instant, Message, Money, Name, Reason, Words
from serving.http.messages.contact import PAGE_MAX, ContactState

LAST_MAX = 5


class WorklistQuery(Message):
    """Whose tasks of today, and of which channel."""

    manager: Id | None = None
    """The manager, as the bank's customers table names him; null: the tasks that are nobody's."""
    channel: Name = "call"
    """The channel he works through; a channel key reads its own only."""
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    """The most worthwhile so many."""


class Touch(Message):
    """A contact that went out to the customer or his household lately."""

    channel: Name
    """Where."""
    offer_id: Id | None
    """What about; null: a service message."""
    at: Instant
    """When."""
    answers: Annotated[tuple[Name, ...], Field(max_length=20)]
    """What came of it, oldest first: outcome kinds."""


class CoolDown(Message):
    """A pause that holds for the customer now: do not speak of this."""

    title: Words
    """The rule."""
    about: Name
    """The family, offer or channel; `all`: everything."""
    days_left: Annotated[float, Field(ge=0)]
    """How long still."""


class Task(Message):
    """One contact to make today. Claim it before dialling: no claim, no call."""

    contact_id: Id
    """Key to claim it by."""
    customer_id: Id
    """Whom to reach."""
    state: ContactState
    """`reserved`, or `claimed` where somebody is at it."""
    offer_id: Id
    """What to offer."""
    title: Words
    """The offer's name."""
    reason: Annotated[tuple[Words, ...], Field(max_length=3)]
    """Why this customer and this offer; empty: the list it came from is not here."""
    script: Words | None
    """The wording; null: the catalogue has none for this channel."""
    legal_footer: str | None
    """What has to be said too; null: the campaign names nothing."""
    expected_value_minor: Money | None
    """What the call is worth; null: not known here."""
    send_after: Instant
    """Not before."""
    send_before: Instant
    """Not after."""
    last_contacts: Annotated[tuple[Touch, ...], Field(max_length=LAST_MAX)]
    """The latest first."""
    cool_downs: Annotated[tuple[CoolDown, ...], Field(max_length=200)]
    """Pauses that hold."""
    refused_now: Annotated[tuple[Reason, ...], Field(max_length=50)]
    """Why a claim would be refused at this moment; empty: it may be made."""
    moved_from: Id | None
    """Whose it was before it was moved; null: nobody's, or it never was."""


class WorklistResponse(Message):
    """The open tasks of a manager today, the most worthwhile first."""

    manager: Id | None
    """Whose; null: nobody's."""
    as_of: Instant
    """Of when."""
    open: Annotated[int, Field(ge=0)]
    """How many there are, told or not."""
    tasks: Annotated[tuple[Task, ...], Field(max_length=PAGE_MAX)]
    """The worklist."""


class MoveTasksRequest(Message):
    """Give a manager's open tasks to a colleague: all, or some."""

    from_manager: Id | None = None
    """Whose they are; null: nobody's."""
    to_manager: Id
    """Who is to have them; a manager of the bank."""
    channel: Name = "call"
    """Of which channel; a channel key moves its own only."""
    contact_ids: Annotated[tuple[Id, ...], Field(max_length=PAGE_MAX)] | None = None
    """Which; null: every open one."""


class MoveTasksResponse(Message):
    """How many tasks moved; those that were closed meanwhile, or another's, did not."""

    from_manager: Id | None
    """Whose they were; null: nobody's."""
    to_manager: Id
    """Whose they are."""
    moved: Annotated[int, Field(ge=0)]
    """How many."""
