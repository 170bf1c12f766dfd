from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from simulation.bank import simulate
from simulation.cast import COUPLE, STORY_DEPOSIT_MINOR, USD_STORY
from simulation.truth import read_truth
from simulation.world import OFFER_IDS

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


def of(frame: pl.DataFrame, customer_id: str) -> pl.DataFrame:
    return frame.filter(pl.col("customer_id") == customer_id)


def test_the_usd_customer_still_holds_his_dollars(tables: Any) -> None:
    dollars = of(tables["transactions"], USD_STORY).filter(pl.col("currency") == "USD")
    assert dollars["kind"].to_list() == ["cash_deposit"]
    assert dollars["balance_after_minor"].to_list() == [STORY_DEPOSIT_MINOR]
    assert dollars["booked_at"][0] == datetime(2026, 5, 8, 3, tzinfo=UTC)
    account = tables["accounts"].filter(pl.col("account_id") == dollars["account_id"][0])
    assert account["product"].to_list() == ["current_usd"]
    assert account["closed_on"].to_list() == [None]


def test_the_usd_customer_may_be_contacted_everywhere(tables: Any) -> None:
    row = of(tables["customers"], USD_STORY).to_dicts()[0]
    assert row["household_id"] is None
    assert (row["kind"], row["time_zone"], row["arrears_days"]) == ("person", "Asia/Shanghai", 0)
    assert (row["risk_tolerance"], row["risk_assessed_on"]) == (4, date(2026, 3, 1))
    flags = ("do_not_contact", "no_profiling", "deceased", "staff", "vulnerable", "fraud_lock")
    assert not any(row[flag] for flag in flags)
    consents = of(tables["consents"], USD_STORY).select("purpose", "channel", "state").rows()
    assert consents == [("marketing", "all", "granted")]
    reach = of(tables["reachability"], USD_STORY)
    assert reach["state"].to_list() == ["ok"] * 6
    assert of(tables["cases"], USD_STORY).height == 0


def test_named_customers_were_not_contacted_lately(tables: Any) -> None:
    recent = tables["contacts"].filter(
        pl.col("customer_id").is_in([USD_STORY, *COUPLE]),
        pl.col("decided_at") > tables.bank.until - timedelta(days=120),
    )
    assert recent.height == 0


def test_the_couple_shares_a_household_of_two(tables: Any) -> None:
    household = tables["customers"].filter(pl.col("household_id") == "H0000002")
    assert household["customer_id"].to_list() == list(COUPLE)
    assert household["kind"].to_list() == ["person", "person"]


def test_named_customers_are_the_same_whatever_the_seed(tmp_path: Path) -> None:
    told: list[dict[str, pl.DataFrame]] = []
    for seed in (1, 2):
        simulate(tmp_path / str(seed), 50, seed, since=SINCE, until=UNTIL)
        names = ("customers", "consents", "reachability", "transactions", "contacts", "identities")
        read = {n: pl.read_parquet(tmp_path / str(seed) / n / "*.parquet") for n in names}
        told.append({n: f.filter(pl.col("customer_id") <= COUPLE[1]) for n, f in read.items()})
    assert all(told[0][name].equals(told[1][name]) for name in told[0])
    assert told[0]["transactions"].height > 30


def test_a_bank_of_one_customer_is_the_story_alone(tmp_path: Path) -> None:
    bank = simulate(tmp_path / "one", 1, 5, since=SINCE, until=UNTIL)
    customers = pl.read_parquet(bank.directory / "transactions/*.parquet")["customer_id"]
    assert customers.unique().to_list() == [USD_STORY]
    assert bank.rows["customers"] == 1


def test_the_truth_says_he_likes_the_dollar_product_best(tables: Any) -> None:
    truth = read_truth(tables.bank.directory)
    row = int(truth.rows_of([USD_STORY])[0])
    best = int(truth.values_minor()[row].argmax())
    assert OFFER_IDS[best // truth.p_reached.shape[1]] == "wealth_usd_income"
    assert truth.p_accept[row, OFFER_IDS.index("wealth_usd_income")] > 0.3
