"""How the event loop hears that a writer has answered: one wake-up for all that it answered together.

asyncio's own way, `wrap_future` under a time-out under a shield, costs more than reading the request.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from serving.http.errors import Busy, TooLate

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
    if not await is_done_within(seconds + GRACE_SECONDS, work):
        raise TooLate(
            "no answer in time, and whether it was done is not known yet; repeat the request with"
            " the same Idempotency-Key",
            code="outcome_unknown",
        )
    return work.result()


async def is_done_within(seconds: float, work: "Future[Any]") -> bool:
    """Whether the work has ended, well or not, once so long has passed; at once where it has."""
    if not work.done():
        loop = asyncio.get_running_loop()
        if (wakes := _wakes.get(loop)) is None:
            _wakes.clear()  # loops come one after the other, and the old one is closed
            wakes = _wakes[loop] = Wakes(loop)
        waiter: asyncio.Future[None] = loop.create_future()
        work.add_done_callback(lambda _: wakes.answered(waiter))
        timer = loop.call_later(seconds, _give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
    return work.done()


def _give_up(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Aside:
    """A few threads for one kind of work that blocks, so that it keeps no other kind waiting."""

    def __init__(self, kind: str, threads: int, begun_max: int | None = None) -> None:
        """begun_max: so many at once, waiting or under way; the next is Busy. Null: all may wait."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"nbo-{kind}")
        self._begun_max = begun_max
        self._begun: list[Future[Any]] = []

    async def run(self, seconds: float, work: Callable[..., T], *given: Any) -> T:
        """What the work returns; TooLate after `seconds`: it writes nothing, so that there is nothing to be in doubt of."""
        if self._begun_max is not None:
            # What nobody waits for any more still has its thread: counted until it has ended.
            self._begun = [one for one in self._begun if not one.done()]
            if len(self._begun) >= self._begun_max:
                raise Busy("too many requests of this kind at once; repeat it in a second")
        begun = self._pool.submit(work, *given)
        if self._begun_max is not None:
            self._begun.append(begun)
        try:
            return await _read_within(seconds, begun)
        finally:
            begun.cancel()  # where it has no thread yet, nobody waits for what it would say

    async def run_shared(self, seconds: float, work: Callable[[], T]) -> T:
        """`run`, of what is under way where something is: whoever asks meanwhile is told the same. For one kind of work alone."""
        self._begun = [one for one in self._begun if not one.done()] or [self._pool.submit(work)]
        return await _read_within(seconds, self._begun[0])


async def _read_within(seconds: float, begun: "Future[T]") -> T:
    if not await is_done_within(seconds, begun):
        raise TooLate("no answer within the deadline; ask again, with more time")
    return begun.result()
