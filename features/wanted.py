"""Customers whose rows are wanted: joined by a hash of the id, and then the ids are compared.

A join of texts costs half as much again as both.
"""

import polars as pl

_HASH, _PLACE = "_hash", "_place"


class Wanted:
    """Some customers and their codes: customer_id, customer."""

    def __init__(self, codes: pl.DataFrame) -> None:
        self.ids, self._codes = codes["customer_id"], codes["customer"]
        self._hashes = codes.lazy().select(_hash("customer_id"), pl.int_range(pl.len(), dtype=pl.UInt32).alias(_PLACE))

    def joined(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rows that may be theirs, for `met`. rows: customer_id and more."""
        return rows.with_columns(_hash("customer_id")).join(self._hashes, on=_HASH).drop(_HASH)

    def met(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those rows of `joined` that are theirs, with their code as `customer`, without their id."""
        theirs = (self.ids.gather(rows[_PLACE]) == rows["customer_id"]).fill_null(False)  # a null is nobody's id
        if not theirs.all():  # another id of the same hash
            rows = rows.filter(theirs)
        return rows.drop(_PLACE, "customer_id").with_columns(self._codes.gather(rows[_PLACE]).alias("customer"))


def _hash(column: str) -> pl.Expr:
    return pl.col(column).hash().alias(_HASH)
