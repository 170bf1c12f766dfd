"""P22: the bank's contact history enters once, in chunks, with units, families and opt-outs."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.tables import TABLES
from serving.ledger.book import (
    ContactRow,
    Ledger,
    contacts_of_units,
    contacts_table,
    find,
    micros,
    reserve,
)
from serving.ledger.consents import of_customers
from serving.ledger.outcomes import outcomes_of_units
from serving.ledger.seed import CHUNK, Seeded, assign_units, seed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
UNITS = pa.table({"customer_id": ["C1", "C2", "C3"], "unit_id": ["H1", "H1", "C3"]})
FAMILIES = {"card_gold": "card"}


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def _contact(name: str, customer: str = "C1", **more: Any) -> dict[str, Any]:
    at = NOW - timedelta(days=3)
    row = dict.fromkeys(TABLES["contacts"].schema.names)
    return row | {
        "contact_id": name, "customer_id": customer, "offer_id": "card_gold", "channel": "sms",
        "direction": "outbound", "purpose": "marketing", "decided_at": at,
        "sent_at": at + timedelta(hours=1),
    } | more  # fmt: skip


def _contacts(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), TABLES["contacts"].schema)


def _outcomes(*rows: tuple[str, str]) -> pa.Table:
    at = NOW - timedelta(days=2)
    named = [{"contact_id": contact, "kind": kind, "at": at} for contact, kind in rows]
    return pa.Table.from_pylist(named, TABLES["outcomes"].schema)


def _seed(ledger: Ledger, contacts: pa.Table, outcomes: pa.Table) -> Seeded:
    return seed(ledger, contacts, outcomes, UNITS, FAMILIES)


def test_history_enters_as_sent_with_unit_and_family(ledger: Ledger) -> None:
    done = _seed(ledger, _contacts(_contact("k1")), _outcomes(("k1", "refused")))
    assert done == Seeded(units=2, contacts=1, outcomes=1, withdrawals=0, unknown=0)
    sent_at = micros(NOW - timedelta(days=3, hours=-1))
    with ledger.read() as connection:
        (row,) = contacts_of_units(connection, ["H1"], sent_at)
        assert (row.state, row.source, row.family, row.unit_id) == ("sent", "import", "card", "H1")
        assert row.sent_at == row.send_after == row.send_before == sent_at
        assert [o.kind for o in outcomes_of_units(connection, ["H1"], 0)] == ["refused"]


def test_second_import_changes_nothing(ledger: Ledger) -> None:
    contacts = _contacts(*(_contact(f"k{n}") for n in range(CHUNK + 5)))
    outcomes = _outcomes(("k1", "refused"), ("k2", "opted_out"))
    assert _seed(ledger, contacts, outcomes).contacts == CHUNK + 5
    with ledger.read() as connection:
        before = contacts_table(connection, 0), of_customers(connection, ["C1"])
    again = _seed(ledger, contacts, outcomes)
    assert (again.units, again.contacts, again.outcomes) == (0, 0, 0)
    with ledger.read() as connection:
        assert (contacts_table(connection, 0), of_customers(connection, ["C1"])) == before


def test_contact_never_sent_does_not_count_until_an_import_says_it_was(ledger: Ledger) -> None:
    _seed(ledger, _contacts(_contact("k1", sent_at=None)), _outcomes())
    with ledger.read() as connection:
        row = find(connection, "k1")
    assert row is not None and (row.state, row.close_reason) == ("closed", "not_sent")
    assert _seed(ledger, _contacts(_contact("k1")), _outcomes()).contacts == 1
    with ledger.read() as connection:
        row = find(connection, "k1")
    assert row is not None and (row.state, row.close_reason, row.closed_at) == ("sent", None, None)


def test_import_never_overwrites_a_contact_of_our_own(ledger: Ledger) -> None:
    ours = ContactRow(contact_id="k1", customer_id="C1", unit_id="H1", channel="sms",
                      decided_at=1, send_after=1, send_before=2)  # fmt: skip
    ledger.write(lambda c: reserve(c, ours)).result(10)
    assert _seed(ledger, _contacts(_contact("k1")), _outcomes()).contacts == 0
    with ledger.read() as connection:
        assert find(connection, "k1") == ours


def test_outcome_of_an_unknown_contact_is_counted_and_left_out(ledger: Ledger) -> None:
    done = _seed(ledger, _contacts(_contact("k1")), _outcomes(("k1", "opened"), ("k9", "opened")))
    assert (done.outcomes, done.unknown) == (1, 1)


def test_p12_opt_out_in_the_history_ends_consent(ledger: Ledger) -> None:
    done = _seed(ledger, _contacts(_contact("k1")), _outcomes(("k1", "do_not_call")))
    assert done.withdrawals == 1
    with ledger.read() as connection:
        (said,) = of_customers(connection, ["C1"])
    assert (said.channel, said.state, said.at) == (
        "all",
        "withdrawn",
        micros(NOW) - 2 * 86_400_000_000,
    )


def test_p13_merge_and_split_move_contacts_along(ledger: Ledger) -> None:
    _seed(ledger, _contacts(_contact("k1"), _contact("k3", "C3")), _outcomes())
    assert ledger.write(lambda c: assign_units(c, {"C3": "H1"})).result(10) == 1
    with ledger.read() as connection:
        assert len(contacts_of_units(connection, ["H1"], 0)) == 2
    ledger.write(lambda c: assign_units(c, {"C3": "C3"})).result(10)
    with ledger.read() as connection:
        assert [row.contact_id for row in contacts_of_units(connection, ["C3"], 0)] == ["k3"]


def test_progress_ends_at_the_number_of_rows(ledger: Ledger) -> None:
    seen: list[tuple[int, int]] = []
    contacts = _contacts(*(_contact(f"k{n}") for n in range(CHUNK + 1)))
    seed(ledger, contacts, _outcomes(), UNITS, FAMILIES, lambda done, of: seen.append((done, of)))
    assert seen == [(3, CHUNK + 4), (CHUNK + 3, CHUNK + 4), (CHUNK + 4, CHUNK + 4)]
