"""Consents that run out before the next snapshots: which, and when, so that they end at their instant and not with the night."""

import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa

from features.customers import PROFILING, statements
from features.lists import out_of_lists
from features.settings import horizon_days
from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.windows import DAY_MICROS

ENDING = (*(f"consent_marketing_{channel}" for channel in MARKETING_CHANNELS), PROFILING)  # features, by their place
EXPIRIES = pa.field("_expiries", pa.list_(pa.struct([("place", pa.uint8()), ("at", pa.int64())])))
_SCHEMA = {"place": pl.UInt8, "at": pl.Int64}


def expiries(codes: pl.DataFrame, at: int, source: Source) -> pl.DataFrame:
    """customer, _expiries (place in ENDING, instant) of those whose last word ends within the horizon of a snapshot.

    Args:
        codes: customer_id, customer.
        at: Instant of the snapshot, microseconds.
        source: The bank's tables.
    """
    found = [pl.DataFrame(schema={"customer": codes.schema["customer"], **_SCHEMA})]
    if source.has("consents"):
        rows = source.rows("consents", ("purpose", "channel", "state", "at", "expires_at"), codes)
        end = at + (horizon_days(source.settings) + 1) * DAY_MICROS
        who = (
            rows.filter(pl.col("expires_at").is_between(at, end, closed="right"))
            .select("customer")
            .unique()
            .sort("customer")
            .with_columns(as_of=pl.lit(at, pl.Int64))
        )
        rows = rows.join(who, on="customer", how="semi")
        logs = {
            purpose: statements(rows.filter(pl.col("purpose") == purpose)) for purpose in ("marketing", "profiling")
        }
        for place, channel in enumerate((*MARKETING_CHANNELS, None)):
            concerns = nw.col("state") != "" if channel is None else nw.col("channel").is_in(["all", channel])
            last = logs["marketing" if channel else "profiling"].last(who, concerns, ("expires_at",))
            ends = who.select("customer", place=pl.lit(place, pl.UInt8)).with_columns(at=last["expires_at"])
            found.append(ends.filter(pl.col("at").is_between(at, end, closed="right")))
    ending = pl.concat(found).sort("customer", "place").group_by("customer", maintain_order=True)
    return ending.agg(_expiries=pl.struct("place", "at"))


def ended(rows: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Rows of a snapshot, whose words have ended that run out by the moment; what they carry of it stays."""
    if not rows["_expiries"].list.len().sum():
        return rows
    row, words = out_of_lists(rows["_expiries"])
    due = (words["at"] <= moment).to_numpy()
    row, place = row[due], words["place"].to_numpy()[due]
    for number in np.unique(place).tolist():
        gone = np.zeros(len(rows), bool)
        gone[row[place == number]] = True
        name = ENDING[number]
        rows = rows.with_columns(pl.when(pl.Series(gone)).then(pl.lit("none")).otherwise(name).alias(name))
    return rows
