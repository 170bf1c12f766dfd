"""Consents: idempotent, with their source; a withdrawal takes back what still waits (P12)."""

from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.ledger.book import Action, ContactRow, Ledger, LifecycleError, claim, find, reserve
from serving.ledger.consents import ConsentRow, consent_id, consents_table, of_customers, record
from serving.ledger.idempotency import ConflictError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SAID = ConsentRow(
    consent_id="s1", customer_id="C1", purpose="marketing", channel="sms", state="withdrawn",
    source="branch", wording="v7", at=10, received_at=11,
)  # fmt: skip
WAITING = ContactRow(
    contact_id="k1", customer_id="C1", unit_id="C1", channel="sms",
    decided_at=5, send_after=5, send_before=1_000,
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def _record(ledger: Ledger, consent: ConsentRow) -> bool:
    return ledger.write(lambda c: record(c, consent)).result(10)


def _state(ledger: Ledger, contact_id: str) -> str:
    with ledger.read() as connection:
        row = find(connection, contact_id)
    assert row is not None
    return row.close_reason or row.state


def test_statement_is_stored_once_with_source_and_wording(ledger: Ledger) -> None:
    assert [_record(ledger, SAID), _record(ledger, replace(SAID, received_at=99))] == [True, False]
    with ledger.read() as connection:
        assert of_customers(connection, ["C1", "C2"]) == [SAID]
        assert consents_table(connection, 11).num_rows == 1
        assert consents_table(connection, 12).num_rows == 0


def test_same_id_with_other_content_is_refused(ledger: Ledger) -> None:
    _record(ledger, SAID)
    with pytest.raises(ConflictError, match="other content"):
        _record(ledger, replace(SAID, state="granted"))


@pytest.mark.parametrize(
    ("consent", "left"),
    [
        (SAID, {"k1": "recalled", "k2": "reserved"}),
        (replace(SAID, state="denied"), {"k1": "recalled", "k2": "reserved"}),
        (replace(SAID, channel="all"), {"k1": "recalled", "k2": "recalled"}),
        (replace(SAID, state="granted"), {"k1": "reserved", "k2": "reserved"}),
        (replace(SAID, purpose="profiling"), {"k1": "reserved", "k2": "reserved"}),
        (replace(SAID, customer_id="C2"), {"k1": "reserved", "k2": "reserved"}),
    ],
)
def test_p12_withdrawal_recalls_what_waits_on_its_channel(
    ledger: Ledger, consent: ConsentRow, left: dict[str, str]
) -> None:
    for row in (WAITING, WAITING._replace(contact_id="k2", channel="email")):
        ledger.write(lambda c, row=row: reserve(c, row)).result(10)
    _record(ledger, consent)
    assert {name: _state(ledger, name) for name in left} == left


def test_p12_no_claim_succeeds_after_the_withdrawal(ledger: Ledger) -> None:
    ledger.write(lambda c: reserve(c, WAITING)).result(10)
    _record(ledger, SAID)
    with pytest.raises(LifecycleError) as caught:
        ledger.write(lambda c: claim(c, "k1", 12)).result(10)
    assert caught.value.action == Action.CLAIM


def test_late_withdrawal_does_not_undo_a_later_grant(ledger: Ledger) -> None:
    ledger.write(lambda c: reserve(c, WAITING)).result(10)
    _record(ledger, replace(SAID, consent_id="s2", state="granted", at=20, received_at=20))
    _record(ledger, replace(SAID, received_at=21))
    assert _state(ledger, "k1") == "reserved"


@pytest.mark.parametrize(("channel", "granted_at", "granted_received", "stands"), [
    ("sms", 10, 10, "recalled"), ("sms", 10, 12, "reserved"), ("all", 10, 12, "reserved"), ("all", 9, 12, "recalled"),
    ("sms", 10, 11, "recalled"),  # come at once: the no
])  # fmt: skip
def test_of_one_instant_the_word_that_came_later_is_the_last(
    ledger: Ledger, channel: str, granted_at: int, granted_received: int, stands: str
) -> None:
    """Mutant: any word of the same `at` is passed over. Decisions go by `place_of_word`, and so does what is recalled."""
    ledger.write(lambda c: reserve(c, WAITING)).result(10)
    grant = replace(
        SAID, consent_id="s2", channel=channel, state="granted", at=granted_at, received_at=granted_received
    )
    _record(ledger, grant)
    _record(ledger, SAID)
    assert _state(ledger, "k1") == stands


def test_id_of_a_statement_depends_on_everything_that_was_said() -> None:
    said = ("C1", "marketing", "sms", "granted", "app", "v7", 10)
    ids = {consent_id(*said)}
    for place, value in enumerate(("C2", "profiling", "all", "denied", None, None, 11)):
        changed = (*said[:place], value, *said[place + 1 :])
        ids.add(consent_id(*changed))  # type: ignore[arg-type]
    assert len(ids) == 8
