"""Whether a salary comes: hand-worked rows, and that the made-up bank holds both kinds."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from features.cut_bookings import CutBookings
from features.intake import import_tables
from features.salary import FRESH_DAYS, salaries
from features.store import FeatureStore
from features.tables import TRANSACTION_KINDS
from tests.feature_bank import made_up_bank, small_home, write_tables

UNKNOWN = -1  # its rate is missing
NIGHT = (date(2025, 6, 10) - date(1970, 1, 1)).days


def detected(*rows: tuple[int, int] | tuple[int, int, str]) -> tuple[bool, float | None, float | None]:
    """What is found of bookings (days ago, amount, transfer_in where no kind is told)."""
    kinds = [TRANSACTION_KINDS.index(row[2] if len(row) == 3 else "transfer_in") for row in rows]
    days, worths = (
        np.array(column, np.int64) for column in ([NIGHT - row[0] for row in rows], [row[1] for row in rows])
    )
    nothing = np.zeros(len(rows), np.int64)
    bookings = CutBookings(
        nothing, days, np.array(kinds, np.int64), np.where(worths == UNKNOWN, np.nan, worths), nothing
    )
    found = salaries(bookings, np.array([NIGHT - FRESH_DAYS]))
    is_there, amount, day = (found[f"salary_detected{part}"].item() for part in ("", "_minor", "_day"))
    return is_there, amount, day


@pytest.mark.parametrize(("rows", "expected"), [
    ([], (False, None, None)),
    ([(1, 100), (31, 100)], (False, None, None)),
    ([(1, 100), (31, 100), (62, 100)], (True, 100, 9)),
    ([(62, 100), (1, 100), (31, 100)], (True, 100, 9)),
    ([(35, 100), (61, 100), (96, 100)], (True, 100, 6)),
    ([(36, 100), (62, 100), (97, 100)], (False, None, None)),  # it has stopped
    ([(1, 100), (15, 100), (29, 100)], (True, 100, 9)),
    ([(1, 100), (15, 100), (45, 100)], (False, None, None)),  # a fortnight, then a month
    ([(1, 100), (26, 100), (52, 100)], (False, None, None)),  # 25 days
    ([(1, 100), (27, 90), (62, 81)], (True, 100, 9)),
    ([(1, 100), (27, 89), (62, 89)], (False, None, None)),
    ([(1, 100), (31, 100), (62, 100, "cash_deposit")], (False, None, None)),
    ([(n % 98, 100) for n in range(400)], (True, 100, 10)),
    ([(n % 98, 100) for n in range(401)], (False, None, None)),  # a till, and no wage earner
    ([*((n % 98, 100) for n in range(401)), (5, 70, "salary")], (True, 70, 5)),
    ([(1, 100, "salary")], (True, 100, 9)),
    ([(1, UNKNOWN, "salary")], (True, None, 9)),
    ([(1, 100, "salary"), (1, -100, "salary")], (False, None, None)),  # taken back
    ([(1, 100, "salary"), (1, -30, "salary")], (True, 100, 9)),
    ([(36, 100, "salary")], (False, None, None)),
    ([(20, 70, "salary"), (1, 100), (31, 100), (62, 100)], (True, 70, 21)),  # booked as one, before any other
    ([(1, 100), (1, 95), (31, 100), (62, 100), (30, 5)], (True, 100, 9)),  # of one day the larger
])  # fmt: skip
def test_a_salary_is_booked_as_one_or_the_third_of_a_row(
    rows: list[tuple[int, int]], expected: tuple[bool, float | None, float | None]
) -> None:
    assert detected(*rows) == expected


def test_p13_a_night_finds_the_salaries_a_snapshot_from_nothing_finds(tmp_path: Path) -> None:
    """The made-up bank has salaries booked as such and others, so that the oracle is compared on both."""
    tables = made_up_bank(8, salaries=40)
    found: dict[str, list[bytes]] = {"night by night": [], "afresh": []}
    for way, files in found.items():
        home = small_home(tmp_path / way)
        import_tables(home, write_tables(tables, tmp_path / way / "source"))
        store = FeatureStore(home)
        for night in range(5):
            path = store.build(datetime(2025, 10, 23, tzinfo=UTC) + timedelta(days=night))
            files.append(path.read_bytes())
            if way == "afresh":
                for old in home.features.iterdir():
                    if old.is_file():
                        old.unlink()
            else:
                snapshot = store.newest()
    assert found["night by night"] == found["afresh"]
    assert snapshot is not None
    rows = snapshot.table.select(["salary_detected", "salary_sum_90d"]).to_pylist()
    assert {(bool(row["salary_detected"]), bool(row["salary_sum_90d"])) for row in rows} >= {
        (True, False),
        (True, True),
    }
