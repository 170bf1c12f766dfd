"""What a snapshot carries beside the features, so that its windows can be rolled on to the present.

Columns whose names begin with `_`; `FeatureStore.overlay` reads them and drops them:

_drops                list of (window, day, amount): what leaves a window once its tail passes a day (features/drops.py)
_ids, _recent         the bookings of the last REACH_DAYS that the snapshot has counted (features/recent.py)
_expiries             list of (place, instant): words on consent that run out (features/expiries.py)
_shared               bit n: an event in the n-th currency may be about one of several accounts, or about one
                      that is held jointly or by another; then the balance it states says little
_purchase_sum_45d     a part of `purchase_trend_90d`

An event of the ledger counts unless its id is among `_ids`: that it happened before the snapshot
does not show that the bank's own tables hold it. What the bank's books have not caught up with in
REACH_DAYS is not counted any longer.
"""

from typing import Any

import polars as pl
import pyarrow as pa

from features.drops import DROPS, drops
from features.expiries import EXPIRIES, expiries
from features.holdings import OWNERS
from features.measures import HALF
from features.recent import REACH_DAYS, RECENT_COLUMNS, listed
from features.settings import Settings
from features.snapshot import in_arrow
from features.source import Source
from features.windows import tail_of

CARRIED = pa.schema([
    pa.field(HALF, pa.float64()),
    DROPS,
    *RECENT_COLUMNS,
    EXPIRIES,
    pa.field("_shared", pa.int64()),
])  # fmt: skip
ROLLED = pa.schema([field for field in CARRIED if field.name != "_recent"])  # what is read to bring a row up to now


def carried(codes: pl.DataFrame, at: int, recent: pl.DataFrame, source: Source) -> dict[str, Any]:
    """What a snapshot carries of those customers: the columns of CARRIED but for HALF, by name.

    Args:
        codes: customer_id, customer: 0, 1, ...
        at: Instant of the snapshot, microseconds.
        recent: Their bookings, as features/recent.py has them.
        source: The bank's tables.
    """
    theirs = codes.join(_shared(codes, source), on="customer_id", how="left", maintain_order="left")
    theirs = theirs.join(expiries(codes, at, source), on="customer", how="left", maintain_order="left")
    theirs = theirs.select(pl.col("_shared").fill_null(0), pl.col("_expiries").fill_null([]))
    return {DROPS.name: drops(codes, at, source), **listed(recent, len(codes)), **in_arrow(theirs)}


def _shared(codes: pl.DataFrame, source: Source) -> pl.DataFrame:
    """customer_id, _shared of those customers; any number of closed accounts counts as well, for doubt costs little."""
    if not (source.has("accounts") and source.has("holders")):
        # What an event states would be a balance the bank never gave.
        every = (1 << len(source.settings.currencies)) - 1
        return codes.select("customer_id", _shared=pl.lit(every, pl.Int64))
    holders = source.whole("holders", ("account_id", "customer_id", "role"))
    theirs = holders.join(codes, on="customer_id", how="semi").select("account_id")
    owner = pl.col("role").is_in(OWNERS)
    several = holders.join(theirs, on="account_id", how="semi").with_columns(
        alone=owner & (owner.sum().over("account_id") == 1)
    )
    several = several.join(codes, on="customer_id", how="semi")
    used = several.join(source.whole("accounts", ("account_id", "currency")), on="account_id")
    per = used.group_by("customer_id", "currency").agg(many=(pl.len() > 1) | ~pl.col("alone").all())
    bits = {currency: 1 << n for n, currency in enumerate(source.settings.currencies)}
    bit = pl.col("currency").replace_strict(bits, default=0, return_dtype=pl.Int64)
    return per.filter("many").group_by("customer_id").agg(_shared=bit.sum())


def reach_of(at: int, settings: Settings) -> int:
    """The instant from which on the snapshot of `at` knows what it has counted, microseconds."""
    return tail_of(at, REACH_DAYS, settings.tz)
