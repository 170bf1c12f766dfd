from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.logs import BEST_VALUE, TARGET_VALUE, UNIFORM_VALUE, table
from training.decisionlog import beside, checked_log, read_log
from training.errors import DatasetError
from training.offpolicy import SupportError, value_of

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return table(1, 1_500)


@pytest.mark.parametrize(
    ("policy", "truth"), [("wanted", TARGET_VALUE), ("best", BEST_VALUE), ("uniform", UNIFORM_VALUE)]
)
def test_every_method_covers_the_truth(rows: pl.DataFrame, policy: str, truth: float) -> None:
    found = value_of(beside(checked_log(rows), policy))
    assert set(found.values) == {"ips", "snips", "dr"}
    for estimate in found.values.values():
        assert estimate.low <= truth <= estimate.high


def test_the_chosen_rows_alone_give_the_same_but_dr(rows: pl.DataFrame) -> None:
    whole = value_of(beside(checked_log(rows), "wanted"))
    alone = checked_log(rows.filter("chosen").drop("chosen"))
    assert alone.policies == ("wanted",)
    found = value_of(beside(alone, "wanted"))
    assert found.values == {name: whole.values[name] for name in ("ips", "snips")}


def test_a_csv_without_a_decision_is_told_as_one(rows: pl.DataFrame, tmp_path: Path) -> None:
    """Mutant: its columns are all text, and `chosen` was asked to be true or false."""
    rows.clear().write_csv(tmp_path / "log.csv")
    with pytest.raises(DatasetError, match="the log holds no decision; run longer, then export it again"):
        read_log(tmp_path / "log.csv")


def test_csv_and_parquet_are_the_same(rows: pl.DataFrame, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "log.csv")
    rows.write_parquet(tmp_path / "log.parquet")
    found = [value_of(beside(read_log(tmp_path / f"log.{kind}"), "best")) for kind in ("csv", "parquet")]
    assert found[0] == found[1]


def test_unripe_decisions_are_left_out_and_counted(rows: pl.DataFrame) -> None:
    young = rows.with_columns(
        pl.when(pl.col("decision_id") < "d000100").then(None).otherwise(pl.col("reward")).alias("reward")
    )
    log = checked_log(young)
    assert (log.unripe, log.rows["decision_id"].n_unique()) == (100, 4_400)


def test_the_expected_policy_takes_the_highest_q(rows: pl.DataFrame) -> None:
    model = rows.with_columns(pl.when(pl.col("action") == "sms").then(0.4).otherwise(0.1).alias("q"))
    sample = beside(checked_log(model), "expected")
    np.testing.assert_array_equal(sample.p_policy > 0, model.filter("chosen").sort("decision_id")["action"] == "sms")
    assert (sample.q_policy == 0.4).all()  # type: ignore[union-attr]


def test_no_support_names_the_actions(rows: pl.DataFrame) -> None:
    """An action the log never takes, its place given to another: the mutant of a missing check would print 0."""
    silent = rows.filter(
        ~pl.col("decision_id").is_in(rows.filter(pl.col("chosen"), pl.col("action") == "call")["decision_id"].implode())
    )
    call = pl.col("action") == "call"
    p = pl.when(call).then(0.0).otherwise(pl.col("p_log"))
    silent = silent.with_columns((p / p.sum().over("decision_id")).alias("p_log"))
    with pytest.raises(SupportError, match=r"the log gives `call` no probability where `wanted` would choose them"):
        beside(checked_log(silent), "wanted")
    assert beside(checked_log(silent), "uniform") is not None


def test_a_log_that_was_not_drawn_with_its_probabilities(rows: pl.DataFrame) -> None:
    with pytest.raises(SupportError, match=r"wrong probabilities: `\w+` was chosen \d+ times, its logged"):
        beside(checked_log(rows.with_columns(pl.lit(0.25).alias("p_log"))), "wanted")


@pytest.mark.parametrize(("change", "message"), [
    (lambda r: r.drop("p_log"), "the log lacks `p_log`"),
    (lambda r: r.clear(), "holds no decision"),
    (lambda r: pl.concat([r, r.head(2)]), "2 rows repeat a decision and action"),
    (lambda r: r.with_columns(pl.lit(True).alias("chosen")), "no or several `chosen`"),
    (lambda r: r.with_columns(pl.lit("yes").alias("chosen")), "`chosen` must be true or false"),
    (lambda r: r.with_columns(pl.when("chosen").then(None).otherwise(pl.col("p_log")).alias("p_log")), "no logged probability"),
    (lambda r: r.with_columns((pl.col("p_log") / 2).alias("p_log")), "does not add up to 1"),
    (lambda r: r.with_columns((pl.col("p_log") * 3).alias("p_log")), r"`p_log` must lie in \[0, 1\]"),
    (lambda r: r.with_columns(pl.lit(None, pl.Float64).alias("reward")), "no decision has a ripe reward"),
    (lambda r: r.with_columns(pl.lit(np.inf).alias("reward")), "rows of `reward` are not finite"),
    (lambda r: r.with_columns(pl.lit("much").alias("reward")), "`reward` must be numbers"),
    (lambda r: r.with_columns(pl.lit(None, pl.Float64).alias("q")), "have no `q`"),
    (lambda r: r.with_columns(pl.lit(None, pl.String).alias("action")), "have no `action`"),
])  # fmt: skip
def test_bad_logs_are_one_line(rows: pl.DataFrame, change: Change, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        checked_log(change(rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "policy", "message"), [
    (lambda r: r, "mine", "no policy `mine`; this log has wanted, uniform, best"),
    (lambda r: r, "expected", "no policy `expected`"),
    (lambda r: r.with_columns(pl.col("wanted") / 2), "wanted", "does not add up to 1 in 4500 decisions"),
    (lambda r: r.with_columns(pl.col("wanted") * 2), "wanted", "no probability; give a number"),
])  # fmt: skip
def test_bad_policies_are_one_line(rows: pl.DataFrame, change: Change, policy: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        beside(checked_log(change(rows)), policy)


@pytest.mark.parametrize("name", ["nothing.parquet", "text.parquet", "log.txt"])
def test_files_that_are_no_log(tmp_path: Path, name: str) -> None:
    if name != "nothing.parquet":
        (tmp_path / name).write_text("hello")
    with pytest.raises(DatasetError, match=r"no decision log at|cannot be read as"):
        read_log(tmp_path / name)


@pytest.mark.parametrize("policy", ["best", "uniform"])
def test_an_action_whose_chance_was_not_logged_is_left_out_and_counted(policy: str) -> None:
    rng, rows = np.random.default_rng(0), list[tuple[str, str, float | None, bool, float | None]]()
    for i in range(2000):
        made = int(rng.random() < 0.3)
        for k, p in enumerate((0.7, 0.3, None)):
            rows.append((str(i), f"a{k}", p, k == made, float(rng.random() < 0.1) if k == made else None))
    log = checked_log(pl.DataFrame(rows, schema=["decision_id", "action", "p_log", "chosen", "reward"], orient="row"))
    assert log.unlogged == 2000 and log.complete
    known = checked_log(log.rows.filter(pl.col("p_log").is_not_null()))
    assert value_of(beside(log, policy)).values == value_of(beside(known, policy)).values and known.unlogged == 0
