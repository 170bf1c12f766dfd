"""Local time: every zone, both DST nights, unknown zones are null and null is quiet."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pyarrow as pa
import pytest

from rules.quiet import clock_state
from rules.types import INSTANT
from tests import bank
from tests.conformance import by_engine


def clock(
    zones: list[str | None], instants: list[datetime], holidays: frozenset[date] = frozenset()
) -> dict[str, list[object]]:
    found = clock_state(pa.array(zones, pa.string()), pa.array(instants, INSTANT), holidays)
    return {name: column.to_pylist() for name, column in found.items()}


def test_p19_local_time_is_right_in_every_zone_around_both_dst_nights() -> None:
    zones = sorted(available_timezones())
    for start in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        for hours in range(0, 72, 7):
            at = start + timedelta(hours=hours)
            found = clock([*zones], [at] * len(zones))
            local = [at.astimezone(ZoneInfo(zone)) for zone in zones]
            assert found["local_minute"] == [t.hour * 60 + t.minute for t in local]
            assert found["local_day"] == [t.date() for t in local]
            assert found["local_weekday"] == [t.isoweekday() for t in local]


@pytest.mark.parametrize("zone", [None, "", "Mars/Olympus", "asia/shanghai"])
def test_p19_an_unknown_zone_has_no_local_time(zone: str | None) -> None:
    found = clock([zone, "Asia/Shanghai"], [bank.NOON, bank.NOON])
    assert [values[0] for values in found.values()] == [None] * 4
    assert found["local_minute"][1] == 720


@pytest.mark.parametrize(
    ("minute", "quiet"), [(479.0, True), (480.0, False), (1259.0, False), (1260.0, True), (None, True)]
)
def test_p19_nothing_buzzes_in_quiet_hours_and_an_unknown_hour_is_quiet(minute: float | None, quiet: bool) -> None:
    terms = bank.terms()
    rows = [bank.welcome(terms) | {"local_minute": minute, "channels": 0b01101}]  # sms, app, call
    [row] = by_engine(terms, rows, bank.scores(terms, 1, seed=1, unknown=0.0)).to_pylist()
    assert (row["offer_id"] is None) == quiet


def test_a_contact_is_not_sent_after_the_quiet_hours_begin() -> None:
    terms = bank.terms()
    rows = [
        bank.welcome(terms) | {"channels": 1, "local_minute": 1200.0, "send_before": bank.NOON + timedelta(hours=12)}
    ]
    [row] = by_engine(terms, rows, bank.scores(terms, 1, seed=1, unknown=0.0)).to_pylist()
    assert row["channel"] == "sms"
    assert row["send_before"] == bank.NOON + timedelta(hours=1)  # 20:00 local, quiet from 21:00


def test_a_holiday_is_a_local_day() -> None:
    found = clock(
        ["Asia/Shanghai", "America/New_York"],
        [datetime(2026, 10, 1, 1, tzinfo=UTC)] * 2,
        frozenset({date(2026, 10, 1)}),
    )
    assert found["is_holiday"] == [True, False]
