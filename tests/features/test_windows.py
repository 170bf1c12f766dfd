"""The windowing kernel on hand-worked rows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl
import pytest

from features.windows import Log, midnight_micros, tail_of, tails


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(("zone", "as_of", "days", "tail"), [
    ("Europe/London", "2025-06-10T12:00:00Z", 7, "2025-06-02T23:00:00Z"),
    ("Europe/London", "2025-06-09T23:00:00Z", 7, "2025-06-02T23:00:00Z"),
    ("Europe/London", "2025-03-30T12:00:00Z", 7, "2025-03-23T00:00:00Z"),
    ("Europe/London", "2025-10-27T12:00:00Z", 1, "2025-10-25T23:00:00Z"),
    ("Asia/Shanghai", "2025-06-10T17:00:00Z", 7, "2025-06-03T16:00:00Z"),
    # Clocks go forward on the 29th of March 2026: 24 hours before midnight would be the evening of the day before.
    ("Europe/Berlin", "2026-03-29T22:00:00Z", 1, "2026-03-28T23:00:00Z"),
    ("Europe/Berlin", "2026-03-29T22:00:00Z", 7, "2026-03-22T23:00:00Z"),
    ("Europe/London", "2025-10-26T23:30:00Z", 1, "2025-10-24T23:00:00Z"),
    # In Santiago 2025-09-07 begins at 01:00: clocks jump over midnight.
    ("America/Santiago", "2025-09-14T12:00:00Z", 7, "2025-09-07T04:00:00Z"),
])  # fmt: skip
def test_tails_are_floored_to_local_midnight(zone: str, as_of: str, days: int, tail: str) -> None:
    found = tails(pl.Series([micros(as_of)]), days, ZoneInfo(zone)).item()
    assert datetime.fromtimestamp(found / 1e6, UTC) == datetime.fromisoformat(tail)
    assert tail_of(micros(as_of), days, ZoneInfo(zone)) == found


def test_midnight_that_comes_twice_is_the_first() -> None:
    """On 2025-10-26 the Azores ran from 00:00 to 00:59 twice."""
    day = datetime(2025, 10, 26).date()
    assert midnight_micros(day, ZoneInfo("Atlantic/Azores")) == micros("2025-10-26T00:00:00Z")


def log(*rows: tuple[int, str, str, int]) -> Log:
    return Log(pl.DataFrame({
        "customer": pl.Series([r[0] for r in rows], dtype=pl.Int32),
        "booked": [micros(r[1]) for r in rows], "recorded": [micros(r[2]) for r in rows],
        "amount": [r[3] for r in rows],
    }))  # fmt: skip


def cuts(*rows: tuple[int, str]) -> pl.DataFrame:
    frame = pl.DataFrame({"customer": [r[0] for r in rows], "as_of": [micros(r[1]) for r in rows]})
    return frame.with_columns(pl.col("customer").cast(pl.Int32))


NIGHT = "2025-01-10T00:00:00Z"


@pytest.mark.parametrize(("booked", "recorded", "counts"), [
    ("2025-01-09T23:59:59Z", "2025-01-10T00:00:00Z", True),
    ("2025-01-09T23:59:59Z", "2025-01-10T00:00:01Z", False),
    ("2025-01-10T00:00:00Z", "2025-01-10T00:00:00Z", False),
    ("2025-01-08T00:00:00Z", "2025-01-08T00:00:00Z", True),
    ("2025-01-07T23:59:59Z", "2025-01-07T23:59:59Z", False),
    ("2025-01-07T23:59:59Z", "2025-01-09T00:00:00Z", False),
    ("2025-01-07T23:59:59Z", "2025-01-11T00:00:00Z", False),
])  # fmt: skip
def test_a_row_counts_booked_before_and_recorded_by_as_of(booked: str, recorded: str, counts: bool) -> None:
    found = log((1, booked, recorded, 5)).windows(cuts((1, NIGHT)), {2: ["amount"]}, ZoneInfo("UTC"))
    assert found["amount", 2].tolist() == [5 if counts else 0]


def test_sums_are_exact_where_floats_would_round() -> None:
    rows = log((1, "2025-01-09T01:00:00Z", "2025-01-09T01:00:00Z", 2**60),
               (1, "2025-01-09T02:00:00Z", "2025-01-09T02:00:00Z", 1),
               (2, "2025-01-09T02:00:00Z", "2025-01-09T02:00:00Z", -7))  # fmt: skip
    asked = cuts((1, NIGHT), (2, NIGHT), (3, NIGHT))
    found = rows.windows(asked, {2: ["amount"]}, ZoneInfo("UTC"))
    assert found["amount", 2].tolist() == [2**60 + 1, -7, 0]


def test_last_is_the_row_booked_last_even_if_it_came_first() -> None:
    rows = log((1, "2025-01-05T00:00:00Z", "2025-01-09T00:00:00Z", 1),
               (1, "2025-01-06T00:00:00Z", "2025-01-06T00:00:00Z", 2),
               (1, "2025-01-07T00:00:00Z", "2025-01-12T00:00:00Z", 3))  # fmt: skip
    asked = cuts((1, "2025-01-06T00:00:00Z"), (1, NIGHT), (1, "2025-01-12T00:00:00Z"))
    found = rows.last(asked, nw.col("amount") > 0, ("amount",))
    assert found["amount"].to_list() == [None, 2, 3]
