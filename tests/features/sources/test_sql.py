"""A bank's tables read out of its database, as if they had come as files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from features.commands import import_app
from features.feed import FeedError
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


def database(tables: Tables, path: Path) -> str:
    url = f"sqlite:///{path}"
    engine, metadata = sa.create_engine(url), sa.MetaData()
    for name, rows in tables.items():
        columns = [
            sa.Column(c.name, sa.Text() if c.type in (INSTANT,) else TYPES.get(c.type, sa.Text()))
            for c in TABLES[name].columns
        ]
        table = sa.Table(name, metadata, *columns)
        table.create(engine)
        told = [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in rows]
        if told:
            with engine.begin() as connection:
                connection.execute(table.insert(), told)
    engine.dispose()
    return url


def test_a_database_gives_what_files_give(tmp_path: Path) -> None:
    tables = made_up_bank(31, transactions=300)
    files, database_home = small_home(tmp_path / "files"), small_home(tmp_path / "database")
    import_tables(files, write_tables(tables, tmp_path / "source"))
    url = database(tables, tmp_path / "bank.db")
    done = CliRunner().invoke(import_app, ["tables", url, "--json"], obj=database_home.path)
    assert done.exit_code == 0
    for name in tables:
        both = [pl.read_parquet(home.table(name) / "*.parquet").drop("imported_at") for home in (files, database_home)]
        key = list(TABLES[name].key)
        assert both[0].sort(key).equals(both[1].sort(key)), name


def test_bad_cells_and_columns_are_told_by_the_tables_name(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home")
    tables = made_up_bank(32, transactions=50)
    tables["transactions"][0]["booked_at"] = datetime(2025, 1, 1).isoformat()
    report = import_database(home, database(tables, tmp_path / "a.db"))
    assert any("`booked_at` has no time zone" in line for line in report.lines())
    url = database(made_up_bank(33, transactions=50), tmp_path / "b.db")
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
    ("sqlite://", "`sqlite://`: table `customers` is missing; add customers.parquet or customers.csv"),
])  # fmt: skip
def test_a_database_that_is_none_is_one_line(tmp_path: Path, url: str, line: str) -> None:
    with pytest.raises(FeedError) as error:
        import_database(small_home(tmp_path / "home"), url)
    assert str(error.value) == line


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
