"""What a manager has written down about the customer."""

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import DAYS_A_MICRO, Log

UNKNOWN = "the bank gave no notes"


def _declare(_source: Source) -> tuple[Feature, ...]:
    return (
        Feature("notes_count", "number", "notes", UNKNOWN, "notes", "notes in force", "有效备注数"),
        Feature(
            "days_since_last_note", "number", "days", "there was none", "notes", "days since a note", "上次备注距今天数"
        ),
    )


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    if not source.has("notes"):
        nulls = pl.repeat(None, len(pairs), dtype=pl.Float64, eager=True)
        return {feature.name: nulls for feature in _declare(source)}
    rows = source.rows("notes", ("at", "until"), pairs.codes).rename({"at": "booked"})
    log = Log(rows.with_columns(recorded="booked", note=pl.lit(1, pl.Int64)))
    last = log.last(pairs.frame, nw.col("note") > 0, ("booked",))["booked"]
    asked = pairs.frame.with_row_index("cut")
    in_force = asked.join(rows, on="customer").filter(
        pl.col("booked") < pl.col("as_of"), pl.col("until").is_null() | (pl.col("until") >= pl.col("day"))
    )
    counts = asked.select("cut").join(in_force.group_by("cut").len(), on="cut", how="left", maintain_order="left")
    return {
        "notes_count": counts["len"].fill_null(0).cast(pl.Float64),
        "days_since_last_note": (pairs.frame["as_of"] - last) * DAYS_A_MICRO,
    }


NOTES = FeatureView("notes", _declare, _compute)
