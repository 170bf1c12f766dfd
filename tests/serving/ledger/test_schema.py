"""The tables in code and in the migrations are the same; hot statements suit both databases."""

import importlib
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite

from serving.ledger.book import Ledger, unit_of
from serving.ledger.keyring import Keyring
from serving.ledger.migrations import upgrade
from serving.ledger.migrations.upgrade import bring_up_to_date
from serving.ledger.records import find
from serving.ledger.schema import HEAD, metadata
from serving.ledger.seal import look, seal
from serving.ledger.statement import Statement
from serving.ledger.writer import SIMULATED, LedgerError
from tests import sealed_ledger

MIGRATIONS = upgrade.SCRIPTS
MODULES = ("book", "lifecycle", "records", "idempotency", "keys", "events", "consents",
           "outcomes", "switches", "seed", "seal", "vault", "verify", "identity", "balances")  # fmt: skip

SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("units", sa.Column("confidence", sa.REAL()))
    {then}
"""


def _scripts(folder: Path, then: str = "pass") -> Path:
    """Our migrations and one more, as a later release would bring it."""
    (folder / "versions").mkdir(parents=True)
    for path in (MIGRATIONS / "env.py", *(MIGRATIONS / "versions").glob("*.py")):
        (folder / path.relative_to(MIGRATIONS)).write_text(path.read_text())
    (folder / "versions" / "9999_later.py").write_text(SECOND.format(then=then, head=HEAD))
    return folder


def _migrate(path: Path, scripts: Path = MIGRATIONS, head: str = HEAD) -> None:
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        bring_up_to_date(engine, scripts, head)
    finally:
        engine.dispose()


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(sql))]
    engine.dispose()
    return found


def _filled(path: Path) -> None:
    _migrate(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO units VALUES ('C1', 'H1', NULL, NULL)"))
    engine.dispose()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_migrations_of_an_empty_database_make_exactly_the_declared_tables(tmp_path: Path) -> None:
    _migrate(tmp_path / "nbo.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'nbo.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    listed = "SELECT name, strict FROM pragma_table_list WHERE schema = 'main'"
    strict = {name for name, is_strict in _rows(tmp_path / "nbo.db", listed) if is_strict}
    assert strict == set(metadata.tables)


def test_migration_keeps_the_rows_of_a_filled_database(tmp_path: Path) -> None:
    path = tmp_path / "nbo.db"
    _filled(path)
    _migrate(path, _scripts(tmp_path / "later"), "9999")
    assert _rows(path, "SELECT * FROM units") == [("C1", "H1", None, None, None)]
    assert _rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_ledger_of_the_first_release_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    """Filled at 0001, as the first release left it: every row is there afterwards, new columns empty."""
    path = tmp_path / "nbo.db"
    _migrate(path, head="0001")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(
            "INSERT INTO contacts (contact_id, customer_id, unit_id, channel, purpose, direction, state, source, decided_at,"
            " send_after, send_before, close_reason) VALUES ('k1', 'C1', 'H1', 'sms', 'marketing', 'outbound', 'closed',"
            " 'decision', 1, 1, 2, 'recalled')"))  # fmt: skip
        for event_id in ("e1", "e2"):
            connection.execute(text(
                f"INSERT INTO events (event_id, customer_id, kind, booked_at, recorded_at, received_at) VALUES ('{event_id}', 'C1', 'salary', 1, 1, 1)"))  # fmt: skip
    engine.dispose()
    _migrate(path)
    assert _rows(path, "SELECT contact_id, close_reason, recall_reason FROM contacts") == [("k1", "recalled", None)]
    told = _rows(path, "SELECT event_id, transaction_id, account_id FROM events ORDER BY 1")
    assert told == [("e1", None, None), ("e2", None, None)]
    assert _rows(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_migration_that_fails_half_way_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "nbo.db"
    _filled(path)
    broken = _scripts(tmp_path / "later", then='op.execute("SELECT * FROM nowhere")')
    with pytest.raises(Exception, match="nowhere"):
        _migrate(path, broken, "9999")
    assert _rows(path, "SELECT * FROM units") == [("C1", "H1", None, None)]
    assert _rows(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_database_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "nbo.db"
    _filled(path)
    _migrate(path, _scripts(tmp_path / "later"), "9999")
    with pytest.raises(LedgerError, match="newer version"):
        _migrate(path)
    assert _rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


def _statements() -> list[tuple[str, Statement]]:
    found = [(f"{module}.{name}", value) for module in MODULES
             for name, value in vars(importlib.import_module(f"serving.ledger.{module}")).items()
             if isinstance(value, Statement)]  # fmt: skip
    assert len(found) > 20
    return found


@pytest.mark.parametrize(("name", "statement"), _statements())
def test_hot_statement_reads_the_same_to_both_databases(name: str, statement: Statement) -> None:
    embedded = statement.sql(sqlite.dialect(paramstyle="qmark"))
    server = statement.sql(postgresql.dialect(paramstyle="format"))
    assert embedded.count("?") == server.count("%s")
    assert embedded.split()[0] == server.split()[0] in ("SELECT", "INSERT", "UPDATE")


def test_strict_tables_refuse_a_text_where_an_instant_belongs(tmp_path: Path) -> None:
    _migrate(tmp_path / "nbo.db")
    with pytest.raises(Exception, match="cannot store TEXT value in INTEGER column"):
        _rows(tmp_path / "nbo.db", "INSERT INTO outcomes VALUES ('c', 'opened', 'noon', 1)")


FILLED = """
INSERT INTO units (customer_id, unit_id) VALUES ('C1', 'H1');
INSERT INTO decisions (decision_id, customer_id, unit_id, as_of, inputs, result, reasons, terms, revisions, recorded_at, row_sha256, sealed)
 VALUES ('d1', 'C1', 'H1', 17, {blob}, {blob}, '[]', 'ab', '{{}}', 18, '00', NULL);
INSERT INTO consents (consent_id, customer_id, purpose, channel, state, at, received_at) VALUES ('s1', 'C1', 'marketing', 'sms', 'granted', 1, 2)
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_filled_ledger_of_the_first_release_is_migrated_and_sealed(tmp_path: Path, database: str) -> None:
    """0001 -> today, with rows: nothing is lost, and what was recorded before there were seals is sealed."""
    server = sealed_ledger._server() if database == "postgresql" else sealed_ledger._file(tmp_path / "nbo.db")
    with server as url:
        engine = create_engine(url, connect_args={"isolation_level": None} if database == "sqlite" else {})
        if database == "sqlite":
            event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        first = tmp_path / "first"
        (first / "versions").mkdir(parents=True)
        for name in ("env.py", "versions/0001_first_tables.py"):
            (first / name).write_text((MIGRATIONS / name).read_text())
        bring_up_to_date(engine, first, "0001")
        with engine.begin() as connection:
            for statement in FILLED.format(blob="X'7b7d'" if database == "sqlite" else "'\\x7b7d'").strip().split(";"):
                connection.exec_driver_sql(statement)
        bring_up_to_date(engine)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        engine.dispose()
        with Ledger.open(url, lambda: sealed_ledger.NOW, b"s", bounds=SIMULATED) as ledger:
            keyring = Keyring(tmp_path / "keyring.json", b"s" * 32)
            made = ledger.write(
                lambda c: seal(c, keyring, ledger.now_micros(), look(c, ledger.now_micros(), since=0))
            ).result(30)
            assert made is not None and made.leaves == 2
            with ledger.read() as connection:
                row = find(connection, "d1")
                assert row is not None and row.inputs == b"{}" and unit_of(connection, ["C1"]) == {"C1": "H1"}


def test_the_switch_to_wal_waits_for_another_process_that_is_looking(tmp_path: Path) -> None:
    """Who opens the same new file asks for its revision under the write lock; SQLite does not wait for that by itself."""
    engine = create_engine(f"sqlite:///{tmp_path / 'nbo.db'}", connect_args={"isolation_level": None, "timeout": 30})
    with sqlite3.connect(tmp_path / "nbo.db", isolation_level=None, check_same_thread=False) as other:
        other.executescript("CREATE TABLE other (x); BEGIN IMMEDIATE")
        with engine.connect() as connection, pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.connection.cursor().execute("PRAGMA journal_mode = WAL")
        threading.Timer(0.2, other.rollback).start()
        upgrade._to_wal(engine)
    engine.dispose()
    with sqlite3.connect(tmp_path / "nbo.db") as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
