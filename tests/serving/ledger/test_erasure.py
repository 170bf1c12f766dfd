"""P26: erasure makes a customer's payload unreadable, stops contact, and leaves the seal whole."""

import json
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from serving.ledger import idempotency
from serving.ledger.consents import of_customers
from serving.ledger.contact import ContactRow
from serving.ledger.erasure import HoldError, erase, hold, own_data
from serving.ledger.journal import Entered, entries
from serving.ledger.lifecycle import reserve
from serving.ledger.recall import recall
from serving.ledger.schema import contacts, events, suppressions
from serving.ledger.verify import verify
from tests.seal_oracle import problems
from tests.sealed_ledger import SECRET, Small, small


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        fill(one)
        yield one


def fill(one: Small) -> None:
    """Two customers with everything the ledger can hold about them."""
    at = one.ledger.now_micros()
    one.contacted("old")
    one.others("said")
    for name in ("C1", "C2"):
        one.decided(f"d-{name}", name)

        def work(connection, name=name) -> None:
            reserve(connection, ContactRow(contact_id=f"r-{name}", customer_id=name, unit_id=name, channel="sms", decided_at=at,
                                           send_after=at, send_before=at + 10**9, decision_id="20260601-run"))  # fmt: skip
            connection.execute(insert(events).values(event_id=f"e-{name}", customer_id=name, kind="cash_withdrawal", amount_minor=-5,
                                                     currency="USD", balance_after_minor=5, booked_at=at, recorded_at=at, received_at=at))  # fmt: skip
            connection.execute(insert(suppressions).values(suppression_id=f"s-{name}", rule_id="r", customer_id=name, unit_id=name, currency="USD",
                                                           opened_at=at, ends_at=at + 9, cause=f"e-{name}", outflow_minor=5))  # fmt: skip
            body = json.dumps({"decision_id": "x", "customer_id": name}, separators=(",", ":")).encode()
            idempotency.remember(connection, "app", "POST /v1/decisions", name, "b", idempotency.Answer(200, body), at)

        one.ledger.write(work).result(30)
    one.sealed()
    one.clock.now += timedelta(minutes=1)


def erased(one: Small, customer: str = "C1"):
    return one.ledger.write(lambda c: erase(c, customer, "boss", "asked for it", one.ledger.now_micros())).result(30)


def test_p26_erasure_leaves_the_seal_whole_and_nothing_readable(both: Small) -> None:
    done = erased(both)
    assert (done.records, done.recalled, done.events, done.answers, done.lists) == (1, 1, 1, 1, ("20260601-run",))
    both.sealed()
    with both.ledger.read() as connection:
        found = verify(connection, both.keyring)
        assert found.findings == found.tail == ()
        mine, others = own_data(connection, both.vault, "C1"), own_data(connection, both.vault, "C2")
        answers = [idempotency.remembered(connection, "app", "POST /v1/decisions", name, "b") for name in ("C1", "C2")]
        states = {row[0]: row[1] for row in connection.execute(select(contacts.c.contact_id, contacts.c.state))}
        said = of_customers(connection, ["C1"])
        [entry] = entries(connection, Entered.ERASE)
    assert (
        mine["decisions"][0]["inputs"] == "erased"
        and mine["events"] == []
        and mine["suppressions"][0]["outflow_minor"] is None
    )
    assert others["decisions"][0]["inputs"] == {"age": "d-C2"} and len(others["events"]) == 1
    assert [a.status for a in answers if a] == [410, 200] and answers[0] and b"C1" not in answers[0].body
    assert states == {"old": "sent", "r-C1": "closed", "r-C2": "reserved"}
    assert (said[-1].state, said[-1].channel, said[-1].source) == ("withdrawn", "all", "erasure")
    assert (entry.subject, entry.body["reason"], entry.body["records"]) == ("C1", "asked for it", 1)
    if both.url.startswith("sqlite"):
        assert problems(both.path, {"k0": SECRET}) == set()


def test_an_erasure_tells_what_it_took_back_itself(both: Small) -> None:
    """Mutant: counts what was recalled at this instant or later; a recall may stand a moment ahead of the clock."""
    at = both.ledger.now_micros()
    row = ContactRow(contact_id="m-C1", customer_id="C1", unit_id="C1", channel="email", decided_at=at, send_after=at,
                     send_before=at + 10**9)  # fmt: skip
    both.ledger.write(lambda c: reserve(c, row)).result(30)
    both.ledger.write(lambda c: recall(c, at + 10**8, customer_id="C1", channel="email")).result(30)
    assert erased(both).recalled == 1


def test_p26_mutant_erasure_by_deleting_the_record_breaks_the_seal(both: Small) -> None:
    """What erasure must not do: the check above would then fail."""
    erased(both)
    both.run("DELETE FROM decisions WHERE customer_id = 'C1'")
    with both.ledger.read() as connection:
        assert [f.which for f in verify(connection, both.keyring).findings] == ["d-C1"]


def test_p26_a_legal_hold_refuses_erasure_until_it_is_lifted(both: Small) -> None:
    def held(on: bool) -> bool:
        return both.ledger.write(lambda c: hold(c, "C1", on, "law", "case 7", both.ledger.now_micros())).result(30)

    assert held(True) and not held(True)
    with pytest.raises(HoldError, match="legal hold"):
        erased(both)
    with both.ledger.read() as connection:
        assert own_data(connection, both.vault, "C1")["decisions"][0]["inputs"] == {"age": "d-C1"}, "nothing half done"
    assert held(False) and erased(both).records == 1
    with both.ledger.read() as connection:
        assert [e.body["on"] for e in entries(connection, Entered.HOLD)] == [True, False]
        assert "law" not in json.dumps(own_data(connection, both.vault, "C1"), default=str), "holds are not his to read"


def test_subject_access_holds_everything_about_the_customer_and_nobody_else(both: Small) -> None:
    with both.ledger.read() as connection:
        data = own_data(connection, both.vault, "C1")
    assert {name: len(rows) for name, rows in data.items() if name != "customer_id"} == {
        "contacts": 2, "events": 1, "consents": 1, "suppressions": 1, "units": 0, "outcomes": 1, "merges": 0, "journal": 0, "decisions": 1}  # fmt: skip
    assert "C2" not in json.dumps(data)
