"""The ledger's facts that state columns are made of, as plain rows. Instants are micros UTC."""

from collections.abc import Iterable
from typing import NamedTuple

DAY_MICROS = 86_400_000_000
COUNTING_STATES = ("reserved", "claimed", "sent")
UNCOUNTED = ("delivered",)  # outcomes that move no column: no reaction, no silence, no cause of a pause
UNANSWERED = (*UNCOUNTED, "no_response")  # outcomes that are no reaction of the customer


class ContactFact(NamedTuple):
    """One outbound marketing contact that counts, sent somewhere in [starts, ends].

    sent: it is known to have gone out, at starts. contact_id links it with its answers.
    """

    customer_id: str
    channel: str
    family: str
    starts: int
    ends: int
    offer: str = ""
    campaign: str = ""
    contact_id: str = ""
    sent: bool = False


class AnswerFact(NamedTuple):
    """One outcome of a contact of the customer, with what the contact was about."""

    kind: str
    at: int
    family: str
    offer: str
    channel: str
    contact_id: str = ""


class SuppressionFact(NamedTuple):
    """One stretch of an event suppression of the customer."""

    rule_id: str
    currency: str
    opened_at: int
    ends_at: int
    closed_at: int | None


def ignored_at(sent_at: int, after_days: int, answers: Iterable[tuple[str, int]]) -> int | None:
    """The instant from which a sent contact is ignored; None where the customer reacted in time.

    answers: (kind, at) of this contact. Any outcome but delivered and no_response by sent_at +
    after_days is a reaction (also one that tells it never arrived). Without one the contact is
    ignored from the first no_response on, at the latest from sent_at + after_days.
    """
    deadline = sent_at + after_days * DAY_MICROS
    ignored = deadline
    for kind, at in answers:
        if kind == "no_response":
            ignored = min(ignored, at)
        elif kind not in UNANSWERED and at <= deadline:
            return None
    return ignored
