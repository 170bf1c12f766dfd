"""All features of (customer, instant) pairs from the imported tables, some customers at a time."""

from collections.abc import Iterator, Sequence

import polars as pl

from features.cases import CASES
from features.contacts import CONTACTS
from features.customers import CUSTOMERS
from features.dealt import dealt, n_shares
from features.holdings import HOLDINGS
from features.last_values import LAST_VALUES
from features.notes import NOTES
from features.settings import Settings
from features.shares import outflow_shares
from features.source import Source
from features.transactions import TRANSACTIONS
from features.variety import VARIETY
from features.view import FeatureView, Pairs
from features.windows import local_days

VIEWS = (CUSTOMERS, HOLDINGS, TRANSACTIONS, VARIETY, LAST_VALUES, CONTACTS, CASES, NOTES)
PAIRS_A_PASS = 200_000  # bounds the memory of one pass; a pass reads the customers' rows once


def passes(asked: pl.DataFrame, source: Source, views: Sequence[FeatureView] = VIEWS) -> Iterator[pl.DataFrame]:
    """Columns of the views for unique (customer_id, as_of) pairs, some customers at a time.

    as_of in microseconds; the order of the rows is not the order asked.
    """
    ids = asked.select(pl.col("customer_id").unique().sort())
    n = n_shares(source, len(ids)) if TRANSACTIONS in views else 1
    if n > 1:
        with dealt(source, ids.to_series(), n) as shares:
            for share in shares:
                mine = asked.filter(pl.col("customer_id").is_in(share.customers.implode()))
                yield from passes(mine, share.source, views)
        return
    size = max(-(-len(ids) // max(-(-len(asked) // PAIRS_A_PASS), 1)), 1)
    for start in range(0, max(len(ids), 1), size):
        codes = ids[start : start + size].with_row_index("customer")
        yield _computed(asked, codes.with_columns(pl.col("customer").cast(pl.Int32)), source, views)


def finished(rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The rows with the features that are made of features of several views."""
    return rows.with_columns(outflow_shares(settings.currencies))


def _computed(asked: pl.DataFrame, codes: pl.DataFrame, source: Source, views: Sequence[FeatureView]) -> pl.DataFrame:
    frame = asked.join(codes, on="customer_id").sort("customer", "as_of")
    days = local_days(frame["as_of"], source.settings.tz)
    pairs = Pairs(frame.select("customer", "as_of", day=days), codes)
    columns: dict[str, pl.Series] = {}
    for view in views:
        columns |= view.compute(pairs, source)
    return frame.select("customer_id", "as_of").with_columns(s.alias(name) for name, s in columns.items())
