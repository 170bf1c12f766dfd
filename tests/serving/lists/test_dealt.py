"""The ledger's rows dealt out: each chunk gets what concerns its units and persons, all of it, and nothing is lost."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import rows
from serving.http.messages import OutcomeKind, OutcomeRequest
from serving.ledger.identity import Link, merge
from serving.lists import dealt
from serving.lists.batch import chunks, read_inputs, send_windows
from serving.lists.dealt import DEALT, UNIT, deal, queue
from serving.office import Office
from tests.home import COUPLE, HERO, Clock, ask, call, move, said

PEOPLE = [f"c{n}" for n in range(9)]
UNITS = ["u2", "u0", "u2", "u1", "u0", "u5", "u3", "u4", "u3"]
PERSONS = {"c0": "c0", "c2": "c0", "c6": "c6", "c8": "c6", "gone": "c6"}  # `gone` stands in the ledger alone


def tables(whose: list[tuple[str, str]]) -> dict[str, pa.Table]:
    """Every table with those customers and units, numbered."""
    columns = {"customer_id": pa.array([c for c, _ in whose], pa.string()), "unit_id": pa.array([u for _, u in whose], pa.string()),
               "number": pa.array(range(len(whose)), pa.int64())}  # fmt: skip
    found = {name: pa.concat_tables([pa.table(columns).slice(k, 1) for k in range(len(whose))] or [pa.table(columns)])
             for name in DEALT if name != "persons"}  # fmt: skip
    persons = {"customer_id": list(PERSONS), "person_id": list(PERSONS.values())}
    return found | {"persons": pa.table(persons, pa.schema([("customer_id", pa.string()), ("person_id", pa.string())]))}


def by_hand(whole: dict[str, pa.Table], customers: list[str], units: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The slow obvious way: the rows of those units, and of whoever is a person of those customers."""
    persons = {PERSONS.get(c, c) for c in customers}
    return {name: [row for row in table.to_pylist()
                   if (row["unit_id"] in units if DEALT[name] == UNIT else PERSONS.get(row["customer_id"], row["customer_id"]) in persons)]
            for name, table in whole.items()}  # fmt: skip


ROWS = st.lists(st.tuples(st.sampled_from([*PEOPLE, "gone", "stranger"]), st.sampled_from([*UNITS, "u9"])), max_size=40)


def dealt_as_by_hand(whose: list[tuple[str, str]], size: int, at_once: int) -> bool:
    """Whether each chunk has its rows, and the whole tables theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealt, "AT_ONCE", at_once)
        people = queue(pa.chunked_array([pa.array(PEOPLE)]), pa.chunked_array([pa.array(UNITS)]), size)
        whole = tables(whose)
        found = deal(dict(whole), people)
    assert people.ends[-1] == len(PEOPLE) and (np.diff(people.ends, prepend=0) >= min(size, 1)).all()
    same = all(_numbers(found.tables[name]) == _numbers(whole[name]) for name in whole)
    for first in range(len(people.ends)):
        for last in range(first + 1, len(people.ends) + 1):
            mine = people.rows(first, last)
            wanted = by_hand(whole, people.customers[mine].to_pylist(), people.units[mine].to_pylist())
            heard = found.of(first, last)
            same &= all(_numbers(heard[name]) == Counter(map(str, wanted[name])) for name in whole)
            if last == first + 1 and at_once > len(whose):  # one part: of a chunk's rows the order stays
                same &= all(heard[name].to_pylist() == wanted[name] for name in whole)
    return same


def _numbers(table: pa.Table) -> Counter[str]:
    return Counter(map(str, table.to_pylist()))


@settings(deadline=None)
@given(ROWS, st.integers(1, 10), st.sampled_from([1, 3, 1_000]))
def test_each_chunk_gets_what_concerns_it_and_nothing_is_lost(
    whose: list[tuple[str, str]], size: int, at_once: int
) -> None:
    assert dealt_as_by_hand(whose, size, at_once)


def test_a_row_of_another_id_that_goes_to_nobody_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: rows are dealt out by id, so that what a person's other id met reaches no chunk."""
    whose = [("gone", "u3"), ("c2", "u2")]
    assert dealt_as_by_hand(whose, 1, 1_000)
    monkeypatch.setattr(dealt, "as_persons", lambda customers, persons: customers)
    assert not dealt_as_by_hand(whose, 1, 1_000)


def test_no_chunk_parts_a_unit_and_the_queue_is_by_unit_and_id() -> None:
    people = queue(pa.chunked_array([pa.array(PEOPLE)]), pa.chunked_array([pa.array(UNITS)]), 1)
    pairs = list(zip(people.units.to_pylist(), people.customers.to_pylist(), strict=True))
    assert pairs == sorted(zip(UNITS, PEOPLE, strict=True)) and people.ends.tolist() == [2, 3, 5, 7, 8, 9]
    assert people.order.to_pylist() == [PEOPLE.index(customer) for _, customer in pairs]


@pytest.fixture
def busy(office: Office, clock: Clock) -> Generator[Office]:
    """The office after contacts and answers of persons with two ids, one of them outside the snapshot."""
    pairs = [("C0000004", "C0000005"), ("C0000011", "left-the-bank"), (HERO, "C0000900")]

    def task(connection: Any) -> None:
        for one, other in pairs:
            merge(connection, Link(one, other, 1.0, "desk"), "key", "the same person", office.ledger.now_micros())

    office.ledger.write(task).result(30)
    for place, customer in enumerate(["C0000004", "C0000005", "C0000011", "C0000020", *COUPLE]):
        for choice in ask(office, customer).choices:
            if place % 2:
                outcome = OutcomeRequest(contact_id=str(choice.contact_id), kind=OutcomeKind.OPTED_OUT, at=clock.now)
                office.outcome(outcome, call()).result(30)
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    for customer, purpose in (("left-the-bank", "profiling"), ("C0000030", "profiling"), ("C0000900", "marketing")):
        office.consent(said(clock.now, "withdrawn", customer, "all", purpose), call()).result(30)
    clock.forward(minutes=10)
    yield office


def test_p15_a_chunk_is_the_same_from_its_own_rows_and_from_the_whole_ledger(
    busy: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.lists.batch.CHUNK", 50)
    inputs = read_inputs(busy.engine, busy.ledger, clock.now, ("all_year",))
    assert len(inputs.people.ends) > 20 and inputs.ledger["persons"].num_rows > 6
    matters, rng = set[str](), np.random.default_rng(5)
    for place, found in enumerate(chunks(inputs)):
        mine = inputs.people.rows(place, place + 1)
        part = inputs.features.slice(mine.start, mine.stop - mine.start).combine_chunks()
        window = send_windows(part.column("time_zone"), inputs.at, inputs.hours, busy.engine.home.settings.zone)
        whole = rows.batch(inputs.engine, inputs.terms, part, inputs.ledger, *window, inputs.at)
        assert found.equals(whole)
        mixed = {name: table.take(rng.permutation(table.num_rows)) for name, table in inputs.ledger.items()}
        assert rows.batch(inputs.engine, inputs.terms, part, mixed, *window, inputs.at).equals(whole), "in no order"
        for name, table in inputs.ledger.items():
            without = {**inputs.ledger, name: table.slice(0, 0)}
            if not rows.batch(inputs.engine, inputs.terms, part, without, *window, inputs.at).equals(whole):
                matters.add(name)
    assert matters == {"contacts", "outcomes", "suppressions", "consents", "persons"}
