"""What a snapshot carries beside the features, so that its windows can be rolled on to the present.

Columns whose names begin with `_`; `FeatureStore.overlay` reads them and drops them:

_drops                list of (window, day, amount): what leaves a window once its tail passes a day
_ids, _recent         the bookings of the last REACH_DAYS that the snapshot has counted (features/recent.py)
_expiries             list of (place, instant): words on consent that run out (features/expiries.py)
_shared               bit n: an event in the n-th currency may be about one of several accounts, or about one
                      that is held jointly or by another; then the balance it states says little
_purchase_sum_45d     a part of `purchase_trend_90d`

An event of the ledger counts unless its id is among `_ids`: that it happened before the snapshot
does not show that the bank's own tables hold it. What the bank's books have not caught up with in
REACH_DAYS is not counted any longer.
"""

from datetime import date, timedelta

import polars as pl
import pyarrow as pa

from features.expiries import EXPIRIES, expiries
from features.holdings import OWNERS
from features.measures import COLUMNS, HALF, measured, windows
from features.recent import REACH_DAYS, RECENT_COLUMNS, listed
from features.settings import Settings, horizon_days
from features.source import Source
from features.windows import local_day, local_days, midnight_micros, tail_of

_EPOCH = date(1970, 1, 1)
_DROP = {"window": pl.UInt16, "day": pl.Int32, "amount": pl.Int64}
CARRIED = pa.schema([
    pa.field(HALF, pa.float64()),
    pa.field("_drops", pa.list_(pa.struct([("window", pa.uint16()), ("day", pa.int32()), ("amount", pa.int64())]))),
    *RECENT_COLUMNS,
    EXPIRIES,
    pa.field("_shared", pa.int64()),
])  # fmt: skip
ROLLED = pa.schema([field for field in CARRIED if field.name != "_recent"])  # what is read to bring a row up to now


def carried(codes: pl.DataFrame, at: int, recent: pl.DataFrame, source: Source) -> pl.DataFrame:
    """What a snapshot carries of those customers: customer_id and the columns of CARRIED but for HALF.

    Args:
        codes: customer_id, customer: 0, 1, ...
        at: Instant of the snapshot, microseconds.
        recent: Their bookings, as features/recent.py has them.
        source: The bank's tables.
    """
    drops = _drops(codes, at, source).group_by("customer", maintain_order=True)
    listed_drops = drops.agg(_drops=pl.struct("window", "day", "amount"))
    found = codes.hstack(listed(recent, len(codes))).join(
        listed_drops, on="customer", how="left", maintain_order="left"
    )
    found = found.join(_shared(codes, source), on="customer_id", how="left", maintain_order="left")
    found = found.join(expiries(codes, at, source), on="customer", how="left", maintain_order="left")
    lists = (pl.col(name).fill_null([]) for name in ("_drops", "_expiries"))
    return found.select("customer_id", *lists, "_ids", "_recent", pl.col("_shared").fill_null(0))


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


def cut_days(at: int, settings: Settings) -> dict[int, int]:
    """Per window length the first local day that is still in the window, days since 1970."""
    today = (local_day(at, settings.tz) - _EPOCH).days
    return {w.days: today - w.days for w in windows(settings.currencies)}


def _visible(source: Source, at: int) -> pl.LazyFrame:
    return source.scan("transactions").filter(pl.col("booked_at") < _stamp(at), pl.col("recorded_at") <= _stamp(at))


def _stamp(at: int) -> pl.Expr:
    return pl.lit(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _drops(codes: pl.DataFrame, at: int, source: Source) -> pl.DataFrame:
    """customer, window, day, amount: what each window loses with each of the next days."""
    zone, wanted, horizon = source.settings.tz, windows(source.settings.currencies), horizon_days(source.settings)
    first = cut_days(at, source.settings)
    bounds = [[midnight_micros(_EPOCH + timedelta(days=day + n), zone) for n in (0, horizon)] for day in first.values()]
    leaving = pl.any_horizontal(pl.col("booked_at").is_between(*map(_stamp, two), closed="left") for two in bounds)
    rows = _visible(source, at).filter(leaving).join(codes.lazy(), on="customer_id").select("customer", *COLUMNS)
    adds = measured(rows.with_columns(pl.col("booked_at", "recorded_at").dt.epoch("us")).collect(), source)
    day = (local_days(adds["booked"], zone) - _EPOCH).dt.total_days().cast(pl.Int32)
    adds = adds.with_columns(day=day)
    found = [pl.DataFrame(schema={"customer": codes.schema["customer"], **_DROP})]
    for length, begins in sorted(first.items()):
        sums = adds.filter(pl.col("day").is_between(begins, begins + horizon, closed="left")).group_by("customer", "day").agg(
            pl.col(w.measure.key).sum().alias(str(number)) for number, w in enumerate(wanted) if w.days == length
        )  # fmt: skip
        long = sums.unpivot(index=["customer", "day"], variable_name="window", value_name="amount")
        found.append(long.filter(pl.col("amount") != 0).select(
            "customer", pl.col("window").cast(pl.UInt16), "day", pl.col("amount").cast(pl.Int64)
        ))  # fmt: skip
    return pl.concat(found).sort("customer", "window", "day")
