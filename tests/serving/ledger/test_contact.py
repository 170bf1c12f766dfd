"""The table of what may happen to a contact, and which contacts caps count."""

import pytest

from serving.ledger.contact import TRANSITIONS, Action, ContactRow, State

CLOSING = {Action.EXPIRE, Action.CANCEL, Action.RECALL, Action.NOT_SENT}
CONTACT = ContactRow("k1", "C1", "H1", "sms", decided_at=0, send_after=10, send_before=20)


def test_the_table_is_the_one_that_was_agreed() -> None:
    """Written out by hand, so that a change of TRANSITIONS cannot pass unseen."""
    agreed = {
        "reserved": {"claim": "claimed"} | dict.fromkeys(CLOSING, "closed"),
        "claimed": {"sent": "sent", "outcome": "claimed"} | dict.fromkeys(CLOSING, "closed"),
        "sent": {"sent": "sent", "outcome": "sent"},
        "closed": {"outcome": "closed"} | dict.fromkeys(CLOSING, "closed"),
    }
    flat = {(s, str(a)): to for s, moves in agreed.items() for a, to in moves.items()}
    assert {(str(s), str(a)): str(to) for (s, a), to in TRANSITIONS.items()} == flat


@pytest.mark.parametrize(
    ("state", "now", "standing"),
    [
        (State.RESERVED, 19, State.RESERVED),
        (State.RESERVED, 20, State.CLOSED),  # nobody can claim it any more, whether it was closed yet or not
        (State.CLAIMED, 20, State.CLAIMED),
        (State.SENT, 20, State.SENT),
        (State.CLOSED, 10, State.CLOSED),
    ],
)
def test_caps_count_what_may_still_reach_the_customer_or_did(state: State, now: int, standing: State) -> None:
    row = CONTACT._replace(state=state)
    assert row.standing(now) == standing
    assert row.counts(now) is (standing != State.CLOSED)
