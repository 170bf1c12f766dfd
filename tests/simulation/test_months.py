from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from simulation.months import micros, months_between


def test_months_cover_the_time_without_gap() -> None:
    since, until = datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    months = months_between(since, until)
    assert [month.label for month in months] == ["2025_11", "2025_12", "2026_01", "2026_02"]
    assert [month.days for month in months] == [30, 31, 31, 28]
    assert months[0].start_us == micros(since)
    assert months[-1].end_us == micros(until)
    pairs = pairwise(months)
    assert all(one.end_us == next_one.start_us for one, next_one in pairs)


def test_moments_lie_in_local_office_hours_and_in_the_month() -> None:
    month = months_between(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))[0]
    for shift_hours in (8, 0, -5):
        shift = np.full(500, shift_hours * 3_600_000_000)
        at = month.moments(np.random.default_rng(1), np.full(500, 40), shift, (9, 17))
        local_hour = (at + shift) // 3_600_000_000 % 24
        assert ((local_hour >= 9) & (local_hour < 17)).all()
        assert ((at >= month.start_us) & (at < month.end_us)).all()
