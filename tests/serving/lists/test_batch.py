"""P15: one engine, many drivers, the same answer: batch, office and the plain oracle."""

import shutil
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sqlalchemy import insert
from sqlalchemy.engine import Connection

from rules.decide import decide
from rules.reasons import ReasonCode
from rules.suppress import checked_reader, suppress
from rules.types import INSTANT
from serving import rows
from serving.decisions import decide_one
from serving.engine import Engine
from serving.http.messages import (
    DecisionRequest,
    DecisionResponse,
    ExternalContactRequest,
    OutcomeKind,
    OutcomeRequest,
    Purpose,
)
from serving.ledger.book import ContactRow, State, claim, contacts_table, micros
from serving.ledger.lifecycle import enter_sent
from serving.ledger.schema import suppressions
from serving.ledger.seed import assign_units
from serving.lists import batch as driver
from serving.lists.batch import Decided, chunks, decide_all, read_inputs, send_windows
from serving.lists.limits import Limit
from serving.lists.plan import make_plan, reserve_plan
from serving.office import Office
from serving.rows import OUTBOUND_VALID, Asked
from tests.conformance import assert_same, by_oracle
from tests.home import COUPLE, HERO, Clock, ask, call, copied, move, office_at, run_until, said

WHO = [HERO, *COUPLE, *(f"C{n:07d}" for n in range(4, 90))]


@pytest.fixture(scope="module")
def after_a_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """A home after a day with contacts, answers, consents, events and other systems' contacts, and its present; take a copy."""
    path, clock = copied(tmp_path_factory.mktemp("lively") / "bank"), Clock()
    office = office_at(path, clock)
    _live_a_day(office, clock)
    office.close()
    return path, clock.now


@pytest.fixture
def lively(after_a_day: tuple[Path, datetime], bank: Path, clock: Clock) -> Generator[Office]:
    """An office over a copy of it."""
    path, clock.now = after_a_day
    shutil.copytree(path, bank, dirs_exist_ok=True)
    office = office_at(bank, clock)
    yield office
    office.close()


def _live_a_day(office: Office, clock: Clock) -> None:
    for n, customer in enumerate(WHO[3:30]):
        told = ask(office, customer)
        for choice in told.choices:
            if n % 3 == 0:
                outcome = OutcomeRequest(contact_id=str(choice.contact_id), kind=OutcomeKind.OPTED_OUT, at=clock.now)
                office.outcome(outcome, call()).result(30)
        clock.forward(minutes=20)
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    for n, customer in enumerate(WHO[30:50]):
        office.consent(
            said(clock.now, ("withdrawn", "granted")[n % 2], customer, ("all", "sms")[n % 3 == 0]), call()
        ).result(30)
        move(
            office, ("salary", "transfer_out")[n % 2], (900_000, -900_000)[n % 2], 1_000_000, clock.now, customer, "CNY"
        )
        request = ExternalContactRequest(contact_id=f"x{n}", customer_id=WHO[50 + n], channel="call", purpose=Purpose.MARKETING,
                                         sent_at=clock.now, offer_id="card_gold")  # fmt: skip
        office.external_contact(request, call()).result(30)
    office.consent(said(clock.now, "denied", WHO[80], purpose="profiling"), call()).result(30)
    clock.forward(hours=14)


@pytest.mark.parametrize("campaigns", [None, ("all_year", "dollars")])
def test_p15_the_batch_decides_what_the_oracle_decides_for_the_whole_home(
    lively: Office, clock: Clock, campaigns: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is scarce the clearing house gives everyone what he would get alone, explorers and households included."""
    monkeypatch.setattr(driver, "CHUNK", 157)  # units must stay whole at the seams
    inputs = read_inputs(lively.engine, lively.ledger, clock.now, campaigns)
    plenty = [Limit(name="sms seats", where={"channel": "sms"}, at_most=10_000)]
    found = decide_all(inputs, plenty)
    decided, worth = found.decisions, found.worth
    assert found.cleared.allocation.price.tolist() == [0] and decided.num_rows == inputs.features.num_rows == 1_200
    people = {"customers": list[dict[str, object]](), "scores": list[dict[str, object]]()}
    for part in chunks(inputs):
        scores = lively.engine.score(part, suppress(part, inputs.terms).open)
        people["customers"] += part.to_pylist()
        people["scores"] += scores.to_pylist()
    some = slice(0, 300) if campaigns is None else slice(None)  # the oracle is slow
    rows_, scores_ = _whole_units(people["customers"], people["scores"], some)
    truth = by_oracle(inputs.terms, rows_, scores_)
    mine = pc.is_in(decided.column("customer_id"), pa.array(sorted(truth)))
    for part in decided.filter(mine).combine_chunks().to_batches():
        assert_same(inputs.terms, part, truth)
    chosen = np.asarray([offer is not None for offer in decided.column("offer_id").to_pylist()])
    assert (worth[~chosen] == 0).all() and (worth[chosen] > 0).all() and chosen.sum() > 100
    assert decided.column("explored").to_pylist().count(True) > 3


SCARCE = [Limit(name="branch seats", where={"channel": "branch"}, at_most=10), Limit(name="calls", where={"channel": "call"}, at_most=20),
          Limit(name="budget", unit="cost_minor", at_most=60_000)]  # fmt: skip


def test_p11_p16_scarce_seats_are_kept_and_no_unit_is_contacted_twice(lively: Office, clock: Clock) -> None:
    inputs = read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",))
    found = decide_all(inputs, SCARCE)
    won = found.decisions.filter(pc.is_valid(found.decisions.column("offer_id")))
    used = dict(
        zip(
            *(column.to_pylist() for column in pc.value_counts(won.column("channel").combine_chunks()).flatten()),
            strict=True,
        )
    )
    cost = {channel.id: channel.cost_minor for channel in inputs.terms.catalogue.channels}
    assert used["branch"] <= 10 and used["call"] <= 20 and sum(cost[name] * n for name, n in used.items()) <= 60_000
    assert len(set(won.column("unit_id").to_pylist())) == len(won)
    assert found.cleared.allocation.bound_minor >= found.worth.sum() >= 0.999 * found.cleared.allocation.bound_minor
    bids = [factors["bid_price_minor"] for factors in won.column("factors").to_pylist()]
    assert max(bids) > 0, "the seats that are scarce cost something"
    silent = found.decisions.filter(pc.equal(found.decisions.column("reason"), int(ReasonCode.NO_CAPACITY)))
    assert len(silent) > 0


def test_p08_seats_change_no_count_of_contacts(lively: Office, clock: Clock) -> None:
    """What suppress reads and finds is the same with and without limits; only who is chosen differs."""
    inputs = read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",))
    free, scarce = decide_all(inputs, []), decide_all(inputs, SCARCE)
    assert scarce.cleared.market.counts.tolist() == free.cleared.market.counts.tolist()
    assert scarce.cleared.market.gross.tolist() == free.cleared.market.gross.tolist()
    assert scarce.cleared.market.chooser.tolist() == free.cleared.market.chooser.tolist()
    both = [{row["customer_id"]: row for row in part.decisions.to_pylist()} for part in (free, scarce)]
    silent_anyway = [name for name, row in both[0].items() if row["reason"] not in (None, ReasonCode.CAP_HOUSEHOLD)]
    capacity = {int(ReasonCode.NO_CAPACITY), int(ReasonCode.NO_VALUE), int(ReasonCode.CAP_HOUSEHOLD)}
    for name in silent_anyway:
        first, second = both[0][name], both[1][name]
        assert first["n_open"] == second["n_open"]
        assert first["reason"] == second["reason"] or {first["reason"], second["reason"]} <= capacity
    with lively.ledger.read() as connection:
        assert contacts_of_nobody_new(connection, inputs)


def contacts_of_nobody_new(connection: Any, inputs: Any) -> bool:
    return contacts_table(connection, inputs.since).num_rows == inputs.ledger["contacts"].num_rows


def test_a_managers_seats_are_a_limit_like_any_other(lively: Office, clock: Clock) -> None:
    inputs = read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",))
    managers = sorted({name for name in inputs.features.column("manager_id").to_pylist() if name is not None})
    limits = [
        Limit(name=f"calls of {name}", where={"manager_id": name, "channel": "call"}, at_most=1) for name in managers
    ]
    found = decide_all(inputs, limits)
    of = dict(
        zip(
            inputs.features.column("customer_id").to_pylist(),
            inputs.features.column("manager_id").to_pylist(),
            strict=True,
        )
    )
    calls = Counter(of[row["customer_id"]] for row in found.decisions.to_pylist() if row["channel"] == "call")
    assert managers and calls.pop(None, 0) >= 0 and all(n <= 1 for n in calls.values())


def _whole_units(customers: list, scores: list, some: slice) -> tuple[list, list]:
    units = {row["unit_id"] for row in customers[some]}
    pairs = [(c, s) for c, s in zip(customers, scores, strict=True) if c["unit_id"] in units]
    return [c for c, _ in pairs], [s for _, s in pairs]


def test_p15_online_and_batch_read_the_same_row(lively: Office, clock: Clock) -> None:
    """The same window, instant and ledger: every column of every customer is equal, and so the decision."""
    at, engine = clock.now, lively.engine
    inputs = read_inputs(engine, lively.ledger, at, None)
    terms = inputs.terms
    picked = inputs.features.filter(pc.is_in(inputs.features.column("customer_id"), pa.array(WHO)))
    n = picked.num_rows
    window = [pa.array([when] * n, INSTANT) for when in (at, at + OUTBOUND_VALID)]
    many = rows.batch(engine, terms, picked, inputs.ledger, window[0], window[1], at)
    with lively.ledger.read() as connection:
        asked = [Asked(c) for c in picked.column("customer_id").to_pylist()]
        known = rows.online_rows(engine, terms, connection, asked, at)
    assert known is not None
    few, plain = known
    assert few.schema.equals(many.schema)
    assert plain == checked_reader(few.schema, terms).rows(few)  # what decide is given is what it would read
    for name in many.schema.names:
        assert few.column(name).to_pylist() == many.column(name).to_pylist(), name
    open_ = suppress(many, terms).open
    scores = engine.score(many, open_)
    whole = {row["customer_id"]: row for row in decide(many, terms, lambda *_: scores).to_pylist()}
    alone = [
        decide(few.slice(place, 1), terms, lambda part, o: engine.score(part, o)).to_pylist()[0] for place in range(n)
    ]
    shared = [row["unit_id"] for row in alone]
    for row in alone:
        if shared.count(row["unit_id"]) == 1:  # a member of a larger unit may be silenced by the other
            assert row == whole[row["customer_id"]]
    assert {row["offer_id"] is None for row in alone} == {True, False}


def renewed_for_years(office: Office, clock: Clock) -> list[list[float]]:
    """Days left of a pause that began 800 days ago and ended yesterday but for what he had ignored before it: alone, and in a list."""
    day, now = 86_400_000_000, micros(clock.now)

    def task(connection: Connection) -> None:
        connection.execute(insert(suppressions).values(suppression_id="s-old", rule_id="outflow", customer_id=HERO, unit_id=HERO, currency="USD",
                                                       opened_at=now - 800 * day, ends_at=now - day, cause="e-old", outflow_minor=1))  # fmt: skip
        sent = [ContactRow(contact_id=f"old-{n}", customer_id=HERO, unit_id=HERO, channel="email", decided_at=now - (810 + n) * day,
                           send_after=now - (810 + n) * day, send_before=now - (810 + n) * day, sent_at=now - (810 + n) * day, state=State.SENT,
                           offer_id="wealth_usd_income", family="wealth", source="external") for n in range(2)]  # fmt: skip
        assert enter_sent(connection, sent) == 2

    office.ledger.write(task).result(30)
    inputs, column = read_inputs(office.engine, office.ledger, clock.now, None), "suppressed_outflow_usd_days_left"
    mine = inputs.features.filter(pc.equal(inputs.features.column("customer_id"), HERO))
    window = [pa.array([when], INSTANT) for when in (clock.now, clock.now + OUTBOUND_VALID)]
    listed = rows.batch(office.engine, inputs.terms, mine, inputs.ledger, window[0], window[1], clock.now)
    with office.ledger.read() as connection:
        alone = rows.online_rows(office.engine, inputs.terms, connection, [Asked(HERO)], clock.now)
    assert alone is not None
    return [alone[0].column(column).to_pylist(), listed.column(column).to_pylist()]


def test_p15_a_pause_that_was_renewed_for_years_lasts_as_long_in_a_list(office: Office, clock: Clock) -> None:
    alone, listed = renewed_for_years(office, clock)
    assert alone == listed and alone[0] == pytest.approx(14.0)  # two ignored: fifteen days more, one is over


def test_p15_mutant_a_list_that_reads_two_years_and_no_more_is_caught(
    office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "look_back", lambda policy, catalogue, after, openings: after)
    alone, listed = renewed_for_years(office, clock)
    assert alone != listed and listed == [0.0]


def test_p15_what_a_list_does_not_read_of_the_ledger_moves_no_column(
    lively: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_inputs(lively.engine, lively.ledger, clock.now, None)
    monkeypatch.setattr(driver, "look_back", lambda *_: 0)
    whole = read_inputs(lively.engine, lively.ledger, clock.now, None)
    fewer = [read.ledger[name].num_rows < whole.ledger[name].num_rows for name in ("contacts", "outcomes")]
    assert fewer == [True, True]
    assert list(chunks(read)) == list(chunks(whole))


def test_p15_other_terms_that_look_further_back_find_what_they_ask_for(lively: Office, clock: Clock) -> None:
    policy, terms = lively.engine.policy, lively.engine.terms(clock.now)
    longer = policy.model_copy(
        update={"cool_offs": tuple(pause.model_copy(update={"lasts_days": 365}) for pause in policy.cool_offs)}
    )
    later = replace(lively.engine, policy=longer)
    other = later.terms(clock.now)
    near, far = (read_inputs(lively.engine, lively.ledger, clock.now, None, also=also) for also in ((), (terms, other)))
    whole = read_inputs(later, lively.ledger, clock.now, None)
    assert far.since == whole.since < near.since
    asked = [replace(inputs, engine=later, terms=other) for inputs in (near, far, whole)]
    short, found, expected = (list(chunks(inputs)) for inputs in asked)
    assert found == expected != short


def test_p15_the_answer_of_the_service_is_the_decision_of_the_batch(lively: Office, clock: Clock) -> None:
    at, engine = clock.now, lively.engine
    inputs = read_inputs(engine, lively.ledger, at, None)
    picked = inputs.features.filter(pc.is_in(inputs.features.column("customer_id"), pa.array(WHO[:40])))
    window = [pa.array([when] * picked.num_rows, INSTANT) for when in (at, at + OUTBOUND_VALID)]
    many = rows.batch(engine, inputs.terms, picked, inputs.ledger, window[0], window[1], at)
    asked: set[str] = set()
    for place, (customer, unit) in enumerate(
        zip(many.column("customer_id").to_pylist(), many.column("unit_id").to_pylist(), strict=True)
    ):
        if unit in asked:
            continue
        asked.add(unit)
        [row] = decide(many.slice(place, 1), inputs.terms, lambda part, o: engine.score(part, o)).to_pylist()
        told = ask(lively, customer)
        assert (told.offer_id, told.channel) == (row["offer_id"], row["channel"])
        assert told.reasons == tuple(ReasonCode(number).slug for number in row["reasons"])
        assert [c.expected_value_minor for c in told.choices] == [
            v for v in [row["expected_value_minor"]] if v is not None
        ]


def test_p15_the_size_of_the_chunks_does_not_change_the_answer(
    lively: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",))
    whole = decide_all(inputs, SCARCE)
    for size in (17, 1_000):
        monkeypatch.setattr(driver, "CHUNK", size)
        part = decide_all(read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",)), SCARCE)
        assert part.decisions.combine_chunks().equals(whole.decisions.combine_chunks())
        assert part.cleared.allocation.price.tolist() == whole.cleared.allocation.price.tolist()


def test_p15_shuffled_rows_give_the_same_list(lively: Office, clock: Clock) -> None:
    """The snapshot's rows come in another order; without the sorting by unit and customer in `read_people` this fails."""

    def decided() -> Decided:
        return decide_all(read_inputs(lively.engine, lively.ledger, clock.now, ("all_year",)), SCARCE)

    first = decided()
    snapshot = lively.engine.snapshot(clock.now)
    assert snapshot is not None
    mixed = np.random.default_rng(4).permutation(len(snapshot.table))
    snapshot.__dict__["table"] = snapshot.table.take(pa.array(mixed))
    again = decided()
    assert again.decisions.combine_chunks().equals(first.decisions.combine_chunks())
    assert again.cleared.allocation.price.tolist() == first.cleared.allocation.price.tolist()


def test_p15_the_first_questions_of_a_fresh_engine_may_come_at_once(bank: Path, clock: Clock) -> None:
    """The writer decides while readers explain: all share one engine, which nobody has warmed."""
    office = office_at(bank, clock)

    def decided(engine: Engine, customer: str) -> DecisionResponse:
        with office.ledger.read() as connection:
            return decide_one(engine, connection, DecisionRequest(customer_id=customer), "x", clock.now).answer

    alone = [decided(office.engine, customer) for customer in (HERO, *COUPLE)]
    for _ in range(15):
        fresh = Engine.open(office.engine.home)
        assert run_until([lambda c=c, e=fresh: decided(e, c) for c in (HERO, *COUPLE)]) == alone
    office.close()


def test_the_ledgers_units_are_newer_than_the_snapshots(office: Office, clock: Clock) -> None:
    """A merge that came after the snapshot: both members share caps in the list as they do online."""
    office.ledger.write(lambda c: assign_units(c, {HERO: "H0000002"})).result(30)
    inputs = read_inputs(office.engine, office.ledger, clock.now, None)
    units = dict(
        zip(
            inputs.features.column("customer_id").to_pylist(),
            inputs.features.column("unit_id").to_pylist(),
            strict=True,
        )
    )
    assert units[HERO] == units[COUPLE[0]] == "H0000002"


SHANGHAI_10, SHANGHAI_19 = datetime(2026, 6, 1, 2, tzinfo=UTC), datetime(2026, 6, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(("at", "after", "before"), [
    (SHANGHAI_10 - timedelta(hours=3), SHANGHAI_10, SHANGHAI_19),
    (SHANGHAI_10, SHANGHAI_10, SHANGHAI_19),
    (SHANGHAI_10 + timedelta(hours=2), SHANGHAI_10 + timedelta(hours=2), SHANGHAI_19),
    (SHANGHAI_19, SHANGHAI_10 + timedelta(days=1), SHANGHAI_19 + timedelta(days=1)),
])  # fmt: skip
def test_send_windows_are_todays_hours_or_tomorrows(at: datetime, after: datetime, before: datetime) -> None:
    zones = pa.chunked_array([["Asia/Shanghai", None, "Mars/Base", "Asia/Shanghai"]])
    found = send_windows(zones, at, ("10:00", "19:00"), "Asia/Shanghai")
    assert [side.to_pylist() for side in found] == [[after] * 4, [before] * 4]


def test_p19_send_windows_follow_each_customers_own_clock_through_a_dst_night() -> None:
    """Berlin springs forward on 2026-03-29; ten o'clock stays ten o'clock."""
    zones = pa.chunked_array([["Europe/Berlin", "America/New_York"]])
    after, _ = send_windows(zones, datetime(2026, 3, 28, 23, tzinfo=UTC), ("10:00", "19:00"), "UTC")
    assert after.to_pylist() == [datetime(2026, 3, 29, 8, tzinfo=UTC), datetime(2026, 3, 29, 14, tzinfo=UTC)]


def test_what_an_earlier_try_of_the_run_reserved_is_not_counted_and_what_was_claimed_is(
    office: Office, clock: Clock
) -> None:
    plan = reserve_plan(make_plan(office.engine, office.ledger, ["all_year"], clock.now), office.ledger)
    taken = [row for row in plan.decisions.to_pylist() if row["offer_id"]]
    before = read_inputs(office.engine, office.ledger, clock.now, ("all_year",)).ledger["contacts"]
    after = read_inputs(office.engine, office.ledger, clock.now, ("all_year",), plan.run).ledger["contacts"]
    assert before.num_rows - after.num_rows == len(taken)
    with office.ledger.read() as connection:
        [(contact,)] = connection.exec_driver_sql(
            "SELECT contact_id FROM contacts WHERE decision_id = ? LIMIT 1", (plan.run,)
        ).fetchall()
    office.ledger.write(lambda c: claim(c, contact, micros(clock.now))).result(30)
    again = read_inputs(office.engine, office.ledger, clock.now, ("all_year",), plan.run).ledger["contacts"]
    assert again.num_rows == after.num_rows + 1
