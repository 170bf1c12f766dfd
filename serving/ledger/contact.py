"""One contact: where it stands, what may happen to it, and its row.

    reserved --claim--> claimed --sent--> sent --outcome--> sent
       |  |                |
       |  +-- expire, cancel, recall, not_sent --> closed

reserved, claimed and sent count for caps over [send_after, send_before]; closed does not. `TRANSITIONS` is the whole
truth; serving/ledger/lifecycle.py only looks up there. A recall closes what is reserved; what is claimed may have gone
out, so it stays claimed and bears the recall (closed_at, close_reason, recall_reason), whatever becomes of it.
"""

from enum import StrEnum
from typing import Any, NamedTuple

from serving.ledger.schema import contacts


class State(StrEnum):
    """Where a contact stands."""

    RESERVED = "reserved"
    CLAIMED = "claimed"
    SENT = "sent"
    CLOSED = "closed"


COUNTING = frozenset({State.RESERVED, State.CLAIMED, State.SENT})


class Action(StrEnum):
    """What may happen to a contact. EXPIRE .. NOT_SENT close it and are its close_reason."""

    CLAIM = "claim"
    SENT = "sent"
    OUTCOME = "outcome"
    EXPIRE = "expired"
    CANCEL = "cancelled"
    RECALL = "recalled"
    NOT_SENT = "not_sent"


_CLOSING = (Action.EXPIRE, Action.CANCEL, Action.RECALL, Action.NOT_SENT)

# (state, action) -> state; a pair that is missing is refused. The same report twice changes
# nothing; a second claim is refused, for it would send twice. An answer to a contact that was
# closed or not yet confirmed is still an answer, and feeds the cool-offs.
TRANSITIONS: dict[tuple[State, Action], State] = {
    (State.RESERVED, Action.CLAIM): State.CLAIMED,
    (State.CLAIMED, Action.SENT): State.SENT,
    (State.SENT, Action.SENT): State.SENT,
    (State.CLAIMED, Action.OUTCOME): State.CLAIMED,
    (State.SENT, Action.OUTCOME): State.SENT,
    (State.CLOSED, Action.OUTCOME): State.CLOSED,
    **{(State.RESERVED, action): State.CLOSED for action in _CLOSING},
    **{(State.CLAIMED, action): State.CLOSED for action in _CLOSING},
    **{(State.CLOSED, action): State.CLOSED for action in _CLOSING},
}


class LifecycleError(ValueError):
    """The contact cannot do that in its state. `state` null: there is no such contact."""

    def __init__(self, message: str, state: State | None, action: Action) -> None:
        super().__init__(message)
        self.state, self.action = state, action


class ContactRow(NamedTuple):
    """One contact; the columns of `schema.contacts`, instants in microseconds UTC."""

    contact_id: str
    customer_id: str
    unit_id: str
    channel: str
    decided_at: int
    send_after: int
    send_before: int
    offer_id: str | None = None
    family: str | None = None
    treatment: str | None = None
    campaign_id: str | None = None
    purpose: str = "marketing"
    direction: str = "outbound"
    state: str = State.RESERVED
    source: str = "decision"
    claimed_at: int | None = None
    sent_at: int | None = None
    closed_at: int | None = None
    close_reason: str | None = None
    recall_reason: str | None = None  # a slug of rules.reasons, or who took it back; also of one recalled on its way
    p_chosen: float | None = None
    decision_id: str | None = None

    def values(self) -> dict[str, Any]:
        """Column -> value."""
        return self._asdict()

    def standing(self, now: int) -> str:
        """Its state; what was reserved and can no longer be claimed is closed, whether anyone closed it or not."""
        return State.CLOSED if self.state == State.RESERVED and self.send_before <= now else self.state

    def counts(self, now: int) -> bool:
        """Whether caps count it."""
        return self.standing(now) in COUNTING


FIELDS = ContactRow._fields
COLUMNS = tuple(contacts.c[name] for name in FIELDS)
