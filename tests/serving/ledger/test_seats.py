"""P08: seats decide who is on the list and never how contacts are counted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rules.reasons import ReasonCode
from serving.ledger.lifecycle import find
from serving.lists import plan as planning
from serving.lists.batch import chunks, read_inputs
from serving.lists.limits import Limit
from serving.office import Office
from tests.home import NOW, Clock, ask, copied, office_at, rows

CAMPAIGNS = ("all_year",)
PLENTY = [Limit(name=f"{channel} seats", where={"channel": channel}, at_most=100_000) for channel in ("sms", "call")]
SCARCE = [Limit(name="sms seats", where={"channel": "sms"}, at_most=5), Limit(name="call seats", where={"channel": "call"}, at_most=5),
          Limit(name="budget", unit="cost_minor", at_most=20_000)]  # fmt: skip
CONTACTS = "SELECT * FROM contacts ORDER BY contact_id"
Key = tuple[str, str, str]


@dataclass(frozen=True)
class World:
    """What one plan left behind.

    counted: every customer's state columns an hour later; refused: customers without a seat; given: units with one.
    """

    written: dict[str, tuple[Any, ...]]
    counted: pa.Table
    refused: frozenset[str]
    given: frozenset[str]
    answers: dict[str, tuple[tuple[str | None, tuple[str, ...]], ...]]


def world(path: Path, limits: list[Limit] | None, asked: tuple[str, ...] = ()) -> World:
    """Plan and reserve in a home of its own, with these limits (null: no plan at all), then look an hour later."""
    clock = Clock(NOW)
    office = office_at(copied(path), clock)
    try:
        before = {row[0] for row in rows(office, CONTACTS)}
        refused, given = (frozenset[str](), frozenset[str]()) if limits is None else planned(office, clock, limits)
        written = {row[0]: row for row in rows(office, CONTACTS) if row[0] not in before}
        clock.forward(hours=1)  # a reservation nobody claims counts until its window is over
        counted = state_of_all(office, clock)
        answers = {customer: said(office, customer) for customer in asked}
    finally:
        office.close()
    return World(written, counted, refused, given, answers)


def planned(office: Office, clock: Clock, limits: list[Limit]) -> tuple[frozenset[str], frozenset[str]]:
    """Reserve a plan under the limits; the customers to whom it gave no seat, and the units to whom it did."""
    honest: Callable[..., Any] = planning.limits_of
    planning.limits_of = lambda *_: limits  # what campaigns' seats add up to
    try:
        made = planning.make_plan(office.engine, office.ledger, CAMPAIGNS, clock.now)
        made = planning.reserve_plan(made, office.ledger)
    finally:
        planning.limits_of = honest
    none_left = pc.equal(made.decisions.column("reason"), int(ReasonCode.NO_CAPACITY))
    refused, given = (
        made.decisions.filter(none_left),
        made.decisions.filter(pc.is_valid(made.decisions.column("offer_id"))),
    )
    return frozenset(refused.column("customer_id").to_pylist()), frozenset(given.column("unit_id").to_pylist())


def state_of_all(office: Office, clock: Clock) -> pa.Table:
    """The columns that rules read of every customer, contacts' counters among them."""
    inputs = read_inputs(office.engine, office.ledger, clock.now, CAMPAIGNS)
    names = ["customer_id", *inputs.terms.state_schema.names]
    return pa.Table.from_batches([part.select(names) for part in chunks(inputs)]).sort_by("customer_id")


def said(office: Office, customer: str) -> tuple[tuple[str | None, tuple[str, ...]], ...]:
    answers = [ask(office, customer, direction) for direction in ("outbound", "inbound")]
    return tuple((answer.offer_id, tuple(str(one) for one in answer.reasons)) for answer in answers)


def counts_of(one: World) -> dict[str, dict[str, Any]]:
    return {row["customer_id"]: row for row in one.counted.to_pylist()}


def differences(folder: Path) -> list[str]:
    """Where a world with scarce seats counts otherwise than its rows say; empty: nowhere."""
    free, none = world(folder / "free", []), world(folder / "none", None)
    scarce = world(folder / "scarce", SCARCE)
    customer, unit, p_chosen = 1, 2, 19  # places in the row
    plain = [{name: (*row[:p_chosen], *row[p_chosen + 1 :]) for name, row in one.written.items()}
             for one in (free, scarce)]  # fmt: skip
    found = [f"row {name}" for name in plain[0].keys() & plain[1].keys() if plain[0][name] != plain[1][name]]
    found += [
        f"a row for {row[customer]}, who got no seat" for row in plain[1].values() if row[customer] in scarce.refused
    ]
    same = {row[unit] for name, row in plain[0].items() if name in plain[1]}
    with_units = unit_of_each(folder / "none")
    counts = [counts_of(one) for one in (free, none, scarce)]
    for who, row in counts[2].items():
        of_unit = with_units.get(who, who)
        if of_unit not in scarce.given:
            found += [f"{who} counts as contacted"] if row != counts[1][who] else []
        elif of_unit in same:
            found += [f"{who} counts otherwise than without seats"] if row != counts[0][who] else []
    assert len(same) > 20 and len(scarce.refused) > 20 and len(scarce.written) > 500, "the worlds show something"
    return found


def unit_of_each(path: Path) -> dict[str, str]:
    office = office_at(path, Clock(NOW))
    try:
        return dict(rows(office, "SELECT customer_id, unit_id FROM units"))
    finally:
        office.close()


def test_p08_a_capacity_limit_never_changes_how_contacts_are_counted(tmp_path: Path) -> None:
    """Rows with and without seats are the same rows; whoever got no seat stands as if there had been no plan."""
    assert differences(tmp_path) == []


def test_p08_seats_that_do_not_bind_leave_the_very_same_rows(tmp_path: Path) -> None:
    """Allocation on and off, byte for byte; and the next door decides alike."""
    asked = tuple(f"C{n:07d}" for n in range(1, 16))
    free, plenty = world(tmp_path / "free", [], asked), world(tmp_path / "plenty", PLENTY, asked)
    assert free.written == plenty.written and len(free.written) > 500
    assert free.counted.equals(plenty.counted) and free.answers == plenty.answers
    assert {offer is None for both in free.answers.values() for offer, _ in both} == {True, False}


def test_p08_the_mutant_that_books_a_refused_seat_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: a seat that was asked for and not given is kept as a reservation, and caps count it."""
    honest = planning._reserve

    def booking(connection: Any, plan: Any, asked: list[Any], seen: Any, now: int) -> Any:
        none_left = pc.equal(plan.decisions.column("reason"), int(ReasonCode.NO_CAPACITY))
        pattern = asked[0]
        for row in plan.decisions.filter(none_left).select(["customer_id", "unit_id"]).to_pylist():
            named = planning.contact_id_of(plan.run, {**pattern._asdict(), **row})
            if find(connection, named) is None:
                planning.reserve_many(connection, [pattern._replace(contact_id=named, **row)])
        return honest(connection, plan, asked, seen, now)

    monkeypatch.setattr(planning, "_reserve", booking)
    found = differences(tmp_path)
    assert any(line.endswith("who got no seat") for line in found)
    assert any(line.endswith(("counts as contacted", "counts otherwise than without seats")) for line in found)
