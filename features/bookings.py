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
_OF_LAST = ("transaction_id", "balance_after_minor")


def bookings(pairs: Pairs, source: Source, since: int | None = None) -> Log:
    """The pairs' bookings: COLUMNS (the clocks as booked, recorded), `day`, the local day, and `base`.

    `base` is the amount in base minor units, null where a rate is missing. `since`: bookings of that
    instant (microseconds) or later are enough, and no others are read unless they have been read; such a
    log need not tell which of two bookings at once was the later, and lacks id and balance.
    """
    known = pairs.shared.get(_NAME)
    if known is not None:
        return known
    log = _read(pairs, source, since)
    if since is None:
        pairs.shared[_NAME] = log
    return log


def _read(pairs: Pairs, source: Source, since: int | None) -> Log:
    columns = COLUMNS if since is None else tuple(c for c in COLUMNS if c not in _OF_LAST)
    codes = {"kind": pl.Enum(TRANSACTION_KINDS), "currency": pl.Enum(source.settings.currencies),
             "channel": pl.Categorical()}  # fmt: skip
    rows = source.rows("transactions", columns, pairs.codes, since, codes)
    day = local_days(rows["booked_at"], source.settings.tz)
    base = in_base(rows["amount_minor"], rows["currency"], day, source).cast(pl.Int64)
    rows = rows.with_columns(day=day, base=base).rename({"booked_at": "booked", "recorded_at": "recorded"})
    order = ("transaction_id",) if since is None else ()
    return Log(rows, order=order, measures=measures(source.settings.currencies))


def of_kinds(kinds: tuple[str, ...]) -> nw.Expr:
    """Whether a booking is of one of the kinds; (): of any."""
    return nw.col("kind").is_in(kinds) if kinds else ~nw.col("kind").is_null()
