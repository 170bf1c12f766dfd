"""What the HTTP layer asks of the engine: Door, one method per route, and the errors it may raise.

    Exception
    └── DoorError              status, code and one line for the caller
        ├── BadRequest         400  does not make sense      (Unprocessable 422: not here, not now)
        ├── Forbidden          403  this key may not
        ├── NotFound           404  no such contact or decision
        ├── Conflict           409  the state forbids it
        ├── Busy               429  too many requests at once
        ├── Unavailable        503  the ledger cannot be written: nothing happened
        └── TooLate            504  the deadline passed before the commit: nothing happened

Requests are checked when they arrive here. Messages name no customer and echo no id.
"""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import ClassVar, Protocol

from rules.review import ReviewError
from serving.http.messages import (
    ActivateRequest,
    ApproveRequest,
    BatchDecisionRequest,
    CancelRequest,
    ChangeResponse,
    ChangesQuery,
    ChangesResponse,
    ClaimRequest,
    ConsentRequest,
    DecisionRecordResponse,
    DecisionRequest,
    DecisionWhyResponse,
    DueContactsQuery,
    DueContactsResponse,
    EventRequest,
    ExternalContactRequest,
    JudgeRequest,
    Message,
    MoveTasksRequest,
    OutcomeRequest,
    ProposeRequest,
    ReadyResponse,
    RecallsQuery,
    RecallsResponse,
    RollbackRequest,
    SentRequest,
    SwitchRequest,
    WorklistQuery,
    WorklistResponse,
)
from serving.ledger.contact import LifecycleError
from serving.ledger.errors import CrowdedError, DeadlineError, InDoubtError, LedgerError, RowError
from serving.ledger.idempotency import ConflictError
from serving.ledger.keys import Principal
from serving.ledger.switches import SwitchError


class DoorError(Exception):
    """An answer other than 2xx. `message` is one line: what, where, remedy; no ids."""

    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code


class BadRequest(DoorError):
    """The request does not make sense."""

    status, code = 400, "bad_request"


class Unprocessable(BadRequest):
    """The request is well formed but does not fit the catalogue, the clock or the stored answer."""

    status, code = 422, "unprocessable"


class Forbidden(DoorError):
    """The key may not do this, here."""

    status, code = 403, "forbidden"


class NotFound(DoorError):
    """There is no such contact or decision."""

    status, code = 404, "not_found"


class Conflict(DoorError):
    """The state of what was asked about forbids it."""

    status, code = 409, "conflict"


class Busy(DoorError):
    """Too many requests at once; come back with the same Idempotency-Key."""

    status, code = 429, "busy"


class Unavailable(DoorError):
    """The ledger cannot be written; nothing happened."""

    status, code = 503, "unavailable"


class TooLate(DoorError):
    """The deadline passed before the commit; nothing happened."""

    status, code = 504, "deadline_passed"


def as_door_error(error: BaseException) -> DoorError | None:
    """The answer to an error of the ledger; null for an error nobody expected."""
    match error:
        case DoorError():
            return error
        case LifecycleError():
            return Conflict(str(error)) if error.state else NotFound(str(error))
        case ConflictError():
            return Unprocessable(str(error), code="key_reused")
        case ReviewError():
            return Forbidden(str(error)) if error.forbidden else Conflict(str(error))
        case SwitchError():
            return Conflict(str(error))
        case DeadlineError():
            return TooLate(str(error))
        case CrowdedError():
            return Busy(str(error))
        case InDoubtError():
            return Unavailable(str(error), code="outcome_unknown")
        case LedgerError():
            return Unavailable(str(error))
        case RowError():
            return Unprocessable(str(error))
        case _:
            return None


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as bytes: what an Idempotency-Key gets again, byte for byte."""

    body: bytes  # one JSON object
    status: int = 200

    @classmethod
    def of(cls, answer: Message, status: int = 200) -> "StoredAnswer":
        """The answer's bytes; equal answers give equal bytes."""
        return cls(answer.__pydantic_serializer__.to_json(answer), status)


@dataclass(frozen=True)
class Call:
    """Everything about a request but its body."""

    principal: Principal
    route: str  # `POST /v1/decisions`: the scope of the idempotency key
    idempotency_key: str | None = None  # null on reads
    body_sha256: str | None = None  # of the path and the body as sent; null on reads
    deadline: float | None = None  # time.monotonic() after which nothing may be committed


Pending = Future[StoredAnswer]


class Door(Protocol):
    """The engine behind the HTTP layer, one method per route.

    Methods that write must not block: they run on the event loop, hand the work to the ledger's
    writer and return its Future, resolved after the commit to the bytes stored under the
    Idempotency-Key. Methods that only read may block: they run in a few threads and return their
    answer. Both may raise, or resolve to, a DoorError.
    """

    def who(self, presented: str) -> Principal | None:
        """The owner of a key; null: unknown, expired or revoked. May block."""
        ...

    def ready(self) -> ReadyResponse:
        """Whether the ledger can be written, and how fresh the data are. May block."""
        ...

    def close(self) -> None:
        """Finish what was begun, refuse what comes, release the ledger."""
        ...

    def decide(self, request: DecisionRequest, call: Call) -> Pending:
        """DecisionResponse: the decision, recorded; outbound: its contact reserved."""
        ...

    def decide_batch(self, request: BatchDecisionRequest, call: Call) -> Pending:
        """BatchDecisionResponse: the decisions, in order, in one transaction."""
        ...

    def due_contacts(self, query: DueContactsQuery, call: Call) -> DueContactsResponse:
        """A page of contacts to claim. Reads only."""
        ...

    def claim(self, contact_id: str, request: ClaimRequest, call: Call) -> Pending:
        """ClaimResponse: the contact, claimed; Conflict `claim_refused` if the rules forbid it."""
        ...

    def sent(self, contact_id: str, request: SentRequest, call: Call) -> Pending:
        """ContactResponse: the contact, sent; Conflict unless it was claimed."""
        ...

    def cancel(self, contact_id: str, request: CancelRequest, call: Call) -> Pending:
        """ContactResponse: the contact, closed unsent; Conflict when it is sent already."""
        ...

    def external_contact(self, request: ExternalContactRequest, call: Call) -> Pending:
        """ContactResponse: another system's contact, entered as sent."""
        ...

    def recalls(self, query: RecallsQuery, call: Call) -> RecallsResponse:
        """A page of contacts that must not be sent any more. Reads only."""
        ...

    def outcome(self, request: OutcomeRequest, call: Call) -> Pending:
        """OutcomeResponse: the outcome, stored; NotFound without such a contact."""
        ...

    def event(self, request: EventRequest, call: Call) -> Pending:
        """EventResponse: the event, stored, and the suppressions it opened and closed."""
        ...

    def consent(self, request: ConsentRequest, call: Call) -> Pending:
        """ConsentResponse: the consent, stored, and how many contacts it took back."""
        ...

    def decision(self, decision_id: str, call: Call) -> DecisionRecordResponse:
        """The record of a decision. Reads only."""
        ...

    def why(self, decision_id: str, call: Call) -> DecisionWhyResponse:
        """The account of a decision. Reads only."""
        ...

    def switch(self, request: SwitchRequest, call: Call) -> Pending:
        """SwitchResponse: where the scope stands after the request."""
        ...

    def worklist(self, query: WorklistQuery, call: Call) -> WorklistResponse:
        """A manager's tasks of today, ranked. Reads only."""
        ...

    def move_tasks(self, request: MoveTasksRequest, call: Call) -> Pending:
        """MoveTasksResponse: how many open tasks are a colleague's now."""
        ...

    def changes(self, query: ChangesQuery, call: Call) -> ChangesResponse:
        """All changes of rules, catalogue and campaigns, the newest first. Reads only."""
        ...

    def change(self, change_id: str, call: Call) -> ChangeResponse:
        """Where a change stands, with what its check found. Reads only."""
        ...

    def propose(self, request: ProposeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, handed in; its check follows. Unprocessable where the files do not hold."""
        ...

    def approve(self, change_id: str, request: ApproveRequest, call: Call) -> Pending:
        """ChangeResponse: the change, approved; Conflict before its check passed, Forbidden to its author."""
        ...

    def reject(self, change_id: str, request: JudgeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, refused; Forbidden to its author."""
        ...

    def withdraw(self, change_id: str, request: JudgeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, taken back by its author."""
        ...

    def activate(self, change_id: str, request: ActivateRequest, call: Call) -> Pending:
        """ChangeResponse: the change, in force from an instant on; Conflict unless it is approved."""
        ...

    def rollback(self, request: RollbackRequest, call: Call) -> Pending:
        """ChangeResponse: the last change, undone: the set before it is in force again."""
        ...
