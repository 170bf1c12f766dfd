"""How the event loop hears that a writer has answered: one wake-up for all that it answered together.

asyncio's own way, `wrap_future` under a time-out under a shield, costs more than reading the request.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TypeVar

from serving.http.errors import TooLate

GRACE_SECONDS = 1.0  # the writer keeps the deadline itself; this is for one that hangs

T = TypeVar("T")


class Wakes:
    """The waiters of one loop that have been answered in another thread, and wait to be told so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answered: deque[asyncio.Future[None]] = deque()
        self._called = False

    def answered(self, waiter: "asyncio.Future[None]") -> None:
        """From any thread: wake the waiter, with whoever else is answered by then."""
        # INVARIANT: appended before the flag is read, and the flag is cleared before the waiters are taken. So whoever
        # finds it set is taken by the call that is under way; nobody is left behind.
        self._answered.append(waiter)
        if not self._called and not self._loop.is_closed():
            self._called = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._called = False
        while self._answered:
            waiter = self._answered.popleft()
            if not waiter.done():
                waiter.set_result(None)


_wakes: dict[asyncio.AbstractEventLoop, Wakes] = {}


async def done_within(seconds: float, work: "Future[T]") -> T:
    """What the work returns; TooLate where it takes longer. The work is never cut off: what a writer has begun it finishes."""
    if not work.done():
        loop = asyncio.get_running_loop()
        if (wakes := _wakes.get(loop)) is None:
            _wakes.clear()  # loops come one after the other, and the old one is closed
            wakes = _wakes[loop] = Wakes(loop)
        waiter: asyncio.Future[None] = loop.create_future()
        work.add_done_callback(lambda _: wakes.answered(waiter))
        timer = loop.call_later(seconds + GRACE_SECONDS, _give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
    if not work.done():
        raise TooLate(
            "no answer in time, and whether it was done is not known yet; repeat the request with"
            " the same Idempotency-Key",
            code="outcome_unknown",
        )
    return work.result()


def _give_up(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
