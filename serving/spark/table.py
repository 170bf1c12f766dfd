"""Tables of ours as Spark holds them, and back with every type; units kept whole on the way.

Spark knows no unsigned numbers, no fixed-size lists and no field metadata: they go as what is nearest, bit for bit,
and come back as they were. Spark also cuts a partition into batches where it likes: `whole_units` mends that.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROW = "row"
_SIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
Tables = Iterator[pa.RecordBatch]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type a column has in Spark."""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if kind == pa.uint64():
        return pa.int64()  # the same bits
    return _SIGNED.get(kind, kind)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in Spark; every column may be null there."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def to_plain(table: pa.Table) -> pa.Table:
    """The table as Spark takes it."""
    columns = [c.view(pa.int64()) if c.type == pa.uint64() else c.cast(plain_type(c.type)) for c in _combined(table)]
    return pa.table(columns, schema=plain_schema(table.schema))


def as_was(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """Those columns of a table out of Spark, with the types of the schema."""
    columns = [_as(column, field) for column, field in zip(_combined(table.select(schema.names)), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as(column: Any, field: pa.Field) -> Any:
    if field.type == pa.uint64():
        return column.cast(pa.int64()).view(pa.uint64())
    return column.cast(field.type)


def written(frame: "DataFrame", folder: Path) -> Path:
    """The folder with the rows in it as Parquet: what Spark hands to its driver by itself must fit into 1 GB of Java."""
    frame.write.parquet(str(folder))
    return folder


def in_order(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows by `row`, with the columns and types of the schema."""
    return pa.Table.from_batches([as_was(rows.sort_by(ROW), schema)], schema)


def read_in_order(folder: Path, schema: pa.Schema) -> pa.Table:
    """What was written there by `row`, with the columns and types of the schema."""
    return in_order(pq.read_table(folder, columns=list(dict.fromkeys([*schema.names, ROW]))), schema)


def _combined(table: pa.Table) -> list[Any]:
    return [column.combine_chunks() for column in table.columns]


def spark_type(schema: pa.Schema) -> Any:
    """What mapInArrow is told its answer looks like."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(plain_schema(schema))


def by_unit(frame: "DataFrame", parts: int | None = None) -> "DataFrame":
    """The rows with each unit whole in one partition, in the order of the run within it."""
    shuffled = frame.repartition("unit_id") if parts is None else frame.repartition(parts, "unit_id")
    return shuffled.sortWithinPartitions("unit_id", ROW)


def whole_units(batches: Iterable[pa.RecordBatch], work: Callable[[pa.Table], pa.Table]) -> Tables:
    """What work makes of the rows, as many at a time as Spark hands over and no unit ever cut in two.

    batches: sorted by unit_id.
    """
    held: list[pa.Table] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        units = batch.column("unit_id")
        last = units[-1].as_py()
        begins = int(np.argmax(np.asarray(units.to_numpy(zero_copy_only=False)) == last))
        whole = pa.Table.from_batches([batch])
        if begins or (held and held[0].column("unit_id")[0].as_py() != last):
            yield from _done(work, [*held, whole.slice(0, begins)])
            held = []
        held.append(whole.slice(begins))
    if held:
        yield from _done(work, held)


def _done(work: Callable[[pa.Table], pa.Table], parts: list[pa.Table]) -> Tables:
    yield from to_plain(work(pa.concat_tables(parts).combine_chunks())).to_batches()
