"""The life of one contact as its channel moves it: claim, sent, cancel, and the feeds it reads.

No claim, no send: a claim re-runs the regulatory and suppression rules and the switches, in the
transaction that moves the contact.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from rules.reasons import Layer, ReasonCode
from rules.why import why_closed
from serving.campaign import CampaignTreatment
from serving.engine import Engine
from serving.http.door import StoredAnswer
from serving.http.errors import Conflict, NotFound, Unprocessable
from serving.http.guard import check_channel
from serving.http.messages import (
    CancelReason,
    CancelRequest,
    ClaimResponse,
    ContactResponse,
    ContactState,
    DueContact,
    DueContactsQuery,
    DueContactsResponse,
    Message,
    Recall,
    RecallsQuery,
    RecallsResponse,
    SentRequest,
)  # fmt: skip
from serving.http.routes import ROUTES
from serving.ledger.book import Action, ContactRow, State, claim, close, due, find, micros, recalls, sent
from serving.ledger.keys import Principal, Role
from serving.ledger.lifecycle import CLAIM_AHEAD_MICROS
from serving.ledger.outcomes import Kind, accept, outcomes_of_contacts
from serving.ledger.recall import recall_contact
from serving.ledger.switches import paused
from serving.ledger.writer import EPOCH
from serving.rows import Asked, online_rows
from serving.unnamed import is_named

CLAIM_LAYERS = (Layer.REGULATORY, Layer.SUPPRESSION)
CURSOR_MAX = 2**62
MAY_REPORT = next(route.roles for route in ROUTES if route.door == "outcome")
CAME_OF_IT = {CancelReason.UNREACHABLE: Kind.UNDELIVERED, CancelReason.WRONG_NUMBER: Kind.WRONG_NUMBER}


def contact_of(connection: Connection, contact_id: str, principal: Principal) -> ContactRow:
    """The contact; NotFound, or Forbidden where a channel key asks for another channel's."""
    row = find(connection, contact_id)
    if row is None:
        raise NotFound("there is no such contact; use the contact_id of a decision")
    check_channel(principal, row.channel)
    return row


def claim_contact(
    engine: Engine, connection: Connection, contact_id: str, principal: Principal, now: int
) -> Message | StoredAnswer:
    """The contact, claimed; where a rule forbids it now the answer is 409 `claim_refused`.

    It is closed then, unless what forbids it passes by itself, a pause or missing data: it stays reserved, and due once that is over.
    """
    row = contact_of(connection, contact_id, principal)
    _check_outbound(row)
    # A claimed or sent contact is on its way: it stays counted, and a second claim is refused below.
    if row.state in (State.RESERVED, State.CLOSED) and (why := forbidden(engine, connection, row, now)):
        message = f"the rules forbid it now ({', '.join(why)}); do not send"
        if row.state == State.RESERVED and passes(engine, why, now):
            # Raised and not stored: the same key may ask again.
            raise Conflict(f"{message}, and claim again later", code="claim_refused")
        close(connection, contact_id, Action.RECALL, now, why[0])
        body = {"error": {"code": "claim_refused", "message": message}}
        return StoredAnswer(json.dumps(body).encode(), Conflict.status)
    row = claim(connection, contact_id, now)
    said = _wording(engine, row)
    return ClaimResponse(
        contact_id=contact_id, state=ContactState.CLAIMED, customer_id=row.customer_id, offer_id=row.offer_id, channel=row.channel,
        treatment=row.treatment, send_before=instant(row.send_before), claim_expires_at=instant(_expires_at(row)),
        language=said and (said.language or _language(engine, connection, row.customer_id, now)), legal_footer=said and said.legal_footer)  # fmt: skip


def check_claim(connection: Connection, contact_id: str, now: int) -> None:
    """Pass a claim that is still good: not sent, not closed, not recalled, not run out; Conflict `claim_refused` for the rest.

    Whoever asks again under its key has lost the answer, and would send on it.
    """
    row = find(connection, contact_id)
    if row is None or row.state != State.CLAIMED or row.close_reason is not None or now >= _expires_at(row):
        raise Conflict("the claim under this key holds no more; do not send on it", code="claim_refused")


def _expires_at(claimed: ContactRow) -> int:
    return min((claimed.claimed_at or 0) + CLAIM_AHEAD_MICROS, claimed.send_before)


def _check_outbound(row: ContactRow) -> None:
    if row.direction != "outbound":
        raise Conflict("the contact is an offer made to a caller; report its outcome, there is nothing to send")


def passes(engine: Engine, why: list[str], now: int) -> bool:
    """Whether what forbids a claim says nothing of the customer or his offer."""
    return why == [ReasonCode.PAUSED.slug] or (
        why == [ReasonCode.REGULATORY_UNKNOWN.slug] and bool(engine.staleness(instant(now)))
    )


def confirm_sent(
    connection: Connection, contact_id: str, request: SentRequest, principal: Principal, now: int
) -> Message:
    """The contact, sent."""
    at = micros(request.sent_at) if request.sent_at else now
    if at > now:
        raise Unprocessable("`sent_at` is in the future; report a contact when it has gone out")
    row = contact_of(connection, contact_id, principal)
    _check_outbound(row)
    if row.claimed_at is not None and at < row.claimed_at - CLAIM_AHEAD_MICROS:
        raise Unprocessable("`sent_at` lies before the claim; report when it went out")  # it would count too early
    row = sent(connection, contact_id, at)
    return stands(row, row.sent_at or at)


def cancel_contact(
    connection: Connection, contact_id: str, request: CancelRequest, principal: Principal, now: int
) -> Message:
    """The contact, closed unsent, or recalled where another than its channel cancels what is claimed.

    That its number is wrong, or nobody is reached there, is an outcome as well, where it was claimed and whoever says so may report outcomes.
    """
    row = contact_of(connection, contact_id, principal)
    kind = CAME_OF_IT.get(request.reason)
    if kind and row.state == State.CLAIMED and principal.role in MAY_REPORT and not _is_told(connection, row, kind):
        accept(connection, contact_id, kind, now, now)  # the next decision has to know
    # It may have gone out, and only its channel knows: closed by anyone else, it would count for no cap.
    if row.state == State.CLAIMED and row.direction == "outbound" and principal.role is not Role.CHANNEL:
        recall_contact(connection, contact_id, now)
        return stands(row, row.claimed_at or now)
    action = Action.CANCEL if request.reason is CancelReason.CANCELLED else Action.NOT_SENT
    row = close(connection, contact_id, action, now)
    return stands(row, row.closed_at or now)


def _is_told(connection: Connection, row: ContactRow, kind: Kind) -> bool:
    return kind in outcomes_of_contacts(connection, [row.contact_id]).get(row.contact_id, [])


def due_page(connection: Connection, query: DueContactsQuery, now: int) -> DueContactsResponse:
    """A page of contacts to claim."""
    at = micros(query.due) if query.due else now
    found = due(connection, query.channel, at, query.cursor or "", query.limit, paused(connection))
    page = tuple(DueContact(
        contact_id=row.contact_id, customer_id=row.customer_id, offer_id=row.offer_id, family=row.family, channel=row.channel,
        treatment=row.treatment, campaign_id=row.campaign_id, send_after=instant(row.send_after), send_before=instant(row.send_before),
        decision_id=row.decision_id) for row in found)  # fmt: skip
    return DueContactsResponse(contacts=page, cursor=page[-1].contact_id if len(page) == query.limit else None)


def recall_page(connection: Connection, query: RecallsQuery) -> RecallsResponse:
    """A page of contacts that must not be sent any more, oldest first."""
    found = recalls(connection, _after(query.cursor), query.limit, query.channel)
    page = tuple(Recall(contact_id=row.contact_id, channel=row.channel, campaign_id=row.campaign_id,
                        reason=row.recall_reason or "recalled", recalled_at=instant(row.closed_at or 0))
                 for row in found)  # fmt: skip
    last = found[-1] if found else None
    return RecallsResponse(recalls=page, cursor=f"{last.closed_at}:{last.contact_id}" if last else query.cursor)


def stands(row: ContactRow, at: int) -> ContactResponse:
    """Where the contact stands since `at`."""
    return ContactResponse(contact_id=row.contact_id, state=ContactState(str(row.state)), at=instant(at))


def instant(at: int) -> datetime:
    """Microseconds as an instant."""
    return EPOCH + timedelta(microseconds=at)


def _after(cursor: str | None) -> tuple[int, str]:
    if not cursor:
        return (-1, "")
    at, _, contact_id = cursor.partition(":")
    if not at.isdigit() or int(at) > CURSOR_MAX:
        raise Unprocessable("`cursor` is none of ours; send the cursor of the page before, or none")
    return (int(at), contact_id)


def _wording(engine: Engine, row: ContactRow) -> CampaignTreatment | None:
    """The wording as the contact's campaign names it; null: it names none."""
    campaign = engine.campaigns.get(row.campaign_id or "")
    return campaign.treatment(row.treatment) if campaign else None


def _language(engine: Engine, connection: Connection, customer: str, now: int) -> str | None:
    """The customer's own language; null: not known."""
    if "language" not in engine.store.one_row.texts or engine.snapshot(instant(now)) is None:
        return None
    found = engine.store.latest_rows([customer], instant(now), connection).get(customer)
    return None if found is None else found.texts[engine.store.one_row.texts.index("language")]


def forbidden(engine: Engine, connection: Connection, row: ContactRow, now: int) -> list[str]:
    """Slugs of what would refuse a claim of the contact at this moment; empty: nothing. Reads only."""
    return forbidden_each(engine, connection, [row], now)[0]


def forbidden_each(engine: Engine, connection: Connection, rows: Sequence[ContactRow], now: int) -> list[list[str]]:
    """`forbidden` of several contacts, their customers looked up together."""
    at, stopped = instant(now), paused(connection)
    plain = [_forbidden_plainly(engine, row, at, stopped) for row in rows]
    names = dict.fromkeys(row.customer_id for row, why in zip(rows, plain, strict=True) if why is None)
    terms = engine.terms(at, stopped)
    known = online_rows(engine, terms, connection, [Asked(name) for name in names], at) if names and not engine.staleness(at) else None  # fmt: skip
    place = {} if known is None else {name: k for k, name in enumerate(known[0].column("customer_id").to_pylist())}

    def by_rules(row: ContactRow) -> list[str]:
        if known is None or row.customer_id not in place:  # nobody can say that he still may be contacted
            return [ReasonCode.REGULATORY_UNKNOWN.slug]
        k, cell = place[row.customer_id], engine.catalogue.cell(str(row.offer_id), row.channel)
        closings = why_closed(known[0].slice(k, 1), terms, cell, CLAIM_LAYERS, known[1][k])
        return [closing.reason.slug for closing in closings]

    return [by_rules(row) if why is None else why for row, why in zip(rows, plain, strict=True)]


def _forbidden_plainly(engine: Engine, row: ContactRow, at: datetime, stopped: Collection[str]) -> list[str] | None:
    """What refuses it whoever the customer is; null: that is for the rules to say."""
    about = {f"channel:{row.channel}", f"family:{row.family}", f"offer:{row.offer_id}", f"campaign:{row.campaign_id}"}
    if not about.isdisjoint(stopped) or "all" in stopped:
        return [ReasonCode.PAUSED.slug]
    if row.offer_id not in engine.catalogue.offer_index or row.channel not in engine.catalogue.channel_index:
        return [ReasonCode.NOT_IN_CAMPAIGN.slug]  # the catalogue no longer has it
    if not is_named(engine, row, at):
        return [ReasonCode.NOT_IN_CAMPAIGN.slug]  # its approval is over, or the campaign says it no more, or is gone
    return None
