"""Of whom features are asked, each as of an instant of his own: an Arrow table, checked."""

from collections.abc import Collection
from datetime import datetime

import polars as pl
import pyarrow as pa


class EntitiesError(ValueError):
    """Entities cannot be asked for; one line: what, where, remedy."""


def asked_for(entities: pa.Table, features: Collection[str], now: datetime) -> pl.DataFrame:
    """customer_id, as_of (microseconds) of every row, in their order.

    Args:
        entities: customer_id, as_of (timestamp with zone), any other columns.
        features: Names that no other column may have.
        now: The home's present.

    Raises:
        EntitiesError: A column is missing or has a feature's name, or as_of has no zone or a null or lies in the future.
    """
    for name in ("customer_id", "as_of"):
        if name not in entities.column_names:
            raise EntitiesError(f"entities: column `{name}` is missing; add it")
    clash = next((name for name in entities.column_names if name in features), None)
    if clash:
        raise EntitiesError(f"entities: column `{clash}` is a feature's name; rename it")
    stamp = entities.schema.field("as_of").type
    if not pa.types.is_timestamp(stamp) or stamp.tz is None:
        raise EntitiesError(f"entities: `as_of` is {stamp}; expected an instant with its zone")
    if entities.column("as_of").null_count:
        raise EntitiesError("entities: `as_of` is empty in some rows; give every row its instant")
    rows = pl.DataFrame(entities.select(["customer_id", "as_of"]))
    ahead = (rows["as_of"] > now).arg_true()
    if len(ahead):
        told = f"`as_of` of row {ahead[0] + 1} lies after the home's present, {now:%FT%TZ}"
        raise EntitiesError(f"entities: {told}; choose an earlier one")
    return rows.with_columns(pl.col("customer_id").cast(pl.String), pl.col("as_of").dt.epoch("us"))
