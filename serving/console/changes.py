"""Changes: what is proposed, what its check found, who approved; and judging one."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from rules import review
from rules.line import Line
from rules.review import Actor, ReviewError, State
from serving.changes.diffs import text_diff
from serving.changes.live import drafts
from serving.console.visit import ROWS, Visit
from serving.engine import Engine
from serving.http.errors import BadRequest, DoorError
from serving.http.messages import ChangesQuery
from serving.http.messages.change import ChangeResponse, ChangesResponse
from serving.ledger import changes as kept

OPEN = (State.PROPOSED, State.FAILED, State.CHECKED, State.APPROVED)
LINES_TOLD = 2_000  # of one file's diff


def changes(visit: Visit) -> Response:
    """All of them, the newest first; those that wait for somebody on top."""
    told: ChangesResponse = visit.ask("GET /v1/changes", ChangesQuery())
    waiting = [one for one in told.changes if one.state in OPEN]
    rest = [one for one in told.changes if one.state not in OPEN]
    page = visit.paged(len(rest))
    files = visit.read(lambda engine, connection: drafts(engine, connection, visit.now))
    return visit.page("changes.html", waiting=waiting, rest=rest[page.start : page.start + ROWS], paged=page, in_force=told.in_force, drafts=files)  # fmt: skip


def change(visit: Visit) -> Response:
    """One change: text, meaning, proofs, impact, steps - and what this user may do with it."""
    one: ChangeResponse = visit.ask("GET /v1/changes/{change_id}", visit.path("change"))

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        steps = [entry.step for entry in kept.entries(connection, one.change_id)]
        every = [entry.step for entry in kept.entries(connection)]
        named = [name for name in one.files if name.startswith("campaigns/")]
        made = kept.files_of(connection, one.revision)
        return {"diffs": [] if one.state is State.BOOTED else text_diff(connection, one.base, one.revision),
                "may": _may(visit, one, steps, every), "campaigns": [_id_of(made[name]) for name in named if name in made]}  # fmt: skip

    return visit.page("change.html", change=one, lines_told=LINES_TOLD, **visit.read(found))


def judge(visit: Visit) -> Response:
    """Approve, reject, withdraw, activate or roll back, with what was said of it."""
    name, act, note = visit.path("change"), visit.form.one("act"), visit.form.one("note")
    fields: dict[str, Any] = {"note": note or None}
    if act == "reject" and not note:
        raise BadRequest("say why; who proposed it wants to know")
    if act == "approve":
        fields["revision"] = visit.form.one("revision")
    elif act == "activate" and (at := visit.form.one("at")):
        fields["effective_at"] = _instant(visit, at)
    elif act == "rollback":
        told = visit.act("POST /v1/rollbacks", {"note": note or visit.t("rolled back in the console")})
        return visit.go(f"/console/changes/{told.change_id}", done="rollback")
    if act not in ("approve", "reject", "withdraw", "activate"):
        raise BadRequest("that cannot be done with a change")
    visit.act(f"POST /v1/changes/{{change_id}}/{act}", fields, name)
    return visit.go(f"/console/changes/{name}", done=act)


def new(visit: Visit) -> Response:
    """A file of what is in force, to be written otherwise."""
    files = visit.read(lambda _, connection: _last(connection))
    name = visit.asked("file") if visit.asked("file") in files else ""
    return visit.page("change_form.html", files=sorted(files), name=name, text=files.get(name, ""), note="", problem="")


def propose(visit: Visit) -> Response:
    """Hand the file in; the form once more where it does not hold."""
    name, text, note = visit.form.one("name"), visit.form.text("text"), visit.form.one("note")
    if uploaded := visit.form.text("upload"):
        text = uploaded
    try:
        told: ChangeResponse = visit.act(
            "POST /v1/changes", {"files": {name: text}, "note": note or visit.t("proposed in the console")}
        )
    except (DoorError, ValueError) as error:
        said = error.message if isinstance(error, DoorError) else str(error)
        status = error.status if isinstance(error, DoorError) else 422
        files = visit.read(lambda _, connection: _last(connection))
        return visit.page(
            "change_form.html", status, files=sorted(files), name=name, text=text, note=note, problem=said
        )
    return visit.go(f"/console/changes/{told.change_id}", done="proposed")


def _may(
    visit: Visit, one: ChangeResponse, steps: list[review.Step], every: list[review.Step]
) -> dict[str, Line | None]:
    """Act -> null where this user may do it now, else the line that says why not; acts that are not in question are left out."""
    actor = Actor(visit.principal.name, str(visit.role))
    tries: dict[str, Callable[[], object]] = {
        "approve": lambda: review.may_approve(actor, steps, one.revision),
        "reject": lambda: review.may_reject(actor, steps),
        "withdraw": lambda: review.may_withdraw(actor, steps),
        "activate": lambda: review.may_activate(actor, steps, every, visit.now, visit.now),
    }
    if one.in_force and one.state is State.ACTIVATED:
        kinds = {step.change_id: step.kinds for step in every}
        tries["rollback"] = lambda: review.rolled_back(actor, every, kinds, visit.now)
    asked = {State.CHECKED: ("approve", "reject", "withdraw"), State.APPROVED: ("activate", "reject", "withdraw"), State.PROPOSED: ("reject", "withdraw"),
             State.FAILED: ("reject", "withdraw"), State.BOOTED: ("approve",), State.ACTIVATED: ("rollback",)}.get(one.state, ())  # fmt: skip
    told = {act: _why_not(tries[act]) for act in asked if act in tries}
    return {act: why for act, why in told.items() if act != "withdraw" or not why}  # nobody else asks himself that


def _why_not(trial: Callable[[], object]) -> Line | None:
    try:
        trial()
    except ReviewError as error:
        return error.line
    return None


def _last(connection: Connection) -> dict[str, str]:
    """The files of the last set there is, in force or to be."""
    every = [entry.step for entry in kept.entries(connection)]
    return kept.files_of(connection, review.turns(every)[-1].target) if every else {}


def _instant(visit: Visit, typed: str) -> str:
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=visit.house.settings.tz).isoformat()
    except ValueError:
        raise BadRequest("that is no instant; write it like 2026-06-01T09:00") from None


def _id_of(text: str) -> str:
    return next(
        (line.partition(":")[2].split("#")[0].strip(" '\"") for line in text.splitlines() if line.startswith("id:")), ""
    )
