"""The counter every route's work passes: one transaction, once per idempotency key, under the set in force."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy.engine import Connection

from serving.bids import Worker
from serving.changes import live
from serving.engine import Engine
from serving.http.door import Call, Pending, StoredAnswer
from serving.http.messages.base import Message
from serving.ledger import idempotency
from serving.ledger.book import Ledger, Touches

Work = Callable[[Connection, int], Message | StoredAnswer]
Look = Callable[[Connection, int], None]


def key_of(call: Call) -> idempotency.Asked:
    """Who asks, and under which key."""
    return idempotency.Asked(call.principal.name, call.route, call.idempotency_key or "", call.body_sha256 or "")


def name_of(asked: idempotency.Asked) -> str:
    """What is held of a key: its twin on another worker waits, and then reads the answer."""
    return f"key {asked.principal} {asked.route} {asked.key}"


class Counter:
    """One engine and one ledger, and how work is done with them; the doors stand upon it.

    seats: the leases of seats; null: nobody leases seats, none is ever gone.
    """

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self.engine, self.ledger = engine, ledger
        self.seats: Worker | None = None

    def in_force(self, connection: Connection, now: int) -> Engine:
        """The engine of the set in force in this transaction; whoever activates is heard with the next one."""
        self.engine = live.current(self.engine, connection, now)
        if self.seats is not None:
            self.seats.engine = self.engine
        return self.engine

    def once(self, call: Call, touches: Touches, work: Work, holds: Look | None = None) -> Pending:
        """Run the work once per idempotency key, in a transaction, and store its answer there.

        The key is held like a unit: its twin on another worker waits, and then reads the answer.
        holds: raises where what was answered with 200 holds no more; null: an answer holds for ever.
        """
        asked = key_of(call)

        def task(connection: Connection) -> StoredAnswer:
            known = idempotency.remembered(connection, *asked)
            if known is not None:
                if holds is not None and known.status == 200:
                    holds(connection, self.ledger.now_micros())
                return StoredAnswer(known.body, known.status)
            now = self.ledger.now_micros()
            done = work(connection, now)
            answer = done if isinstance(done, StoredAnswer) else StoredAnswer.of(done)
            idempotency.remember(connection, *asked, idempotency.Answer(answer.status, answer.body), now)
            return answer

        held = replace(touches, names=(*touches.names, name_of(asked)))
        return self.ledger.write(task, call.deadline, touches=held)
