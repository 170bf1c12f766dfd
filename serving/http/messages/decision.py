"""Asking for a decision, its answer, and the account of it afterwards."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from serving.http.messages.base import (
    Id,
    Instant,
    Message,
    Money,
    Name,
    Probability,
    Reason,
    Sha256,
    Words,
)

BATCH_MAX = 256
TOP_MAX = 3

Channels = Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
FACT_MAX = 200


def _flat(value: object) -> object:
    short = not isinstance(value, str) or (value.isprintable() and len(value) <= FACT_MAX)
    if not isinstance(value, bool | int | float | str) or not short:
        raise ValueError(f"should be true, false, a number or {FACT_MAX} printable characters")
    return value


Fact = Annotated[bool | int | float | str, BeforeValidator(_flat)]


class Direction(StrEnum):
    """Who began: the bank (outbound) or the customer (inbound)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class DecisionRequest(Message):
    """Ask what to offer one customer now.

    An outbound answer reserves the contact it names; an inbound answer records what was offered
    and spends no cap. More than one choice is for inbound only.
    """

    customer_id: Id
    """The bank's key of the customer."""
    direction: Direction = Direction.OUTBOUND
    """Who began."""
    channels: Channels | None = None
    """Channels to choose from; null: every channel of the catalogue."""
    top: Annotated[int, Field(ge=1, le=TOP_MAX)] = 1
    """How many choices at most."""
    context: Annotated[dict[Name, Fact], Field(max_length=16)] | None = None
    """Facts of the moment (page, reason of the call); null: none. Never stored as features."""

    @model_validator(mode="after")
    def _top_is_inbound(self) -> Self:
        if self.top > 1 and self.direction is not Direction.INBOUND:
            raise ValueError("`top` above 1 is for inbound only; send top 1 or direction inbound")
        if self.channels is not None and len(set(self.channels)) < len(self.channels):
            raise ValueError("`channels` names a channel twice; name each once")
        return self


class Choice(Message):
    """One offer on one channel, allowed and worth making."""

    contact_id: Id | None
    """Outbound: the contact reserved, to be claimed. Inbound: the offer recorded, to be answered
    by outcomes; it spends no cap. Null: nothing was written (a dry run)."""
    offer_id: Id
    """The offer of the catalogue."""
    channel: Name
    """The channel it goes over."""
    treatment: Id | None
    """The wording; null where the catalogue has none for this cell."""
    send_after: Instant | None
    """First instant it may be sent; null for inbound."""
    send_before: Instant | None
    """Last instant it may be sent, quiet hours taken out; null for inbound."""
    expected_value_minor: Money
    """Expected value of making the offer, base currency, minor units; silence is worth 0."""
    p_accept: Probability
    """The model's probability that the customer accepts."""
    why: tuple[Words, ...]
    """Why this one, the strongest reason first."""


class DecisionResponse(Message):
    """The decision for one customer: an offer, or silence with its reasons.

    Silence is an answer (200), not an error: `choices` is empty, `offer_id` and `channel` are
    null, `reasons` says why.
    """

    decision_id: Id
    """Key of the decision's record."""
    customer_id: Id
    """The customer asked about."""
    as_of: Instant
    """What the decision could know: everything before this instant."""
    choices: Annotated[tuple[Choice, ...], Field(max_length=TOP_MAX)]
    """Best first; empty: silence."""
    offer_id: Id | None
    """The first choice's offer; null: silence."""
    channel: Name | None
    """The first choice's channel; null: silence."""
    reasons: tuple[Reason, ...]
    """Every reason that closed a cell, by precedence; empty iff there is a choice."""
    tier: Name | None
    """The customer's value tier; null: not known."""
    revisions: dict[str, str]
    """What decided: `terms`, `policy`, `catalogue`, `snapshot` and each model -> its revision."""
    assumptions: tuple[str, ...]
    """What the bank's data lack and the import declared."""
    degraded: bool
    """True: a model or the snapshot is missing or stale; marketing then stays silent."""
    expires_at: Instant
    """After this instant the answer counts no longer: ask again."""


class BatchDecisionRequest(Message):
    """Ask for several customers at once; a unit that comes up twice is decided in this order."""

    decisions: Annotated[tuple[DecisionRequest, ...], Field(min_length=1, max_length=BATCH_MAX)]
    """The single requests, at most 256."""


class BatchDecisionResponse(Message):
    """One decision per request, in the order of the request. All are written, or none.

    A customer nobody knows is silence with its reason, so that one id does not spoil the rest.
    """

    decisions: Annotated[tuple[DecisionResponse, ...], Field(max_length=BATCH_MAX)]
    """The answers."""


class DecisionRecordResponse(Message):
    """A decision as it was recorded: its inputs, its result, and the hash that proves both."""

    decision_id: Id
    """Key of the record."""
    customer_id: Id
    """The customer."""
    unit_id: Id
    """The household, else the customer."""
    as_of: Instant
    """What the decision could know."""
    inputs: dict[str, JsonValue]
    """State columns and scores as stored; null: not known then."""
    result: DecisionResponse
    """The answer as it was given."""
    terms: str
    """Revision of the terms that decided."""
    row_sha256: Sha256
    """Hash over the stored row."""
    sealed: bool
    """Whether the row is under a seal already; false for the newest second."""


class Cell(Message):
    """One offer on one channel, as the decision saw it."""

    offer_id: Id
    """The offer."""
    channel: Name
    """The channel."""
    open: bool
    """Whether every layer let it through."""
    reasons: tuple[Reason, ...]
    """What closed it, by precedence; empty where it is open."""
    expected_value_minor: Money | None
    """Expected value, minor units; null: closed cells are not scored."""


class DecisionWhyResponse(Message):
    """The account of a decision: what won and by which factors, what was closed and why."""

    decision_id: Id
    """Key of the record."""
    offer_id: Id | None
    """What won; null: silence."""
    channel: Name | None
    """Where; null: silence."""
    sentences: tuple[Words, ...]
    """The account in words, for the customer's own questions."""
    factors: dict[str, float | None]
    """The factors of the winner's expected value (rules.types.FACTORS); empty: silence."""
    p_chosen: Probability | None
    """Logged probability of this choice; null: silence."""
    explored: bool
    """Whether the choice was drawn for exploration."""
    drivers: tuple[Words, ...]
    """What spoke most for and against the offer, from the model's contributions to the log-odds, the strongest first;
    empty: silence, or the features of that moment are no longer at hand."""
    would_change: tuple[Words, ...]
    """What would have to be otherwise for another answer."""
    cells: tuple[Cell, ...]
    """Every cell of the catalogue, in its order."""
