"""Leaving without closing anything: the money is gone, and nothing is done any more.

    gone    money was on some account at as_of; at the end of the window none is left on any whose balance
            is known, and nothing was booked on them in the last 30 days but the bank's own fees and interest

Balances are those of the latest booking before an instant; a source that knows none says nothing here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

QUIET_DAYS = 30
BANKS_OWN = ("fee", "interest")  # booked without the customer
COLUMNS = ("account_id", "kind", "balance_after_minor", "booked_at")


def gone_quiet(transactions: pl.DataFrame, holders: pl.DataFrame, at: Sequence[datetime], days: int) -> pl.DataFrame:
    """(customer_id, as_of) of those who left in silence within so many days, each once.

    Args:
        transactions: COLUMNS of what is known, any order.
        at: The instants a row is made for.
    """
    moments = pl.DataFrame({"as_of": list(at)}, schema={"as_of": pl.Datetime("us", "UTC")})
    moments = moments.with_columns((pl.col("as_of") + timedelta(days=days)).alias("end"))
    known = transactions.filter(pl.col("balance_after_minor").is_not_null()).sort("booked_at")
    grid = known.select("account_id").unique().join(moments, how="cross")
    grid = _latest(grid, known, "as_of", "before", "balance_after_minor")
    grid = _latest(grid, known, "end", "after", "balance_after_minor")
    his = transactions.filter(~pl.col("kind").is_in(BANKS_OWN)).sort("booked_at")
    grid = _latest(grid, his.with_columns(pl.col("booked_at").alias("last")), "end", "last_done", "last")
    mine = holders.filter(pl.col("role") != "authorised").select("account_id", "customer_id").unique()
    by_customer = grid.join(mine, on="account_id").group_by("customer_id", "as_of").agg(
        (pl.col("before") > 0).any().alias("had"), (pl.col("after") > 0).any().alias("has"),
        (pl.col("last_done") >= pl.col("end") - timedelta(days=QUIET_DAYS)).any().alias("does"),
    )  # fmt: skip
    return by_customer.filter("had", ~pl.col("has"), ~pl.col("does")).select("customer_id", "as_of")


def _latest(grid: pl.DataFrame, rows: pl.DataFrame, instant: str, name: str, value: str) -> pl.DataFrame:
    """The grid with the value of the last row of its account before the instant; null: there is none."""
    found = rows.select("account_id", pl.col("booked_at"), pl.col(value).alias(name))
    return grid.sort(instant).join_asof(
        found, left_on=instant, right_on="booked_at", by="account_id", strategy="backward", allow_exact_matches=False,
        check_sortedness=False,
    ).drop("booked_at", strict=False)  # fmt: skip
