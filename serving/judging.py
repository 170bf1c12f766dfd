"""The routes of the review: changes proposed, judged, put into force and rolled back."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import Connection

from rules.errors import RulesError
from rules.review import Actor, State
from serving.changes.desk import Desk, DraftError, UnknownChangeError
from serving.counter import Counter
from serving.engine import Engine
from serving.http.door import Call, Pending, StoredAnswer
from serving.http.errors import NotFound, Unprocessable
from serving.http.messages.base import Message
from serving.http.messages.change import (
    ActivateRequest,
    ApproveRequest,
    ChangeResponse,
    ChangesQuery,
    ChangesResponse,
    JudgeRequest,
    ProposeRequest,
    RollbackRequest,
)
from serving.ledger.book import Ledger, micros
from serving.ledger.changes import CHANGES
from serving.ledger.keys import Principal

Checker = Callable[[Path, str], object]  # home, change: checks it later, elsewhere


def check_aside(home: Path, change_id: str) -> None:
    """Check a change in a process of its own: it takes seconds of the processor, which decisions need."""
    command = [sys.executable, "-m", "serving.checking", str(home), change_id]
    folder = Path(__file__).resolve().parents[1]
    subprocess.Popen(  # noqa: S603  # our own interpreter and constants; the id is ours
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


@contextmanager
def _told() -> Generator[None]:
    """What the files or the id lack, as an answer."""
    try:
        yield
    except UnknownChangeError as error:
        raise NotFound(str(error)) from error
    except (DraftError, RulesError) as error:
        raise Unprocessable(str(error), code="draft_refused") from error


def _actor(principal: Principal) -> Actor:
    return Actor(principal.name, str(principal.role))


class ChangeDoor(Counter):
    """The part of the door that judges changes. One at a time, in a thread of their own, so that no decision waits."""

    checker: Checker = staticmethod(check_aside)

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        super().__init__(engine, ledger)
        self._desk = ThreadPoolExecutor(1, thread_name_prefix="nbo-desk")

    def close_desk(self) -> None:
        """Finish what was begun at the desk."""
        self._desk.shutdown()

    def propose(self, request: ProposeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, handed in; its check follows."""

        def work(desk: Desk) -> str:
            return desk.propose(_actor(call.principal), request.files, request.note)

        def done() -> StoredAnswer:
            self._aside(lambda desk: desk.drafted(request.files))
            answer = self._acted(call, work)
            change = ChangeResponse.model_validate_json(answer.body)
            if change.report is None and len(change.steps) == 1:
                self.checker(self.engine.home.path, change.change_id)
            return answer

        return self._desk.submit(done)

    def approve(self, change_id: str, request: ApproveRequest, call: Call) -> Pending:
        """ChangeResponse: the change, approved by this key."""
        return self._judged(
            call,
            change_id,
            lambda desk: desk.approve(_actor(call.principal), change_id, request.revision, request.note or ""),
        )

    def reject(self, change_id: str, request: JudgeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, refused."""
        return self._judged(
            call, change_id, lambda desk: desk.reject(_actor(call.principal), change_id, request.note or "")
        )

    def withdraw(self, change_id: str, request: JudgeRequest, call: Call) -> Pending:
        """ChangeResponse: the change, taken back."""
        return self._judged(
            call, change_id, lambda desk: desk.withdraw(_actor(call.principal), change_id, request.note or "")
        )

    def activate(self, change_id: str, request: ActivateRequest, call: Call) -> Pending:
        """ChangeResponse: the change, in force from now or the instant asked."""
        at = micros(request.effective_at) if request.effective_at else None

        def work(desk: Desk) -> str:
            desk.activate(_actor(call.principal), change_id, at, request.note or "")
            return change_id

        return self._desk.submit(lambda: (self._aside(lambda desk: desk.warm(change_id)), self._acted(call, work))[1])

    def rollback(self, request: RollbackRequest, call: Call) -> Pending:
        """ChangeResponse: the last change, undone."""

        def work(desk: Desk) -> str:
            return desk.rollback(_actor(call.principal), request.note)

        return self._desk.submit(lambda: (self._aside(lambda desk: desk.warm(None)), self._acted(call, work))[1])

    def change(self, change_id: str, call: Call) -> ChangeResponse:
        """ChangeResponse: where it stands. Reads only."""
        with self.ledger.read() as connection, _told():
            return Desk(self.engine, connection, self.ledger.secret, self.ledger.now_micros()).shown(change_id)

    def changes(self, query: ChangesQuery, call: Call) -> ChangesResponse:
        """ChangesResponse: all changes, the newest first. Reads only."""
        with self.ledger.read() as connection:
            return Desk(self.engine, connection, self.ledger.secret, self.ledger.now_micros()).listed(
                query.state and State(query.state)
            )

    def _judged(self, call: Call, change_id: str, act: Callable[[Desk], object]) -> Pending:
        def work(desk: Desk) -> str:
            act(desk)
            return change_id

        return self._desk.submit(lambda: self._acted(call, work))

    def _aside(self, work: Callable[[Desk], object]) -> None:
        """What takes long, before the transaction. What it refuses the transaction says, or has stored already."""
        with suppress(ValueError), self.ledger.read() as connection:
            work(Desk(self.engine, connection, self.ledger.secret, self.ledger.now_micros()))

    def _acted(self, call: Call, act: Callable[[Desk], str]) -> StoredAnswer:
        """The act in its transaction, and the change after it."""

        def work(connection: Connection, now: int) -> Message:
            desk = Desk(self.engine, connection, self.ledger.secret, now)
            with _told():
                return desk.shown(act(desk))

        return self.once(call, CHANGES, work).result()
