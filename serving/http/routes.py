"""The HTTP contract as data: every route with its roles, its messages and its method of the door.

A route cannot be made without roles, and a method of the door cannot be left out: the service, the
OpenAPI document and the tests of roles are all generated from ROUTES.
"""

import inspect
from dataclasses import dataclass
from typing import Literal

from serving.http import messages
from serving.http.door import Door
from serving.http.guard import BODY_BYTES_MAX
from serving.http.messages import Message
from serving.ledger.keys import Role

_CHANNEL, _MARKETING, _COMPLIANCE = Role.CHANNEL, Role.MARKETING, Role.COMPLIANCE
_ADMIN = Role.ADMIN
_REVIEW = (_MARKETING, _COMPLIANCE, _ADMIN)


class RouteError(ValueError):
    """A route is declared wrongly; the application cannot be built with it."""


@dataclass(frozen=True)
class Route:
    """One route. Made once, at import: RouteError where it does not hold together."""

    method: Literal["GET", "POST"]
    path: str  # at most one id: `{contact_id}` or `{decision_id}`
    roles: frozenset[Role]
    request: type[Message] | None  # body of a POST, query of a GET; null: none
    response: type[Message]
    door: str  # method of Door
    writes: bool  # needs an Idempotency-Key
    body_bytes_max: int = BODY_BYTES_MAX
    heavy: bool = False  # a read of a second or more: few at once, in threads of their own

    def __post_init__(self) -> None:
        if not self.roles:
            raise RouteError(f"route `{self.name}` has no role; say whose keys may use it")
        if not callable(getattr(Door, self.door, None)):
            raise RouteError(f"route `{self.name}`: the door has no method `{self.door}`")
        if self.writes != (self.method == "POST"):
            raise RouteError(f"route `{self.name}`: POST writes and GET does not")
        if self.writes and self.request is None:
            raise RouteError(f"route `{self.name}` has no request model; POST takes a body")
        if self.path.count("{") > 1 or not self.path.startswith("/v1/"):
            raise RouteError(f"route `{self.name}`: expected /v1/... with at most one id")

    @property
    def name(self) -> str:
        """`POST /v1/decisions`: the label in metrics and the scope of idempotency keys."""
        return f"{self.method} {self.path}"

    @property
    def id_name(self) -> str | None:
        """`contact_id`, where the path holds an id; else null."""
        return self.path.partition("{")[2].partition("}")[0] or None

    @property
    def summary(self) -> str:
        """What the door's method says it returns."""
        return inspect.getdoc(getattr(Door, self.door)) or ""


def _get(path: str, door: str, request: type[Message] | None, response: type[Message], *roles: Role,
         heavy: bool = False) -> Route:  # fmt: skip
    return Route("GET", path, frozenset(roles), request, response, door, writes=False, heavy=heavy)


def _post(path: str, door: str, request: type[Message], response: type[Message], *roles: Role,
          body_bytes_max: int = BODY_BYTES_MAX) -> Route:  # fmt: skip
    return Route("POST", path, frozenset(roles), request, response, door, writes=True, body_bytes_max=body_bytes_max)


ROUTES: tuple[Route, ...] = (
    _post("/v1/decisions", "decide", messages.DecisionRequest, messages.DecisionResponse,
          _CHANNEL, _ADMIN),
    _post("/v1/events", "event", messages.EventRequest, messages.EventResponse,
          _CHANNEL, _ADMIN),
    _post("/v1/decisions/batch", "decide_batch", messages.BatchDecisionRequest,
          messages.BatchDecisionResponse, _CHANNEL, _ADMIN),
    _get("/v1/contacts", "due_contacts", messages.DueContactsQuery, messages.DueContactsResponse,
         _CHANNEL, _ADMIN),
    _post("/v1/contacts/{contact_id}/claim", "claim", messages.ClaimRequest,
          messages.ClaimResponse, _CHANNEL, _ADMIN),
    _post("/v1/contacts/{contact_id}/sent", "sent", messages.SentRequest,
          messages.ContactResponse, _CHANNEL, _ADMIN),
    _post("/v1/contacts/{contact_id}/cancel", "cancel", messages.CancelRequest,
          messages.ContactResponse, _CHANNEL, _MARKETING, _ADMIN),
    _post("/v1/contacts", "external_contact", messages.ExternalContactRequest,
          messages.ContactResponse, _CHANNEL, _ADMIN),
    _get("/v1/recalls", "recalls", messages.RecallsQuery, messages.RecallsResponse,
         _CHANNEL, _MARKETING, _COMPLIANCE, _ADMIN),
    _post("/v1/outcomes", "outcome", messages.OutcomeRequest, messages.OutcomeResponse,
          _CHANNEL, _ADMIN),
    _post("/v1/consents", "consent", messages.ConsentRequest, messages.ConsentResponse,
          _CHANNEL, _COMPLIANCE, _ADMIN),
    _get("/v1/decisions/{decision_id}", "decision", None, messages.DecisionRecordResponse,
         _CHANNEL, _COMPLIANCE, _ADMIN),
    _get("/v1/decisions/{decision_id}/why", "why", None, messages.DecisionWhyResponse,
         _CHANNEL, _COMPLIANCE, _ADMIN),
    _post("/v1/switches", "switch", messages.SwitchRequest, messages.SwitchResponse,
          _MARKETING, _COMPLIANCE, _ADMIN),
    _get("/v1/worklist", "worklist", messages.WorklistQuery, messages.WorklistResponse,
         _CHANNEL, _MARKETING, _ADMIN, heavy=True),
    _post("/v1/worklist/moves", "move_tasks", messages.MoveTasksRequest, messages.MoveTasksResponse,
          _CHANNEL, _MARKETING, _ADMIN),
    # Whose role may do what with which kind of change stands in rules/review.py.
    _get("/v1/changes", "changes", messages.ChangesQuery, messages.ChangesResponse, *_REVIEW),
    _get("/v1/changes/{change_id}", "change", None, messages.ChangeResponse, *_REVIEW),
    _post("/v1/changes", "propose", messages.ProposeRequest, messages.ChangeResponse, *_REVIEW, body_bytes_max=1 << 20),
    _post("/v1/changes/{change_id}/approve", "approve", messages.ApproveRequest, messages.ChangeResponse, *_REVIEW),
    _post("/v1/changes/{change_id}/reject", "reject", messages.JudgeRequest, messages.ChangeResponse, *_REVIEW),
    _post("/v1/changes/{change_id}/withdraw", "withdraw", messages.JudgeRequest, messages.ChangeResponse, *_REVIEW),
    _post("/v1/changes/{change_id}/activate", "activate", messages.ActivateRequest, messages.ChangeResponse, *_REVIEW),
    _post("/v1/rollbacks", "rollback", messages.RollbackRequest, messages.ChangeResponse, *_REVIEW),
)  # fmt: skip

ANY_ROLE = frozenset(Role)
# Routes that answer with something else than a message; null: open to everyone.
PLAIN_ROUTES: dict[str, frozenset[Role] | None] = {
    "GET /livez": None,
    "GET /readyz": None,
    "GET /metrics": frozenset({_ADMIN}),
    "GET /v1/openapi.json": ANY_ROLE,
}
