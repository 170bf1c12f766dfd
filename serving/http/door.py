"""What the HTTP layer asks of the engine: Door, one method per route; what it may raise stands in errors.py.

Requests are checked when they arrive here.
"""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

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
from serving.ledger.keys import Principal


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
        """ContactResponse: the contact, sent; Conflict unless it was claimed to be sent."""
        ...

    def cancel(self, contact_id: str, request: CancelRequest, call: Call) -> Pending:
        """ContactResponse: the contact, closed unsent; recalled where another than its channel cancels a claimed one."""
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
