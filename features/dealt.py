"""The large tables dealt out by customer once, so that work on some customers reads their rows and no others.

A share holds its customers' rows, every booking of the accounts they own, whoever booked it, the accounts they hold with
all their holders, and what came of their contacts. A table read whole by each share would cost shares x rows.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl

from features.holdings import OWNERS
from features.source import Source
from features.spill import spilled

ROWS_A_SHARE = 2_500_000  # bookings: what is in memory at once
DEALT = ("transactions", "customers", "contacts", "cases", "notes", "consents", "reachability")  # by customer_id
# Tables that another says the customers of: that table, and what joins the two.
LINKED = {
    "holders": ("holders", "account_id"),
    "accounts": ("holders", "account_id"),
    "outcomes": ("contacts", "contact_id"),
}
_SHARE = "share"


class Share(NamedTuple):
    """Some customers, ascending, and the home's tables with their rows alone where those are many."""

    customers: pl.Series
    source: Source


def n_shares(source: Source, customers: int) -> int:
    """Into how many shares so many customers should be dealt; 1: their bookings are few enough, or dealt already."""
    if source.dealt or not customers:
        return 1
    bookings = source.n_rows("transactions") * min(customers / max(source.n_rows("customers"), 1), 1.0)
    return min(math.ceil(max(bookings, 1) / ROWS_A_SHARE), customers)


@contextmanager
def dealt(source: Source, customers: pl.Series, n: int) -> Generator[list[Share]]:
    """At most n shares of different customers, ascending; what is dealt out lies in the home as long as the block."""
    with spilled(source.home.features) as folder:
        shares = customers.sort().alias("customer_id").to_frame().with_row_index(_SHARE)
        shares = shares.with_columns(pl.col(_SHARE) // max(-(-len(shares) // n), 1))
        names = [*filter(source.has, DEALT), *(n for n, (of, _) in LINKED.items() if source.has(n) and source.has(of))]
        for name in names:
            _deal(source.scan(name), _needed(source, name, shares), folder / name, shares[_SHARE].unique())
        yield [
            Share(mine["customer_id"], source.share({name: folder / name / f"{_SHARE}={number}" for name in names}))
            for (number,), mine in shares.partition_by(_SHARE, as_dict=True, maintain_order=True).items()
        ]  # fmt: skip


def _deal(rows: pl.LazyFrame, needed: pl.LazyFrame, folder: Path, shares: pl.Series) -> None:
    to = pl.PartitionBy(folder, key=_SHARE, include_key=False, approximate_bytes_per_file=None)
    needed.sink_parquet(to, compression="lz4", statistics=False, maintain_order=False, mkdir=True)
    for number in shares:
        if not (part := folder / f"{_SHARE}={number}").exists():  # nobody of the share has any
            part.mkdir(parents=True)
            rows.head(0).collect().write_parquet(part / "none.parquet")


def _needed(source: Source, name: str, shares: pl.DataFrame) -> pl.LazyFrame:
    """The table's rows with the share that needs each, once for every one that does."""
    rows = source.scan(name)
    if name in LINKED:
        of, key = LINKED[name]
        whose = source.scan(of).select(key, "customer_id").join(shares.lazy(), on="customer_id")
        return rows.join(whose.select(key, _SHARE).unique(), on=key)
    mine = rows.join(shares.lazy(), on="customer_id")
    if name == "transactions" and source.has("holders"):
        mine = pl.concat([mine, _held(source, rows, shares).select(mine.collect_schema().names())])
    return mine


def _held(source: Source, rows: pl.LazyFrame, shares: pl.DataFrame) -> pl.LazyFrame:
    """Bookings of accounts owned in another share than the booking's customer is in."""
    owners = source.scan("holders").filter(pl.col("role").is_in(OWNERS)).join(shares.lazy(), on="customer_id")
    owners = owners.select("account_id", _SHARE).unique()
    held = rows.join(owners, on="account_id").join(shares.lazy(), on="customer_id", how="left", suffix="_own")
    return held.filter(pl.col(_SHARE).ne_missing(pl.col(f"{_SHARE}_own")))
