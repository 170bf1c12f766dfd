"""Whether the service lives and can write, and the body of every error."""

from typing import Annotated, Literal

from pydantic import Field

from serving.http.messages.base import Instant, Message


class LiveResponse(Message):
    """The process answers. Nothing else is said by it."""

    status: Literal["live"] = "live"
    """Always `live`."""


class ReadyResponse(Message):
    """Whether requests can be taken: 200 when `ready`, else 503.

    Missing models and stale data never make the service unready: they make it silent.
    """

    ready: bool
    """The ledger can be written."""
    degraded: bool
    """A model or the snapshot is missing or stale: marketing stays silent."""
    problems: tuple[str, ...]
    """What is wrong, one line each; empty: nothing."""
    snapshot_as_of: Instant | None
    """Cut of the snapshot in use; null: there is none."""
    held_back: str | None = None
    """Why the models now live do not decide and the former ones go on; null: they do."""


class Problem(Message):
    """What went wrong. `code` is stable, for programs; `message` is one line, for people."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,47}$")]
    """Stable word."""
    message: str
    """What, where, remedy; never an id of a customer."""


class ErrorResponse(Message):
    """The body of every answer with a status of 400 and above."""

    error: Problem
    """The problem."""
