"""Recent bookings: what a snapshot carries is read back as it was, and a night only appends."""

from datetime import date

import polars as pl
import pyarrow as pa

from features.recent import RECENT_SCHEMA, handed_on, listed, merged

DAY = date(2026, 5, 1)
ROWS = [(0, "A", DAY, 3, "atm", 100), (0, "B", DAY, 7, None, None), (2, "C", DAY, 0, "app", -5)]


def recent(rows: list[tuple[int, str, date, int, str | None, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RECENT_SCHEMA, orient="row")


def test_what_is_carried_is_read_back() -> None:
    """The middle customer has no booking; a missing channel and a missing rate stay missing."""
    base = pa.table({"customer_id": ["a", "b", "c"], **listed(recent(ROWS), 3)})
    codes = pl.DataFrame({"customer_id": ["a", "b", "c"], "customer": pl.Series([0, 1, 2], dtype=pl.Int32)})
    found = handed_on(base, codes)
    assert found.equals(recent(ROWS))


def test_a_customer_who_left_takes_his_bookings_along_and_the_others_are_counted_anew() -> None:
    base = pa.table({"customer_id": ["a", "b", "c"], **listed(recent(ROWS), 3)})
    codes = pl.DataFrame({"customer_id": ["b", "c"], "customer": pl.Series([0, 1], dtype=pl.Int32)})
    assert handed_on(base, codes).equals(recent([(1, *ROWS[2][1:])]))


def test_new_bookings_stand_behind_the_customers_old_ones() -> None:
    """Mutant: a sort that is not stable mixes them."""
    new = recent([(0, "a new one", DAY, 1, None, 1)])
    assert merged([recent(ROWS), new])["transaction_id"].to_list() == ["A", "B", "a new one", "C"]
