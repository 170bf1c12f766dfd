"""`nbo consume URL`: what the bank's broker carries enters the ledger, until it is told to stop."""

import asyncio
import getpass
import signal
import sys
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.office import open_office
from serving.streams.address import check_prefix, read_address
from serving.streams.consumer import Consumer, check_installed
from serving.streams.intake import Intake
from training.stamp import live_stamp


class ConsumeAnswer(BaseModel):
    """`nbo consume --json`, printed when it stops. kept: in the ledger; refused: dead letters; left: come again."""

    broker: str
    kept: int
    refused: int
    left: int
    retries: int


def consume(
    context: typer.Context,
    url: Annotated[str, typer.Argument(envvar="NBO_STREAM_URL", help="nats://, amqp:// or kafka://; with credentials better as NBO_STREAM_URL.")],
    prefix: Annotated[str, typer.Option(help="First word of the subjects, queues or topics.")] = "nbo",
    idle: Annotated[float | None, typer.Option(min=0.1, help="Stop after so many seconds without a message.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take events, outcomes and consents from a broker until SIGTERM or Ctrl-C; beside `nbo serve` or alone."""
    address, prefix = read_address(url), check_prefix(prefix)
    check_installed(address)
    home = Home.open(context.obj)
    stamp = live_stamp(home.models)
    office = open_office(home.path, serving=False)
    try:
        office.attend(stamp)  # a trigger may fill a seat from here, too
        counts = asyncio.run(
            _consume(
                Consumer(address, prefix, intake := Intake(office, f"stream {getpass.getuser()}")),
                intake,
                idle,
                address.shown,
            )
        )
    finally:
        office.close()
    answer = ConsumeAnswer(broker=address.shown, **counts)
    text = f"{answer.kept} kept, {answer.refused} refused to {prefix}.dead, {answer.left} left to come again"
    tell(answer, as_json, text)


async def _consume(consumer: Consumer, intake: Intake, idle: float | None, shown: str) -> dict[str, int]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await consumer.run(
        stop, idle, lambda: print(f"consuming {shown}, press Ctrl-C to stop", file=sys.stderr, flush=True)
    )
    return intake.counts
