"""Open Bandit data, small version: what each logging policy would have brought, from the other's log.

random -> bts: bts's probabilities on random's rows are not logged; they are estimated from bts's own
log as the share of each item at each position. bts -> random: both are known, chosen rows alone.
"""

import os
from pathlib import Path

import polars as pl

from benchmarks.table import Table
from training.decisionlog import beside, checked_log
from training.offpolicy import SupportError, effective_sample_size, value_of

CAMPAIGNS = ("all", "men", "women")


def run(quick: bool) -> list[Table]:
    """Measure; quick: one campaign."""
    setting = "10,000 rows of each logging policy and campaign; clicks per row, a row its own unit"
    table = Table("Open Bandit, off-policy", setting)
    print(f"{table.name}: {setting}")
    for campaign in CAMPAIGNS[1:2] if quick else CAMPAIGNS:
        for source, policy in (("random", "bts"), ("bts", "random")):
            what = f"{campaign}, {source} -> {policy}"
            table.add(f"{what}: on policy", float(clicks(policy, campaign)["click"].to_numpy().mean()), "clicks")
            rows = from_random(campaign) if policy == "bts" else from_bts(campaign)
            weight = rows.filter(pl.col("reward").is_not_null()).select(pl.col(policy) / pl.col("p_log")).to_series()
            table.add(f"{what}: effective sample size", effective_sample_size(weight.to_numpy()), "decisions")
            try:
                found = value_of(beside(checked_log(rows), policy))
            except SupportError as error:
                table.add(f"{what}: refused", None, "", note=str(error))
                continue
            for name, value in found.values.items():
                note = "; ".join((f"{value.low:.5f} to {value.high:.5f}", *found.notes))
                table.add(f"{what}: {name}", value.value, "clicks", note=note)
    return [table]


def folder() -> Path:
    """Where the data lie."""
    data = Path(os.environ.get("NBO_DATA", Path(__file__).parents[2] / "shared" / "data"))
    return data / "open_bandit_small"


def clicks(policy: str, campaign: str) -> pl.DataFrame:
    """One logging policy's rows of a campaign."""
    columns = ["item_id", "position", "click", "propensity_score"]
    return pl.read_csv(folder() / policy / campaign / f"{campaign}.csv.gz", columns=columns)


def from_random(campaign: str) -> pl.DataFrame:
    """The random log with every item of every row, and bts's estimated probability of each."""
    log, bts = clicks("random", campaign), clicks("bts", campaign)
    seen = bts.group_by("item_id", "position").len()
    share = (pl.col("len") / pl.col("len").sum().over("position")).alias("bts")
    items = log["item_id"].unique().sort().to_frame("item")
    made = log.with_row_index("decision_id").join(items, how="cross")
    made = made.join(
        seen.with_columns(share), left_on=["item", "position"], right_on=["item_id", "position"], how="left"
    )
    chosen = pl.col("item") == pl.col("item_id")
    return made.select(
        "decision_id", pl.col("item").alias("action"), pl.lit(1 / len(items)).alias("p_log"), chosen.alias("chosen"),
        pl.when(chosen).then(pl.col("click")).alias("reward"), pl.col("bts").fill_null(0.0))  # fmt: skip


def from_bts(campaign: str) -> pl.DataFrame:
    """The bts log, chosen rows alone, and the known probability of the random policy."""
    log = clicks("bts", campaign)
    return log.with_row_index("decision_id").select(
        "decision_id", pl.col("item_id").alias("action"), pl.col("propensity_score").alias("p_log"),
        pl.col("click").alias("reward"), pl.lit(1 / log["item_id"].n_unique()).alias("random"))  # fmt: skip
