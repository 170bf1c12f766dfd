"""The one handler of every broker: a message's bytes become an event, an outcome or a consent in the ledger.

A message is the JSON of the route of the same name (`events` -> POST /v1/events). It is kept once: the ledger knows
an event by its event_id, an outcome by contact, kind and instant, a consent by its consent_id or content. What the
ledger refuses for good is handed back as refused, with one line that quotes nothing of it; what fails only for now
(the database is away, the queue is full) is tried again until it is in, or until the consumer is told to stop.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from serving.http.door import Call, Door, Pending
from serving.http.errors import DoorError, as_door_error
from serving.http.guard import BODY_BYTES_MAX
from serving.http.messages.reading import MessageError, read_body
from serving.http.routes import ROUTES, Route
from serving.ledger.keys import Principal, Role

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 5.0
AHEAD = timedelta(minutes=2)  # by so much a clock may be ahead of ours
KINDS = ("events", "outcomes", "consents")
_ROUTE: dict[str, Route] = {kind: next(r for r in ROUTES if r.name == f"POST /v1/{kind}") for kind in KINDS}

logger = logging.getLogger("nbo.streams")


class Fate(StrEnum):
    """What became of a message."""

    KEPT = "kept"
    """In the ledger, now or since an earlier delivery."""
    REFUSED = "refused"
    """It can never be kept: it goes to the dead letters, with its line."""
    LEFT = "left"
    """The consumer was told to stop while the ledger could not be written: not acknowledged, it comes again."""


@dataclass(frozen=True)
class Told:
    """A message's fate. line: why it was refused; empty otherwise."""

    fate: Fate
    line: str = ""


class Intake:
    """Hands messages to a door and counts them.

    Args:
        door: Its methods return once the ledger's commit is on disk.
        source: Who reports, as the ledger's records name it, such as `stream nats`.
    """

    def __init__(self, door: Door, source: str) -> None:
        self._door = door
        self._principal = Principal(source, Role.ADMIN)
        self._stopping = asyncio.Event()
        self.counts: dict[str, int] = {"kept": 0, "refused": 0, "left": 0, "retries": 0}

    def stop(self) -> None:
        """Try nothing again from now on; what is in the writer's hands is still finished."""
        self._stopping.set()

    async def take(self, kind: str, body: bytes) -> Told:
        """Keep one message. kind: one of KINDS."""
        try:
            told = await self._taken(_ROUTE[kind], body)
        except Exception as error:  # noqa: BLE001  # one message nobody expected must not hold up the others
            logger.error("a message of `%s` failed: %s", kind, type(error).__name__)  # noqa: TRY400  # a traceback may quote it
            told = Told(Fate.REFUSED, f"an error nobody expected ({type(error).__name__}); see the consumer's log")
        self.counts[told.fate.value] += 1
        return told

    async def _taken(self, route: Route, body: bytes) -> Told:
        if len(body) > BODY_BYTES_MAX:
            return Told(Fate.REFUSED, f"the message is larger than {BODY_BYTES_MAX} bytes; send less at once")
        assert route.request is not None
        try:
            request = read_body(route.request, body)
        except MessageError as error:
            return Told(Fate.REFUSED, str(error))
        digest = hashlib.sha256(body).hexdigest()
        call = Call(self._principal, route.name, idempotency_key=digest, body_sha256=digest)
        keep: Callable[[Any, Call], Pending] = getattr(self._door, route.door)
        pause, loop = PAUSE_SECONDS, asyncio.get_running_loop()
        patient_until = loop.time() + AHEAD.total_seconds()
        while True:
            try:
                await asyncio.wrap_future(keep(request, call))
            except Exception as error:
                refused = as_door_error(error)
                if refused is None:
                    raise
                if not _is_passing(refused) and not (_is_ahead(refused, request) and loop.time() < patient_until):
                    return Told(Fate.REFUSED, refused.message)
            else:
                return Told(Fate.KEPT)
            self.counts["retries"] += 1
            if await self._stopped_within(pause):
                return Told(Fate.LEFT)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _is_passing(error: DoorError) -> bool:
    """Whether the same message may be taken later: the ledger was away, or too many waited."""
    return error.status in (429, 503, 504)


def _is_ahead(error: DoorError, request: Any) -> bool:
    """Whether only the teller's clock is ahead, by little: the instant will have come."""
    told = [at for name in ("booked_at", "recorded_at", "at") if (at := getattr(request, name, None)) is not None]
    return error.status == 422 and "in the future" in error.message and max(told) <= datetime.now(UTC) + AHEAD
