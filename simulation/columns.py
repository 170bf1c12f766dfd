"""Arrow columns without a Python loop: ids from numbers, words from codes, nulls from masks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.tables import TABLES
from simulation.world import DAY_US, Flags, Ints


def schema_of(table: str) -> pa.Schema:
    """The contract's schema of a table without `imported_at`, which the import stamps."""
    schema = TABLES[table].schema
    return schema.remove(schema.get_field_index("imported_at"))


def table_of(table: str, columns: Mapping[str, pa.Array]) -> pa.Table:
    """A table in the contract's schema; every column must be given."""
    schema = schema_of(table)
    return pa.Table.from_arrays([columns[f.name].cast(f.type) for f in schema], schema=schema)


def ids(prefix: str, *parts: tuple[Ints, int]) -> pa.Array:
    """Ids of equal length: the prefix, then each number with leading zeros; `C0000001`.

    Args:
        prefix: ASCII letters.
        parts: Pairs of numbers, (n,), not negative, and their number of digits.
    """
    n = len(parts[0][0])
    width = len(prefix) + sum(digits for _, digits in parts)
    text = np.empty((n, width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    end = len(prefix)
    for numbers, digits in parts:
        rest = numbers.copy()
        for place in range(end + digits - 1, end - 1, -1):
            rest, digit = np.divmod(rest, 10)
            text[:, place] = digit + ord("0")
        end += digits
    offsets = np.arange(n + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))


def customer_ids(numbers: Ints) -> pa.Array:
    """Customer ids; number 0 is `C0000001`."""
    return ids("C", (numbers + 1, 7))


def words(names: Sequence[str | None], codes: Ints) -> pa.Array:
    """The word of each code; -1 or a name that is None gives null."""
    table = pa.array([*names, None], pa.string())
    return table.take(pa.array(np.where(codes < 0, len(names), codes), pa.int64()))


def instants(micros: Ints, null: Flags | None = None) -> pa.Array:
    """UTC instants from microseconds."""
    return pa.array(micros, pa.int64(), mask=null).cast(pa.timestamp("us", "UTC"))


def days(numbers: Ints, null: Flags | None = None) -> pa.Array:
    """Dates from days since 1970."""
    return pa.array(numbers.astype(np.int32), pa.int32(), mask=null).cast(pa.date32())


def day_of(micros: Ints) -> Ints:
    """Days since 1970 of instants in microseconds."""
    return micros // DAY_US


def blank(column: pa.Array, null: Flags) -> pa.Array:
    """The column with null where the mask says so."""
    return pc.if_else(pa.array(null), pa.scalar(None, column.type), column)


def rank_within(groups: Ints) -> Ints:
    """The place of each row among the earlier rows of its group: 0, 1, 2 ..."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else order
    sizes = np.diff(np.r_[starts, len(order)])
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks
