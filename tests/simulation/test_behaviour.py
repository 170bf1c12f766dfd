"""What customers do foretells what they answer: the promise that makes models worth training."""

from datetime import UTC, datetime
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

CURRENCIES = ("CNY", "USD", "EUR", "JPY")
KINDS = ("purchase", "transfer_in", "transfer_out", "fx_purchase", "salary")


@pytest.fixture(scope="module")
def rows(tables: Any, marketing: pl.DataFrame) -> pl.DataFrame:
    """Reached contacts of 2025-07 .. 2026-05 beside the 90 days of bookings before their month."""
    books = tables["transactions"]
    reached = marketing.filter("reached").with_columns(month=pl.col("decided_at").dt.truncate("1mo"))
    months = [datetime(2025, m, 1, tzinfo=UTC) for m in (7, 8, 9, 10, 11, 12)]
    months += [datetime(2026, m, 1, tzinfo=UTC) for m in range(1, 6)]
    windows: list[pl.DataFrame] = []
    for month in months:
        seen = books.filter(pl.col("booked_at") < month)
        recent = seen.filter(pl.col("booked_at") >= pl.lit(month).dt.offset_by("-90d"))
        flows = recent.group_by("customer_id").agg(
            *[_of(c, k, "amount_minor").sum().alias(f"sum_{c}_{k}") for c in CURRENCIES for k in KINDS],
            *[_of(c, k, "amount_minor").len().alias(f"n_{c}_{k}") for c in CURRENCIES for k in KINDS],
        )
        lasts = seen.group_by("customer_id", "account_id").last()
        held = lasts.group_by("customer_id").agg(*[
            pl.col("balance_after_minor").filter(pl.col("currency") == c).sum().alias(f"held_{c}")
            for c in CURRENCIES
        ])  # fmt: skip
        windows.append(flows.join(held, on="customer_id").with_columns(month=pl.lit(month)))
    state = pl.concat(windows).with_columns(pl.col("month").cast(reached.schema["month"]))
    return reached.join(state, on=["customer_id", "month"])


def _of(currency: str, kind: str, column: str) -> pl.Expr:
    return pl.col(column).filter(pl.col("currency") == currency, pl.col("kind") == kind)


def auc(answer: pl.Series, by: np.ndarray | pl.Series) -> float:
    """P(a customer who accepted stands above one who did not), ties half."""
    ranks = pl.Series(by).rank("average")
    yes = answer.cast(pl.Boolean)
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    return (float(ranks.filter(yes).sum()) - n_yes * (n_yes + 1) / 2) / (n_yes * n_no)


@pytest.mark.parametrize(
    ("offer", "behaviour"),
    [
        ("wealth_usd_income", "held_USD"),
        ("deposit_usd_6m", "held_USD"),
        ("wealth_eur_bond", "held_EUR"),
        ("deposit_cny_12m", "held_CNY"),
        ("wealth_cny_balanced", "held_CNY"),
        ("card_cashback", "n_CNY_purchase"),
        ("insurance_travel", "n_JPY_purchase"),
        ("retention_bonus", "n_CNY_transfer_out"),
    ],
)
def test_customers_like_the_offer_their_money_speaks_for(rows: pl.DataFrame, offer: str, behaviour: str) -> None:
    about = rows.filter(pl.col("offer_id") == offer)
    assert auc(about["accepted"], about[behaviour]) > 0.55


def test_poor_people_with_a_salary_like_loans(rows: pl.DataFrame) -> None:
    about = rows.filter(pl.col("offer_id") == "loan_personal", pl.col("sum_CNY_salary") > 0)
    assert auc(about["accepted"], -about["held_CNY"] / about["sum_CNY_salary"]) > 0.55


def test_acceptance_can_be_learnt_well_but_not_perfectly(rows: pl.DataFrame) -> None:
    """Trained on 2025-07 .. 2026-02, tested on the three months after."""
    names = [n for n in rows.columns if n.startswith(("sum_", "n_", "held_"))]
    offer = rows["offer_id"].cast(pl.Enum(sorted(rows["offer_id"].unique()))).to_physical()
    matrix = np.column_stack([rows.select(names).to_numpy(), offer.to_numpy()]).astype(np.float64)
    answer = rows["accepted"]
    past = (rows["month"] < datetime(2026, 3, 1, tzinfo=UTC)).to_numpy()
    data = lgb.Dataset(matrix[past], answer.to_numpy()[past], categorical_feature=[len(names)])
    settings = {
        "objective": "binary", "learning_rate": 0.04, "num_leaves": 12, "min_data_in_leaf": 30,
        "num_threads": 2, "seed": 1, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    model = lgb.train(settings, data, 150)
    learnt = auc(answer.filter(~past), np.asarray(model.predict(matrix[~past])))
    possible = auc(answer.filter(~past), rows["p_accept"].filter(~past))
    assert 0.65 < learnt < 0.85
    assert learnt < possible < 0.92


def test_leavers_send_their_money_away_first(tables: Any) -> None:
    """Half a year before the end: more payments out, less money, among those who then leave."""
    cut = datetime(2025, 12, 1, tzinfo=UTC)
    accounts = tables["accounts"].filter(pl.col("product") == "current_cny")
    accounts = accounts.join(tables["holders"].filter(pl.col("role") == "owner"), on="account_id")
    there = accounts.filter(pl.col("closed_on").is_null() | (pl.col("closed_on") > cut.date()))
    recent = tables["transactions"].filter(
        pl.col("booked_at") < cut, pl.col("booked_at") >= pl.lit(cut).dt.offset_by("-90d")
    )
    sent = recent.filter(pl.col("kind") == "transfer_out").group_by("customer_id").len("sent")
    seen = there.join(sent, on="customer_id", how="left").with_columns(pl.col("sent").fill_null(0))
    assert auc(seen["closed_on"].is_not_null(), seen["sent"]) > 0.6
