"""Outcomes: once each; an opt-out ends consent in its own transaction, in whatever state."""

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.tables import OUTCOMES
from serving.ledger.book import ContactRow, Ledger, LifecycleError, enter_sent, find, reserve
from serving.ledger.consents import ConsentRow, of_customers, record
from serving.ledger.outcomes import (
    WITHDRAWING,
    Accepted,
    Kind,
    accept,
    outcomes_of_units,
    outcomes_table,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WAITING = ContactRow(
    contact_id="k1", customer_id="C1", unit_id="H1", channel="sms", offer_id="card_gold",
    family="card", decided_at=5, send_after=5, send_before=1_000,
)  # fmt: skip
SENT = WAITING._replace(contact_id="k0", state="sent", source="external", sent_at=5)


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        opened.write(lambda c: enter_sent(c, [SENT])).result(10)
        opened.write(lambda c: reserve(c, WAITING)).result(10)
        yield opened


def _accept(ledger: Ledger, kind: str, contact_id: str = "k0", at: int = 7) -> Accepted:
    return ledger.write(lambda c: accept(c, contact_id, kind, at, 9)).result(10)


def test_kinds_are_those_of_the_bank_s_table() -> None:
    assert tuple(Kind) == OUTCOMES


def test_outcome_is_stored_once(ledger: Ledger) -> None:
    assert [_accept(ledger, "refused").new, _accept(ledger, "refused").new] == [True, False]
    with ledger.read() as connection:
        (row,) = outcomes_of_units(connection, ["H1"], 0)
        assert (row.kind, row.at, row.recorded_at, row.family) == ("refused", 7, 9, "card")
        assert outcomes_of_units(connection, ["H1"], 8) == []
        assert outcomes_table(connection, 7).to_pylist()[0]["customer_id"] == "C1"


@pytest.mark.parametrize("kind", list(Kind))
def test_p12_withdrawing_outcomes_and_no_others_end_consent(ledger: Ledger, kind: Kind) -> None:
    answer = _accept(ledger, kind)
    with ledger.read() as connection:
        said = of_customers(connection, ["C1"])
        waiting = find(connection, "k1")
    assert waiting is not None
    if kind in WITHDRAWING:
        channel = "all" if kind == Kind.DO_NOT_CALL else "sms"
        assert answer.withdrew == channel
        assert [(s.purpose, s.channel, s.state, s.source, s.at) for s in said] == [
            ("marketing", channel, "withdrawn", f"outcome:{kind}", 7)
        ]
        assert waiting.close_reason == "recalled"
    else:
        assert (answer.withdrew, said, waiting.state) == (None, [], "reserved")


def test_an_opt_out_told_with_a_clock_that_is_behind_is_younger_than_what_it_answers(ledger: Ledger) -> None:
    """Mutant: a withdrawal as old as it was told loses to a grant given before the contact."""
    granted = ConsentRow(consent_id="g", customer_id="C1", purpose="marketing", channel="sms", state="granted",
                         source="form", wording=None, at=3, received_at=3)  # fmt: skip
    ledger.write(lambda c: record(c, granted)).result(10)
    assert _accept(ledger, "opted_out", at=1).withdrew == "sms"
    with ledger.read() as connection:
        last, waiting = of_customers(connection, ["C1"])[-1], find(connection, "k1")
    assert (last.state, last.at) == ("withdrawn", SENT.decided_at)
    assert waiting is not None and waiting.close_reason == "recalled"


def test_answer_to_what_was_never_claimed_is_refused_unless_it_withdraws(ledger: Ledger) -> None:
    with pytest.raises(LifecycleError, match="is `reserved`"):
        _accept(ledger, "opened", "k1")
    assert _accept(ledger, "opted_out", "k1").withdrew == "sms"


def test_p04_opt_out_and_withdrawal_are_one_transaction(ledger: Ledger) -> None:
    def half(connection: object) -> None:
        accept(connection, "k0", "opted_out", 7, 9)  # type: ignore[arg-type]
        raise OSError("the power is gone")

    with pytest.raises(OSError, match="power"):
        ledger.write(half).result(10)
    with ledger.read() as connection:
        assert outcomes_of_units(connection, ["H1"], 0) == of_customers(connection, ["C1"]) == []


@pytest.mark.parametrize(
    ("kind", "contact_id", "at", "message"),
    [
        ("liked", "k0", 7, "unknown outcome `liked`"),
        ("opened", "nobody", 7, "no such contact"),
        ("opened", "k0", 10, "in the future"),
    ],
)
def test_outcome_that_makes_no_sense_is_one_line(
    ledger: Ledger, kind: str, contact_id: str, at: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _accept(ledger, kind, contact_id, at)
