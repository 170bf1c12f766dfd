"""A consumer that dies by SIGKILL between commit and acknowledgement: `python -m tests.serving.streams.killed HOME URL PREFIX`."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from serving.office import open_office
from serving.streams import consumer
from serving.streams.address import read_address
from serving.streams.intake import Intake


class Mortal(consumer.Consumer):
    """Committed, and dead before it can say so."""

    async def _handle(self, kind: str, message: Any) -> None:
        async def die() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        message.ack = die
        await super()._handle(kind, message)


def main(home: str, url: str, prefix: str) -> None:
    """Take one message and die."""
    consumer.ACK_SECONDS = 1.0
    office = open_office(Path(home), serving=False)

    async def run() -> None:
        await Mortal(read_address(url), prefix, Intake(office, "stream test")).run(asyncio.Event())

    asyncio.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:])
