"""The desk where changes are handed in and judged: one function an act, for the command and the service alike.

Each runs inside one transaction that holds `changes.CHANGES`, asks `rules.review` whether the step may be
taken, and appends it. Nothing else in the ledger changes: a change that is rejected or withdrawn leaves what
is in force as it is, byte for byte.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from rules import review
from rules.liveset import Files, Patch, patch_of, patched, revision_of
from rules.review import Act, Actor, ReviewError, Step
from serving.changes.check import check, kinds_named, kinds_of, plain
from serving.changes.live import opened, sibling
from serving.engine import Engine
from serving.http.messages.change import ChangeResponse, ChangesResponse, ChangeStep, CheckReport
from serving.ledger import changes
from serving.ledger.book import Ledger
from serving.ledger.changes import Entry
from serving.ledger.clock import EPOCH, MICROSECOND


class DraftError(ValueError):
    """The files of a change do not parse, or do not fit together; one line with file, line and remedy."""


class UnknownChangeError(ValueError):
    """There is no such change."""


@dataclass(frozen=True)
class Desk:
    """One transaction at the desk. now: the ledger's time in microseconds."""

    engine: Engine
    connection: Connection
    secret: bytes
    now: int

    def drafted(self, patch: Patch) -> "Draft":
        """The set that the patch makes of the last set there is, opened; DraftError where its files do not hold together.

        What was opened once is found again: asked outside the transaction first, nobody waits for it inside.
        """
        every = self._every()
        if not every:
            raise ReviewError("nothing is in force yet, so there is nothing to change: the first list, or the first"
                              " start of the service, puts the files into force as they stand",
                              "尚无现行版本，无可变更：首份名单或服务的首次启动会使现有文件生效")  # fmt: skip
        base = review.turns(every)[-1].target
        files = changes.files_of(self.connection, base)
        made = patched(files, patch)
        names = frozenset(patch_of(files, made))
        if not names:
            raise ReviewError(
                "the files say what is in force already; there is nothing to propose",
                "文件内容与现行版本相同；没有可提交的变更",
            )
        before = sibling(self.engine, self.connection, base)
        try:
            after = opened(self.engine, made)
        except ValueError as error:
            raise DraftError(plain(str(error))) from error
        return Draft(kinds_of(before, after, names), base, revision_of(made), made)

    def propose(self, actor: Actor, patch: Patch, note: str) -> str:
        """Hand in a change upon the last set there is; its id. Whose role may not write it, is told so first."""
        review.may_author(actor, kinds_named(patch))
        draft = self.drafted(patch)
        review.may_author(actor, draft.kinds)
        changes.keep_set(self.connection, draft.files)
        said = json.dumps([draft.base, draft.target, actor.name, self.now])
        change_id = "c" + hashlib.sha256(said.encode()).hexdigest()[:11]
        self._append(change_id, Act.PROPOSE, actor, draft, note)
        return change_id

    def enter_check(self, change_id: str, actor: Actor, report: CheckReport) -> None:
        """Enter what a check found; ReviewError where the change was judged meanwhile."""
        steps = self._steps(change_id)
        review.may_check(steps)
        self._append(change_id, Act.CHECK, actor, steps[0], passed=report.passed, report=report.model_dump_json())

    def approve(self, actor: Actor, change_id: str, revision: str, note: str = "") -> None:
        """Approve exactly that revision."""
        steps = self._steps(change_id)
        review.may_approve(actor, steps, revision)
        self._append(change_id, Act.APPROVE, actor, steps[0], note)

    def reject(self, actor: Actor, change_id: str, note: str = "") -> None:
        """Refuse the change."""
        steps = self._steps(change_id)
        review.may_reject(actor, steps)
        self._append(change_id, Act.REJECT, actor, steps[0], note)

    def withdraw(self, actor: Actor, change_id: str, note: str = "") -> None:
        """Take the change back."""
        steps = self._steps(change_id)
        review.may_withdraw(actor, steps)
        self._append(change_id, Act.WITHDRAW, actor, steps[0], note)

    def activate(self, actor: Actor, change_id: str, effective_at: int | None = None, note: str = "") -> None:
        """Put the approved change into force, at once or from an instant on."""
        steps = self._steps(change_id)
        at = self.now if effective_at is None else effective_at
        review.may_activate(actor, steps, self._every(), self.now, at)
        self._opened(steps[0].target)
        self._append(change_id, Act.ACTIVATE, actor, steps[0], note, effective_at=at)

    def rollback(self, actor: Actor, note: str = "") -> str:
        """Bring back the set before the last change; the id of the change undone."""
        every = self._every()
        kinds = {step.change_id: step.kinds for step in every}
        undone, target, at = review.rolled_back(actor, every, kinds, self.now)
        self._opened(target)
        shape = Draft(undone.kinds, undone.target, target)
        self._append(undone.change_id, Act.ROLLBACK, actor, shape, note, effective_at=at)
        return undone.change_id

    def shown(self, change_id: str) -> ChangeResponse:
        """Where the change stands; UnknownChangeError where there is none."""
        found = changes.entries(self.connection, change_id)
        if not found:
            raise UnknownChangeError("there is no such change; nbo rules list, or GET /v1/changes, names them")
        return response(self.connection, found, self.now)

    def listed(self, state: review.State | None = None) -> ChangesResponse:
        """All changes, the newest first, without their reports."""
        of: dict[str, list[Entry]] = {}
        for entry in changes.entries(self.connection):
            of.setdefault(entry.step.change_id, []).append(entry)
        told = [response(self.connection, found, self.now).model_copy(update={"report": None})
                for found in reversed(of.values()) if state in (None, review.state_of([e.step for e in found]))]  # fmt: skip
        return ChangesResponse(in_force=changes.revision_in_force(self.connection, self.now), changes=tuple(told))

    def warm(self, change_id: str | None) -> None:
        """Open what the change, null: a rollback, would put into force: outside the transaction nobody waits for it."""
        every = self._every()
        if change_id is not None:
            revisions = {step.target for step in every if step.change_id == change_id}
        else:
            revisions = {step.target for step in review.standing(every)[-2:-1]}
        for revision in revisions:
            self._opened(revision)

    def _opened(self, revision: str) -> None:
        """Opened before it is in force, so that no decision waits for it; ReviewError where it no longer fits."""
        try:
            sibling(self.engine, self.connection, revision)
        except ValueError as error:
            why = plain(str(error))
            raise ReviewError(f"the set no longer fits this home: {why}", f"该版本已不适用于当前环境：{why}") from error

    def _every(self) -> list[Step]:
        return [entry.step for entry in changes.entries(self.connection)]

    def _steps(self, change_id: str) -> list[Step]:
        found = [entry.step for entry in changes.entries(self.connection, change_id)]
        if not found:
            raise UnknownChangeError("there is no such change; nbo rules list, or GET /v1/changes, names them")
        return found

    def _append(self, change_id: str, act: Act, actor: Actor, shape: "Step | Draft", note: str = "", *,
                effective_at: int | None = None, passed: bool | None = None, report: str = "{}") -> None:  # fmt: skip
        changes.append(self.connection, self.secret, change_id=change_id, act=act, actor=actor, kinds=shape.kinds, base=shape.base,
                       target=shape.target, at=self.now, effective_at=effective_at, passed=passed, note=note, report=report)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """What a step is about. files: of the target, where they are new."""

    kinds: frozenset[review.Kind]
    base: str
    target: str
    files: Files = field(default_factory=dict[str, str])


def examine(engine: Engine, ledger: Ledger, change_id: str, actor: Actor) -> CheckReport:
    """Check a change that was handed in and enter what was found; takes seconds, holds nothing meanwhile."""
    with ledger.read() as connection:
        desk = Desk(engine, connection, ledger.secret, ledger.now_micros())
        step = changes.entries(connection, desk.shown(change_id).change_id)[0].step
        base, made = (changes.files_of(connection, revision) for revision in (step.base, step.target))
        before = sibling(engine, connection, step.base)
    report = check(before, base, made, ledger)
    ledger.write(
        lambda connection: Desk(engine, connection, ledger.secret, ledger.now_micros()).enter_check(
            change_id, actor, report
        ),
        touches=changes.CHANGES,
    ).result()
    return report


def response(connection: Connection, found: Sequence[Entry], now: int) -> ChangeResponse:
    """The change of these entries, oldest first."""
    steps = [entry.step for entry in found]
    first = steps[0]
    base, made = (changes.files_of(connection, revision) for revision in (first.base, first.target))
    checked = [entry for entry in found if entry.step.act is Act.CHECK]
    approvers = [step.actor.name for step in steps if step.act is Act.APPROVE]
    turns = [step for step in steps if step.effective_at is not None]
    state = review.state_of(steps)
    live = turns and turns[-1].act is not Act.ROLLBACK
    return ChangeResponse(
        change_id=first.change_id, state=state, kinds=tuple(sorted(first.kinds)), author=first.actor.name,
        files=tuple(sorted(made if first.act is Act.BOOT else patch_of(base, made))),
        approver=approvers[-1] if approvers else None, base=first.base, revision=first.target,
        effective_at=EPOCH + (turns[-1].effective_at or 0) * MICROSECOND if live else None,
        in_force=changes.revision_in_force(connection, now) == first.target,
        report=CheckReport.model_validate_json(checked[-1].report) if checked else None,
        steps=tuple(_told(entry) for entry in found))  # fmt: skip


def _told(entry: Entry) -> ChangeStep:
    step = entry.step
    effective = None if step.effective_at is None else EPOCH + step.effective_at * MICROSECOND
    return ChangeStep(act=step.act, by=step.actor.name, role=step.actor.role, at=EPOCH + step.at * MICROSECOND,
                      effective_at=effective, passed=step.passed, note=entry.note, signature=entry.signature)  # fmt: skip
