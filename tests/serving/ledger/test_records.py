"""P05: a changed byte of a record is found; what was stored reads back to the same bytes."""

import sqlite3
from collections.abc import Generator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.ledger.book import Ledger, RowError
from serving.ledger.records import DecisionRow, broken, find, is_whole, of_customer, record, row_sha256

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROW = DecisionRow(
    decision_id="d1", customer_id="C1", unit_id="H1", as_of=17, inputs=b"\0arrow\xff",
    result=b'{"offer_id":null}', reasons='["recent_outflow"]', terms="ab" * 32,
    revisions='{"policy":"cd"}', recorded_at=18,
)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def test_record_reads_back_to_the_same_bytes(ledger: Ledger) -> None:
    assert ledger.write(lambda c: record(c, ROW)).result(10) == row_sha256(ROW)
    with ledger.read() as connection:
        assert find(connection, "d1") == ROW
        assert find(connection, "d2") is None
        assert is_whole(connection, "d1")
        assert list(broken(connection)) == []


def test_row_hash_is_the_documented_one() -> None:
    """Worked by hand once, so that records of years ago still verify."""
    import hashlib

    parts = [b"d1", b"C1", b"H1", b"17", b"\0arrow\xff", b'{"offer_id":null}',
             b'["recent_outflow"]', b"ab" * 32, b'{"policy":"cd"}', b"18"]  # fmt: skip
    canonical = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert row_sha256(ROW) == hashlib.sha256(canonical).hexdigest()


def test_fields_cannot_trade_bytes_unseen() -> None:
    moved = replace(ROW, decision_id="d1C", customer_id="1")
    assert row_sha256(moved) != row_sha256(ROW)


@pytest.mark.parametrize("column", [field.name for field in fields(DecisionRow)])
def test_p05_changed_column_is_found(ledger: Ledger, tmp_path: Path, column: str) -> None:
    ledger.write(lambda c: record(c, ROW)).result(10)
    ledger.write(lambda c: record(c, replace(ROW, decision_id="d0"))).result(10)
    value = getattr(ROW, column)
    changed: object = value + 1 if isinstance(value, int) else value + value[:1]
    with sqlite3.connect(tmp_path / "nbo.db") as raw:
        raw.execute(f"UPDATE decisions SET {column} = ? WHERE decision_id = 'd1'", (changed,))
    with ledger.read() as connection:
        found = list(broken(connection))
    assert found == [changed if column == "decision_id" else "d1"]


def test_decision_id_is_used_once(ledger: Ledger) -> None:
    ledger.write(lambda c: record(c, ROW)).result(10)
    with pytest.raises(RowError, match="refused a row"):
        ledger.write(lambda c: record(c, ROW)).result(10)


def test_decisions_of_a_customer_come_newest_first(ledger: Ledger) -> None:
    for n in range(3):
        row = replace(ROW, decision_id=f"d{n}", as_of=n)
        ledger.write(lambda c, row=row: record(c, row)).result(10)
    with ledger.read() as connection:
        assert [row.decision_id for row in of_customer(connection, "C1", limit=2)] == ["d2", "d1"]
        with pytest.raises(KeyError):
            is_whole(connection, "nobody")
