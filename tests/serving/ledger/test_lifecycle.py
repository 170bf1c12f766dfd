"""The life-cycle table is walked over every state and action; nothing else moves a contact."""

import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger
from serving.ledger.contact import TRANSITIONS, Action, ContactRow, LifecycleError, State
from serving.ledger.feed import recalls
from serving.ledger.idempotency import ConflictError
from serving.ledger.lifecycle import (
    CLAIM_AHEAD_MICROS,
    claim,
    close,
    contacts_of_units,
    contacts_table,
    due,
    enter_external,
    enter_sent,
    expire,
    find,
    reserve,
    sent,
)
from serving.ledger.outcomes import accept
from serving.ledger.recall import recall
from serving.ledger.writer import RowError, micros

T = TypeVar("T")
NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
HOUR = 3_600_000_000
CONTACT = ContactRow(
    contact_id="k1", customer_id="C1", unit_id="H1", channel="sms", offer_id="card_gold",
    family="card", decided_at=AT - HOUR, send_after=AT, send_before=AT + HOUR, p_chosen=0.5,
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def _do(ledger: Ledger, task: Callable[[Connection], T]) -> T:
    return ledger.write(task).result(timeout=10)


def _in_state(ledger: Ledger, state: State) -> None:
    _do(ledger, lambda c: reserve(c, CONTACT))
    if state in (State.CLAIMED, State.SENT):
        _do(ledger, lambda c: claim(c, "k1", AT))
    if state == State.SENT:
        _do(ledger, lambda c: sent(c, "k1", AT + 1))
    if state == State.CLOSED:
        _do(ledger, lambda c: close(c, "k1", Action.CANCEL, AT))


def _act(ledger: Ledger, action: Action) -> None:
    tasks: dict[Action, Callable[[Connection], object]] = {
        Action.CLAIM: lambda c: claim(c, "k1", AT),
        Action.SENT: lambda c: sent(c, "k1", AT + 1),
        Action.OUTCOME: lambda c: accept(c, "k1", "opened", AT, AT),
    }
    _do(ledger, tasks.get(action, lambda c: close(c, "k1", action, AT)))


def _state(ledger: Ledger) -> State:
    with ledger.read() as connection:
        row = find(connection, "k1")
    assert row is not None
    return State(row.state)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("state", list(State))
def test_every_state_and_action_follows_the_table(ledger: Ledger, state: State, action: Action) -> None:
    _in_state(ledger, state)
    expected = TRANSITIONS.get((state, action))
    if expected is None:
        with pytest.raises(LifecycleError) as caught:
            _act(ledger, action)
        assert (caught.value.state, caught.value.action) == (state, action)
        assert "C1" not in str(caught.value) and "k1" not in str(caught.value)
    else:
        _act(ledger, action)
    assert _state(ledger) == (expected or state)


def test_second_claim_is_refused_so_that_nobody_sends_twice(ledger: Ledger) -> None:
    _in_state(ledger, State.CLAIMED)
    with pytest.raises(LifecycleError, match="is `claimed`"):
        _act(ledger, Action.CLAIM)


@pytest.mark.parametrize(
    ("at", "refusal"),
    [
        (AT - CLAIM_AHEAD_MICROS - 1, "not due"),
        (AT - CLAIM_AHEAD_MICROS, None),
        (AT + HOUR - 1, None),
        (AT + HOUR, "past its send_before"),
    ],
)
def test_claim_is_good_from_a_minute_before_the_window_to_its_end(ledger: Ledger, at: int, refusal: str | None) -> None:
    _in_state(ledger, State.RESERVED)
    if refusal is None:
        assert _do(ledger, lambda c: claim(c, "k1", at)).claimed_at == at
    else:
        with pytest.raises(LifecycleError, match=refusal):
            _do(ledger, lambda c: claim(c, "k1", at))


def test_closed_contact_keeps_its_first_reason(ledger: Ledger) -> None:
    _in_state(ledger, State.CLOSED)
    row = _do(ledger, lambda c: close(c, "k1", Action.EXPIRE, AT + 5))
    assert (row.close_reason, row.closed_at) == ("cancelled", AT)


def test_contact_sent_late_is_found_where_it_was_sent(ledger: Ledger) -> None:
    _in_state(ledger, State.CLAIMED)
    _do(ledger, lambda c: sent(c, "k1", AT + 3 * HOUR))
    with ledger.read() as connection:
        assert len(contacts_of_units(connection, ["H1"], AT + 2 * HOUR)) == 1


def test_unknown_contact_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LifecycleError, match="no such contact") as caught:
        _do(ledger, lambda c: claim(c, "nobody", AT))
    assert caught.value.state is None


def test_same_contact_id_cannot_be_reserved_twice(ledger: Ledger) -> None:
    _in_state(ledger, State.RESERVED)
    with pytest.raises(RowError, match="refused a row"):
        _do(ledger, lambda c: reserve(c, CONTACT))


def test_external_contact_enters_as_sent_and_once(ledger: Ledger) -> None:
    row = CONTACT._replace(state=State.SENT, source="external", sent_at=AT)
    assert [_do(ledger, lambda c: enter_sent(c, [row])) for _ in range(2)] == [1, 0]
    with ledger.read() as connection:
        assert contacts_of_units(connection, ["H1"], AT) == [row]
    with pytest.raises(ValueError, match="only sent ones"):
        _do(ledger, lambda c: enter_sent(c, [CONTACT]))


def test_external_contact_with_other_content_is_refused(ledger: Ledger) -> None:
    row = CONTACT._replace(state=State.SENT, source="external", sent_at=AT)
    again = row._replace(unit_id="merged", decided_at=AT + 1)
    assert [_do(ledger, lambda c, r=r: enter_external(c, r)) for r in (row, again)] == [True, False]
    with pytest.raises(ConflictError, match="other content"):
        _do(ledger, lambda c: enter_external(c, row._replace(channel="email")))


def test_expire_closes_reserved_ones_past_their_window_and_leaves_claimed_ones(
    ledger: Ledger,
) -> None:
    """A claimed one may have gone out, and what may have gone out counts."""
    _in_state(ledger, State.CLAIMED)
    for n in range(3):
        row = CONTACT._replace(contact_id=f"e{n}")
        _do(ledger, lambda c, row=row: reserve(c, row))
    assert _do(ledger, lambda c: expire(c, AT + HOUR - 1)) == 0
    assert _do(ledger, lambda c: expire(c, AT + HOUR, limit=2)) == 2
    assert _do(ledger, lambda c: expire(c, AT + HOUR)) == 1
    assert _state(ledger) == State.CLAIMED


def test_recall_takes_back_marketing_that_waits_and_nothing_else(ledger: Ledger) -> None:
    rows = [
        CONTACT,
        CONTACT._replace(contact_id="mail", channel="email"),
        CONTACT._replace(contact_id="service", purpose="service"),
        CONTACT._replace(contact_id="inbound", direction="inbound"),
        CONTACT._replace(contact_id="other", customer_id="C2"),
    ]
    for row in rows:
        _do(ledger, lambda c, row=row: reserve(c, row))
    assert _do(ledger, lambda c: recall(c, AT, customer_id="C1", channel="sms")) == 1
    assert _do(ledger, lambda c: recall(c, AT + 1, customer_id="C1")) == 1
    with ledger.read() as connection:
        found = recalls(connection)
        assert [row.contact_id for row in found] == ["k1", "mail"]
        assert [r.contact_id for r in recalls(connection, (AT, "k1"))] == ["mail"]
    with pytest.raises(ValueError, match="exactly one"):
        _do(ledger, lambda c: recall(c, AT))


def test_p12_no_recall_stands_behind_a_cursor_that_was_given(ledger: Ledger) -> None:
    """On a clock that stands, or goes back, and ids in any order. Mutant: a recall that bears the clock's own instant."""
    cursor, told = (-1, ""), list[str]()
    for number, name in enumerate(("m", "z", "a", "k")):
        _do(ledger, lambda c, name=name: reserve(c, CONTACT._replace(contact_id=name, customer_id=name)))
        _do(ledger, lambda c, name=name, n=number: recall(c, AT - n, customer_id=name))
        with ledger.read() as connection:
            page = recalls(connection, cursor)
        assert [row.contact_id for row in page] == [name]
        cursor, told = (page[-1].closed_at or 0, name), [*told, name]
    with ledger.read() as connection:
        assert [row.contact_id for row in recalls(connection)] == told


def test_p12_workers_recall_one_after_the_other(server: str) -> None:
    """Who takes his time first and commits last stands last. Mutant: recalls of two workers side by side."""
    with Ledger.open(server, lambda: NOW, b"secret") as one, Ledger.open(server, lambda: NOW, b"secret") as two:
        for name in ("a", "b"):
            _do(one, lambda c, name=name: reserve(c, CONTACT._replace(contact_id=name, customer_id=name, unit_id=name)))
        begun, go_on = threading.Event(), threading.Event()

        def slow(connection: Connection) -> int:
            done = recall(connection, AT, customer_id="a")
            begun.set()
            assert go_on.wait(10)
            return done

        first = one.write(slow, units=("a",))
        assert begun.wait(10)
        second = two.write(lambda c: recall(c, AT + 5, customer_id="b"), units=("b",))
        with pytest.raises(TimeoutError):
            second.result(0.3)
        go_on.set()
        assert (first.result(10), second.result(10)) == (1, 1)
        with one.read() as connection:
            assert [row.contact_id for row in recalls(connection)] == ["a", "b"]


def test_a_channel_reads_its_own_recalls_page_by_page(ledger: Ledger) -> None:
    """Mutant: a page cut before the channel is looked at, empty though there is more."""
    for n in range(6):
        row = CONTACT._replace(contact_id=f"k{n}", channel="email" if n % 3 else "sms")
        _do(ledger, lambda c, row=row: reserve(c, row))
        _do(ledger, lambda c, row=row: close(c, row.contact_id, Action.RECALL, AT))
    with ledger.read() as connection:
        first = recalls(connection, limit=1, channel="sms")
        then = recalls(connection, (first[-1].closed_at or 0, first[-1].contact_id), limit=1, channel="sms")
    assert [row.contact_id for row in (*first, *then)] == ["k0", "k3"]


def test_due_contacts_come_in_pages_and_only_when_claimable(ledger: Ledger) -> None:
    for n in range(3):
        row = CONTACT._replace(contact_id=f"d{n}")
        _do(ledger, lambda c, row=row: reserve(c, row))
    with ledger.read() as connection:
        assert due(connection, "sms", AT - CLAIM_AHEAD_MICROS - 1) == []
        first = due(connection, "sms", AT, limit=2)
        rest = due(connection, "sms", AT, after=first[-1].contact_id)
        assert [row.contact_id for row in first + rest] == ["d0", "d1", "d2"]
        assert due(connection, "email", AT) == []


def test_table_for_the_batch_holds_what_the_unit_reader_holds(ledger: Ledger) -> None:
    old = CONTACT._replace(contact_id="old", send_after=0, send_before=1)
    answered = CONTACT._replace(contact_id="answered", state="sent", source="import",
                       send_after=0, send_before=1, sent_at=1)  # fmt: skip
    for row in (CONTACT, old):
        _do(ledger, lambda c, row=row: reserve(c, row))
    _do(ledger, lambda c: enter_sent(c, [answered]))
    _do(ledger, lambda c: accept(c, "answered", "refused", AT, AT))
    with ledger.read() as connection:
        table = contacts_table(connection, AT)
        assert contacts_of_units(connection, ["H1"], AT) == [CONTACT]
    rows = {row["contact_id"]: ContactRow(**row) for row in table.to_pylist()}
    assert rows == {"k1": CONTACT, "answered": answered}  # a cool-off asks for the second
