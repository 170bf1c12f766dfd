"""Events act at once; late, repeated and shuffled arrivals end with the same suppressions."""

import itertools
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.catalogue import Words
from rules.policy import ContactPolicy
from rules.reasons import ReasonCode
from rules.suppressions import EventSuppression, Inflow, Outflow
from serving.ledger.book import Ledger
from serving.ledger.events import (
    Accepted,
    EventRow,
    Fold,
    Stretch,
    accept,
    enter_suppressions,
    events_table,
    policy_fold,
    suppressions_of_units,
    suppressions_table,
)
from serving.ledger.idempotency import ConflictError

DAY = 86_400_000_000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = 1_000 * DAY
LASTS = 10 * DAY


def _event(name: str, day: int, amount: int, customer: str = "C1") -> EventRow:
    return EventRow(
        event_id=name, customer_id=customer, amount_minor=amount, currency="USD",
        kind="transfer_out" if amount < 0 else "transfer_in", balance_after_minor=0,
        booked_at=day * DAY, recorded_at=day * DAY, received_at=day * DAY,
    )  # fmt: skip


def _fold(currency: str, moves: Sequence[EventRow], before: Sequence[Stretch]) -> Iterable[Stretch]:
    """A small rule: an outflow opens ten days unless one is open; an inflow ends it early."""
    done = list(before)
    for move in moves:
        last = done[-1] if done else None
        ends = last and (last.ends_at if last.closed_at is None else last.closed_at)
        is_open = last is not None and move.booked_at < (ends or 0)
        amount = move.amount_minor or 0
        if amount < 0 and not is_open:
            at = move.booked_at
            done.append(Stretch("flee", at, at + LASTS, None, move.event_id, -amount))
        elif amount > 0 and is_open and last is not None:
            done[-1] = replace(last, closed_at=move.booked_at)
    return done


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ledger]:
    path: Path = tmp_path_factory.mktemp("ledger") / "nbo.db"
    with Ledger.open(f"sqlite:///{path}", lambda: NOW, b"secret") as opened:
        yield opened


_customers = (f"C{n}" for n in itertools.count())


def _accept(ledger: Ledger, event: EventRow, fold: Fold = _fold, now: int = LATER) -> Accepted:
    unit = f"H-{event.customer_id}"
    return ledger.write(lambda c: accept(c, event, unit, now, fold)).result(10)


def _open_at(ledger: Ledger, customer: str, day: float) -> list[str]:
    at = int(day * DAY)
    with ledger.read() as connection:
        rows = suppressions_of_units(connection, [f"H-{customer}"], at)
    return [r.cause for r in rows if r.opened_at <= at < min(r.ends_at, r.closed_at or r.ends_at)]


def test_outflow_opens_and_inflow_closes_in_the_event_s_own_transaction(ledger: Ledger) -> None:
    who = next(_customers)
    opening = _accept(ledger, _event(f"{who}-out", 100, -500, who))
    assert (opening.new, len(opening.opened), opening.closed) == (True, 1, ())
    assert _open_at(ledger, who, 100) == _open_at(ledger, who, 109.9) == [f"{who}-out"]
    assert _open_at(ledger, who, 99.9) == _open_at(ledger, who, 110) == []  # P10: a finite end
    closing = _accept(ledger, _event(f"{who}-in", 103, 500, who))
    assert (closing.opened, closing.closed) == ((), opening.opened)
    assert _open_at(ledger, who, 102.9) and not _open_at(ledger, who, 103)


def test_event_twice_is_accepted_once(ledger: Ledger) -> None:
    who = next(_customers)
    event = _event(f"{who}-out", 100, -500, who)
    _accept(ledger, event)
    assert _accept(ledger, replace(event, received_at=7)) == Accepted(False)
    with ledger.read() as connection:
        table = events_table(connection, 0).to_pylist()
    assert [row["event_id"] for row in table].count(f"{who}-out") == 1


def test_same_id_with_other_content_is_refused(ledger: Ledger) -> None:
    who = next(_customers)
    _accept(ledger, _event(f"{who}-out", 100, -500, who))
    with pytest.raises(ConflictError, match="other content"):
        _accept(ledger, _event(f"{who}-out", 100, -501, who))


def test_late_event_moves_what_was_believed(ledger: Ledger) -> None:
    """An earlier outflow heard of later opens earlier; the stretch once believed never held."""
    who = next(_customers)
    (believed,) = _accept(ledger, _event(f"{who}-b", 105, -500, who)).opened
    moved = _accept(ledger, _event(f"{who}-a", 100, -500, who))
    assert believed in moved.closed and len(moved.opened) == 1
    assert _open_at(ledger, who, 106) == [f"{who}-a"]
    assert _open_at(ledger, who, 112) == []


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_of_arrival_ends_with_the_same_suppressions(ledger: Ledger, data: st.DataObject) -> None:
    days = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=7, unique=True))
    amounts = data.draw(st.lists(st.sampled_from([-500, 500]), min_size=7, max_size=7))
    order = data.draw(st.permutations(range(len(days))))
    one, other = next(_customers), next(_customers)
    for who, places in ((one, sorted(order, key=lambda n: days[n])), (other, [*order, *order])):
        for place in places:
            _accept(ledger, _event(f"{who}:{place}", days[place], amounts[place], who))
    with ledger.read() as connection:
        held = [
            [(r.opened_at, r.ends_at, r.closed_at, r.cause.partition(":")[2])
             for r in suppressions_of_units(connection, [f"H-{who}"], 0)
             if r.closed_at is None or r.closed_at > r.opened_at]
            for who in (one, other)
        ]  # fmt: skip
    assert held[0] == held[1]


def test_other_currency_and_other_customer_are_left_alone(ledger: Ledger) -> None:
    who, stranger = next(_customers), next(_customers)
    _accept(ledger, _event(f"{who}-out", 100, -500, who))
    _accept(ledger, replace(_event(f"{who}-eur", 101, 500, who), currency="EUR"))
    _accept(ledger, _event(f"{stranger}-in", 101, 500, stranger))
    assert _open_at(ledger, who, 105) == [f"{who}-out"]


def test_event_that_is_not_about_money_opens_nothing(ledger: Ledger) -> None:
    who = next(_customers)
    login = replace(_event(f"{who}-login", 1, 0, who), amount_minor=None, currency=None, kind="login")
    assert _accept(ledger, login) == Accepted(True)


def test_imported_stretch_is_closed_by_an_event(ledger: Ledger) -> None:
    who = next(_customers)
    stretch = Stretch("flee", 100 * DAY, 110 * DAY, None, "imported-1", 500)
    entered = [
        ledger.write(lambda c: enter_suppressions(c, who, f"H-{who}", "USD", [stretch])).result(10) for _ in range(2)
    ]
    assert entered == [1, 1] and _open_at(ledger, who, 105) == ["imported-1"]
    assert len(_accept(ledger, _event(f"{who}-in", 104, 500, who)).closed) == 1
    assert _open_at(ledger, who, 105) == []
    with ledger.read() as connection:
        table = suppressions_table(connection, 0)
    assert [row["cause"] for row in table.to_pylist() if row["customer_id"] == who] == ["imported-1"]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (_event("f1", 1_001, -1), "in the future"),
        (replace(_event("f2", 1, -1), recorded_at=1_001 * DAY), "in the future"),
        (replace(_event("f3", 1, -1), currency=None), "give both or none"),
    ],
)
def test_event_that_makes_no_sense_is_one_line(ledger: Ledger, event: EventRow, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _accept(ledger, event)


def test_p29_three_withdrawals_of_thirty_percent_count_like_one_of_ninety(ledger: Ledger) -> None:
    """With the bank's own rule, from the policy's type."""
    fold = policy_fold(_policy())
    thrice, once = next(_customers), next(_customers)
    opened: list[int] = []
    for n, left in enumerate((700, 400, 100)):
        event = replace(_event(f"{thrice}-{n}", 100 + n, -300, thrice), balance_after_minor=left)
        opened.append(len(_accept(ledger, event, fold).opened))
    assert opened == [0, 1, 0]  # 30 %, then 60 % have left; the third only renews
    _accept(ledger, replace(_event(f"{once}-0", 102, -900, once), balance_after_minor=100), fold)
    assert len(_open_at(ledger, thrice, 102.5)) == len(_open_at(ledger, once, 102.5)) == 1
    _accept(ledger, replace(_event(f"{once}-1", 103, 900, once), balance_after_minor=1000), fold)
    assert _open_at(ledger, once, 103.5) == []


def _policy() -> ContactPolicy:
    rule = EventSuppression(
        id="outflow", reason=ReasonCode.RECENT_OUTFLOW, title=Words(en="rest", zh="静默"),
        source="test", owner="test", event=Outflow(days=14, share=0.5), families=("wealth",),
        currencies=("USD",), lasts_days=45, exit=Inflow(share=0.5),
    )  # fmt: skip
    return ContactPolicy.model_construct(event_suppressions=(rule,))
