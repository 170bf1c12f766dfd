"""Consumes a broker through FastStream; the only file that imports it. docs/streams.md tells what stands where.

At least once: a message is acknowledged after its commit, or after its dead letter is confirmed. Killed between the
two, the broker delivers it again and the ledger knows it.
"""

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import Awaitable, Callable
from typing import Any

from serving.streams.address import StreamAddress, StreamError
from serving.streams.intake import KINDS, Fate, Intake

WAITING = 64  # messages in hand at once: a transaction's worth
CONNECT_SECONDS = 10.0
ACK_SECONDS = 10.0  # NATS delivers again what was not acknowledged in that time; late ones count all the same
STOP_SECONDS = 20.0
_DRIVER = {"nats": "nats", "rabbit": "aio_pika", "kafka": "aiokafka"}

Dead = Callable[[bytes, dict[str, str]], Awaitable[Any]]


def check_installed(address: StreamAddress) -> None:
    """StreamError where the packages for that broker are not there."""
    for name in ("faststream", _DRIVER[address.kind]):
        if importlib.util.find_spec(name) is None:
            raise StreamError(f"package `{name}` is missing; pip install 'next-best-offer[streams]'")


class Consumer:
    """One broker, three subscriptions (`PREFIX.events`, `.outcomes`, `.consents`), one dead-letter place (`PREFIX.dead`)."""

    def __init__(self, address: StreamAddress, prefix: str, intake: Intake) -> None:
        self._address, self._prefix, self._intake = address, prefix, intake
        self._last = time.monotonic()
        self._in_hand = 0
        made: dict[str, Callable[[], tuple[Any, Dead]]] = {"nats": self._nats, "rabbit": self._rabbit, "kafka": self._kafka}  # fmt: skip
        self.broker, self._dead = made[address.kind]()

    async def run(self, stop: asyncio.Event, idle_seconds: float | None = None, started: Callable[[], object] | None = None) -> None:  # fmt: skip
        """Consume until `stop` is set, or until so many seconds bring nothing; what is in hand is finished.

        StreamError where the broker does not answer, refuses us, or holds something else under our names.
        """
        try:
            await asyncio.wait_for(self.broker.start(), CONNECT_SECONDS)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # each broker has its own tree of errors
            with contextlib.suppress(Exception):
                await self.broker.stop()
            what = "does not answer" if isinstance(error, TimeoutError | OSError) else f"refused us ({type(error).__name__})"  # fmt: skip
            raise StreamError(f"the broker at `{self._address.shown}` {what}; check address, credentials and names") from None  # fmt: skip
        self._last = time.monotonic()
        if started is not None:
            started()
        try:
            while not stop.is_set() and not self._idle_for(idle_seconds):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.2)
        finally:
            self._intake.stop()
            await self.broker.stop()

    async def _handle(self, kind: str, message: Any) -> None:
        """Every broker's handler. The body is bytes, or a batch of them (Kafka), taken together in their order."""
        self._in_hand += 1
        try:
            bodies: list[bytes] = message.body if isinstance(message.body, list) else [message.body]
            told = await asyncio.gather(*(self._intake.take(kind, body or b"") for body in bodies))
            for body, one in zip(bodies, told, strict=True):
                if one.fate is Fate.REFUSED:
                    headers = {"nbo-error": one.line[:500], "nbo-from": f"{self._prefix}.{kind}"}
                    await self._dead(body or b"", headers)
            await (message.nack() if any(one.fate is Fate.LEFT for one in told) else message.ack())
        finally:
            self._in_hand -= 1
            self._last = time.monotonic()

    def _idle_for(self, seconds: float | None) -> bool:
        return seconds is not None and not self._in_hand and time.monotonic() - self._last > seconds

    def _handler(self, kind: str) -> Callable[[Any], Awaitable[None]]:
        async def handle(message: Any) -> None:
            await self._handle(kind, message)

        return handle

    def _nats(self) -> tuple[Any, Dead]:
        from faststream import AckPolicy
        from faststream.nats import JStream, NatsBroker, PullSub
        from nats.js.api import ConsumerConfig

        broker = NatsBroker(self._address.url, logger=None, apply_types=False, graceful_timeout=STOP_SECONDS)
        stream = JStream(self._prefix, subjects=[f"{self._prefix}.{name}" for name in (*KINDS, "dead")])
        for kind in KINDS:
            broker.subscriber(
                f"{self._prefix}.{kind}", stream=stream, durable=f"{self._prefix}-{kind}",
                pull_sub=PullSub(batch_size=WAITING, timeout=1.0), config=ConsumerConfig(ack_wait=ACK_SECONDS),
                ack_policy=AckPolicy.MANUAL, decoder=_as_it_came,
            )(self._handler(kind))  # fmt: skip
        dead = f"{self._prefix}.dead"
        return broker, lambda body, headers: broker.publish(body, dead, stream=self._prefix, headers=headers)

    def _rabbit(self) -> tuple[Any, Dead]:
        from faststream import AckPolicy
        from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

        broker = RabbitBroker(self._address.url, logger=None, apply_types=False, graceful_timeout=STOP_SECONDS,
                              default_channel=Channel(prefetch_count=WAITING))  # fmt: skip
        for kind in KINDS:
            queue = RabbitQueue(f"{self._prefix}.{kind}", durable=True)
            broker.subscriber(queue, ack_policy=AckPolicy.MANUAL, decoder=_as_it_came)(self._handler(kind))
        dead = RabbitQueue(f"{self._prefix}.dead", durable=True)

        async def bury(body: bytes, headers: dict[str, str]) -> None:
            await broker.declare_queue(dead)  # known after the first time
            await broker.publish(body, dead, persist=True, mandatory=True, headers={**headers})

        return broker, bury

    def _kafka(self) -> tuple[Any, Dead]:
        from faststream import AckPolicy
        from faststream.kafka import KafkaBroker
        from faststream.security import BaseSecurity, SASLPlaintext

        at = self._address
        security = BaseSecurity(use_ssl=at.encrypted)
        if at.user is not None:
            security = SASLPlaintext(at.user, at.password or "", use_ssl=at.encrypted)
        broker = KafkaBroker(list(at.servers), logger=None, apply_types=False, security=security, acks="all",
                             graceful_timeout=STOP_SECONDS)  # fmt: skip
        for kind in KINDS:
            broker.subscriber(
                f"{self._prefix}.{kind}", group_id=self._prefix, batch=True, max_records=WAITING, auto_offset_reset="earliest",
                ack_policy=AckPolicy.MANUAL, decoder=_as_it_came,
            )(self._handler(kind))  # fmt: skip
        dead = f"{self._prefix}.dead"
        return broker, lambda body, headers: broker.publish(body, dead, headers=headers)


async def _as_it_came(message: Any) -> Any:
    """FastStream would read the JSON for us, more leniently than the HTTP service does."""
    return message
