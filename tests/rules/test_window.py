"""The send window against the oracle that walks it minute by minute."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
import pytest

from rules.policy import ContactPolicy
from rules.quiet import QuietHours
from rules.rule import Rule
from rules.terms import Terms
from rules.types import INSTANT
from rules.window import cut_windows
from tests import bank
from tests.conformance import by_engine
from tests.oracle import send_before

SAID: dict[str, Any] = {"title": {"en": "x", "zh": "x"}, "source": "§0", "owner": "tests"}
HOLIDAYS = frozenset({date(2026, 3, 29), date(2026, 6, 2), date(2026, 10, 25), date(2026, 10, 26)})
SMS, EMAIL, APP, CALL = range(4)


def terms(*quiet: dict[str, Any], rules: tuple[dict[str, Any], ...] = ()) -> Terms:
    """A policy of quiet hours and clock rules alone."""
    hours = tuple(
        QuietHours.model_validate(SAID | {"id": f"q{k}", "reason": "quiet_hours"} | q) for k, q in enumerate(quiet)
    )
    said = tuple(
        Rule.model_validate(SAID | {"id": f"r{k}", "layer": "contact", "reason": "holiday"} | r)
        for k, r in enumerate(rules)
    )
    policy = ContactPolicy(id="p", title=SAID["title"], source="t", quiet_hours=hours, rules=said)  # type: ignore[arg-type]
    return bank.terms(policy=policy, holidays=HOLIDAYS)


SUNDAYS = terms({"from": "00:00", "to": "24:00", "weekdays": ("sun",), "channels": ("call",)},
                {"from": "20:30", "to": "07:00", "weekdays": ("fri", "sun"), "channels": ("sms", "app")},
                {"from": "01:30", "to": "02:45", "channels": ("app",)},
                rules=({"when": "is_holiday", "scope": {"channels": ("sms", "call"), "direction": "outbound"}},
                       {"when": "local_minute >= 1400 AND vulnerable", "scope": {"channels": ("sms",), "direction": "outbound"}}))  # fmt: skip


def ends(of: Terms, zone: str, cell: int, after: datetime, before: datetime) -> datetime:
    """What cut_windows says of one contact."""
    micros = [np.array([round(at.timestamp()) * 1_000_000 + at.microsecond]) for at in (after, before)]
    return pa.array(cut_windows(of, pa.array([zone]), np.array([cell]), *micros)).cast(INSTANT)[0].as_py()


def assert_oracles(of: Terms, zone: str, cell: int, after: datetime, hours: float) -> datetime:
    before = after + timedelta(hours=hours)
    want = send_before({"time_zone": zone, "send_after": after, "send_before": before}, of, cell)
    found = ends(of, zone, cell, after, before)
    assert found == want, (zone, cell, after.isoformat(), found, want)
    return found


@pytest.mark.parametrize(("cell", "after", "want"), [
    (CALL, "2026-06-05T10:00", "2026-06-06T22:00"),  # a weekday's midnight is not Sunday's: nothing cuts
    (CALL, "2026-06-06T10:00", "2026-06-07T00:00"), (APP, "2026-06-05T03:00", "2026-06-05T20:30"),
    (SMS, "2026-06-01T10:00", "2026-06-01T23:20"), (EMAIL, "2026-06-01T10:00", "2026-06-02T22:00"),
    (CALL, "2026-06-01T10:00", "2026-06-02T00:00"),  # a holiday begins
])  # fmt: skip
def test_p19_a_window_ends_when_the_clock_closes_the_cell(cell: int, after: str, want: str) -> None:
    """The bug of before: quiet hours of Sunday ended each day's window at midnight, a holiday none."""
    zone = ZoneInfo("Asia/Shanghai")
    found = assert_oracles(
        SUNDAYS, "Asia/Shanghai", cell, datetime.fromisoformat(after).replace(tzinfo=zone).astimezone(UTC), 36
    )
    assert found.astimezone(zone).replace(tzinfo=None) == datetime.fromisoformat(want)


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)])
def test_p19_windows_end_right_on_both_nights_when_clocks_change(night: datetime) -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Cairo"):
        for cell in (SMS, APP, CALL):
            assert_oracles(SUNDAYS, zone, cell, night + timedelta(minutes=7, seconds=30), 30)


def test_p19_an_hour_that_the_clock_skips_ends_the_window_an_hour_sooner() -> None:
    """Berlin, 29 March 2026: 02:00 becomes 03:00. Quiet from 04:00 begins 3 hours after midnight, not 4."""
    of = terms({"from": "04:00", "to": "05:00", "channels": ("sms",)})
    midnight = datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert assert_oracles(of, "Europe/Berlin", SMS, midnight, 12) == midnight + timedelta(hours=3)


@pytest.mark.long
@pytest.mark.parametrize("night", [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)])
def test_p19_windows_end_right_in_every_zone(night: datetime) -> None:
    for place, zone in enumerate(sorted(available_timezones())):
        assert_oracles(SUNDAYS, zone, (SMS, APP, CALL)[place % 3], night + timedelta(hours=place % 24), 20)


def test_many_windows_are_cut_like_each_alone() -> None:
    rng = np.random.default_rng(3)
    n, zones = 400, ["Asia/Shanghai", "Europe/Berlin", "Mars/Olympus", None]
    zone = [zones[k] for k in rng.integers(0, 4, n)]
    cell = rng.integers(0, SUNDAYS.program.n_cells, n)
    after = 1_780_000_000_000_000 + rng.integers(0, 30, n) * 3_600_000_000
    before = after + rng.integers(1, 4, n) * 10 * 3_600_000_000
    found = cut_windows(SUNDAYS, pa.array(zone, pa.string()), cell, after, before)
    alone = [int(cut_windows(SUNDAYS, pa.array([zone[k]], pa.string()), cell[k : k + 1], after[k : k + 1], before[k : k + 1])[0])
             for k in range(n)]  # fmt: skip
    assert found.tolist() == alone
    assert 0 < np.count_nonzero(found < before) < n


def test_p19_a_decision_carries_the_window_of_its_channel() -> None:
    of = bank.terms(holidays=HOLIDAYS)
    day = [bank.NOON + timedelta(hours=h) for h in (0, 12)]
    rows = [bank.welcome(of) | {"channels": channels, "send_after": day[0], "send_before": day[1], "customer_id": name, "unit_id": name}
            for name, channels in (("text", 1), ("mail", 2), ("call", 8))]  # fmt: skip
    rows.append(rows[0] | {"direction": "inbound", "customer_id": "he_writes", "unit_id": "he_writes"})
    found = by_engine(of, rows, bank.scores(of, 4, seed=1, unknown=0.0)).to_pylist()
    assert [row["channel"] for row in found] == ["sms", "email", "call", "sms"]
    assert [row["send_before"] - bank.NOON for row in found] == [timedelta(hours=h) for h in (9, 12, 8, 12)]
    for row, told in zip(rows[:3], found, strict=False):
        cell = of.catalogue.cell(told["offer_id"], told["channel"])
        assert told["send_before"] == send_before(row, of, cell)


def test_the_calendar_is_part_of_the_terms() -> None:
    assert bank.terms(holidays=HOLIDAYS).revision != bank.terms().revision
