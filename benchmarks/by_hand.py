"""48 sums and counts of bookings by hand: what one would write in Polars, DuckDB and pandas.

Each reads the home's own files and returns customer_id and the sums, sorted by customer_id.
"""

from datetime import UTC, datetime

import duckdb
import pandas as pd
import polars as pl

from benchmarks.bookings import AS_OF, DAYS, END, KINDS, ZONE
from features.home import Home
from features.windows import tail_of


def polars_by_hand(home: Home) -> pl.DataFrame:
    """One lazy scan, a group a window; faster than 48 filtered sums over one group."""
    seen = pl.scan_parquet(home.table("transactions") / "*.parquet").filter(
        pl.col("booked_at") < END, pl.col("recorded_at") <= END
    )
    seen = seen.with_columns(pl.col("kind").cast(pl.Enum(KINDS)))
    wide = pl.scan_parquet(home.table("customers") / "*.parquet").select("customer_id").sort("customer_id")
    for days in DAYS:
        rows = seen.filter(pl.col("booked_at") >= _tail(days))
        sums = rows.group_by("customer_id").agg(
            expr.alias(f"{kind}_{op}_{days}d") for kind in KINDS
            for op, expr in (("count", (pl.col("kind") == kind).sum().cast(pl.Int64)), ("sum", pl.col("amount_minor").filter(pl.col("kind") == kind).sum()))
        )  # fmt: skip
        wide = wide.join(sums, on="customer_id", how="left", maintain_order="left")
    return wide.collect().fill_null(0)


def duckdb_by_hand(home: Home) -> pl.DataFrame:
    """One scan, one group, 48 filtered sums."""
    sums = ", ".join(
        f"coalesce({'count(*)' if op == 'count' else 'sum(amount_minor)'} FILTER (kind = '{kind}' AND booked_at >= '{_tail(days).isoformat()}'), 0)::BIGINT"
        f" AS {kind}_{op}_{days}d" for days in DAYS for kind in KINDS for op in ("count", "sum")
    )  # fmt: skip
    found = duckdb.sql(f"SELECT customer_id, {sums} FROM '{home.table('transactions')}/*.parquet' WHERE booked_at < '{END.isoformat()}'"
                       f" AND recorded_at <= '{END.isoformat()}' AND booked_at >= '{_tail(DAYS[-1]).isoformat()}' GROUP BY customer_id").pl()  # pyright: ignore[reportOptionalMemberAccess]  # fmt: skip
    everyone = pl.read_parquet(home.table("customers") / "*.parquet", columns=["customer_id"]).sort("customer_id")
    return everyone.join(found, on="customer_id", how="left", maintain_order="left").fill_null(0)


def pandas_plain(home: Home) -> pl.DataFrame:
    """A filter and a groupby a window and kind, the table as it comes: what an analyst writes first."""
    return _pandas(home, _seen_in_pandas(home))


def pandas_tuned(home: Home) -> pl.DataFrame:
    """The same on ids and kinds made categories once, observed ones only: what he writes when it is too slow."""
    rows = _seen_in_pandas(home)
    return _pandas(
        home, rows.assign(customer_id=rows["customer_id"].astype("category"), kind=rows["kind"].astype("category"))
    )


def pandas_banded(home: Home) -> pl.DataFrame:
    """One groupby over customer, kind and the band between two tails, summed up over the bands: his best."""
    rows = _seen_in_pandas(home)
    edges = [pd.Timestamp(instant) for instant in (*(_tail(days) for days in reversed(DAYS)), END)]
    rows = rows.assign(
        customer_id=rows["customer_id"].astype("category"), kind=rows["kind"].astype("category"),
        band=pd.cut(rows["booked_at"], edges, right=False, labels=range(len(DAYS))),
    )  # fmt: skip
    keys = ["customer_id", "kind", "band"]
    cells = rows.dropna(subset="band").groupby(keys, observed=False)["amount_minor"].agg(["count", "sum"])
    parts: list[pd.DataFrame] = []
    for kind in KINDS:
        for op in ("count", "sum"):
            by_band = cells[op].xs(kind, level="kind").to_numpy().reshape(-1, len(DAYS))
            sums = by_band[:, ::-1].cumsum(axis=1)  # from the newest band backwards
            names = [f"{kind}_{op}_{days}d" for days in DAYS]
            parts.append(pd.DataFrame(sums, index=rows["customer_id"].cat.categories, columns=names))
    return _for_everyone(home, parts)


def _seen_in_pandas(home: Home) -> pd.DataFrame:
    wanted = ["customer_id", "kind", "amount_minor", "booked_at", "recorded_at"]
    rows = pd.read_parquet(home.table("transactions"), columns=wanted)
    return rows[(rows["booked_at"] < END) & (rows["recorded_at"] <= END)].drop(columns="recorded_at")


def _pandas(home: Home, rows: pd.DataFrame) -> pl.DataFrame:
    parts: list[pd.DataFrame] = []
    for days in DAYS:
        window = rows[rows["booked_at"] >= _tail(days)]
        for kind in KINDS:
            sums = (
                window[window["kind"] == kind]
                .groupby("customer_id", observed=True)["amount_minor"]
                .agg(["count", "sum"])
            )
            parts.append(sums.set_axis([f"{kind}_count_{days}d", f"{kind}_sum_{days}d"], axis=1))
    return _for_everyone(home, parts)


def _for_everyone(home: Home, parts: list[pd.DataFrame]) -> pl.DataFrame:
    everyone = pd.read_parquet(home.table("customers"), columns=["customer_id"])["customer_id"].sort_values()
    wide = pd.concat([part.set_axis(part.index.astype("str")) for part in parts], axis=1)
    names = [f"{kind}_{op}_{days}d" for days in DAYS for kind in KINDS for op in ("count", "sum")]
    wide = wide[names].reindex(everyone).fillna(0).astype("int64")
    return pl.from_pandas(wide.reset_index(drop=True)).insert_column(0, pl.Series("customer_id", everyone.to_list()))


def _tail(days: int) -> datetime:
    return datetime.fromtimestamp(tail_of(AS_OF, days, ZONE) // 1_000_000, UTC)
