"""Files open on the customer: complaints and hardship."""

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, Log

OPEN = {
    "complaint": ("open complaint", "未结投诉"),
    "hardship": ("open hardship file", "未结困难个案"),
}
UNKNOWN = "no cases table and no assumption about it"


def _declare(_source: Source) -> tuple[Feature, ...]:
    told = [Feature(f"{kind}_open", "bool", "", UNKNOWN, "cases", en, zh) for kind, (en, zh) in OPEN.items()]
    told.append(Feature("days_since_last_complaint", "number", "days", "there was none", "cases",
                        "days since the last complaint", "上次投诉距今天数"))  # fmt: skip
    return tuple(told)


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    if not source.has("cases"):
        none = False if source.assumes("cases", "none open") else None
        found = {f"{k}_open": pl.repeat(none, len(pairs), dtype=pl.Boolean, eager=True) for k in OPEN}
        never = pl.repeat(None, len(pairs), dtype=pl.Float64, eager=True)
        return found | {"days_since_last_complaint": never}
    log = Log(_steps(source.rows("cases", ("kind", "opened_at", "closed_at"), pairs.codes)))
    still = log.ever(pairs.frame, list(OPEN))
    last = log.last(pairs.frame, nw.col("complaint") > 0, ("booked",))["booked"]
    return {f"{kind}_open": pl.Series(still[kind] > 0) for kind in OPEN} | {
        "days_since_last_complaint": (pairs.frame["as_of"] - last) / DAY_MICROS
    }


def _steps(cases: pl.DataFrame) -> pl.DataFrame:
    """Opening adds one to what is open, closing takes it away."""
    steps = [
        cases.filter(pl.col(at).is_not_null()).select(
            "customer",
            *((pl.col("kind") == k).cast(pl.Int64).mul(step).alias(k) for k in OPEN),
            booked=at,
            recorded=at,
        )
        for at, step in (("opened_at", 1), ("closed_at", -1))
    ]
    return pl.concat(steps)


CASES = FeatureView("cases", _declare, _compute)
