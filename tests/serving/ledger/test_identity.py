"""P13: one person under two ids shares caps and suppressions; doubt suppresses; every merge can be undone."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import identity as features_identity
from features.identity import shared
from serving import plainrow
from serving import rows as serving_rows
from serving.commands.lists import make_list
from serving.ledger import identity
from serving.ledger.book import members_of, unit_of
from serving.ledger.identity import (
    Link,
    MergeError,
    aliases_of,
    certain_groups,
    follow_links,
    in_force,
    merge,
    persons,
    unmerge,
    who_are,
)
from serving.ledger.journal import Entered, entries
from serving.ledger.seed import assign_units
from serving.office import Office
from tests.home import HERO, NOW, Clock, ask, call, move, said
from tests.sealed_ledger import Small, small

OTHER = "C0000004"  # of another household


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        yield one


def merged(one: Small | Office, a: str, b: str, confidence: float = 1.0, at: int = 1) -> str:
    task = lambda c: merge(c, Link(a, b, confidence, "test"), "boss", "the same passport", at)
    return one.ledger.write(task).result(30)


def undone(one: Small | Office, merge_id: str) -> None:
    one.ledger.write(lambda c: unmerge(c, merge_id, "boss", "not the same", 2)).result(30)


def stands(one: Small, customers: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    with one.ledger.read() as connection:
        return unit_of(connection, customers), persons(connection)


def test_p13_a_merge_makes_one_person_and_one_unit_and_is_undone_without_a_trace_but_the_record(both: Small) -> None:
    both.ledger.write(lambda c: assign_units(c, {"A": "A", "B": "H", "C": "H", "D": "D"})).result(30)
    both.contacted("a", "A")
    before = stands(both, "ABCD")
    first = merged(both, "B", "A", 0.7)
    units, people = stands(both, "ABCD")
    assert units == {"A": "H", "B": "H", "C": "H", "D": "D"}, "the household of both"
    assert people == {"A": "A", "B": "A"}, "the housemate is no part of the person"
    with both.ledger.read() as connection:
        assert aliases_of(connection, ["A", "B", "C"]) == {"A": ("B",), "B": ("A",)}
        assert certain_groups(connection) == [] and members_of(connection, ["H"]) == {"H": ["A", "B", "C"]}
    second = merged(both, "A", "D")
    assert stands(both, "ABCD")[1] == {"A": "A", "B": "A", "D": "A"}
    undone(both, first)
    assert stands(both, "ABCD") == ({"A": "A", "B": "H", "C": "H", "D": "A"}, {"A": "A", "D": "A"})
    undone(both, second)
    assert stands(both, "ABCD") == before
    with both.ledger.read() as connection:
        assert [e.kind for e in entries(connection)] == [Entered.MERGE, Entered.MERGE, Entered.UNMERGE, Entered.UNMERGE]
        assert in_force(connection) == []


def test_merges_that_cannot_be_are_refused(both: Small) -> None:
    for a, b, confidence, why in (("A", "A", 1.0, "himself"), ("A", "B", 0.0, "is none"), ("A", "B", 1.1, "is none")):
        with pytest.raises(MergeError, match=why):
            merged(both, a, b, confidence)
    only = merged(both, "A", "B", 0.5)
    again = merged(both, "B", "A", 1.0)
    with both.ledger.read() as connection:
        assert [(m.merge_id, m.confidence) for m in in_force(connection)] == [(again, 1.0)]
    with pytest.raises(MergeError, match="no such merge in force"):
        undone(both, only)


def slow(base: dict[str, str], links: set[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """The oracle: grow each group until it grows no more."""

    def grown(start: str, mates: bool) -> set[str]:
        group = {start}
        while True:
            more = group | {b for a, b in links if a in group} | {a for a, b in links if b in group}
            more |= {c for c in base if mates and base[c] in {base[g] for g in more}}
            if more == group:
                return group
            group = more

    units, people = {}, {}
    for customer in base:
        homes = {base[c] for c in grown(customer, True)}
        units[customer] = min(homes, key=lambda h: (h in base, h))
        person = grown(customer, False)
        if len(person) > 1:
            people[customer] = min(person)
    return units, people


IDS = "ABCDEF"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({c: st.sampled_from(["H1", "H2", c]) for c in IDS}),
    st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS), st.booleans()), max_size=8),
)
def test_p13_any_order_of_merges_and_unmerges_ends_as_the_oracle_says(
    tmp_path_factory: pytest.TempPathFactory, base: dict[str, str], steps: list[tuple[str, str, bool]]
) -> None:
    with small(tmp_path_factory.mktemp("identity")) as one:
        one.ledger.write(lambda c: assign_units(c, base)).result(30)
        ids: dict[tuple[str, str], str] = {}
        for a, b, keep in steps:
            pair = (min(a, b), max(a, b))
            if a != b and keep:
                ids[pair] = merged(one, a, b)
            elif pair in ids:
                undone(one, ids.pop(pair))
            assert stands(one, IDS) == slow(base, set(ids))
        one.ledger.write(lambda c: assign_units(c, base)).result(30)  # the import again
        assert stands(one, IDS) == slow(base, set(ids))


def test_links_of_an_import_come_and_go_and_leave_what_people_decided(both: Small) -> None:
    by_hand = merged(both, "A", "B")
    follow = lambda links: both.ledger.write(lambda c: follow_links(c, links, 5)).result(30)
    assert follow([Link("C", "D", 0.8, "crm"), Link("E", "E", 1.0, "crm")]) == 1
    assert follow([Link("D", "C", 0.8, "crm")]) == 0
    assert stands(both, "ABCD")[1] == {"A": "A", "B": "A", "C": "C", "D": "C"}
    assert follow([]) == 1
    assert stands(both, "ABCD")[1] == {"A": "A", "B": "A"}
    undone(both, by_hand)


def features(**columns: list[Any]) -> pa.Table:
    return pa.table({"customer_id": ["A", "B", "C"], **columns})


@pytest.mark.parametrize(("name", "values", "doubt", "certain"), [
    ("deceased", [False, True, False], [True, True, False], [True, True, False]),
    ("complaint_open", [False, None, False], [None, None, False], [None, None, False]),
    ("consent_marketing_sms", ["granted", "withdrawn", "granted"], ["withdrawn", "withdrawn", "granted"], ["withdrawn", "withdrawn", "granted"]),
    ("consent_marketing_sms", ["granted", "none", "none"], ["granted", "none", "none"], ["granted", "none", "none"]),
    ("days_since_last_complaint", [40.0, 3.0, None], [3.0, 3.0, None], [3.0, 3.0, None]),
    ("holds_loan", [False, True, False], [None, True, False], [True, True, False]),
    ("holds_loan", [False, None, False], [None, None, False], [None, None, False]),
    ("balance_usd_minor", [0.0, 9.0, 1.0], [0.0, 9.0, 1.0], [0.0, 9.0, 1.0]),
    ("staff", [False, True, False], [False, True, False], [False, True, False]),
])  # fmt: skip
def test_p13_doubt_shares_what_closes_and_only_certainty_what_is_held(
    name: str, values: list[Any], doubt: list[Any], certain: list[Any]
) -> None:
    table = features(**{name: values})
    assert shared(table, [("A", "B")], []).column(name).to_pylist() == doubt
    assert shared(table, [("A", "B")], [("A", "B")]).column(name).to_pylist() == certain
    assert shared(table, [("A", "nobody")], []).equals(table)


@pytest.mark.parametrize("confidence", [1.0, 0.6])
def test_p13_a_contact_a_suppression_and_an_opt_out_under_one_id_hold_for_the_other(
    office: Office, clock: Clock, confidence: float
) -> None:
    """The same person asks under his second id: in the endpoint, inbound and outbound, whoever links them."""
    alone = ask(office, HERO, direction="inbound").offer_id
    assert alone == "wealth_usd_income"
    name = merged(office, HERO, OTHER, confidence, office.ledger.now_micros())
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now, customer=OTHER)
    clock.forward(minutes=1)
    for direction in ("inbound", "outbound"):
        offer = ask(office, HERO, direction=direction).offer_id
        assert offer is None or "usd" not in offer, "the dollars left under the other id"
    office.consent(said(clock.now, customer=OTHER), call()).result(30)
    clock.forward(minutes=1)
    silent = ask(office, HERO)
    assert silent.offer_id is None and "opted_out" in silent.reasons
    undone(office, name)
    again = ask(office, HERO, direction="inbound")
    assert again.offer_id == alone, "unmerged, each answers for himself"


@pytest.mark.parametrize("mutant", ["customers apart", "units only"])
def test_p13_mutant_without_persons_the_other_id_is_a_way_around(
    office: Office, clock: Clock, mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug put back: ids read as customers of their own, which the test above finds."""
    for road in (serving_rows, plainrow):
        monkeypatch.setattr(road, "who_are", lambda *given: (who_are(*given)[0], {}))
    if mutant == "customers apart":
        monkeypatch.setattr(identity, "settle", lambda *_: 0)
    merged(office, HERO, OTHER, 1.0, office.ledger.now_micros())
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now, customer=OTHER)
    office.consent(said(clock.now, customer=OTHER), call()).result(30)
    clock.forward(minutes=1)
    assert ask(office, HERO, direction="inbound").offer_id == "wealth_usd_income"


def test_p13_an_opt_out_under_one_id_takes_back_what_is_reserved_under_the_other(office: Office, clock: Clock) -> None:
    reserved = ask(office, HERO)
    assert reserved.choices
    merged(office, HERO, OTHER, 0.5, office.ledger.now_micros())
    office.consent(said(clock.now, customer=OTHER), call()).result(30)
    with office.ledger.read() as connection:
        [contact] = connection.exec_driver_sql(
            f"SELECT state, close_reason FROM contacts WHERE contact_id = '{reserved.choices[0].contact_id}'").fetchall()  # fmt: skip
    assert tuple(contact) == ("closed", "recalled")


def test_p13_the_list_says_the_same_as_the_endpoint(office: Office, clock: Clock) -> None:
    home = office.engine.home
    plain = make_list(home, ["all_year"], NOW, dry_run=True)
    merged(office, HERO, OTHER, 0.6, office.ledger.now_micros())
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now, customer=OTHER)
    office.consent(said(clock.now, customer=OTHER), call()).result(30)
    opted = make_list(home, ["all_year"], NOW, dry_run=True)
    assert opted.funnel.met["opted_out"] == plain.funnel.met.get("opted_out", 0) + 2


def offers_while_in_doubt(office: Office, other: str) -> set[str]:
    """What the hero hears of in the app while he may be the other one."""
    name = merged(office, HERO, other, 0.6, office.ledger.now_micros())
    found = {choice.offer_id for choice in ask(office, HERO, direction="inbound", top=3).choices}
    undone(office, name)
    return found


def test_p13_what_a_person_may_hold_under_his_other_id_is_not_offered_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the mutant that shares holdings among certain ids alone: it offers him what he may have."""
    snapshot = office.engine.snapshot(NOW)
    assert snapshot is not None
    holders = snapshot.table.filter(snapshot.table.column("holds_loan_personal")).column("customer_id").to_pylist()
    with monkeypatch.context() as mutant:
        mutant.setattr(features_identity, "_doubted", lambda values: values)
        offered = [one for one in holders if "loan_personal" in offers_while_in_doubt(office, one)]
    assert offered, "there are such people"
    assert not any("loan_personal" in offers_while_in_doubt(office, one) for one in offered)
