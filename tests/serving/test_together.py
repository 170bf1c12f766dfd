"""P01, P03, P11, P12, P15, P30: requests of one group, decided together, are answered as if each had come alone."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from serving.http.door import StoredAnswer
from serving.http.messages import DecisionRequest, DecisionResponse, Direction, SwitchAction, SwitchRequest
from serving.ledger import ahead
from serving.ledger.book import NOTHING, RowError
from serving.ledger.statement import Statement
from serving.office import Office
from tests.home import COUPLE, HERO, Clock, call, copied, office_at, said

SOME = [HERO, *COUPLE, *(f"C{n:07d}" for n in range(4, 30))]
WAYS = (Direction.OUTBOUND, Direction.INBOUND)


def together(office: Office, asks: Sequence[Callable[[], Future[Any]]]) -> list[Any]:
    """The answers, or errors, of requests that wait for the writer at once, so that they form one group."""
    begun, free = threading.Event(), threading.Event()
    held = office.ledger.write(lambda _: begun.set() or free.wait(30), touches=NOTHING)
    assert begun.wait(30)  # or the first of them would form a group with it
    waiting = [ask() for ask in asks]
    free.set()
    held.result(30)
    return [done.exception(30) or done.result(30) for done in waiting]


def asking(office: Office, customer: str, key: str, **how: Any) -> Callable[[], Future[StoredAnswer]]:
    request = DecisionRequest(customer_id=customer, **how)
    return lambda: office.decide(request, call("POST /v1/decisions", key=key))


def of(answer: StoredAnswer) -> DecisionResponse:
    return DecisionResponse.model_validate_json(answer.body)


def everything(office: Office, in_one_group: bool) -> list[bytes]:
    asks = [asking(office, name, f"k{place}", direction=WAYS[place % 2], top=1 + 2 * (place % 2))
            for place, name in enumerate([*SOME, "C9999999"])]  # fmt: skip
    found = together(office, asks) if in_one_group else [ask().result(30) for ask in asks]
    return [one.body for one in found]


def test_p15_a_group_is_answered_byte_for_byte_like_its_requests_one_by_one(bank: Path, tmp_path: Path) -> None:
    one, other = office_at(bank, Clock()), office_at(copied(tmp_path / "other"), Clock())
    told: list[int] = []
    decided = one._decided
    one._decided = lambda connection, asked: told.append(len(asked)) or decided(connection, asked)
    group, alone = everything(one, in_one_group=True), everything(other, in_one_group=False)
    assert max(told) > 20, "they were not decided together"
    assert group == alone
    assert len({of(StoredAnswer(body)).offer_id for body in group}) > 1
    for office in (one, other):
        office.close()


def test_an_answer_is_what_its_message_would_write(office: Office) -> None:
    bodies = everything(office, in_one_group=True)
    assert all(DecisionResponse.model_validate_json(body).model_dump_json().encode() == body for body in bodies)


def contacts(office: Office, unit: str) -> int:
    with office.ledger.read() as connection:
        counted = "SELECT count(*) FROM contacts WHERE unit_id = ? AND source = 'decision' AND state <> 'closed'"
        return int(connection.exec_driver_sql(counted, (unit,)).scalar_one())


def one_household(office: Office) -> int:
    together(office, [asking(office, customer, f"k-{customer}") for customer in (HERO, *COUPLE)])
    return contacts(office, "H0000002")


def test_p01_p11_two_of_one_household_in_one_group_make_one_contact(office: Office) -> None:
    assert one_household(office) == 1


def all_wishes(_: Connection, group: Sequence[ahead.Wishing]) -> list[Any]:
    """The bug: everyone is told what stood before the first of them, whatever the others do."""
    return [request.wish for request in group if request.wish is not None]


def test_p01_the_mutant_that_tells_everyone_at_once_is_seen(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "undisturbed", all_wishes)
    assert one_household(office) == 2


def paused_first(office: Office) -> list[bool]:
    pause = SwitchRequest(scope="all", action=SwitchAction.PAUSE, note="drill")
    first, _, *rest = together(office, [
        asking(office, SOME[5], "k5", direction=Direction.INBOUND), lambda: office.switch(pause, call()),
        *(asking(office, customer, f"k-{customer}") for customer in (HERO, *COUPLE))])  # fmt: skip
    assert "paused" not in of(first).reasons
    return ["paused" in of(one).reasons for one in rest]


def test_p30_a_pause_binds_whoever_comes_after_it_in_the_same_group(office: Office) -> None:
    assert all(paused_first(office))


def test_p30_the_mutant_that_tells_everyone_at_once_is_seen(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "undisturbed", all_wishes)
    assert not any(paused_first(office))


def withdrawn_first(office: Office, clock: Clock) -> tuple[str, ...]:
    no = said(clock.now, "withdrawn", HERO, "all")
    asks = [
        asking(office, SOME[5], "k5"),
        lambda: office.consent(no, call()),
        asking(office, HERO, "k"),
        asking(office, SOME[7], "k7"),
    ]
    return of(together(office, asks)[2]).reasons


def test_p12_an_opt_out_binds_the_decision_behind_it_in_the_same_group(office: Office, clock: Clock) -> None:
    assert "opted_out" in withdrawn_first(office, clock)


def test_p12_the_mutant_that_tells_everyone_at_once_is_seen(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "undisturbed", all_wishes)
    assert "opted_out" not in withdrawn_first(office, clock)


def test_p03_twins_in_one_group_get_the_same_bytes_and_another_body_is_refused(office: Office) -> None:
    other = DecisionRequest(customer_id=SOME[6])
    first, twin, refused = together(office, [
        asking(office, HERO, "k"), asking(office, HERO, "k"),
        lambda: office.decide(other, call("POST /v1/decisions", key="k", body="other"))])  # fmt: skip
    assert first.body == twin.body
    assert "another body" in str(refused)
    assert contacts(office, HERO) == 1


def test_a_refused_row_fails_its_own_request_and_no_other(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, poisoned = Statement.run_rows, list[int]()

    def refuse(self: Statement, connection: Connection, fields: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        if fields[0] == "decision_id" and any(SOME[6] in row for row in rows):
            poisoned.append(len(rows))
            raise RowError("the ledger refused a row")
        entered(self, connection, fields, rows)

    monkeypatch.setattr(Statement, "run_rows", refuse)
    customers = (HERO, SOME[6], SOME[8])
    first, bad, last = together(office, [asking(office, customer, f"k-{customer}") for customer in customers])
    assert poisoned == [3, 1], "together first, then each with a savepoint of its own"
    assert isinstance(bad, RowError)
    assert of(first).customer_id == HERO and of(last).customer_id == SOME[8]
    with office.ledger.read() as connection:
        found = connection.exec_driver_sql("SELECT customer_id FROM decisions").scalars().all()
    assert sorted(found) == sorted((HERO, SOME[8]))


def test_where_a_reader_fails_each_reads_for_itself(office: Office) -> None:
    decided = office._decided

    def only_one(connection: Connection, asked: Sequence[Any]) -> Any:
        if len(asked) > 1:
            raise RuntimeError("not for many")
        return decided(connection, asked)

    office._decided = only_one
    answers = together(office, [asking(office, customer, f"k-{customer}") for customer in SOME])
    assert [of(one).customer_id for one in answers] == SOME
