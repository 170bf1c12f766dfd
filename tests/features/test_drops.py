"""What leaves a window, beside the slow obvious sum of the bookings of each day."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from features.intake import import_tables
from features.measures import windows
from features.settings import horizon_days
from features.store import FeatureStore
from tests.feature_bank import CURRENCIES, made_up_bank, small_home, write_tables
from tests.feature_oracle import Bank

EPOCH = date(1970, 1, 1)


@pytest.mark.parametrize("at", [datetime(2025, 12, 10, 7, tzinfo=UTC), datetime(2025, 3, 30, 0, 30, tzinfo=UTC)])
def test_a_day_drops_what_its_bookings_had_added(tmp_path: Path, at: datetime) -> None:
    """Also in the night of the clocks; a booking without a rate adds nothing to a sum, and its count is dropped."""
    tables = made_up_bank(5, transactions=6000)
    home = small_home(tmp_path / "home")
    import_tables(home, write_tables(tables, tmp_path / "source"))
    FeatureStore(home).build(at)
    snapshot = FeatureStore(home).newest()
    assert snapshot is not None
    zone, horizon, n_found = home.settings.tz, horizon_days(home.settings), 0
    today = at.astimezone(zone).date()
    for row in snapshot.table.select(["customer_id", "_drops"]).to_pylist():
        bank, wanted = Bank(tables, row["customer_id"], at, zone, "GBP"), Counter[tuple[int, int]]()
        mine = [t for t in tables["transactions"] if t["customer_id"] == row["customer_id"]
                and t["booked_at"] < at and t["recorded_at"] <= at]  # fmt: skip
        for number, window in enumerate(windows(CURRENCIES)):
            first = today - timedelta(days=window.days)
            for told in mine:
                day = told["booked_at"].astimezone(zone).date()
                kinds = window.measure.kinds
                if not first <= day < first + timedelta(days=horizon) or (kinds and told["kind"] not in kinds):
                    continue
                if window.currency in (None, told["currency"]):
                    worth = (
                        told["amount_minor"]
                        if window.currency
                        else bank.in_base(told["amount_minor"], told["currency"], day) or 0
                    )
                    adds = 1 if window.measure.op == "count" else worth * window.measure.sign
                    wanted[number, (day - EPOCH).days] += int(adds)
        found = {(one["window"], one["day"]): one["amount"] for one in row["_drops"]}
        assert found == {key: amount for key, amount in wanted.items() if amount}
        assert list(found) == sorted(found)
        n_found += len(found)
    assert n_found > 50
