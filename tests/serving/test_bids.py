"""The list's seat prices are the service's; seats of a day are leased, never oversold, and count for no cap."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from features.home import Home
from serving.bids import SHUT, Worker, bid_prices, publish
from serving.commands.decide import decide_customers
from serving.commands.lists import make_list
from serving.ledger.book import Ledger, read_meta
from serving.ledger.leases import SEATS, Seats, lease, leased
from serving.ledger.recall import recall
from serving.office import Office, open_ledger
from serving.replay import replay_many
from tests.home import NOW, Clock, ask, office_at, rows
from tests.postgres import database, move_home

ONLY = {"sms": 4, "email": 3, "app": 2, "call": 0, "branch": 0}


def tight(bank: Path, more: str = "", seats: dict[str, int] | None = None) -> Path:
    """The home with few seats, and what a campaign says beside them."""
    path = bank / "campaigns" / "all_year.yaml"
    text = path.read_text("utf-8")
    few = ", ".join(f"{channel}: {n}" for channel, n in (seats or {"sms": 20, "email": 10, "app": 30, "call": 5, "branch": 0}).items())  # fmt: skip
    path.write_text(text[: text.index("seats:")] + f"seats: {{{few}}}\n{more}", "utf-8")
    (bank / "campaigns" / "dollars.yaml").unlink()
    return bank


def prices(office: Office, now: int | None = None) -> dict[str, int]:
    """offer|channel -> bid price, where there is one."""
    catalogue = office.engine.catalogue
    with office.ledger.read() as connection:
        found = bid_prices(connection, catalogue, now or office.ledger.now_micros())
    names = [f"{offer.id}|{channel.id}" for offer in catalogue.offers for channel in catalogue.channels]
    return {name: price for name, price in zip(names, found, strict=False) if price}


def test_the_shadow_prices_of_the_run_are_what_the_service_asks(bank: Path, clock: Clock) -> None:
    answer = make_list(Home.open(tight(bank)), ["all_year"], NOW)
    told = {limit.where["channel"]: round(limit.price_milli / 1_000) for limit in answer.certificate.limits}
    office = office_at(bank, clock)
    found = prices(office)
    assert found and all(price == told[name.split("|")[1]] for name, price in found.items())
    assert {name.split("|")[1] for name in found} == {channel for channel, price in told.items() if price}
    # The list is taken back. A decision pays: value = worth - bid price; its record replays under those prices.
    office.ledger.write(lambda c: recall(c, office.ledger.now_micros(), campaign_id="all_year"), units=()).result()
    paid = [ask(office, f"C{n:07d}") for n in range(1, 250)]
    chosen = [one.choices[0] for one in paid if one.choices]
    for choice in chosen:
        row = json.loads(office_row(office, choice.contact_id))
        assert row["factors"]["bid_price_minor"] == told[choice.channel]
    assert any(told[choice.channel] for choice in chosen)  # somebody is worth the seat
    assert any("no_capacity" in one.reasons for one in paid)  # worth less than its seat: silence, and it says why
    with office.ledger.read() as connection:
        tally = replay_many(office.engine, connection, [one.decision_id for one in paid])
    assert tally.same == tally.replayed > 50 and not tally.different
    inbound = next(one for n in range(1, 60) if (one := ask(office, f"C{n:07d}", direction="inbound")).choices)
    assert "prices" not in json.loads(inputs_of(office, inbound.decision_id))
    later = office.ledger.now_micros() + 8 * 86_400_000_000
    assert prices(office, later) == {}  # after a week nobody pays old prices
    office.close()


def office_row(office: Office, contact_id: str | None) -> str:
    return json.dumps(json.loads(opened(office, str(contact_id).rpartition("-")[0]).result)["row"])


def inputs_of(office: Office, decision_id: str) -> str:
    return opened(office, decision_id).inputs


def opened(office: Office, decision_id: str):
    from serving.ledger import records

    with office.ledger.read() as connection:
        row = records.find(connection, decision_id)
        assert row
        return office.engine.vault.opened(connection, row)


def test_an_older_run_read_back_changes_no_price(bank: Path) -> None:
    home = Home.open(tight(bank))
    first = make_list(home, ["all_year"], NOW)
    with open_ledger(home) as ledger:
        cheaper = first.certificate.model_copy(update={"limits": []})
        ledger.write(lambda c: publish(c, "newer", NOW + timedelta(minutes=1), cheaper), units=()).result()
        ledger.write(lambda c: publish(c, first.run, NOW, first.certificate), units=()).result()
        with ledger.read() as connection:
            assert {one["run"] for one in json.loads(read_meta(connection, "bid_prices") or "").values()} == {"newer"}


def served(office: Office, block: int = 2) -> list[str]:
    """Channels of the contacts that many outbound decisions reserve, renewing as the thread would."""
    office.seats = Worker(office.engine, office.ledger, block)
    office.seats.engine.home.now = lambda: NOW  # type: ignore[method-assign]
    channels = []
    for n in range(1, 150):
        office.seats.renew()
        found = ask(office, f"C{n:07d}")
        channels += [found.channel] if found.channel else []
    return channels


def test_a_channel_without_seats_is_shut_and_the_others_go_on(bank: Path, clock: Clock) -> None:
    day = ", ".join(f"{channel}: {n}" for channel, n in ONLY.items())
    office = office_at(tight(bank, f"per_day: {{{day}}}\n"), clock)
    made = served(office)
    assert {channel: made.count(channel) for channel in ONLY} == ONLY
    last = ask(office, "C0000200")
    assert not last.choices and "no_capacity" in last.reasons
    [dry] = decide_customers(Home.open(bank), ["C0000200"], clock.now)  # mutant: the command asks for no seat
    assert not dry.choices and "no_capacity" in dry.reasons
    assert ask(office, "C0000201", direction="inbound").choices  # inbound spends no seat
    office.close()


def test_p08_leases_and_prices_change_no_count(bank: Path, clock: Clock) -> None:
    from serving.rows import Asked, online_rows

    day = ", ".join(f"{channel}: {n}" for channel, n in ONLY.items())
    with_seats = tight(bank, f"per_day: {{{day}}}\n")
    office = office_at(with_seats, clock)
    served(office)
    counted = {}
    for name in ("on", "off"):
        if name == "off":
            office.ledger.write(lambda c: c.exec_driver_sql("DELETE FROM meta WHERE name LIKE 'lease %' OR name = 'bid_prices'"), units=()).result()  # fmt: skip
        terms = office.engine.terms(clock.now)
        with office.ledger.read() as connection:
            found = online_rows(
                office.engine, terms, connection, [Asked(f"C{n:07d}") for n in range(1, 150)], clock.now
            )
        assert found
        counted[name] = found[0].select([field.name for field in terms.policy.state_fields(office.engine.catalogue)])
    assert counted["on"].equals(counted["off"])
    assert rows(office, "SELECT COUNT(*) FROM contacts WHERE decision_id IS NOT NULL AND source = 'decision'")[0][0] >= sum(ONLY.values())  # fmt: skip
    office.close()


def test_p08_mutant_a_lease_that_is_a_contact_would_be_counted(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    before = ask(office, "C0000005")
    office.ledger.write(lambda c: c.exec_driver_sql(  # what a lease kept as a contact would be
        "INSERT INTO contacts (contact_id, customer_id, unit_id, channel, purpose, direction, state, source, decided_at, send_after, send_before)"
        f" SELECT 'lease', 'C0000006', unit_id, 'sms', 'marketing', 'outbound', 'reserved', 'decision', {office.ledger.now_micros()}, {office.ledger.now_micros()}, {office.ledger.now_micros() + 10**10}"
        " FROM units WHERE customer_id = 'C0000006'"), units=()).result()  # fmt: skip
    after = ask(office, "C0000006")
    assert (
        before.decision_id and set(after.reasons) & {"cap_total", "cap_channel", "cap_household"}
    ) or after.channel != "sms"
    office.close()


def test_a_run_and_the_workers_never_have_more_than_the_day(bank: Path, clock: Clock) -> None:
    home = Home.open(tight(bank, "per_day: {sms: 12}\n", {"sms": 500, "email": 0, "app": 0, "call": 0, "branch": 0}))
    office = office_at(bank, clock)
    office.seats = Worker(office.engine, office.ledger, 5)
    office.seats.renew()
    assert office.seats.left == {"sms": 5}
    make_list(home, ["all_year"], NOW)
    assert rows(office, "SELECT COUNT(*) FROM contacts WHERE decision_id LIKE '%all_year'") == [(7,)]
    office.seats.renew()
    assert office.seats.left == {"sms": 5}  # the run gave its own back, and took what it filled
    office.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_workers_lease_no_more_than_there_is_and_a_dead_one_frees_his(bank: Path, backend: str) -> None:
    with database() as url:
        if backend == "postgresql":
            move_home(bank, url)
        with open_ledger(Home.open(bank)) as ledger:
            seats = [Seats("sms", ("all_year",), 25)]
            take = lambda who, now, want=10: ledger.write(
                lambda c: lease(c, who, "2026-06-01", {"sms": want}, seats, 0, now, now + 60), touches=SEATS
            ).result()["sms"]
            assert [take("a", 0), take("b", 0), take("c", 0), take("d", 0)] == [10, 10, 5, 0]
            assert take("a", 10) == 10  # renewing is no second block
            assert take("d", 61) == 10  # b and c are over, a is not
            assert outstanding(ledger, 61) == 20


def outstanding(ledger: Ledger, now: int) -> int:
    with ledger.read() as connection:
        return leased(connection, "2026-06-01", now)["sms"]


def test_the_price_of_a_seat_that_is_gone_is_beyond_any_worth(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    with office.ledger.read() as connection:
        found = bid_prices(connection, office.engine.catalogue, 0, shut=[3])
    assert found[3] == SHUT and set(found) == {0, SHUT}
    office.close()
