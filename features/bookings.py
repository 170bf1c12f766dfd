"""The bookings of some customers, read once for all views that look at them."""

import narwhals as nw
import polars as pl

from features.measures import in_base, measures
from features.source import Source
from features.tables import TRANSACTION_KINDS
from features.view import Pairs
from features.windows import Log, local_days

COLUMNS = ("transaction_id", "amount_minor", "currency", "kind", "channel", "balance_after_minor", "booked_at",
           "recorded_at")  # fmt: skip
_NAME = "bookings"


def bookings(pairs: Pairs, source: Source) -> Log:
    """The pairs' bookings: COLUMNS (the clocks as booked, recorded), `day`, the local day, and `base`.

    `base` is the amount in base minor units, null where a rate is missing.
    """
    if _NAME not in pairs.shared:
        pairs.shared[_NAME] = _read(pairs, source)
    return pairs.shared[_NAME]


def _read(pairs: Pairs, source: Source) -> Log:
    codes = {"kind": pl.Enum(TRANSACTION_KINDS), "currency": pl.Enum(source.settings.currencies),
             "channel": pl.Categorical()}  # fmt: skip
    rows = source.rows("transactions", COLUMNS, pairs.codes, types=codes)
    day = local_days(rows["booked_at"], source.settings.tz)
    base = in_base(rows["amount_minor"], rows["currency"], day, source).cast(pl.Int64)
    rows = rows.with_columns(day=day, base=base).rename({"booked_at": "booked", "recorded_at": "recorded"})
    return Log(rows, order=("transaction_id",), measures=measures(source.settings.currencies))


def of_kinds(kinds: tuple[str, ...]) -> nw.Expr:
    """Whether a booking is of one of the kinds; (): of any."""
    return nw.col("kind").is_in(kinds) if kinds else ~nw.col("kind").is_null()
