"""What is older than the bank keeps goes; what a cap still counts, or a court may ask for, stays."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from serving.ledger import retention as pruning
from serving.ledger.contact import ContactRow
from serving.ledger.erasure import hold
from serving.ledger.lifecycle import reserve
from serving.ledger.retention import Retention, RetentionError, announce, plan_prune, prune_some, read_retention
from serving.ledger.schema import events
from serving.ledger.verify import verify
from tests.sealed_ledger import Small, small

KEPT = Retention(decisions=100, contacts=740, events=820, suppressions=740, idempotency=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        one.filled()
        at = one.ledger.now_micros()
        row = {
            "event_id": "e",
            "customer_id": "C1",
            "kind": "fee",
            "booked_at": at,
            "recorded_at": at,
            "received_at": at,
        }
        one.ledger.write(lambda c: c.execute(insert(events).values(row)) and None).result(30)
        yield one


def pruned(one: Small, kept: Retention = KEPT) -> dict[str, int]:
    now = one.ledger.now_micros()
    with one.ledger.read() as connection:
        counts = plan_prune(connection, kept, now)
    one.ledger.write(lambda c: announce(c, kept, "boss", now, counts)).result(30)
    one.sealed()
    while one.ledger.write(lambda c: prune_some(c, kept, now)).result(30):
        pass
    return counts


def findings(one: Small) -> tuple[object, ...]:
    with one.ledger.read() as connection:
        return verify(connection, one.keyring).findings


def test_what_is_over_goes_and_the_chain_stays_whole(both: Small) -> None:
    assert pruned(both) == {"decisions": 0, "contacts": 0, "events": 0, "suppressions": 0, "idempotency": 0}
    both.clock.now += timedelta(days=101)
    both.decided("young")
    both.ledger.write(lambda c: hold(c, "C2", True, "law", "case", both.ledger.now_micros())).result(30)
    assert pruned(both)["decisions"] == 8, "10, but two of a customer under a legal hold"
    with both.ledger.read() as connection:
        found = verify(connection, both.keyring)
    assert (found.findings, found.pruned) == ((), 8)
    both.clock.now += timedelta(days=800)
    counts = pruned(both)
    assert (counts["contacts"], counts["events"], counts["decisions"]) == (4, 1, 1)
    assert findings(both) == ()


def test_p05_a_row_that_no_prune_took_is_still_missed(both: Small) -> None:
    """Mutant: a verify that excuses every missing row once anything was pruned."""
    both.clock.now += timedelta(days=101)
    both.decided("young")
    pruned(both)
    both.run("DELETE FROM decisions WHERE decision_id = 'young'")
    assert [(f.what, f.which) for f in findings(both)] == [("decision", "young")]  # type: ignore[attr-defined]


def test_p08_open_and_unsealed_rows_stay_however_old(both: Small) -> None:
    at = both.ledger.now_micros()
    row = ContactRow(
        contact_id="open", customer_id="C1", unit_id="C1", channel="sms", decided_at=at, send_after=at, send_before=at
    )
    both.ledger.write(lambda c: reserve(c, row)).result(30)
    both.contacted("unsealed")
    both.decided("unsealed")
    both.clock.now += timedelta(days=3_000)
    with both.ledger.read() as connection:
        counts = plan_prune(connection, KEPT, both.ledger.now_micros())
    assert (counts["contacts"], counts["decisions"]) == (4, 10), "not the reserved one, not the unsealed ones"


def test_a_chunk_at_a_time(both: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CHUNK", 3)
    both.clock.now += timedelta(days=101)
    now = both.ledger.now_micros()
    steps = [both.ledger.write(lambda c: prune_some(c, KEPT, now)).result(30) for _ in range(5)]
    assert steps == [3, 3, 3, 1, 0]


@pytest.mark.parametrize(("text", "line"), [
    ("contacts: 30", "retention.yaml:1: `contacts` is `30`: input should be greater than or equal to 740"),
    ("decision: 900", "retention.yaml:1: unknown key `decision`: did you mean `decisions`?"),
    ("events: soon", "retention.yaml:1: `events` is `soon`: input should be a valid integer"),
])  # fmt: skip
def test_a_time_that_would_open_a_cap_is_refused(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "retention.yaml"
    file.write_text(text)
    with pytest.raises(RetentionError) as refused:
        read_retention(file)
    assert line in str(refused.value)
    file.write_text("decisions: 400")
    assert read_retention(file) == Retention(decisions=400)
    assert read_retention(tmp_path / "none") == Retention()
