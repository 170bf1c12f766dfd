"""The last balance of each account, handed from one night to the next."""

import polars as pl

ACCOUNT_STATE = {"account_id": pl.String, "balance": pl.Int64, "booked": pl.Int64, "recorded": pl.Int64,
                 "transaction_id": pl.String, "loose": pl.Boolean}  # fmt: skip


class AccountBook:
    """The last balance of each account, handed from one snapshot to the next.

    Args:
        known: account_id, balance, booked, recorded, transaction_id (of the booking that stated it,
            null: none did), loose (bookings after it stated none); None: nothing is known.
        since: Bookings that became visible since.
    """

    def __init__(self, known: pl.DataFrame | None = None, since: pl.DataFrame | None = None) -> None:
        self._found: list[pl.DataFrame] = []
        self._known = pl.DataFrame(schema=ACCOUNT_STATE) if known is None else known
        if known is not None and since is not None:
            self._known = _moved_on(known, since)

    def known(self, account_ids: pl.Series) -> pl.DataFrame:
        """States of those of the accounts whose balance needs no look at older bookings."""
        return self._known.filter(pl.col("account_id").is_in(account_ids.implode()))

    def keep(self, states: pl.DataFrame) -> None:
        """Remember states for the next snapshot."""
        # Through Arrow: texts that Polars has taken from all bookings keep the bookings' buffers alive, a kilobyte a customer.
        kept = states.select(*ACCOUNT_STATE).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._found.append(pl.DataFrame(kept))

    def found(self) -> pl.DataFrame:
        """Every state kept, one row an account."""
        empty = pl.DataFrame(schema=ACCOUNT_STATE)
        return pl.concat([empty, *self._found]).unique("account_id").sort("account_id")


def _moved_on(known: pl.DataFrame, since: pl.DataFrame) -> pl.DataFrame:
    """States after new bookings; accounts whose state does not follow from them alone are left out."""
    moved = since.filter(pl.col("account_id").is_not_null()).rename({"booked_at": "booked", "recorded_at": "recorded"})
    unsure = moved.filter(pl.col("balance_after_minor").is_null())["account_id"].unique()
    last = moved.sort("booked", "recorded", "transaction_id").group_by("account_id").last().select(
        "account_id", balance=pl.col("balance_after_minor"), booked="booked", recorded="recorded",
        transaction_id="transaction_id", loose=pl.lit(False),
    )  # fmt: skip
    loose = known.filter("loose")["account_id"]
    untouched = known.join(last, on="account_id", how="anti")
    touched = pl.concat([known.join(last, on="account_id", how="semi"), last.join(known, on="account_id", how="semi")])
    touched = touched.filter(~pl.col("account_id").is_in(pl.concat([loose, unsure]).unique().implode()))
    newest = touched.sort("booked", "recorded", "transaction_id", nulls_last=False).group_by("account_id").last()
    return pl.concat([untouched, newest.select(*ACCOUNT_STATE)])
