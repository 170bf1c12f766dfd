"""A bank's tables read out of its database, as if they had come as files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from features.commands import import_app
from features.feed import FeedError, FeedReport
from features.intake import import_tables
from features.sources.sql import import_database
from features.tables import DAY, FLAG, INSTANT, MONEY, SHARE, TABLES
from tests.feature_bank import Tables, made_up_bank, small_home, write_tables

TYPES: dict[Any, Any] = {
    INSTANT: sa.DateTime(timezone=True),
    DAY: sa.Date(),
    MONEY: sa.BigInteger(),
    SHARE: sa.Float(),
    FLAG: sa.Boolean(),
}


def database(tables: Tables, url: str) -> str:
    """Those tables under canonical names; SQLite has no instants, so they stand there as texts."""
    engine, metadata = sa.create_engine(url), sa.MetaData()
    lite = engine.dialect.name == "sqlite"
    types = TYPES | ({INSTANT: sa.Text()} if lite else {})
    for name, rows in tables.items():
        columns = [sa.Column(c.name, types.get(c.type, sa.Text())) for c in TABLES[name].columns]
        table = sa.Table(name, metadata, *columns)
        table.create(engine)
        told = [{k: v.isoformat() if lite and isinstance(v, datetime) else v for k, v in row.items()} for row in rows]
        if told:
            with engine.begin() as connection:
                connection.execute(table.insert(), told)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    return f"sqlite:///{tmp_path / 'bank.db'}" if request.param == "sqlite" else request.getfixturevalue("server")


def test_a_database_gives_what_files_give(tmp_path: Path, url: str) -> None:
    tables = made_up_bank(31, transactions=300)
    files, database_home = small_home(tmp_path / "files"), small_home(tmp_path / "database")
    import_tables(files, write_tables(tables, tmp_path / "source"))
    database(tables, url)
    done = CliRunner().invoke(import_app, ["tables", url, "--json"], obj=database_home.path)
    assert done.exit_code == 0, done.output
    for name in tables:
        both = [pl.read_parquet(home.table(name) / "*.parquet").drop("imported_at") for home in (files, database_home)]
        key = list(TABLES[name].key)
        assert both[0].sort(key).equals(both[1].sort(key)), name


def test_views_of_another_schema_are_read_from_a_cursor_of_the_server(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bank's own tables under a view; mutant: without `stream_results` the cursor has no name on the server."""
    home, engine, streamed = small_home(tmp_path / "home"), sa.create_engine(server), list[bool]()
    with engine.begin() as connection:
        for statement in VIEWS:
            connection.exec_driver_sql(statement)
    engine.dispose()
    monkeypatch.setattr("features.sources.sql.CHUNK", 100)

    def watched(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM core.transactions" in statement:
            streamed.append(isinstance(cursor, psycopg.ServerCursor))

    sa.event.listen(sa.Engine, "before_cursor_execute", watched)
    try:
        report = import_database(home, server, "core")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", watched)
    assert streamed == [True]
    told = report.tables["transactions"]
    assert (told.rows, told.accepted) == (1_000, 990)
    assert [(r.reason, r.count) for r in told.rejects] == [("`customer_id` is an unknown customer", 10)]
    assert "postgres" in report.source and home.table("transactions").exists()


VIEWS = (
    "CREATE SCHEMA core",
    "CREATE TABLE core.konten AS SELECT n AS id, mod(n, 50) AS partner FROM generate_series(0, 99) AS n",
    "CREATE VIEW core.customers AS SELECT 'C' || n AS customer_id, NULL AS household_id, 'person' AS kind, "
    + ", ".join(f"NULL AS {c.name}" for c in TABLES["customers"].columns[3:])
    + " FROM generate_series(0, 49) AS n",
    """CREATE VIEW core.transactions AS SELECT 'T' || t AS transaction_id, NULL AS account_id,
         'C' || CASE WHEN mod(t, 100) = 0 THEN 99 ELSE k.partner END AS customer_id, round(12.34 * 100)::numeric AS amount_minor,
         'GBP' AS currency, 'purchase' AS kind, NULL AS channel, NULL AS balance_after_minor,
         TIMESTAMP '2025-06-01 12:00' AT TIME ZONE 'Europe/Berlin' AS booked_at,
         TIMESTAMP '2025-06-01 12:01' AT TIME ZONE 'Europe/Berlin' AS recorded_at
       FROM generate_series(1, 1000) AS t JOIN core.konten k ON k.id = mod(t, 100)""",
)


def test_bad_cells_and_columns_are_told_by_the_tables_name(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home")
    tables = made_up_bank(32, transactions=50)
    tables["transactions"][0]["booked_at"] = datetime(2025, 1, 1).isoformat()
    report = import_database(home, database(tables, f"sqlite:///{tmp_path / 'a.db'}"))
    assert any("`booked_at` has no time zone" in line for line in report.lines())
    url = database(made_up_bank(33, transactions=50), f"sqlite:///{tmp_path / 'b.db'}")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE transactions RENAME COLUMN kind TO kindd"))
    engine.dispose()
    with pytest.raises(FeedError) as error:
        import_database(home, url)
    assert str(error.value) == f"`{url}/transactions`: column `kind` is missing; rename `kindd`"


@pytest.mark.parametrize(("url", "line"), [
    ("://nothing", "the database's URL is none; write it as dialect://user:password@host/name"),
    ("sqlite:////no/such/folder/x.db", "`sqlite:////no/such/folder/x.db` cannot be read: (sqlite3.OperationalError) unable to"
     " open database file; check the URL and the rights"),
    ("sqlite://", "`sqlite://`: table `customers` is missing; add a table or view `customers`"),
    ("postgresql://u@h:port/x", "the database's URL is none; write it as dialect://user:password@host/name"),
    ("oracle+oracledb://u:secret@h/x", "`oracle+oracledb://u:***@h/x` cannot be read: No module named 'oracledb'; install its driver"),
])  # fmt: skip
def test_a_database_that_is_none_is_one_line(tmp_path: Path, url: str, line: str) -> None:
    with pytest.raises(FeedError) as error:
        import_database(small_home(tmp_path / "home"), url)
    assert str(error.value) == line


def test_a_database_has_its_assumptions_in_a_file_beside_and_its_name_in_the_report(tmp_path: Path) -> None:
    home, said = small_home(tmp_path / "home"), tmp_path / "assumptions.yaml"
    tables = {name: rows for name, rows in made_up_bank(34, transactions=50).items() if name != "consents"}
    url = database(tables, f"sqlite:///{tmp_path / 'a.db'}")
    said.write_text("- 'no consents: nobody was ever asked'\n")
    command = ["tables", url, "--assumptions", str(said)]
    assert CliRunner().invoke(import_app, command, obj=home.path).exit_code == 0
    assert "no consents: nobody was ever asked" in home.assumptions()
    assert FeedReport.model_validate_json((home.data / "feed.json").read_bytes()).source == url
    said.unlink()
    with pytest.raises(
        FeedError, match=r"^`.*assumptions.yaml` cannot be read: No such file or directory; give a file of sentences$"
    ):
        import_database(home, url, assumptions=said)


def test_the_template_is_filled_and_imported(tmp_path: Path) -> None:
    folder, runner = tmp_path / "template", CliRunner()
    assert runner.invoke(import_app, ["template", str(folder), "--json"], obj=tmp_path).exit_code == 0
    assert {p.stem for p in folder.glob("*.csv")} == set(TABLES)
    text = (folder / "README.md").read_text()
    assert all(f"| {c.name} |" in text for table in TABLES.values() for c in table.columns)
    for path in folder.glob("*.csv"):
        if path.stem not in ("customers", "transactions"):
            path.unlink()
    blank = dict.fromkeys(c.name for c in TABLES["customers"].columns)
    cells = {**blank, "customer_id": "1", "kind": "person"}
    with (folder / "customers.csv").open("a") as file:
        file.write(",".join(str(v or "") for v in cells.values()) + "\n")
    with (folder / "transactions.csv").open("a") as file:
        file.write("t1,,1,-1234,GBP,purchase,,,2025-06-01T10:00:00+01:00,2025-06-01T10:00:00+01:00\n")
    home = small_home(tmp_path / "home")
    assert import_tables(home, folder).rejected == 0
    booked = pl.read_parquet(home.table("transactions") / "*.parquet")["booked_at"]
    assert booked.to_list() == [datetime(2025, 6, 1, 9, tzinfo=UTC)]
    again = runner.invoke(import_app, ["template", str(folder)])
    assert str(again.exception) == f"`{folder}` is not empty; choose an empty folder"
