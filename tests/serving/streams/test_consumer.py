"""Against a real NATS JetStream and a real RabbitMQ; Kafka in FastStream's memory broker, for want of a server."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from faststream.kafka import TestKafkaBroker

from serving.http.door import StoredAnswer
from serving.office import Office
from serving.streams import consumer as module
from serving.streams.address import StreamError, read_address
from serving.streams.consumer import Consumer
from serving.streams.intake import Intake
from tests.brokers import Broker, broker
from tests.home import DOLLAR_OFFERS, HERO, Clock, ask, office_at, rows
from tests.serving.streams.test_intake import consent, event

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["nats", "amqp"])
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generator[Broker]:
    """Places of one's own on a real broker."""
    monkeypatch.setattr(module, "ACK_SECONDS", 1.0)
    with broker(request.param) as made:
        yield made


def consumed(office: Office, line: Broker, idle: float = 0.4) -> dict[str, int]:
    """Take all there is; what was counted."""

    async def run() -> dict[str, int]:
        intake = Intake(office, "stream test")
        await Consumer(read_address(line.url), line.prefix, intake).run(asyncio.Event(), idle)
        return intake.counts

    return asyncio.run(run())


def body(name: str, **more: object) -> bytes:
    return json.dumps(event(name, **more)).encode()


def test_p29_the_dollars_leave_by_stream_and_the_very_next_decision_is_silent(office: Office, line: Broker) -> None:
    assert ask(office).offer_id == "wealth_usd_income"
    line.send("events", [body("w-1")])
    assert consumed(office, line)["kept"] == 1
    for direction in ("outbound", "inbound"):
        said = ask(office, direction=direction, top=3 if direction == "inbound" else 1)
        assert not {choice.offer_id for choice in said.choices} & set(DOLLAR_OFFERS)


def test_p12_a_refusal_of_all_marketing_by_stream_silences_him(office: Office, line: Broker) -> None:
    line.send("consents", [json.dumps(consent(channel="all")).encode()])
    assert consumed(office, line)["kept"] == 1
    assert ask(office).offer_id is None


def test_p03_p21_duplicates_are_kept_once_and_poison_blocks_nothing(office: Office, line: Broker) -> None:
    poison = [b"{", body("p-1", currency="XXX"), b""]
    line.send("events", [body("d-1"), poison[0], body("d-1"), poison[1], body("d-2", amount_minor=-1), poison[2]])
    found = consumed(office, line)
    assert (found["kept"], found["refused"], found["left"]) == (3, 3, 0)
    assert rows(office, "SELECT event_id FROM events WHERE event_id LIKE '_-_' ORDER BY event_id") == [
        ("d-1",),
        ("d-2",),
    ]
    dead = line.dead()
    assert sorted(letter for letter, _ in dead) == sorted(poison)
    assert all(headers["nbo-from"] == f"{line.prefix}.events" for _, headers in dead)
    assert sum("is not kept by this bank" in headers["nbo-error"] for _, headers in dead) == 1
    assert not any(HERO in str(headers) for _, headers in dead)
    assert sum(consumed(office, line).values()) == 0, "all was acknowledged"


def test_p02_p04_killed_between_commit_and_acknowledgement_nothing_is_lost_or_doubled(bank: Path, line: Broker) -> None:
    line.send("events", [body("k-1")])
    command = [sys.executable, "-m", "tests.serving.streams.killed", str(bank), line.url, line.prefix]
    died = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    office = office_at(bank, Clock())
    assert rows(office, "SELECT count(*) FROM events WHERE event_id = 'k-1'") == [(1,)], "it was committed"
    assert consumed(office, line, idle=2.5)["kept"] == 1, "it came again"
    assert rows(office, "SELECT count(*) FROM events WHERE event_id = 'k-1'") == [(1,)]
    office.close()


class Slow:
    """A door whose commit takes a moment, and a message that says when it was acknowledged."""

    def __init__(self) -> None:
        self.body, self.told = body("o-1"), list[str]()

    def event(self, *_: object) -> Future[StoredAnswer]:
        done: Future[StoredAnswer] = Future()

        def commit() -> None:
            self.told.append("committed")
            done.set_result(StoredAnswer(b"{}"))

        threading.Timer(0.05, commit).start()
        return done

    async def ack(self) -> None:
        self.told.append("acknowledged")


def told_by(consumer: type[Consumer]) -> list[str]:
    async def run() -> list[str]:
        slow = Slow()
        await consumer(read_address("kafka://127.0.0.1:9"), "nbo", Intake(slow, "stream test"))._handle("events", slow)  # type: ignore[arg-type]
        return slow.told

    return asyncio.run(run())


def test_p04_a_message_is_acknowledged_after_its_commit() -> None:
    assert told_by(Consumer) == ["committed", "acknowledged"]


class Hasty(Consumer):
    """The bug: acknowledged as it comes, and lost with the process."""

    async def _handle(self, kind: str, message: Any) -> None:
        await message.ack()
        await super()._handle(kind, message)


def test_p04_the_mutant_that_acknowledges_first_is_seen() -> None:
    assert told_by(Hasty)[0] == "acknowledged"


def test_kafka_takes_a_batch_in_its_order_and_buries_its_poison(office: Office) -> None:
    """In memory: FastStream's own stand-in for a broker, not a real one."""

    async def run() -> tuple[dict[str, int], list[tuple[bytes, dict[str, str]]]]:
        intake = Intake(office, "stream test")
        made = Consumer(read_address("kafka://127.0.0.1:9092"), "nbo", intake)
        dead: list[tuple[bytes, dict[str, str]]] = []

        async def bury(letter: bytes, headers: dict[str, str]) -> None:
            dead.append((letter, headers))

        made._dead = bury
        async with TestKafkaBroker(made.broker) as kafka:
            await kafka.publish_batch(body("b-1"), b"{", body("b-1"), body("b-2", amount_minor=-5), topic="nbo.events")
        return intake.counts, dead

    counts, dead = asyncio.run(run())
    assert (counts["kept"], counts["refused"]) == (3, 1)
    assert dead[0][0] == b"{" and dead[0][1]["nbo-from"] == "nbo.events"
    assert rows(office, "SELECT event_id FROM events WHERE event_id LIKE 'b-_' ORDER BY 1") == [("b-1",), ("b-2",)]


@pytest.mark.parametrize("url", ["nats://teller:hunter2@127.0.0.1:9", "amqp://teller:hunter2@127.0.0.1:9", "kafka://teller:hunter2@127.0.0.1:9"])  # fmt: skip
def test_a_broker_that_is_not_there_is_one_line_without_its_password(
    office: Office, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)

    async def run() -> None:
        await Consumer(read_address(url), "nbo", Intake(office, "stream test")).run(asyncio.Event())

    with pytest.raises(
        StreamError, match=r"the broker at `\w+://127.0.0.1:9` .*check address, credentials and names"
    ) as refused:
        asyncio.run(run())
    said = capfd.readouterr()
    assert "hunter2" not in str(refused.value) + said.out + said.err
