"""The routes of contacts: what is due and recalled, claimed, sent, cancelled, and what became of it."""

from sqlalchemy import exists, select
from sqlalchemy.engine import Connection

from features.tables import MARKETING_CHANNELS
from serving.claims import cancel_contact, check_claim, claim_contact, confirm_sent, due_page, recall_page
from serving.counter import Counter
from serving.http.door import Call, Pending
from serving.http.errors import Unprocessable
from serving.http.messages import (
    CancelRequest,
    ClaimRequest,
    DueContactsQuery,
    DueContactsResponse,
    ExternalContactRequest,
    OutcomeRequest,
    RecallsQuery,
    RecallsResponse,
    SentRequest,
)
from serving.ledger.book import Touches
from serving.ledger.schema import contacts
from serving.ledger.switches import HEEDING
from serving.reports import enter_external, enter_outcome


class ContactDoor(Counter):
    """The part of the door that channels and other systems move contacts through."""

    def due_contacts(self, query: DueContactsQuery, call: Call) -> DueContactsResponse:
        """A page of contacts to claim; Unprocessable for a channel the bank does not have."""
        with self.ledger.read() as connection:
            self._known(connection, query.channel)
            return due_page(connection, query, self.ledger.now_micros())

    def claim(self, contact_id: str, request: ClaimRequest, call: Call) -> Pending:
        """The contact, claimed, unless a rule forbids it now; under a key that claimed it, while that claim is good."""
        return self.once(
            call,
            Touches(contacts=(contact_id,), shared=HEEDING),
            lambda connection, now: claim_contact(
                self.in_force(connection, now), connection, contact_id, call.principal, now
            ),
            holds=lambda connection, now: check_claim(connection, contact_id, now),
        )

    def sent(self, contact_id: str, request: SentRequest, call: Call) -> Pending:
        """The contact, sent."""
        return self.once(
            call,
            Touches(contacts=(contact_id,)),
            lambda connection, now: confirm_sent(connection, contact_id, request, call.principal, now),
        )

    def cancel(self, contact_id: str, request: CancelRequest, call: Call) -> Pending:
        """The contact, closed unsent; recalled where another than its channel cancels what is claimed."""
        return self.once(
            call,
            Touches(contacts=(contact_id,)),
            lambda connection, now: cancel_contact(connection, contact_id, request, call.principal, now),
        )

    def external_contact(self, request: ExternalContactRequest, call: Call) -> Pending:
        """Another system's contact, entered as sent."""
        return self.once(
            call,
            Touches(customers=(request.customer_id,), names=(f"contact {request.contact_id}",)),
            lambda connection, now: enter_external(
                self.in_force(connection, now), connection, request, call.principal, now
            ),
        )

    def recalls(self, query: RecallsQuery, call: Call) -> RecallsResponse:
        """A page of contacts that must not be sent any more; Unprocessable for a channel the bank does not have."""
        with self.ledger.read() as connection:
            if query.channel is not None:
                self._known(connection, query.channel)
            return recall_page(connection, query)

    def outcome(self, request: OutcomeRequest, call: Call) -> Pending:
        """The outcome, stored."""
        return self.once(
            call,
            Touches(contacts=(request.contact_id,)),
            lambda connection, now: enter_outcome(connection, request, call.principal, now),
        )

    def _known(self, connection: Connection, channel: str) -> None:
        """Pass a channel of the catalogue, or one whose contacts outlive its place there; Unprocessable for any other."""
        now = self.engine.catalogue.channel_index
        if channel in now:
            return
        outlived = [name for name in MARKETING_CHANNELS if name not in now and _has_contacts(connection, name)]
        if channel not in outlived:
            raise Unprocessable(f"`channel` is none of this bank's; there are: {', '.join((*now, *outlived))}")


def _has_contacts(connection: Connection, channel: str) -> bool:
    return connection.execute(select(exists().where(contacts.c.channel == channel))).scalar_one()
