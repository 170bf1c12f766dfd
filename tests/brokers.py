"""Names of one's own on the NATS and RabbitMQ servers that CI starts; elsewhere the test skips and says how to start one."""

import asyncio
import secrets
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
import nats
import pytest
from nats.js.api import StreamConfig

START = {
    "nats": ("127.0.0.1", 4222, "nats-server -js"),
    "amqp": ("127.0.0.1", 5672, "rabbitmq-server -detached"),
}
PLACES = ("events", "outcomes", "consents", "dead")


@dataclass(frozen=True)
class Broker:
    """One real broker, and the first word of the names a test uses on it."""

    url: str
    prefix: str

    @property
    def kind(self) -> str:
        """nats or amqp."""
        return self.url.partition(":")[0]

    def send(self, place: str, bodies: Sequence[bytes]) -> None:
        """Put messages where producers would; the places must be there."""
        asyncio.run(self._sent(place, bodies))

    def dead(self) -> list[tuple[bytes, dict[str, Any]]]:
        """(body, headers) of each dead letter, left where they are or taken; none twice."""
        return asyncio.run(self._read("dead"))

    def declare(self) -> None:
        """Make the places, as the first consumer does."""
        asyncio.run(self._declared())

    async def _declared(self) -> None:
        if self.kind == "nats":
            client = await nats.connect(self.url)
            await client.jetstream().add_stream(
                StreamConfig(self.prefix, subjects=[f"{self.prefix}.{p}" for p in PLACES])
            )
            await client.close()
            return
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for place in PLACES:
                await channel.declare_queue(f"{self.prefix}.{place}", durable=True)

    async def _sent(self, place: str, bodies: Sequence[bytes]) -> None:
        if self.kind == "nats":
            client = await nats.connect(self.url)
            for body in bodies:
                await client.jetstream().publish(f"{self.prefix}.{place}", body)
            await client.close()
            return
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for body in bodies:
                message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, f"{self.prefix}.{place}")

    async def _read(self, place: str) -> list[tuple[bytes, dict[str, Any]]]:
        found: list[tuple[bytes, dict[str, Any]]] = []
        if self.kind == "nats":
            client = await nats.connect(self.url)
            reader = await client.jetstream().pull_subscribe(f"{self.prefix}.{place}")
            try:
                while True:
                    for message in await reader.fetch(10, timeout=0.3):
                        found.append((message.data, dict(message.headers or {})))
                        await message.ack()
            except TimeoutError:
                await client.close()
            return found
        async with await aio_pika.connect(self.url) as connection:
            queue = await (await connection.channel()).declare_queue(f"{self.prefix}.{place}", durable=True)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append((message.body, dict(message.headers)))
        return found

    async def _cleared(self) -> None:
        if self.kind == "nats":
            client = await nats.connect(self.url)
            try:
                await client.jetstream().delete_stream(self.prefix)
            except nats.js.errors.NotFoundError:
                pass
            await client.close()
            return
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for place in PLACES:
                await channel.queue_delete(f"{self.prefix}.{place}")


@contextmanager
def broker(kind: str) -> Generator[Broker]:
    """Places of one's own on the real server of that kind, removed afterwards."""
    host, port, command = START[kind]
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        pytest.skip(f"no server on {host}:{port}; start one: {command}")
    user = "guest:guest@" if kind == "amqp" else ""
    made = Broker(f"{kind}://{user}{host}:{port}", f"t{secrets.token_hex(5)}")
    made.declare()
    try:
        yield made
    finally:
        asyncio.run(made._cleared())
