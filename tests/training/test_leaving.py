"""Who leaves without closing anything, by hand and beside a plain reading of the bookings."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

import training.study
from features.home import Home
from features.store import FeatureStore
from tests.training.small import END
from tests.training.test_labels import START, table
from training.leaving import BANKS_OWN, COLUMNS, QUIET_DAYS, gone_quiet
from training.study import Study

DAYS = 60
Rows = list[dict[str, Any]]


def booking(account: str, days: float, balance: int | None, kind: str = "purchase") -> dict[str, Any]:
    return {
        "account_id": account,
        "kind": kind,
        "balance_after_minor": balance,
        "booked_at": START + timedelta(days=days),
    }


def gone(rows: Rows, held: dict[str, str], at: list[datetime] | None = None) -> set[tuple[str, datetime]]:
    holders = table("holders", [{"account_id": a, "customer_id": c, "role": "owner"} for a, c in held.items()])
    schema = {
        "account_id": pl.String,
        "kind": pl.String,
        "balance_after_minor": pl.Int64,
        "booked_at": pl.Datetime("us", "UTC"),
    }
    assert tuple(schema) == COLUMNS
    return set(gone_quiet(pl.DataFrame(rows, schema=schema), holders, at or [START], DAYS).iter_rows())


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([booking("A", -5, 900), booking("A", 10, 0)], True),
        ([booking("A", -5, 900), booking("A", DAYS - QUIET_DAYS - 1, 0)], True),
        ([booking("A", -5, 900), booking("A", DAYS - QUIET_DAYS, 0)], False),  # he did something in the last 30 days
        ([booking("A", -5, 900), booking("A", 10, 0), booking("A", 50, -20, "fee")], True),  # the bank did
        ([booking("A", -5, 900), booking("A", 10, 0), booking("A", 50, 300)], False),  # he came back
        ([booking("A", -5, 900)], False),  # quiet, and his money is still here
        ([booking("A", -5, 0), booking("A", 10, 0)], False),  # there was none to begin with
        ([booking("A", -5, None), booking("A", 10, None)], False),  # nothing is known of it
        ([booking("A", -5, 900), booking("A", DAYS, 0)], False),  # after the window
    ],
)
def test_money_and_activity_must_both_be_gone(rows: Rows, left: bool) -> None:
    assert gone(rows, {"A": "K"}) == ({("K", START)} if left else set())


def test_all_accounts_of_a_customer_count() -> None:
    rows = [booking("A", -5, 900), booking("A", 10, 0), booking("B", -5, 300)]
    assert gone(rows, {"A": "K", "B": "K"}) == set()
    assert gone(rows, {"A": "K", "B": "L"}) == {("K", START)}


def test_it_reads_as_the_bookings_say() -> None:
    """Mutants seen: `<=` an instant for before it, fees taken for life, any account empty for all of them."""
    rng = np.random.default_rng(2)
    held = {f"A{i}": f"K{i % 25}" for i in range(40)}
    rows = [booking(f"A{rng.integers(0, 40)}", float(rng.integers(-90, 120)), int(rng.choice([0, 0, -5, 0, 700])),
                    str(rng.choice(["purchase", "fee", "interest", "fee"]))) for _ in range(300)]  # fmt: skip
    moments = [START + timedelta(days=30 * k) for k in range(-1, 3)]
    # Two bookings of one account in one instant have no order: one of them is kept.
    rows = list({(row["account_id"], row["booked_at"]): row for row in rows}.values())
    found = gone(rows, held, moments)
    assert len(found) > 10 and found == plainly(rows, held, moments)


def plainly(rows: Rows, held: dict[str, str], moments: list[datetime]) -> set[tuple[str, datetime]]:
    def balance(account: str, at: datetime) -> int | None:
        before = [row for row in rows if row["account_id"] == account and row["booked_at"] < at]
        return max(before, key=lambda row: row["booked_at"])["balance_after_minor"] if before else None

    left: set[tuple[str, datetime]] = set()
    for at in moments:
        end = at + timedelta(days=DAYS)
        for who in set(held.values()):
            mine = [account for account, owner in held.items() if owner == who]
            had = any((balance(account, at) or 0) > 0 for account in mine)
            has = any((balance(account, end) or 0) > 0 for account in mine)
            does = any(row["account_id"] in mine and row["kind"] not in BANKS_OWN
                       and end - timedelta(days=QUIET_DAYS) <= row["booked_at"] < end for row in rows)  # fmt: skip
            left |= {(who, at)} if had and not has and not does else set()
    return left


def test_the_study_counts_the_silent_and_leaves_young_labels_unknown(
    small_bank: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: `unknown or gone` taken as gone makes a young label 1."""
    said: list[pl.DataFrame] = []

    def everybody(moved: pl.DataFrame, holders: pl.DataFrame, at: list[datetime], days: int) -> pl.DataFrame:
        who = holders.select("customer_id").unique()
        said.append(who.join(pl.DataFrame({"as_of": at}, schema={"as_of": pl.Datetime("us", "UTC")}), how="cross"))
        return said[-1]

    study = Study(small_bank, FeatureStore(small_bank), END, lambda *_: None)
    rate, _ = study.churn_rate()
    monkeypatch.setattr(training.study, "gone_quiet", everybody)
    other = Study(small_bank, FeatureStore(small_bank), END, lambda *_: None)
    assert rate < 0.5 and other.churn_rate()[0] == 1.0
    rows = other.churn()
    assert len(rows.label) == len(study.churn().label) < len(said[0])
