"""Files open on the customer: complaints, hardship, fraud, a death in the family."""

from collections.abc import Mapping

import narwhals as nw
import polars as pl

from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import DAYS_A_MICRO, Log, tails

OPEN = {
    "complaint": ("open complaint", "未结投诉"),
    "hardship": ("open hardship file", "未结困难个案"),
    "fraud": ("open fraud case", "未结欺诈案件"),
    "bereavement": ("open bereavement file", "未结身故善后个案"),
}
DAYS = 90
UNKNOWN = "no cases table and no assumption about it"


def _declare(_source: Source) -> tuple[Feature, ...]:
    told = [Feature(f"{kind}_open", "bool", "", UNKNOWN, "cases", en, zh) for kind, (en, zh) in OPEN.items()]
    told.append(Feature("days_since_last_complaint", "number", "days", "there was none", "cases",
                        "days since the last complaint", "上次投诉距今天数"))  # fmt: skip
    told.append(Feature(f"complaints_count_{DAYS}d", "number", "complaints", UNKNOWN, "cases",
                        f"complaints opened in the last {DAYS} days", f"近{DAYS}天新开投诉数"))  # fmt: skip
    return tuple(told)


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    if not source.has("cases"):
        none = False if source.assumed_empty("cases") else None
        found = {f"{k}_open": pl.repeat(none, len(pairs), dtype=pl.Boolean, eager=True) for k in OPEN}
        never = pl.repeat(None, len(pairs), dtype=pl.Float64, eager=True)
        count = pl.repeat(None if none is None else 0.0, len(pairs), dtype=pl.Float64, eager=True)
        return found | {"days_since_last_complaint": never, f"complaints_count_{DAYS}d": count}
    log = Log(_steps(source.rows("cases", ("kind", "opened_at", "closed_at"), pairs.codes)))
    tail = tails(pairs.frame["as_of"], DAYS, source.settings.tz)
    still = log.ever(pairs.frame, list(OPEN))
    last = log.last(pairs.frame, nw.col("complaint") > 0, ("booked",))["booked"]
    return {f"{kind}_open": pl.Series(still[kind] > 0) for kind in OPEN} | {
        "days_since_last_complaint": (pairs.frame["as_of"] - last) * DAYS_A_MICRO,
        f"complaints_count_{DAYS}d": pl.Series(log.since(pairs.frame, tail, ["opened"])["opened"]).cast(pl.Float64),
    }


def _steps(cases: pl.DataFrame) -> pl.DataFrame:
    """Opening adds one to what is open, closing takes it away."""
    steps = [
        cases.filter(pl.col(at).is_not_null()).select(
            "customer",
            *((pl.col("kind") == k).cast(pl.Int64).mul(step).alias(k) for k in OPEN),
            opened=((pl.col("kind") == "complaint") & (step > 0)).cast(pl.Int64),
            booked=at,
            recorded=at,
        )
        for at, step in (("opened_at", 1), ("closed_at", -1))
    ]
    return pl.concat(steps)


CASES = FeatureView("cases", _declare, _compute)
