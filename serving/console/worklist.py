"""The worklist: a manager's calls of today, the dearest first; one of them with all he has to know; moving them."""

from typing import Any

from starlette.responses import Response

from serving import worklist as tasks
from serving.claims import contact_of, instant
from serving.console.desk import SAID
from serving.console.visit import ROWS, Visit
from serving.http.errors import BadRequest, NotFound
from serving.http.guard import channel_of, check_channel
from serving.http.messages import WorklistQuery
from serving.ledger.keys import Role
from serving.ledger.outcomes import outcomes_of_contacts

CHANNELS = ("call", "branch")


def worklist(visit: Visit) -> Response:
    """The ranked calls of a manager; `?manager=` none: those that are nobody's."""
    query = _query(visit)

    def found(engine: Any, connection: Any) -> dict[str, Any]:
        ranked = tasks.ranked(engine, connection, query.manager, query.channel, visit.now)
        page = visit.paged(len(ranked))
        return {"ranked": ranked[page.start : page.start + ROWS], "paged": page, "managers": tasks.managers_of(engine, instant(visit.now)),
                "offers": {o.id: o.title for o in engine.catalogue.offers}, "titles": {c.id: c.title for c in engine.catalogue.channels}}  # fmt: skip

    return visit.page(
        "worklist.html", query=query, channels=_channels(visit), instant=instant, value=sum, **visit.read(found)
    )


def task(visit: Visit) -> Response:
    """One call: whom, what, why, in which words, what not to speak of."""

    def found(engine: Any, connection: Any) -> dict[str, Any]:
        contact = contact_of(connection, visit.path("contact"), visit.principal)
        if contact.offer_id is None:
            raise NotFound("there is no such task; the worklist names them")
        return {"task": tasks.task_of(engine, connection, contact, visit.now), "contact": contact, "channels": {c.id: c.title for c in engine.catalogue.channels},
                "offers": {o.id: o.title for o in engine.catalogue.offers}, "said": outcomes_of_contacts(connection, [contact.contact_id])}  # fmt: skip

    may_act = visit.role in (Role.CHANNEL, Role.ADMIN)
    return visit.page("task.html", answers=(*SAID, "no_response"), may_act=may_act, **visit.read(found))


def act(visit: Visit) -> Response:
    """Claim it before dialling, then say what came of it; or give it back."""
    name, what = visit.path("contact"), visit.form.one("act")
    here = f"/console/worklist/{name}"
    if what == "claim":
        visit.act("POST /v1/contacts/{contact_id}/claim", {}, name)
        return visit.go(here, done="claimed")
    if what == "cancel":
        visit.act("POST /v1/contacts/{contact_id}/cancel", {"reason": "not_sent"}, name)
        return visit.go(here, done="cancelled")
    if what not in (*SAID, "no_response"):
        raise BadRequest("that is no answer to a call")
    state = visit.read(lambda _, connection: contact_of(connection, name, visit.principal).state)
    if state == "claimed":
        visit.act("POST /v1/contacts/{contact_id}/sent", {}, name)
    visit.act("POST /v1/outcomes", {"contact_id": name, "kind": what, "at": instant(visit.now).isoformat()})
    return visit.go(here, done="told")


def move(visit: Visit) -> Response:
    """Give a manager's open tasks to a colleague."""
    form = visit.form
    asked = {"from_manager": form.one("from") or None, "to_manager": form.one("to"), "channel": form.one("channel")}
    told = visit.act("POST /v1/worklist/moves", asked)
    return visit.go(
        "/console/worklist", manager=form.one("to"), channel=form.one("channel"), done="moved", n=str(told.moved)
    )


def _query(visit: Visit) -> WorklistQuery:
    channel = visit.asked("channel") or _channels(visit)[0]
    try:
        query = WorklistQuery(manager=visit.asked("manager") or None, channel=channel)
    except ValueError:
        raise BadRequest(
            "a manager's id has 1 to 64 printable characters, a channel is one of the catalogue's"
        ) from None
    check_channel(visit.principal, query.channel)
    return query


def _channels(visit: Visit) -> tuple[str, ...]:
    own = channel_of(visit.principal)
    return (own,) if own else CHANNELS
