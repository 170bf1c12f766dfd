"""Each customer's bookings of the last months, handed from one snapshot to the next.

Two list columns of a snapshot, entry for entry of one booking, in the order in which the bookings became
visible, so that a night only appends:

_ids        transaction id
_recent     day (local), kind (place in TRANSACTION_KINDS), channel, worth (base minor units; null: no rate)
"""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from features.lists import in_lists
from features.measures import in_base
from features.salary import SALARY_DAYS
from features.source import Source
from features.tables import TRANSACTION_KINDS
from features.windows import local_days

REACH_DAYS = SALARY_DAYS + 2  # the longest window that looks at bookings themselves; its tail is floored to a midnight
_FIELDS = {"day": pl.Date, "kind": pl.UInt8, "channel": pl.String, "worth": pl.Int64}
RECENT_SCHEMA = {"customer": pl.Int32, "transaction_id": pl.String, **_FIELDS}
RECENT_COLUMNS = [
    pa.field("_ids", pa.list_(pa.large_string())),  # a text column ends at 2 GiB: 4.7 million customers
    pa.field("_recent", pa.list_(pa.struct([("day", pa.date32()), ("kind", pa.uint8()), ("channel", pa.string()),
                                            ("worth", pa.int64())]))),
]  # fmt: skip
READ = ("transaction_id", "amount_minor", "currency", "kind", "channel", "booked_at", "recorded_at")


def recent_of(bookings: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The rows of RECENT_SCHEMA of some bookings, by customer and by when they became visible.

    Args:
        bookings: customer and READ; instants as microseconds.
        source: The bank's zone and rates.
    """
    day = local_days(bookings["booked_at"], source.settings.tz)
    worth = in_base(bookings["amount_minor"], bookings["currency"], day, source).cast(pl.Int64)
    code = pl.col("kind").cast(pl.Enum(TRANSACTION_KINDS)).to_physical().cast(pl.UInt8)
    visible = pl.max_horizontal(pl.col("booked_at") + 1, "recorded_at")
    rows = bookings.with_columns(code.alias("kind"), day=day, worth=worth, visible=visible)
    return rows.sort("customer", "visible", "transaction_id").select(*RECENT_SCHEMA)


def read_recent(codes: pl.DataFrame, at: int, since: int, source: Source) -> pl.DataFrame:
    """The bookings of [since, at) visible at `at`, of the customers in codes (customer_id, customer)."""
    rows = source.rows("transactions", READ, codes, since)
    seen = rows.filter(pl.col("booked_at") < at, pl.col("recorded_at") <= at)
    return recent_of(seen, source)


def handed_on(base: pa.Table, codes: pl.DataFrame) -> pl.DataFrame:
    """The rows a snapshot carries, of the customers in codes.

    Args:
        base: `Snapshot.table`.
        codes: customer_id, customer; ascending.
    """
    ids, facts = (_whole(base.column(name)) for name in ("_ids", "_recent"))
    sizes = np.diff(ids.offsets.to_numpy())
    places = pl.DataFrame({"customer_id": pl.Series(base.column("customer_id"))})
    here = places.join(codes, on="customer_id", how="left", maintain_order="left")["customer"]
    struct = facts.flatten()
    columns = dict(zip(_FIELDS, struct.flatten(), strict=True))
    rows = pl.DataFrame(pa.table({"transaction_id": ids.flatten(), **columns}))
    rows = rows.with_columns(customer=here.gather(np.repeat(np.arange(len(sizes)), sizes)))
    return rows.filter(pl.col("customer").is_not_null()).select(*RECENT_SCHEMA)


def merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows of RECENT_SCHEMA one after the other within each customer, ascending by customer."""
    # Two ascending runs: a stable sort merges them in one pass.
    rows = pl.concat(parts)
    return rows[np.argsort(rows["customer"].to_numpy(), kind="stable")]


def listed(rows: pl.DataFrame, n_customers: int) -> dict[str, Any]:
    """RECENT_COLUMNS by name, a list a customer 0..n - 1."""
    arrow = rows.select("transaction_id", *_FIELDS).to_arrow(compat_level=pl.CompatLevel.oldest())
    struct = RECENT_COLUMNS[1].type.value_type
    facts = [_plain(arrow.column(field.name).cast(field.type)) for field in struct]
    values = {
        "_ids": _plain(arrow.column("transaction_id").cast(pa.large_string())),
        "_recent": pa.StructArray.from_arrays(facts, fields=list(struct)),
    }
    customer = rows["customer"].to_numpy()
    return {name: in_lists(column, customer, n_customers) for name, column in values.items()}


def _plain(column: "pa.ChunkedArray[Any]") -> Any:
    """One array without what cannot be seen: texts behind nulls, bits behind the last row.

    So the same values are the same bytes, whichever way they came.
    """
    array = _whole(column)
    if not array.null_count:
        return pa.Array.from_buffers(array.type, len(array), [None, *array.buffers()[1:]])
    values = (array.fill_null("") if pa.types.is_string(array.type) else array).buffers()[1:]
    there = np.packbits(array.is_valid().to_numpy(zero_copy_only=False), bitorder="little")
    return pa.Array.from_buffers(array.type, len(array), [pa.py_buffer(there), *values])


def _whole(column: "pa.ChunkedArray[Any]") -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
