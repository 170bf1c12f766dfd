"""What a decision reads of some units costs what they have, not what the bank has: it is found by index."""

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from serving.ledger import counted, feed
from serving.ledger.book import Ledger
from serving.ledger.database import count_anew
from serving.ledger.statement import Statement, listed
from tests.postgres import database

NOW = datetime(2026, 6, 1, tzinfo=UTC)
N_CONTACTS = 20_000
MANY = f"WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {N_CONTACTS})"
CONTACTS = f"""
INSERT INTO contacts (contact_id, customer_id, unit_id, channel, purpose, direction, state, source, decided_at, send_after, send_before)
{MANY} SELECT 'k' || n, 'C' || (n / 4), 'C' || (n / 4), 'sms', 'marketing', 'outbound', 'sent', 'import', n, n, n FROM many
"""
OUTCOMES = f"INSERT INTO outcomes (contact_id, kind, at, recorded_at) {MANY} SELECT 'k' || n, 'refused', n, n FROM many"
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
WHOLE = ("SCAN contacts", "SCAN outcomes", "Seq Scan")  # how either says that it reads a table from end to end


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Ledger]:
    """A ledger filled in one transaction, in which it is counted."""

    def fill(connection: Connection) -> None:
        for statement in (CONTACTS, OUTCOMES):
            connection.exec_driver_sql(statement)
        count_anew(connection)

    def opened(url: str) -> Generator[Ledger]:
        with Ledger.open(url, lambda: NOW, b"secret") as ledger:
            ledger.write(fill).result()
            yield ledger

    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path / 'nbo.db'}")
    else:
        with database() as url:
            yield from opened(url)


@pytest.mark.parametrize("statement", [counted._OF_UNITS, counted._ANSWERS])
def test_neither_contacts_nor_outcomes_are_read_whole(filled: Ledger, statement: Statement) -> None:
    with filled.read() as connection:
        sql, names, fixed = statement._compiled(connection.dialect)
        bound = fixed | {"unit_ids": listed(f"C{n}" for n in range(100, 164)), "since": 0}
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"{EXPLAIN[connection.dialect.name]} {sql}", [bound[name] for name in names])
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert "ndex" in plan.lower() and not any(said in plan for said in WHOLE), plan


def test_the_newest_recall_is_read_off_its_index(filled: Ledger) -> None:
    """Mutant: a bound reason, which fits no partial index, so that every recall reads all contacts."""
    with filled.read() as connection:
        sql = feed._NEWEST_RECALL.sql(connection.dialect)
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"{EXPLAIN[connection.dialect.name]} {sql}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert "contacts_recalled" in plan and "Seq Scan" not in plan, plan


def test_the_index_finds_what_is_asked_and_nothing_else(filled: Ledger) -> None:
    with filled.read() as connection:
        found = counted.counted_of_units(connection, ["C7", "C9", "nobody"], 0)
        answers = counted.answers_of_units(connection, ["C7", "C9", "nobody"], 30)
    assert [row[9] for row in found] == ["k28", "k29", "k30", "k31", "k36", "k37", "k38", "k39"]
    assert [row[6] for row in answers] == ["k30", "k31", "k36", "k37", "k38", "k39"]
