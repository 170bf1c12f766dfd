"""The desk: a customer is on the line; what to offer him, in which words, and what he says to it.

Asking records what was offered, as it does over HTTP. What he says acts from the very next decision on.
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from rules.reasons import ReasonCode
from serving.claims import instant
from serving.console.visit import Visit
from serving.http.errors import BadRequest
from serving.http.guard import channel_of
from serving.http.messages import DecisionRecordResponse, DecisionResponse
from serving.ledger.book import find
from serving.ledger.outcomes import outcomes_of_contacts

CHANNELS = ("call", "branch")
SAID = ("accepted", "refused", "later", "wrong_number", "do_not_call")
TOP = 3
ASKED = (ReasonCode.CHANNEL_NOT_ASKED.slug, ReasonCode.OFFER_NOT_ON_CHANNEL.slug)


def desk(visit: Visit) -> Response:
    """The search box."""
    return visit.page("desk.html", channels=_channels(visit), problem="")


def ask(visit: Visit) -> Response:
    """Decide for the customer who is on the line."""
    customer, channel = visit.form.one("customer"), visit.form.one("channel")
    if channel not in _channels(visit):
        raise BadRequest("that is no channel of this desk")
    asked = {"customer_id": customer, "direction": "inbound", "channels": [channel], "top": TOP}
    told: DecisionResponse = visit.act("POST /v1/decisions", asked)
    return visit.go(f"/console/desk/{told.decision_id}")


def offers(visit: Visit) -> Response:
    """What to offer, or why nothing; and what he has said so far."""
    name = visit.path("decision")
    record: DecisionRecordResponse = visit.ask("GET /v1/decisions/{decision_id}", name)
    why = visit.ask("GET /v1/decisions/{decision_id}/why", name)

    def found(engine: Any, connection: Any) -> dict[str, Any]:
        scripts = {one.id: one.template for one in engine.catalogue.treatments}
        ids = [choice.contact_id for choice in record.result.choices if choice.contact_id]
        return {"scripts": scripts, "offers": {o.id: o for o in engine.catalogue.offers}, "said": outcomes_of_contacts(connection, ids),
                "channels": {c.id: c.title for c in engine.catalogue.channels}}  # fmt: skip

    return visit.page(
        "offers.html",
        record=record,
        why=why,
        answers=SAID,
        telling=_telling(record.result.reasons),
        desk_channels=_channels(visit),
        **visit.read(found),
    )


def tell(visit: Visit) -> Response:
    """What he said of one offer."""
    name, contact, kind = visit.path("decision"), visit.form.one("contact"), visit.form.one("said")
    if kind not in SAID or visit.read(lambda _, connection: _is_of(connection, contact, name)) is False:
        raise BadRequest("that is no offer of this call, or no answer to one")
    visit.act("POST /v1/outcomes", {"contact_id": contact, "kind": kind, "at": instant(visit.now).isoformat()})
    return visit.go(f"/console/desk/{name}", done="told")


def _telling(reasons: Sequence[str]) -> list[str]:
    """The reasons of a silence without those that only say what was asked for, unless there are no others."""
    return [slug for slug in reasons if slug not in ASKED] or list(reasons)


def _is_of(connection: Any, contact_id: str, decision_id: str) -> bool:
    row = find(connection, contact_id)
    return row is not None and row.decision_id == decision_id


def _channels(visit: Visit) -> tuple[str, ...]:
    """The channels of this user's desk: his own, or those that speak with customers."""
    own = channel_of(visit.principal)
    return (own,) if own else CHANNELS
