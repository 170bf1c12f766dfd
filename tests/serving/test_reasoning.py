"""Why this one, and what would change it: in both languages, from the models' own contributions."""

import json

import pytest

from features.base import Row
from rules.closures import Plainly
from rules.suppress import checked_reader, closed_row
from serving import reasoning
from serving.account import restored, terms_of
from serving.claims import instant
from serving.ledger import records
from serving.ledger.keys import Principal, Role
from serving.office import Office
from tests.home import HERO, Clock, ask, call, move, office_at, without_offer


def test_what_moved_the_score_is_told_strongest_first_in_both_languages(office: Office) -> None:
    """The home's interest model is a logistic over age and balance: nothing else can have moved it."""
    told = office.why(ask(office).decision_id, call()).drivers
    assert 1 <= len(told) <= 2
    assert all(words.en.startswith(("For it: ", "Against it: ")) for words in told)
    assert all(words.zh.startswith(("有利：", "不利：")) for words in told)
    added = [abs(float(words.en.rpartition("(")[2].rstrip(").").replace("+", ""))) for words in told]
    assert added == sorted(added, reverse=True)
    assert any("balance" in words.en for words in told) or any("age" in words.en for words in told)


def test_where_the_score_no_longer_comes_out_nothing_is_said_of_it(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = ask(office).decision_id
    real = reasoning._features

    def older(*args: object) -> Row | None:
        row = real(*args)  # pyright: ignore[reportArgumentType]
        assert row is not None
        row.numbers[office.engine.store.one_row.numbers.index("age_years")] += 5
        return row

    monkeypatch.setattr(reasoning, "_features", older)
    assert office.why(decision, call()).drivers == ()


def test_money_that_moved_since_is_not_read_into_an_older_decision(office: Office, clock: Clock) -> None:
    before = ask(office).decision_id
    told = office.why(before, call()).drivers
    clock.forward(hours=1)
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    assert office.why(before, call()).drivers == told != ()


def test_a_decision_is_told_as_before_when_its_offer_has_left_the_catalogue(office: Office, clock: Clock) -> None:
    """At once, and by whoever starts later. Mutant: drivers read with today's engine under the terms of then."""
    before = ask(office)
    told = office.why(before.decision_id, call())
    assert told.drivers and told.would_change
    without_offer(office.engine.home.path, str(before.offer_id))
    assert ask(office, "C0000050").offer_id != before.offer_id
    assert before.offer_id not in office.engine.catalogue.offer_index
    assert office.why(before.decision_id, call()) == told
    later = office_at(office.engine.home.path, clock)
    assert later.why(before.decision_id, call()) == told
    later.close()


def test_an_offer_says_what_it_would_give_way_to_and_when_it_would_not_pay(office: Office) -> None:
    told = office.why(ask(office).decision_id, call()).would_change
    assert any(words.en.startswith("Worth less than ") for words in told)
    assert any("it would not be worth saying" in words.en for words in told)
    assert len({words.zh for words in told}) == len(told)


def test_what_is_said_to_open_a_cell_opens_it(office: Office) -> None:
    silent = (one for n in range(1, 400) if not (one := ask(office, f"C{n:07d}", direction="inbound")).choices)
    told, decision = next(
        (said, one.decision_id) for one in silent if (said := office.why(one.decision_id, call()).would_change)
    )
    assert all(" would be open if " in words.en for words in told)
    with office.ledger.read() as connection:
        record = records.find(connection, decision)
        assert record is not None
        record = office.engine.vault.opened(connection, record)
        terms = terms_of(office.engine, connection, record.terms, instant(record.as_of))

    assert terms is not None
    customers, _ = restored(terms, json.loads(record.inputs))
    [row] = checked_reader(customers.schema, terms).rows(customers)
    opened = 0
    for cell in range(terms.catalogue.n_cells):
        changes = reasoning._opening(row, terms, cell, reasoning._tellable(office.engine), "inbound")
        if changes:
            changed: Plainly = {**row, **changes}
            assert closed_row(terms.program, changed, "inbound", ()).open >> cell & 1, (cell, changes)
            opened += 1
    assert opened, "no cell could be opened: the check saw nothing"


def test_a_channel_key_hears_of_its_own_channel_only(office: Office) -> None:

    one = ask(office, HERO)
    key = Principal(f"{one.channel}-gate", Role.CHANNEL)
    told = office.why(one.decision_id, call(who=key)).would_change
    others = {"sms", "email", "app", "call", "branch"} - {one.channel}
    assert not [words for words in told if any(f"on {other}." in words.en for other in others)]
