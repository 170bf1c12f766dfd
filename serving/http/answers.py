"""Answers as bytes on the wire, errors among them: one shape, the same headers, no ids."""

import logging
import secrets
import traceback
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Send

from serving.http.door import StoredAnswer
from serving.http.errors import BadRequest, DoorError, Unprocessable, as_door_error
from serving.http.guard import SECURITY_HEADERS
from serving.http.messages import ErrorResponse, Message, Problem
from serving.http.messages.reading import MessageError

JSON = b"application/json"
HOUSE = Path(__file__).resolve().parents[2]  # our packages
# What a status says beside its body.
_ALONG: dict[int, tuple[tuple[bytes, bytes], ...]] = {
    401: ((b"www-authenticate", b"Bearer"),),
    429: ((b"retry-after", b"1"),),
    503: ((b"retry-after", b"1"),),
}

logger = logging.getLogger("nbo.http")


@dataclass(frozen=True)
class Reply:
    """A status and a body, ready to be sent."""

    status: int
    body: bytes
    media: bytes = JSON
    more: tuple[tuple[bytes, bytes], ...] = ()  # further headers

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Every header of the reply, lower case."""
        length = str(len(self.body)).encode()
        own = ((b"content-type", self.media), (b"content-length", length))
        return [*own, *SECURITY_HEADERS, *_ALONG.get(self.status, ()), *self.more]

    async def send(self, send: Send) -> None:
        """Put it on the wire."""
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def reply(answer: Message | StoredAnswer) -> Reply:
    """An answer of the door; stored bytes go out as they are."""
    stored = StoredAnswer.of(answer) if isinstance(answer, Message) else answer
    return Reply(stored.status, stored.body)


def problem(status: int, code: str, message: str) -> Reply:
    """An error body."""
    return reply(StoredAnswer.of(ErrorResponse(error=Problem(code=code, message=message)), status))


def error_reply(route: str, error: Exception) -> Reply:
    """The answer to whatever was raised. What nobody expected is logged without its text."""
    if isinstance(error, MessageError):
        error = _of_message(error)
    known = as_door_error(error)
    if known is not None:
        return problem(known.status, known.code, known.message)
    # An exception's text may hold data of a customer: its kind and place are enough to find it.
    fields = {"route": route, "error": type(error).__name__, "place": _place(error), "reference": secrets.token_hex(6)}
    logger.error("route `%(route)s` failed: %(error)s at %(place)s (%(reference)s)", fields, extra={"fields": fields})
    told = f"something failed on our side, {fields['reference']} in our log; repeat a write with its Idempotency-Key"
    return problem(500, "internal", told)


def _place(error: Exception) -> str:
    """`serving/office.py:80`: the last line of ours that was running."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    for frame in frames:
        path = Path(frame.filename)
        if path.is_relative_to(HOUSE) and "site-packages" not in path.parts:
            return f"{path.relative_to(HOUSE)}:{frame.lineno}"
    return "an unknown place"


def _of_message(error: MessageError) -> DoorError:
    if error.malformed:
        return BadRequest(str(error), code="malformed")
    return Unprocessable(str(error), code="invalid_request")
