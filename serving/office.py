"""The real Door: one ledger, one engine, every route's work in one transaction."""

import getpass
import json
import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Connection, make_url

from features.home import Home
from serving.account import account
from serving.asking import DecisionDoor
from serving.bids import Worker
from serving.changes import live
from serving.claims import instant
from serving.contacting import ContactDoor
from serving.engine import Engine, EngineError
from serving.history import ensure_seeded, is_seeded
from serving.http.door import Call, Pending
from serving.http.errors import Forbidden, NotFound
from serving.http.guard import channel_of, check_channel
from serving.http.messages import (
    ConsentRequest,
    DecisionRecordResponse,
    DecisionResponse,
    DecisionWhyResponse,
    EventRequest,
    MoveTasksRequest,
    ReadyResponse,
    SwitchRequest,
    WorklistQuery,
    WorklistResponse,
)  # fmt: skip
from serving.judging import ChangeDoor
from serving.ledger import records
from serving.ledger.book import NOTHING, Ledger, LedgerError, Touches, write_meta
from serving.ledger.expiry import Expiry
from serving.ledger.keys import Principal, Role, who
from serving.ledger.records import DecisionRow
from serving.ledger.seal import seal_of_row
from serving.ledger.seed import Progress
from serving.ledger.switches import TURNING
from serving.ledger.vault import ErasedError
from serving.ledger.writer import SIMULATED, WALL, ClockBounds
from serving.reports import enter_consent, enter_event, turn_switch
from serving.sealer import DailyExport, Sealer
from serving.watch import Watch
from serving.worklist import move_tasks, worklist
from training.stamp import live_stamp


def open_office(home: Path, serving: bool = True, clock: Callable[[], datetime] | None = None) -> "Office":
    """The office of a home: engine checked, ledger open and seeded with the imported history. clock: null for the home's."""
    at = Home.open(home)
    stamp = live_stamp(at.models)
    ledger = open_ledger(at, serving=serving, clock=clock)
    try:
        engine = live.open_engine(at, ledger)
        ensure_seeded(at, ledger, engine)
        live.boot(engine, ledger, f"operator {getpass.getuser()}")
    except BaseException:
        ledger.close()
        raise
    office = Office(engine, ledger, expiring=serving)
    if serving:
        office.start_sealing()
        office.attend(stamp)
    return office


def open_engine(home: Home) -> Engine:
    """The engine of what is in force in a home, checked to fit together; of its files before the first decision."""
    address = make_url(home.database_url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        return Engine.open(home)
    with open_ledger(home) as ledger:
        return live.open_engine(home, ledger)


def open_ledger(home: Home, *, serving: bool = False, clock: Callable[[], datetime] | None = None) -> Ledger:
    """The ledger of a home on the home's clock, or the one given; a simulated one may be moved ahead at will."""
    on_wall = home.settings.clock != "simulated"
    return Ledger.open(
        home.database_url, clock or home.now, home.secret(), serving=serving, bounds=_bounds(home), server_time=on_wall
    )


def _bounds(home: Home) -> ClockBounds:
    return SIMULATED if home.settings.clock == "simulated" else WALL


@contextmanager
def reading_ledger(home: Home, engine: Engine | None = None, progress: Progress | None = None) -> Generator[Ledger]:
    """The ledger for what must write nothing (dry run, decide, audit).

    Where there is none yet, or, with an engine, where the last import is not in it, a copy that
    is brought up to date and thrown away.
    """
    address = make_url(home.database_url)
    own = Path(address.database or "")
    if address.get_backend_name() != "sqlite" or own.is_file():
        with open_ledger(home) as ledger:
            if engine is None or is_seeded(home, ledger):
                yield ledger
                return
            if address.get_backend_name() != "sqlite":
                raise EngineError("the ledger does not hold the last import yet; nbo plan or nbo serve brings it in")
    with tempfile.TemporaryDirectory(prefix="nbo-ledger-") as folder:
        copy = Path(folder) / "nbo.db"
        if own.is_file():
            with (
                closing(sqlite3.connect(f"{own.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        with Ledger.open(f"sqlite:///{copy}", home.now, home.secret(), bounds=_bounds(home)) as ledger:
            if engine is not None:
                ensure_seeded(home, ledger, engine, progress)
            yield ledger


class Office(ChangeDoor, ContactDoor, DecisionDoor):
    """Implements serving.http.door.Door over one engine and one ledger; see there what each method answers."""

    def __init__(self, engine: Engine, ledger: Ledger, *, expiring: bool = False) -> None:
        """expiring: close every few seconds what was reserved and not claimed in time, until `close`."""
        super().__init__(engine, ledger)
        self._expiry = Expiry(ledger) if expiring else None
        self._sealer: Sealer | None = None
        self.watch: Watch | None = None  # null: what is promoted is read with the next start

    def close(self) -> None:
        """Finish what waits, seal it, and let go of the ledger."""
        if self.watch is not None:
            self.watch.stop()
        self.close_desk()
        if self._expiry is not None:
            self._expiry.stop()
        if self.seats is not None:
            self.seats.stop()
        if self._sealer is not None:
            self._sealer.stop()
        self.ledger.close()

    def start_sealing(self) -> None:
        """Seal each second from now on, and export the days that are over."""
        days = DailyExport(self.ledger, self.engine.vault.keyring, self.engine.home.path / "ledger")
        self._sealer = Sealer(self.ledger, self.engine.vault.keyring, days).start()

    def attend(self, stamp: str | None) -> None:
        """Lease seats and read what is promoted, until `close`. stamp: of what was live before the engine was opened."""
        self.seats = Worker(self.engine, self.ledger).start()
        self.watch = self.watching(None if self.engine.live.damaged else stamp).start()

    def watching(self, stamp: str | None) -> Watch:
        """A watch over what is live, not started. stamp: of what the engine was opened with."""
        return Watch(lambda: self.engine, self.ledger, self._swap, stamp)

    def who(self, presented: str) -> Principal | None:
        """The owner of a key; null: unknown, expired or revoked."""
        with self.ledger.read() as connection:
            return who(connection, presented, secret=self.ledger.secret, now=self.ledger.now_micros())

    def ready(self) -> ReadyResponse:
        """Whether the ledger takes a write, and how fresh the data are."""
        found: tuple[str, ...] = ()
        try:
            self.ledger.write(_probe, touches=_PROBING).result(timeout=2)
        except (LedgerError, TimeoutError) as error:
            found = (str(error) or "the ledger is busy",)
        at = self._now()
        problems, snapshot = self.engine.problems(at), self.engine.snapshot(at)
        as_of = snapshot.as_of if snapshot else None
        return ReadyResponse(
            ready=not found, degraded=bool(problems), problems=(*found, *problems), snapshot_as_of=as_of,
            held_back=self.watch.held_back if self.watch is not None else None,
        )  # fmt: skip

    def event(self, request: EventRequest, call: Call) -> Pending:
        """The event, stored, and the suppressions it opened and closed."""
        bookings = {request.event_id, request.transaction_id or request.event_id}
        return self.once(
            call,
            Touches(customers=(request.customer_id,), names=[f"booking {name}" for name in bookings]),
            lambda connection, now: enter_event(self.in_force(connection, now), connection, request, now, self.seats),
        )

    def consent(self, request: ConsentRequest, call: Call) -> Pending:
        """The consent, stored."""
        return self.once(
            call,
            Touches(
                customers=(request.customer_id,),
                names=(f"consent {request.consent_id}",) if request.consent_id is not None else (),
            ),
            lambda connection, now: enter_consent(connection, request, now),
        )

    def switch(self, request: SwitchRequest, call: Call) -> Pending:
        """Where the scope stands."""
        return self.once(
            call,
            TURNING,
            lambda connection, now: turn_switch(
                self.in_force(connection, now), connection, request, call.principal, now
            ),
        )

    def decision(self, decision_id: str, call: Call) -> DecisionRecordResponse:
        """The record of a decision."""
        with self.ledger.read() as connection:
            row = _readable(self.engine, connection, decision_id, call)
            digest = records.row_sha256(_record(connection, decision_id))
            sealed = seal_of_row(connection, "decision", decision_id) is not None
        own = channel_of(call.principal)  # what was known tells of other channels' contacts: not to a channel key
        answer = DecisionResponse.model_validate_json(json.dumps(json.loads(row.result)["answer"]))
        return DecisionRecordResponse(
            decision_id=row.decision_id, customer_id=row.customer_id, unit_id=row.unit_id, as_of=instant(row.as_of),
            inputs={} if own else json.loads(row.inputs), result=answer, terms=row.terms, row_sha256=digest, sealed=sealed)  # fmt: skip

    def why(self, decision_id: str, call: Call) -> DecisionWhyResponse:
        """The account of a decision, from its stored inputs."""
        with self.ledger.read() as connection:
            row = _readable(self.engine, connection, decision_id, call)
            return account(self.engine, connection, row, channel_of(call.principal))

    def worklist(self, query: WorklistQuery, call: Call) -> WorklistResponse:
        """A manager's tasks of today."""
        with self.ledger.read() as connection:
            return worklist(self.engine, connection, query, self.ledger.now_micros())

    def move_tasks(self, request: MoveTasksRequest, call: Call) -> Pending:
        """How many tasks moved."""
        check_channel(call.principal, request.channel)
        return self.once(
            call,
            Touches(names=("worklist",)),
            lambda connection, now: move_tasks(self.engine, connection, request, call.principal.name, now),
        )

    def _swap(self, engine: Engine) -> None:
        """Decide by that engine, under the set in force, from the next task of the writer's on: never within one."""

        def task(connection: Connection) -> None:
            self.engine = engine
            self.in_force(connection, self.ledger.now_micros())

        self.ledger.write(task, touches=NOTHING).result()

    def _now(self) -> datetime:
        return instant(self.ledger.now_micros())


# One row for all workers: it is waited for before anything else is held.
_PROBING = Touches(names=("probe",))


def _probe(connection: Connection) -> None:
    """Write a row: a PostgreSQL server that was made read-only, or is full, still begins transactions."""
    if connection.dialect.name == "postgresql":  # SQLite's transaction began with a write
        write_meta(connection, "probe", "")


def _readable(engine: Engine, connection: Connection, decision_id: str, call: Call) -> DecisionRow:
    """The record with its payload; NotFound where it was erased.

    A channel key reads what it asked for itself - it was told all of that - and else only what was chosen for its
    channel: Forbidden.
    """
    row = _record(connection, decision_id)
    try:
        row = engine.vault.opened(connection, row)
    except ErasedError as erased:
        raise NotFound(str(erased), code="erased") from None
    result = json.loads(row.result)
    if result.get("asked_by") != call.principal.name:
        choices = result["answer"]["choices"]
        if not choices and call.principal.role is Role.CHANNEL:  # why somebody hears nothing is for who asked about him
            raise Forbidden("this key reads what it asked for, and what was chosen for its own channel only")
        for choice in choices:
            check_channel(call.principal, choice["channel"])
    return row


def _record(connection: Connection, decision_id: str) -> DecisionRow:
    row = records.find(connection, decision_id)
    if row is None:
        raise NotFound("there is no such decision")
    return row
