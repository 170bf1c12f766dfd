from typing import Any

import numpy as np
import polars as pl
import pytest

from simulation.journal import APP, Journal


@pytest.fixture(scope="module")
def books(tables: Any) -> pl.DataFrame:
    return tables["transactions"].sort("account_id", "booked_at")


def test_every_balance_is_the_one_before_plus_the_amount(books: pl.DataFrame) -> None:
    chained = books.with_columns(before=pl.col("balance_after_minor").shift(1).over("account_id")).drop_nulls("before")
    wrong = pl.col("before") + pl.col("amount_minor") != pl.col("balance_after_minor")
    assert chained.height > 100_000
    assert chained.filter(wrong).height == 0


def test_accounts_opened_in_the_data_begin_at_zero(tables: Any, books: pl.DataFrame) -> None:
    new = tables["accounts"].filter(pl.col("opened_on") >= tables.bank.since.date())
    first = books.group_by("account_id", maintain_order=True).first()
    first = first.join(new, on="account_id", how="semi")
    assert first.height > 500
    assert (first["amount_minor"] == first["balance_after_minor"]).all()


def test_closed_accounts_are_empty_and_stay_silent(tables: Any, books: pl.DataFrame) -> None:
    closed = tables["accounts"].drop_nulls("closed_on")
    last = books.group_by("account_id", maintain_order=True).last().join(closed, on="account_id")
    assert last.height > 500
    assert (last["balance_after_minor"] == 0).all()
    assert (last["booked_at"].dt.date() <= last["closed_on"]).all()


def test_only_yuan_accounts_may_be_overdrawn(books: pl.DataFrame) -> None:
    overdrawn = books.filter(pl.col("balance_after_minor") < 0)
    assert set(overdrawn["currency"]) == {"CNY"}
    assert overdrawn.height < 0.05 * books.height


def test_instants_are_unique_within_an_account(books: pl.DataFrame) -> None:
    """Else the last balance of an account would depend on the order of rows."""
    assert not books.select("account_id", "booked_at").is_duplicated().any()


def test_bookings_are_between_60_and_130_a_year(tables: Any) -> None:
    years = (tables.bank.until - tables.bank.since).days / 365.25
    per_year = tables["transactions"].height / tables["customers"].height / years
    assert 60 < per_year < 130


def test_zero_amounts_are_not_booked() -> None:
    journal = Journal(np.zeros((3, 9), dtype=np.int64))
    who, at = np.array([0, 2]), np.array([1, 2])
    journal.add(who, 0, np.array([0, 5]), "fee", APP, at, np.zeros(3, dtype=np.int64))
    table = journal.table(np.random.default_rng(0), 0, (0, 3), 10)
    assert table["customer_id"].to_pylist() == ["C0000003"]
    assert journal.balance[:, 0].tolist() == [0, 0, 5]


def test_a_second_account_of_a_product_begins_at_zero() -> None:
    opening = np.zeros((1, 9), dtype=np.int64)
    opening[0, 4] = 700
    journal = Journal(opening)
    one = np.array([0])
    for amount, sequence, at in ((-700, 0, 10), (300, 1, 20)):
        journal.add(one, 4, np.array([amount]), "transfer_in", APP, np.array([at]), np.array([sequence]))
    table = journal.table(np.random.default_rng(0), 0, (0, 1), 100)
    assert table["balance_after_minor"].to_pylist() == [0, 300]
    assert table["account_id"].to_pylist() == ["A00000010400", "A00000010401"]


def test_no_overdraft_is_deeper_than_half_a_month_of_pay(books: pl.DataFrame) -> None:
    yuan = books.filter(pl.col("currency") == "CNY").group_by("customer_id")
    salary = pl.col("amount_minor").filter(pl.col("kind") == "salary").max().fill_null(0)
    deepest = yuan.agg(lowest=pl.col("balance_after_minor").min(), pay=salary)
    assert (deepest["lowest"] < 0).any()
    assert (deepest["lowest"] >= -deepest["pay"] / 2).all()
