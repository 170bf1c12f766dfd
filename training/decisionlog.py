"""The decision log as a table, and a policy laid beside it.

    decision_id  text     one decision; its rows are the actions it could have taken
    action       text     offer|channel, or any name
    p_log        number   the probability the log gave the action, in [0, 1]; null: was not logged
    chosen       boolean  true on exactly one row of each decision; absent where every decision has one row
    reward       number   what came of the choice, read on the chosen row; null: not ripe, left out
    unit_id      text?    household: its decisions are resampled together; absent: each its own
    q            number?  a model's reward of the action, learned before the log began
    ...                   a column per policy: its probability of the action

With all actions of a decision (their p_log add up to 1) the policies `uniform`, `best` (what the log
does when it does not explore) and `expected` (the highest q) need no column, and support is checked
action by action. With the chosen row alone a policy needs its column, and the weights must average 1.
`nbo audit log OUT` writes such a table from a home's own records.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from training.encode import Matrix
from training.errors import DatasetError
from training.offpolicy import Sample, SupportError

BUILT_IN = ("uniform", "best", "expected")
_NEEDED, _FOLDS, _PRIOR_ROWS = ("decision_id", "action", "p_log", "reward"), 5, 20.0
_TOLERANCE, _MOST_Z, _LEAST_EXPECTED = 1e-6, 5.0, 20.0


@dataclass(frozen=True)
class DecisionLog:
    """A checked log. rows: one per decision and action, as above. complete: with every action.

    unripe: decisions left out because their reward is not known yet. unlogged: rows without `p_log`, which no
    built-in policy chooses.
    """

    rows: pl.DataFrame
    complete: bool
    unripe: int
    unlogged: int = 0

    @property
    def policies(self) -> tuple[str, ...]:
        """Columns that may be a policy, and the built-in ones this log allows."""
        known = {*_NEEDED, "chosen", "unit_id", "q"}
        columns = [name for name, kind in self.rows.schema.items() if kind == pl.Float64 and name not in known]
        return (*columns, *(name for name in BUILT_IN if self.complete and (name != "expected" or self.has_q)))

    @property
    def has_q(self) -> bool:
        """Whether a model's rewards came with the log."""
        return "q" in self.rows.columns


def read_log(path: Path) -> DecisionLog:
    """Read and check a log from Parquet or CSV; DatasetError in one line."""
    if not path.is_file():
        raise DatasetError(f"no decision log at `{path}`; nbo audit log OUT writes one")
    try:
        rows = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"`{path}` cannot be read as {path.suffix or 'Parquet'}; write Parquet or CSV") from error
    return checked_log(rows)


def checked_log(rows: pl.DataFrame) -> DecisionLog:
    """Check a log that is a frame already; DatasetError in one line, naming the column."""
    missing = [name for name in _NEEDED if name not in rows.columns]
    if missing:
        raise DatasetError(f"the log lacks `{missing[0]}`; it needs {', '.join(_NEEDED)} (training/decisionlog.py)")
    if rows.is_empty():  # first: of a CSV without a row every column is text
        raise DatasetError("the log holds no decision; run longer, then export it again")
    rows = _typed(rows)
    twice = len(rows) - rows.select("decision_id", "action").n_unique()
    if twice:
        raise DatasetError(f"{twice} rows repeat a decision and action; a decision has one row per action")
    picks = rows.group_by("decision_id").agg(pl.col("chosen").sum().alias("n"), pl.col("p_log").sum().alias("p"))
    wrong = len(picks.filter(pl.col("n") != 1))
    if wrong:
        raise DatasetError(f"{wrong} decisions have no or several `chosen` actions; exactly one row must be true")
    if (made := rows.filter("chosen").filter(pl.col("p_log").is_null() | (pl.col("p_log") <= 0))).height:
        raise DatasetError(
            f"{made.height} choices have no logged probability, `{made['action'][0]}` among them; without it nothing can be said"
        )
    whole = (picks["p"] - 1).abs() <= _TOLERANCE
    complete = bool(whole.all())
    if not complete and len(rows) > len(picks):
        raise DatasetError(
            f"in {int((~whole).sum())} decisions `p_log` does not add up to 1; list every action, or the chosen alone"
        )
    ripe = rows.filter("chosen", pl.col("reward").is_not_null())["decision_id"]
    kept = rows.filter(pl.col("decision_id").is_in(ripe.implode()))
    if kept.is_empty():
        raise DatasetError("no decision has a ripe reward yet; wait until the answers are in")
    return DecisionLog(kept, complete, len(picks) - len(ripe), kept["p_log"].null_count())


def beside(log: DecisionLog, policy: str) -> Sample:
    """The log's choices beside a policy: a column of the log, else `uniform`, `best` or `expected`.

    q is the log's column, else the rate of each action among other units (five folds, drawn to the
    mean by 20 rows); a log of chosen rows alone has none.

    Raises:
        DatasetError: No such policy, or its probabilities are none.
        SupportError: The policy chooses what the log could not; or the choices were not drawn with `p_log`.
    """
    rows = _with_policy(log, policy)
    _refuse_outside(rows, policy)
    if not log.complete:
        made = rows.sort("decision_id")
        return _sample(made, None, None)
    _refuse_undrawn(rows)
    rows = rows if log.has_q else rows.with_columns(_rates(rows))
    made = rows.filter("chosen").sort("decision_id")
    under = rows.group_by("decision_id").agg((pl.col("p_policy") * pl.col("q")).sum().alias("v")).sort("decision_id")
    return _sample(made, made["q"].to_numpy(), under["v"].to_numpy())


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    words = [name for name in ("decision_id", "unit_id", "action") if name in rows.columns]
    numbers = [name for name, kind in rows.schema.items() if kind.is_numeric() and name not in words]
    rows = rows.with_columns(pl.col(numbers).cast(pl.Float64), pl.col(words).cast(pl.String))
    if "chosen" not in rows.columns:
        rows = rows.with_columns(pl.lit(True).alias("chosen"))
    if "unit_id" not in rows.columns:
        rows = rows.with_columns(pl.col("decision_id").alias("unit_id"))
    for name in ("decision_id", "unit_id", "action", "chosen"):
        if rows[name].null_count():
            raise DatasetError(f"{rows[name].null_count()} rows have no `{name}`; mend the log")
    if rows.schema["chosen"] != pl.Boolean:
        raise DatasetError("`chosen` must be true or false; mend the log")
    for name in ("p_log", "reward", "q"):
        if name not in rows.columns:
            continue
        if rows.schema[name] != pl.Float64 and rows.schema[name] != pl.Null:
            raise DatasetError(f"`{name}` must be numbers; mend the log")
        odd = int((~rows[name].cast(pl.Float64).drop_nulls().is_finite()).sum())
        if odd:
            raise DatasetError(f"{odd} rows of `{name}` are not finite; mend the log")
    if rows.filter((pl.col("p_log") < 0) | (pl.col("p_log") > 1)).height:
        raise DatasetError("`p_log` must lie in [0, 1]; mend the log")
    if "q" in rows.columns and rows["q"].null_count():
        raise DatasetError(f"{rows['q'].null_count()} rows have no `q`; give it for every action, or drop the column")
    return rows


def _with_policy(log: DecisionLog, policy: str) -> pl.DataFrame:
    if policy not in log.policies:
        raise DatasetError(f"no policy `{policy}`; this log has {', '.join(log.policies) or 'none: add a column'}")
    if policy in log.rows.columns:
        rows = log.rows.with_columns(pl.col(policy).alias("p_policy"))
    else:
        liked = pl.when(pl.col("p_log").is_not_null()).then(pl.col("q" if policy == "expected" else "p_log"))
        most = liked == liked.max().over("decision_id")
        favoured = (pl.col("p_log") > 0 if policy == "uniform" else most).fill_null(value=False).cast(pl.Float64)
        rows = log.rows.with_columns((favoured / favoured.sum().over("decision_id")).alias("p_policy"))
    p = rows["p_policy"]
    if p.null_count() or not p.is_between(0, 1).all():
        raise DatasetError(
            f"policy `{policy}` holds something that is no probability; give a number in [0, 1] for every row"
        )
    if log.complete:
        sums = rows.group_by("decision_id").agg(pl.col("p_policy").sum())["p_policy"]
        wrong = int(((sums - 1).abs() > _TOLERANCE).sum())
        if wrong:
            raise DatasetError(f"policy `{policy}` does not add up to 1 in {wrong} decisions; mend the column")
    return rows


def _refuse_outside(rows: pl.DataFrame, policy: str) -> None:
    """SupportError where the policy would choose an action that the log gave no chance."""
    outside = rows.filter(pl.col("p_policy") > 0, pl.col("p_log").is_null() | (pl.col("p_log") <= 0))
    if outside.is_empty():
        return
    worst = (
        outside.group_by("action").agg(pl.col("p_policy").sum()).sort("p_policy", "action", descending=[True, False])
    )
    named = ", ".join(f"`{name}`" for name in worst["action"].head(3))
    more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
    share = float(outside["p_policy"].sum()) / rows["decision_id"].n_unique()
    raise SupportError(
        f"no support: the log gives {named}{more} no probability where `{policy}` would choose them"
        f" ({share:.1%} of its choices); explore them first, or keep the policy inside the log"
    )


def _refuse_undrawn(rows: pl.DataFrame) -> None:
    """SupportError where an action was chosen clearly more, or less, often than its `p_log` says."""
    missed, p = (pl.col("chosen").cast(pl.Float64) - pl.col("p_log")).sum().alias("missed"), pl.col("p_log")
    by_unit = rows.group_by("action", "unit_id").agg(missed, p.sum(), (p * (1 - p)).sum().alias("drawn"))
    # A household draws as one; and what is seen says little of rare draws: one in seventy explores, and none has.
    error = pl.max_horizontal((pl.col("missed") ** 2).sum(), pl.col("drawn").sum()).sqrt().alias("error")
    found = by_unit.group_by("action").agg(
        pl.col("missed").sum().alias("off"), error, p.sum()
    ).filter(pl.col("p_log") >= _LEAST_EXPECTED, pl.col("off").abs() > _MOST_Z * pl.col("error") + _TOLERANCE)  # fmt: skip
    if found.is_empty():
        return
    worst = found.sort(pl.col("off").abs() / pl.col("error"), descending=True).row(0, named=True)
    expected = worst["p_log"]
    raise SupportError(
        f"wrong probabilities: `{worst['action']}` was chosen {expected + worst['off']:.0f} times,"
        f" its logged probabilities say {expected:.0f}; the log was not drawn with `p_log`"
    )


def _rates(rows: pl.DataFrame) -> pl.Series:
    """The reward of each action among the units of other folds, (n,)."""
    fold = (rows["unit_id"].rank("dense") % _FOLDS).alias("fold")
    made = rows.select("action", "chosen", "reward", fold).filter("chosen")
    cells = made.group_by("action", "fold").agg(pl.col("reward").sum().alias("sum"), pl.len().alias("n"))
    totals = cells.group_by("action").agg(pl.col("sum").sum().alias("all"), pl.col("n").sum().alias("of"))
    mean = made.group_by("fold").agg(pl.col("reward").sum().alias("fs"), pl.len().alias("fn"))
    total, count = float(made["reward"].sum()), float(len(made))
    asked = rows.select("action").with_columns(fold)
    joined = asked.join(cells, on=["action", "fold"], how="left", maintain_order="left")
    joined = joined.join(totals, on="action", how="left", maintain_order="left")
    joined = joined.join(mean, on="fold", how="left", maintain_order="left")
    prior = (total - pl.col("fs").fill_null(0.0)) / (count - pl.col("fn").fill_null(0)).clip(1)
    others, n_others = (pl.col(a).fill_null(0) - pl.col(b).fill_null(0) for a, b in (("all", "sum"), ("of", "n")))
    rate = (others + _PRIOR_ROWS * prior) / (n_others + _PRIOR_ROWS)
    return joined.select(rate.alias("q"))["q"]


def _sample(made: pl.DataFrame, q_chosen: Matrix | None, q_policy: Matrix | None) -> Sample:
    reward, p_log, p_policy = (made[name].to_numpy() for name in ("reward", "p_log", "p_policy"))
    return Sample(made["unit_id"].to_numpy().astype(np.str_), reward, p_log, p_policy, q_chosen, q_policy)
