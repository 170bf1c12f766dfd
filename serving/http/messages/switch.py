"""The pause switches: one key stops, two keys resume."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from serving.http.messages.base import Id, Instant, Message, Note

Scope = Annotated[str, Field(pattern=r"^(all|(channel|family|offer|campaign):[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$")]


class SwitchAction(StrEnum):
    """What to do with a scope."""

    PAUSE = "pause"
    RESUME = "resume"


class SwitchState(StrEnum):
    """Where a scope stands."""

    PAUSED = "paused"
    RESUMING = "resuming"  # one key asked; still paused until another key does
    RUNNING = "running"


class SwitchRequest(Message):
    """Pause or resume a scope, at decision and at claim."""

    scope: Scope
    """`all`, `channel:sms`, `family:wealth`, `offer:...` or `campaign:...`."""
    action: SwitchAction
    """What to do."""
    note: Note | None = None
    """Why, for the record; null: nothing said."""


class Switch(Message):
    """One scope that is paused."""

    scope: Scope
    """What is paused."""
    state: SwitchState
    """`paused` or `resuming`."""
    since: Instant
    """Since when."""
    by: Id
    """Name of the key that paused it."""


class SwitchResponse(Message):
    """Where the scope stands now, and everything that is paused."""

    scope: Scope
    """The scope asked about."""
    state: SwitchState
    """`resuming`: another key has to ask for the same before it runs again."""
    paused: tuple[Switch, ...]
    """All paused scopes, by scope."""
