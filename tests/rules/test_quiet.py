"""Local time: every zone, both DST nights, unknown zones are null and null is quiet."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pyarrow as pa
import pytest
from pydantic import ValidationError

from rules.policy import ContactPolicy
from rules.quiet import QuietHours, clock_state
from rules.suppress import suppress
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


def test_a_holiday_is_a_local_day() -> None:
    found = clock(
        ["Asia/Shanghai", "America/New_York"],
        [datetime(2026, 10, 1, 1, tzinfo=UTC)] * 2,
        frozenset({date(2026, 10, 1)}),
    )
    assert found["is_holiday"] == [True, False]


SAID = {
    "id": "q",
    "reason": "quiet_hours",
    "title": {"en": "x", "zh": "x"},
    "source": "§0",
    "owner": "tests",
    "channels": ["sms", "call"],
}


def quiet(**written: object) -> QuietHours:
    return QuietHours.model_validate(SAID | written)


def is_quiet(rule: QuietHours, weekday: float | None, minute: float | None) -> bool:
    """Whether sms is closed at this local weekday and minute under the rule alone."""
    policy = ContactPolicy(id="p", title={"en": "x", "zh": "x"}, source="t", quiet_hours=(rule,))  # type: ignore[arg-type]
    terms = bank.terms(policy=policy)
    row = bank.welcome(terms) | {"local_weekday": weekday, "local_minute": minute, "channels": 1}
    return not suppress(bank.customers_batch(terms, [row]), terms).open.any()


@pytest.mark.parametrize(("written", "weekday", "minute", "want"), [
    ({"from": "00:00", "to": "24:00", "weekdays": ["sun"]}, 7, 0, True), ({"from": "00:00", "to": "24:00", "weekdays": ["sun"]}, 7, 1439, True),
    ({"from": "00:00", "to": "24:00", "weekdays": ["sun"]}, 1, 0, False), ({"from": "00:00", "to": "24:00", "weekdays": ["sun"]}, None, None, True),
    ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 6, 1200, True), ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 6, 539, False),
    ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 7, 539, True), ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 1, 539, True),
    ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 1, 540, False), ({"from": "20:00", "to": "09:00", "weekdays": ["sat", "sun"]}, 1, 1200, False),
    ({"from": "12:00", "to": "14:00", "weekdays": ["mon"]}, 1, 720, True), ({"from": "12:00", "to": "14:00", "weekdays": ["mon"]}, 1, 840, False),
    ({"from": "00:00", "to": "24:00"}, 3, 600, True),
])  # fmt: skip
def test_p19_quiet_hours_of_some_weekdays(
    written: dict[str, object], weekday: float, minute: float, want: bool
) -> None:
    assert is_quiet(quiet(**written), weekday, minute) == want


def test_quiet_hours_of_no_length_are_refused() -> None:
    with pytest.raises(ValidationError, match="from and to are both 08:00; write 00:00 to 24:00 for all day"):
        quiet(**{"from": "08:00", "to": "08:00"})
    with pytest.raises(ValidationError, match="weekdays"):
        quiet(**{"from": "08:00", "to": "09:00", "weekdays": ["sunday"]})


@pytest.mark.long
def test_p19_local_time_is_right_in_every_zone_for_four_years() -> None:
    zones = sorted(available_timezones())
    for zone in zones:
        instants = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=7 * k) for k in range(4 * 366 * 24 // 7)]
        found = clock([zone] * len(instants), instants)
        local = [at.astimezone(ZoneInfo(zone)) for at in instants]
        assert found["local_minute"] == [t.hour * 60 + t.minute for t in local], zone
        assert found["local_day"] == [t.date() for t in local], zone
