"""The canonical tables of a SQL database, streamed out and put through the same checks as files.

Each table or view that carries a canonical name is read whole, in chunks, and written as CSV: a
database's own types are as many as there are databases, and the CSV reader already says of each
cell that does not fit why it goes to the quarantine.
"""

import csv
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from features.feed import FeedError, FeedReport, Progress
from features.home import Home
from features.intake import take_over
from features.staging import alone, written
from features.tables import FLAG, TABLES, Table

CHUNK = 50_000


def import_database(home: Home, url: str, schema: str | None = None, progress: Progress | None = None,
                    assumptions: Path | None = None) -> FeedReport:  # fmt: skip
    """Import the tables and views of a database that carry canonical names.

    Args:
        home: The home that receives them; its data are replaced whole.
        url: SQLAlchemy URL; the password is not told on.
        schema: Schema of the database; None: its default.
        progress: Called with table and rows read so far.
        assumptions: File of the sentences a folder has in its assumptions.yaml.

    Raises:
        FeedError: The database cannot be read, or a table is not as the contract says.
    """
    told = _told(url)
    with alone(home) as staging:
        scratch = written(staging)
        try:
            _dumped(url, told, schema, scratch, progress)
            if assumptions is not None:
                (scratch / "assumptions.yaml").write_bytes(_read(assumptions))
            return take_over(home, scratch, staging, told, progress)
        except FeedError as error:
            raise FeedError(_as_tables(str(error), scratch, told)) from error


def _dumped(url: str, told: str, schema: str | None, scratch: Path, progress: Progress | None) -> None:
    """`_dump`, in one line where it fails."""
    try:
        _dump(url, schema, scratch, progress)
    except (SQLAlchemyError, ImportError) as error:
        remedy = "install its driver" if isinstance(error, ImportError) else "check the URL and the rights"
        raise FeedError(f"`{told}` cannot be read: {str(error).splitlines()[0]}; {remedy}") from error


def _as_tables(line: str, scratch: Path, told: str) -> str:
    """A complaint about the files written out, said of the database."""
    for name in TABLES:
        line = line.replace(f"{name}.parquet or {name}.csv", f"a table or view `{name}`")
    return line.replace(str(scratch), told).replace(".csv`", "`")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FeedError(f"`{file}` cannot be read: {error.strerror}; give a file of sentences") from error


def is_url(source: str) -> bool:
    """Whether a source is a database and no folder."""
    return "://" in source


def _told(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError) as error:
        raise FeedError("the database's URL is none; write it as dialect://user:password@host/name") from error


def _dump(url: str, schema: str | None, out: Path, progress: Progress | None) -> None:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            known = sqlalchemy.inspect(connection)
            there = {*known.get_table_names(schema), *known.get_view_names(schema)}
            for name, table in TABLES.items():
                if name in there:
                    columns = [str(c["name"]) for c in known.get_columns(name, schema)]
                    _write(connection, table, columns, schema, out / f"{name}.csv", progress)
    finally:
        engine.dispose()


def _write(connection: sqlalchemy.Connection, table: Table, columns: Sequence[str], schema: str | None, path: Path,
           progress: Progress | None) -> None:  # fmt: skip
    chosen = sqlalchemy.select(sqlalchemy.table(table.name, *(sqlalchemy.column(c) for c in columns), schema=schema))
    flags = {c.name for c in table.columns if c.type == FLAG}
    at = [n for n, name in enumerate(columns) if name in flags]
    done = 0
    rows = connection.execution_options(stream_results=True, max_row_buffer=CHUNK).execute(chosen)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for chunk in rows.partitions(CHUNK):
            writer.writerows([_text(value, n in at) for n, value in enumerate(row)] for row in chunk)
            done += len(chunk)
            if progress:
                progress(table.name, done)
    if not done:
        path.unlink()  # an empty table is a table the bank does not have


def _text(value: object, flag: bool) -> str:
    """A cell as the CSV reader expects it; what is no flag, number or instant stays as it is written."""
    if value is None:
        return ""
    if isinstance(value, bool) or (flag and value in (0, 1)):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return str(int(value))  # 100.00 stays as it is and is refused: nobody can say that it counts minor units
    if isinstance(value, bytes | bytearray | memoryview):
        raise FeedError(f"a column holds bytes ({len(value)} of them); cast it to text in a view")
    return str(value)
