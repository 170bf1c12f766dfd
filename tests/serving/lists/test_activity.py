"""What became of the contacts of some days is what a plain count over every row of the ledger says."""

import random
from collections import defaultdict
from datetime import timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from serving.ledger.book import micros
from serving.ledger.outcomes import Kind
from serving.ledger.schema import STATES, contacts, outcomes
from serving.lists.activity import Activity, ActivityRow, activity
from serving.office import Office
from tests.home import NOW

GENERATED = 800
NO_WORD = {"delivered", "no_response", "undelivered", "wrong_number"}  # of the customer


def generated(connection: Connection, customers: list[str], seed: int) -> None:
    """Contacts of every state with nothing to five outcomes each, over the last twelve days; some are no marketing, some inbound."""
    chance = random.Random(seed)
    for n in range(GENERATED):
        at = micros(NOW - timedelta(days=12 * chance.random()))
        row = {"contact_id": f"g{n}", "customer_id": chance.choice([*customers, *["unknown"] * 10]), "unit_id": "u", "offer_id": "o", "family": "f",
               "channel": "sms", "treatment": "t", "campaign_id": chance.choice(["spring", "summer", None]),
               "purpose": chance.choice(["marketing", "marketing", "service"]), "direction": chance.choice(["outbound", "outbound", "inbound"]),
               "state": chance.choice([*STATES, "sent", "sent"]), "source": "decision",
               "decided_at": at, "send_after": at, "send_before": at + 1}  # fmt: skip
        connection.execute(insert(contacts), row)
        for kind in chance.sample(sorted(Kind), chance.choice([0, 1, 1, 2, 5])):
            for k in range(chance.choice([1, 1, 2])):  # a call answered twice
                connection.execute(insert(outcomes), {"contact_id": f"g{n}", "kind": str(kind), "at": at + k, "recorded_at": at + k})  # fmt: skip


def plain(office: Office, connection: Connection, days: int) -> dict[str, dict[str | None, list[int]]]:
    """all, campaigns, branches -> group -> the five counts."""
    snapshot = office.engine.snapshot(NOW)
    assert snapshot is not None
    home = dict(zip(snapshot.table["customer_id"].to_pylist(), snapshot.table["home_branch"].to_pylist(), strict=True))
    found: dict[str, dict[str | None, list[int]]] = {name: defaultdict(lambda: [0] * 5) for name in ("all", "campaigns", "branches")}  # fmt: skip
    for row in connection.execute(select(contacts)):
        if row.decided_at < micros(NOW - timedelta(days=days)) or (row.purpose, row.direction) != ("marketing", "outbound"):  # fmt: skip
            continue
        said = {kind for (kind,) in connection.execute(select(outcomes.c.kind).where(outcomes.c.contact_id == row.contact_id))}  # fmt: skip
        sent = row.state == "sent"
        truths = (True, sent, sent and not said & {"undelivered", "wrong_number"}, bool(said - NO_WORD), "accepted" in said)  # fmt: skip
        for by, group in (("all", None), ("campaigns", row.campaign_id), ("branches", home.get(row.customer_id))):
            found[by][group] = [n + truth for n, truth in zip(found[by][group], truths, strict=True)]
    return found


def by_group(rows: list[ActivityRow]) -> dict[str | None, list[int]]:
    return {row.group: [row.issued, row.contacted, row.reached, row.responded, row.converted] for row in rows}


def told(office: Office, connection: Connection, days: int) -> Activity:
    return activity(office.engine, connection, NOW - timedelta(days=days), NOW)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("days", [1, 7, 400])
def test_every_contact_counts_once_whatever_was_said_of_it(office: Office, days: int, seed: int) -> None:
    with office.ledger.read() as connection:
        customers = sorted({row.customer_id for row in connection.execute(select(contacts.c.customer_id))})
    office.ledger.write(lambda connection: generated(connection, customers[:40], seed)).result()
    with office.ledger.read() as connection:
        found, expected = told(office, connection, days), plain(office, connection, days)
    assert by_group([found.whole]) == expected["all"]
    assert by_group(found.campaigns) == expected["campaigns"]
    assert by_group(found.branches) == expected["branches"]
    assert {None, "spring"} <= set(by_group(found.campaigns))
    assert None in by_group(found.branches)  # a customer the snapshot does not know
    for rows in (found.campaigns, found.branches):
        assert [row.issued for row in rows] == sorted((row.issued for row in rows), reverse=True)


def test_where_nothing_was_decided_every_count_is_nought(office: Office) -> None:
    with office.ledger.read() as connection:
        found = activity(office.engine, connection, NOW + timedelta(days=1), NOW)
    assert by_group([found.whole]) == {None: [0, 0, 0, 0, 0]}
    assert (found.campaigns, found.branches) == ([], [])
