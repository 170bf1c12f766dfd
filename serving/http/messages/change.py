"""Changes of rules, catalogue, levers and campaigns: proposed by one, approved by another."""

from typing import Annotated, Literal

from pydantic import Field

from rules.review import Act, Kind, State
from serving.http.messages.base import Id, Instant, Message, Note, Sha256, Words

FileName = Annotated[str, Field(pattern=r"^(catalogue|(policies|campaigns)/[A-Za-z0-9][A-Za-z0-9_.-]{0,79})\.yaml$")]
StateName = Literal[
    "booted", "proposed", "failed", "checked", "approved", "rejected", "withdrawn", "activated", "rolled_back"
]
FileText = Annotated[str, Field(max_length=400_000)]


class ProposeRequest(Message):
    """Files to be changed, upon what is the last set now. They are parsed at once and checked after the answer."""

    files: Annotated[dict[FileName, FileText | None], Field(min_length=1, max_length=100)]
    """File -> its new text, whole; null: the file goes."""
    note: Note
    """Why, for those who judge it."""


class ApproveRequest(Message):
    """Approve what was looked at."""

    revision: Sha256
    """The revision of the change, as GET /v1/changes/{change_id} shows it: the approval is of exactly these bytes."""
    note: Note | None = None
    """A remark for the record; null: none."""


class JudgeRequest(Message):
    """Reject or withdraw a change."""

    note: Note | None = None
    """Why, for the record; null: nothing said."""


class ActivateRequest(Message):
    """Put an approved change into force."""

    effective_at: Instant | None = None
    """From when on; null: at once."""
    note: Note | None = None
    """A remark for the record; null: none."""


class RollbackRequest(Message):
    """Bring back the set that was in force before the last change."""

    note: Note
    """Why, for the record."""


class ChangesQuery(Message):
    """Which changes."""

    state: StateName | None = None
    """Only those in this state; null: all."""


class ChangeStep(Message):
    """One step of a change, for ever."""

    act: Act
    """What was done."""
    by: Id
    """Name of the key."""
    role: Id
    """Its role."""
    at: Instant
    """When."""
    effective_at: Instant | None
    """When its set comes into force; null: the step puts nothing into force."""
    passed: bool | None
    """What a check found; null: no check."""
    note: str
    """What was said."""
    signature: Sha256
    """HMAC over the step and the one before it."""


class CheckReport(Message):
    """What a check found. Lists hold one line each, in both languages; findings of the lint and of files that do not hold are English in both."""

    passed: bool
    """Whether the change may be approved."""
    problems: tuple[Words, ...]
    """Why not: what does not parse, cases that fail, invariants that are not proved."""
    text: tuple[Words, ...]
    """What is written differently."""
    cases: int
    """How many cases and decisions were tried; 0: nothing they speak of has changed."""
    invariants: int
    """How many invariants were proved; 0: nothing they speak of has changed, or none are stated."""
    only_tightens: bool | None
    """Proved: nobody is newly allowed anything. Null: neither rules nor catalogue change."""
    newly_allowed: tuple[Words, ...]
    """One customer in words for each part that closed him before."""
    newly_suppressed: tuple[Words, ...]
    """One customer in words for each part that closes him now."""
    notes: tuple[Words, ...]
    """What an approver should know: dead and shadowed rules, findings of the lint, campaigns that reach nobody."""
    impact: tuple[Words, ...]
    """Customers and cells won and lost on the newest snapshot, part by part; empty: there is none."""


class ChangeResponse(Message):
    """Where a change stands."""

    change_id: Id
    """Its name."""
    state: State
    """Where it stands."""
    kinds: tuple[Kind, ...]
    """What it changes; they say whose keys may judge it."""
    files: tuple[str, ...]
    """The files it changes."""
    author: Id
    """Name of the key that proposed it."""
    approver: Id | None
    """Name of the key that approved it; null: nobody yet."""
    base: Sha256
    """The revision it was built upon."""
    revision: Sha256
    """The revision it makes: what is approved and comes into force."""
    effective_at: Instant | None
    """From when on it holds; null: it is not activated."""
    in_force: bool
    """Whether its revision is the one in force now."""
    report: CheckReport | None
    """What the last check found; null: not checked yet."""
    steps: tuple[ChangeStep, ...]
    """All steps, the oldest first."""


class ChangesResponse(Message):
    """All changes, the newest first, without their reports."""

    in_force: Sha256 | None
    """The revision in force now; null: none was put into force yet."""
    changes: tuple[ChangeResponse, ...]
    """The changes."""
