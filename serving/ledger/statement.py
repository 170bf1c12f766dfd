"""Statements compiled once per dialect and run on the driver's own cursor; rows as Arrow columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic_core import to_json
from sqlalchemy import BigInteger, Column
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double


class IsListed(FunctionElement[bool]):
    """`column IN` the texts of a JSON array bound as one parameter: a list of any length, one statement.

    It has no type: of a boolean SQLAlchemy writes `... = 1` for SQLite, which then uses no index.
    """

    inherit_cache = True


@compiles(IsListed, "sqlite")
def _is_listed_sqlite(element: IsListed, compiler: SQLCompiler, **more: Any) -> str:
    column, array = (compiler.process(part, **more) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({array}))"


@compiles(IsListed, "postgresql")
def _is_listed_postgresql(element: IsListed, compiler: SQLCompiler, **more: Any) -> str:
    # Of IN (SELECT ...) the planner expects a hundred rows whatever is bound, and reads whole tables for them;
    # an array made first is looked up in the index.
    column, array = (compiler.process(part, **more) for part in element.clauses)
    return f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({array} AS jsonb))))"


def listed(values: Iterable[str]) -> str:
    """The JSON array that `is_listed` looks in: ascending, each once."""
    return to_json(sorted(set(values))).decode()


def is_listed(column: ColumnElement[Any], parameter: ColumnElement[Any]) -> ColumnElement[bool]:
    """True where the column stands in the JSON array bound to the parameter."""
    return IsListed(column, parameter)


_FETCHED, _TOGETHER = (
    1_024,
    64,
)  # rows made columns of while the processor's cache holds them, and so many times of a batch
_SIZES = (32, 8, 4, 2, 1)  # rows of one insert; 32 contacts have 704 values, SQLite's least limit is 999


class Statement:
    """A SQLAlchemy Core statement, compiled once per dialect and run on the driver's own cursor.

    The road through Core costs ten times the statement itself; the ten hot statements of the
    ledger take this one. `tail` is SQL both databases share and Core has no common word for
    (ON CONFLICT ...). Values are numbers, texts and bytes only: nothing is converted.
    """

    def __init__(self, core: ClauseElement, tail: str = "") -> None:
        self.core, self.tail = core, tail
        self._ready: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}
        self._ordered: dict[str, _Ordered] = {}

    def _compiled(self, dialect: Dialect) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        ready = self._ready.get(dialect.name)
        if ready is None:
            compiled = self.core.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)
            assert compiled.positiontup is not None  # both dialects are opened with positional marks
            sql = f"{compiled.string} {self.tail}".strip()
            ready = (sql, tuple(compiled.positiontup), dict(compiled.params))
            self._ready[dialect.name] = ready
        return ready

    def sql(self, dialect: Dialect) -> str:
        """The text that reaches the database."""
        return self._compiled(dialect)[0]

    def run(self, connection: Connection, **values: Any) -> Any:
        """The driver's cursor after one execution; rows are plain tuples."""
        sql, names, fixed = self._compiled(connection.dialect)
        bound = fixed | values if len(values) < len(names) else values
        cursor = connection.connection.cursor()
        cursor.execute(sql, [bound[name] for name in names])
        return cursor

    def run_rows(self, connection: Connection, fields: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in the order of `fields`, which name every parameter, the same each time; many in one execution."""
        values, texts = self._in_order(connection.dialect, fields)
        cursor, place = connection.connection.cursor(), 0
        for size, sql in texts:  # few texts, so that each stays prepared
            while len(rows) - place >= size:
                part = rows[place : place + size]
                cursor.execute(sql, tuple(chain.from_iterable(map(values, part))))
                place += size

    def _in_order(self, dialect: Dialect, fields: tuple[str, ...]) -> "_Ordered":
        found = self._ordered.get(dialect.name)
        if found is None:
            sql, names, _ = self._compiled(dialect)
            head, _, marks = sql.partition(" VALUES ")
            texts = tuple((size, f"{head} VALUES {', '.join([marks] * size)}") for size in _SIZES)
            found = self._ordered[dialect.name] = _Ordered(itemgetter(*map(fields.index, names)), texts)
        return found

    def run_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute for each row, which names every parameter; how many rows of the table changed."""
        sql, names, _ = self._compiled(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.executemany(sql, [tuple([row[name] for name in names]) for row in rows])
        return max(int(cursor.rowcount), 0)


class _Ordered(NamedTuple):
    """Its values out of a row, and (rows, text) of as many at once, the largest first."""

    values: Callable[[Sequence[Any]], tuple[Any, ...]]
    texts: tuple[tuple[int, str], ...]


class Entry(NamedTuple):
    """A row to be inserted. statement: an insert; fields: what stands in the row, in its order; the same each time."""

    statement: Statement
    fields: tuple[str, ...]
    row: Sequence[Any]


def enter_all(connection: Connection, entries: Sequence[Entry]) -> None:
    """Insert the rows, those of one statement together, statements in the order they first come."""
    by_statement: dict[Statement, list[Entry]] = {}
    for entry in entries:
        by_statement.setdefault(entry.statement, []).append(entry)
    for statement, alike in by_statement.items():
        statement.run_rows(connection, alike[0].fields, [entry.row for entry in alike])


def arrow(connection: Connection, core: ClauseElement, schema: pa.Schema) -> pa.Table:
    """All rows of a select as Arrow columns of the schema, in its order."""
    cursor = Statement(core).run(connection)
    few: list[pa.RecordBatch] = []
    many: list[pa.RecordBatch] = []
    while rows := cursor.fetchmany(_FETCHED):
        columns = zip(*rows, strict=True)
        arrays = [pa.array(part, kind) for part, kind in zip(columns, schema.types, strict=True)]
        few.append(pa.record_batch(arrays, schema=schema))
        if len(few) == _TOGETHER:
            many.extend(_together(few))
            few = []
    return pa.Table.from_batches([*many, *_together(few)], schema=schema)


def _together(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches as one; as more where a text column would pass 2 GiB."""
    return pa.Table.from_batches(batches).combine_chunks().to_batches() if batches else []


def arrow_schema(columns: Iterable[Column[Any]]) -> pa.Schema:
    """The Arrow schema of database columns: instants and money int64, shares float64, else text."""
    return pa.schema([pa.field(column.name, _arrow_type(column)) for column in columns])


def _arrow_type(column: Column[Any]) -> pa.DataType:
    if isinstance(column.type, BigInteger):
        return pa.int64()
    return pa.float64() if isinstance(column.type, Double) else pa.string()
