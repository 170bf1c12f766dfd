"""Rows of a select as Arrow columns: all of them, in their order, whatever is fetched and put together at once."""

from collections.abc import Generator

import pyarrow as pa
import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.statement import arrow, arrow_schema

NUMBERS = Table("numbers", MetaData(), Column("n", BigInteger, primary_key=True), Column("word", String))


@pytest.fixture
def connection() -> Generator[Connection]:
    engine = create_engine("sqlite://", paramstyle="qmark")
    with engine.connect() as connection:
        NUMBERS.metadata.create_all(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize("n", [0, 1, 1_023, 1_024, 1_025, 65_535, 65_536, 65_537, 131_073])
def test_every_row_comes_once_and_in_order(connection: Connection, n: int) -> None:
    if n:
        connection.execute(insert(NUMBERS), [{"n": k, "word": None if k % 3 else f"w{k}"} for k in range(n)])
    schema = arrow_schema(NUMBERS.columns)
    found = arrow(connection, select(NUMBERS).order_by(NUMBERS.c.n), schema)
    assert found.schema.equals(schema) and found.column("n").to_pylist() == list(range(n))
    assert found.column("word").to_pylist() == [None if k % 3 else f"w{k}" for k in range(n)]
    assert [part.num_rows for part in found.to_batches()] == [65_536] * (n // 65_536) + [n % 65_536] * (n % 65_536 > 0)


def test_a_cell_of_another_type_is_refused(connection: Connection) -> None:
    connection.execute(insert(NUMBERS), [{"n": 1, "word": "one"}])
    with pytest.raises(pa.ArrowInvalid):
        arrow(connection, select(NUMBERS.c.word), pa.schema([("word", pa.int64())]))
