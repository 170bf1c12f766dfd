"""Events act at once; late, repeated and shuffled arrivals end with the same suppressions."""

import itertools
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from rules.catalogue import Words
from rules.policy import ContactPolicy
from rules.reasons import ReasonCode
from rules.suppressions import EventSuppression, Inflow, Outflow
from serving.ledger import events as events_room
from serving.ledger.book import Ledger
from serving.ledger.events import (
    _INSERT,
    FIELDS,
    Accepted,
    EventRow,
    Fold,
    Stretch,
    accept,
    events_table,
    policy_fold,
    refold,
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


def _imported(ledger: Ledger, rows: Iterable[EventRow], since: int = 0) -> None:
    """As an import enters bookings: rows first, then one look at each customer."""

    def task(connection: Connection) -> None:
        for row in rows:
            _INSERT.run(connection, **{name: getattr(row, name) for name in FIELDS})
        for who in {row.customer_id for row in rows}:
            refold(connection, who, "USD", f"H-{who}", since, _fold)

    ledger.write(task).result(10)


def test_imported_stretch_is_closed_by_an_event(ledger: Ledger) -> None:
    who = next(_customers)
    _imported(ledger, [_event(f"{who}-1", 100, -500, who)])
    assert _open_at(ledger, who, 105) == [f"{who}-1"]
    assert len(_accept(ledger, _event(f"{who}-in", 104, 500, who)).closed) == 1
    assert _open_at(ledger, who, 105) == []
    with ledger.read() as connection:
        table = suppressions_table(connection, 0)
    assert [row["cause"] for row in table.to_pylist() if row["customer_id"] == who] == [f"{who}-1"]


def test_an_import_does_not_open_again_what_an_event_has_closed(ledger: Ledger) -> None:
    """The bank's file of the night does not know yet that the money came back in the morning."""
    who = next(_customers)
    _imported(ledger, [_event(f"{who}-1", 100, -500, who)])
    _accept(ledger, _event(f"{who}-in", 104, 500, who))
    _imported(ledger, [_event(f"{who}-2", 90, 500, who)], since=80 * DAY)
    assert _open_at(ledger, who, 103) == [f"{who}-1"] and _open_at(ledger, who, 105) == []


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


def _in_account(name: str, day: int, amount: int, balance: int, who: str, account: str | None) -> EventRow:
    """As an import enters it, where an account is named."""
    event = replace(_event(name, day, amount, who), balance_after_minor=balance, account_id=account)
    return replace(event, transaction_id=name if account else None)


@pytest.mark.parametrize("inflow", ["a", "z"])
def test_of_one_booking_instant_what_was_recorded_last_counts_last(ledger: Ledger, inflow: str) -> None:
    """Mutant: movements by (booked_at, event_id). The deposit called `z` ended what the withdrawal opened."""
    fold, who = policy_fold(_policy()), next(_customers)
    came = replace(_event(f"{who}-{inflow}", 100, 1_200, who), balance_after_minor=2_400)
    went = replace(_event(f"{who}-m", 100, -2_200, who), balance_after_minor=200, recorded_at=101 * DAY)
    for event in (went, came):
        _accept(ledger, event, fold)
    assert _open_at(ledger, who, 102) == [f"{who}-m"]


@pytest.mark.parametrize("inflow", ["a", "z"])
def test_an_account_has_what_its_last_record_of_the_last_instant_says(ledger: Ledger, inflow: str) -> None:
    """Mutant: the last balance by (booked_at, event_id). 9,000 that were gone made a later outflow small."""
    fold, who = policy_fold(_policy()), next(_customers)
    _accept(ledger, _in_account(f"{who}-{inflow}", 10, 9_000, 9_000, who, "savings"), fold)
    _accept(ledger, replace(_in_account(f"{who}-m", 10, -9_000, 0, who, "savings"), recorded_at=11 * DAY), fold)
    _accept(ledger, _in_account(f"{who}-1", 990, -900, 100, who, "current"), fold)
    assert _open_at(ledger, who, 991) == [f"{who}-1"]


def test_what_left_is_measured_against_all_accounts(ledger: Ledger) -> None:
    """900 of 1,000 left one account, while 9,000 lie in another: no large outflow. Unless nobody told of the other."""
    fold = policy_fold(_policy())
    rich, poor, unnamed = next(_customers), next(_customers), next(_customers)
    _accept(ledger, _in_account(f"{rich}-0", 90, 9_000, 9_000, rich, "savings"), fold)
    for who, account in ((rich, "current"), (poor, "current"), (unnamed, None)):
        _accept(ledger, _in_account(f"{who}-1", 100, -900, 100, who, account), fold)
    assert [_open_at(ledger, who, 101) for who in (rich, poor, unnamed)] == [[], [f"{poor}-1"], [f"{unnamed}-1"]]
    _accept(ledger, _in_account(f"{rich}-2", 102, -8_000, 1_000, rich, "savings"), fold)
    assert _open_at(ledger, rich, 103) == [f"{rich}-2"], "now most of all has left"


def test_a_name_that_no_import_knows_is_taken_for_all_he_has(ledger: Ledger) -> None:
    """A caller names accounts its own way: his 10,000 are not counted beside themselves."""
    fold, who = policy_fold(_policy()), next(_customers)
    _accept(ledger, _in_account(f"{who}-0", 90, 10_000, 10_000, who, "A-77"), fold)
    for n, left in enumerate((7_000, 4_000, 1_000)):
        event = replace(
            _in_account(f"{who}-out{n}", 100 + n, -3_000, left, who, "IBAN77"), transaction_id=f"{who}-t{n}"
        )
        _accept(ledger, event, fold)
    assert _open_at(ledger, who, 103) == [f"{who}-out1"]


def test_an_account_that_rested_for_years_still_counts(ledger: Ledger) -> None:
    """Its last booking lies before all that is folded."""
    fold, who = policy_fold(_policy()), next(_customers)
    _accept(ledger, _in_account(f"{who}-0", 10, 9_000, 9_000, who, "savings"), fold)
    _accept(ledger, _in_account(f"{who}-1", 990, -900, 100, who, "current"), fold)
    assert _open_at(ledger, who, 991) == []


def test_mutant_that_asks_one_account_alone_silences_for_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_room, "running_totals", lambda bookings, _: [balance for _, balance in bookings])
    fold, who = policy_fold(_policy()), next(_customers)
    _accept(ledger, _in_account(f"{who}-0", 90, 9_000, 9_000, who, "savings"), fold)
    _accept(ledger, _in_account(f"{who}-1", 100, -900, 100, who, "current"), fold)
    assert _open_at(ledger, who, 101) == [f"{who}-1"]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_accounts_in_any_order_of_arrival_open_what_the_slow_sum_says(ledger: Ledger, data: st.DataObject) -> None:
    """Slow: at each outflow, the last balance of every account by then, and what left in 14 days."""
    fold, who = policy_fold(_policy()), next(_customers)
    n = data.draw(st.integers(2, 7))
    days = sorted(data.draw(st.lists(st.integers(1, 990), min_size=n, max_size=n, unique=True)))
    amounts = data.draw(st.lists(st.sampled_from([-800, -300, -100]), min_size=n, max_size=n))
    balances = data.draw(st.lists(st.sampled_from([0, 200, 1_000]), min_size=n, max_size=n))
    accounts = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=n, max_size=n))
    told = [_in_account(f"{who}-{i}", days[i], amounts[i], balances[i], who, accounts[i]) for i in range(n)]
    for event in data.draw(st.permutations(told)):
        _accept(ledger, event, fold)
    for i, day in enumerate(days):
        left = -sum(a for a, d in zip(amounts[: i + 1], days, strict=False) if d > day - 14)
        has = sum(dict(zip(accounts[: i + 1], balances, strict=False)).values())
        if 2 * left >= has + left:
            assert _open_at(ledger, who, day), (told, i)
        elif not any(day - 45 - 14 < d < day for d in days):
            assert not _open_at(ledger, who, day), (told, i)


def _policy() -> ContactPolicy:
    rule = EventSuppression(
        id="outflow", reason=ReasonCode.RECENT_OUTFLOW, title=Words(en="rest", zh="静默"),
        source="test", owner="test", event=Outflow(days=14, share=0.5), families=("wealth",),
        currencies=("USD",), lasts_days=45, exit=Inflow(share=0.5),
    )  # fmt: skip
    return ContactPolicy.model_construct(event_suppressions=(rule,))
