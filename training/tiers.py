"""Value tiers: what a customer is worth now, and, apart from it, what he could be.

    tier        by annual contribution, over the whole bank: top (first 5 %), high (next 15 %),
                middle (next 30 %), base (the rest)
    potential   what the better quarter of his peers (person or firm, age band, salary) brings above
                him: large, some or little, a third of the bank each

Person by person, as of one day, written beside the models under the hash that the value model's
manifest names: promotion and rollback of `value` switch both in one step. No tier is made of minors,
the deceased and those who object to profiling; theirs is null. Never part of a bundle: customer ids
stay out of the registry. Whoever is erased is taken out of every file (`forget`); beside the former
file's name then stands where the rest went on (`<sha256>.now`).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from features.base import SortedIds
from rules.money import money
from training.atomic import write_atomically
from training.encode import Matrix
from training.value import ValueModel

TIERS = (("top", 0.95), ("high", 0.80), ("middle", 0.50), ("base", 0.0))  # from this share of the bank upwards
POTENTIALS = (("large", 2 / 3), ("some", 1 / 3), ("little", 0.0))
_PEERS_LEAST = 30  # fewer peers: those of the same kind
_SALARY_STEPS_MINOR = (1, 2_000_000, 5_000_000)  # of 90 days: none, up to, up to, more


def tier_table(
    people: pl.DataFrame, contribution: Matrix, model: ValueModel, as_of: datetime, currency: str
) -> pl.DataFrame:
    """One row per customer, sorted by customer_id.

    Args:
        people: customer_id, and as far as known kind, age_years, salary_sum_90d; (n,), only those of
            whom a tier may be made.
        contribution: Minor units of `currency` a year, (n,); NaN: unknown.

    Returns:
        customer_id, tier, potential, contribution_minor, peers_minor (what the better quarter of his
        peers brings), lifetime_value_minor, lifetime_low_minor, lifetime_high_minor, as_of, why (a
        sentence). Null tier where the contribution is unknown.
    """
    low, high = model.interval(contribution)
    named = people.select("customer_id", _peers(people).alias("peers"),
                          (pl.col("kind") if "kind" in people.columns else pl.lit("")).alias("kind"))  # fmt: skip
    sums = {"contribution_minor": contribution, "lifetime_value_minor": contribution * model.expected_years,
            "lifetime_low_minor": low, "lifetime_high_minor": high}  # fmt: skip
    rows = named.with_columns(
        pl.Series(name, values).fill_nan(None).round().cast(pl.Int64) for name, values in sums.items()
    )
    upper, alike = pl.col("contribution_minor").quantile(0.75), pl.len()
    rows = rows.with_columns(
        pl.when(alike.over("peers") >= _PEERS_LEAST).then(upper.over("peers")).otherwise(upper.over("kind"))
        .round().cast(pl.Int64).alias("peers_minor")).with_columns(
        (pl.col("peers_minor") - pl.col("contribution_minor")).clip(0).alias("above"))  # fmt: skip
    rows = rows.with_columns(_graded("contribution_minor", TIERS).alias("tier"), _graded("above", POTENTIALS).alias("potential"),
                             pl.lit(as_of).cast(pl.Datetime("us", "UTC")).alias("as_of"))  # fmt: skip
    return rows.with_columns(_why(currency)).select(
        "customer_id", "tier", "potential", "contribution_minor", "peers_minor", "lifetime_value_minor",
        "lifetime_low_minor", "lifetime_high_minor", "as_of", "why").sort("customer_id")  # fmt: skip


def write_tiers(models: Path, rows: pl.DataFrame) -> str:
    """Write `models/tiers/<sha256>.arrow` and return the hash; equal rows, equal bytes."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    text = sink.getvalue().to_pybytes()
    sha = hashlib.sha256(text).hexdigest()
    write_atomically(_file(models, sha), text)
    return sha


class Tiers:
    """The tiers of a bank's customers as of one day, read by customer."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._ids = SortedIds(table.column("customer_id"))
        tiers: Any = table.column("tier").combine_chunks().dictionary_encode()
        self._names: list[str | None] = [*tiers.dictionary.to_pylist(), None]
        self._codes = tiers.indices.fill_null(len(self._names) - 1).to_numpy()  # a scalar of Arrow's takes 80 us

    @classmethod
    def load(cls, models: Path, sha: str) -> "Tiers | None":
        """The tiers of that hash, without those forgotten since; None where there are none or other bytes than the hash says."""
        sha = _now(models, sha)
        path = _file(models, sha)
        if not sha or not path.is_file():
            return None
        text = path.read_bytes()
        if hashlib.sha256(text).hexdigest() != sha:
            return None
        return cls(pa.ipc.open_file(text).read_all())

    def of(self, customer_ids: Sequence[str]) -> list[str | None]:
        """Each customer's tier; null: none is made of him, or he joined later."""
        return [
            self._names[self._codes[place]] if place is not None else None
            for place in map(self._ids.find, customer_ids)
        ]

    def row(self, customer_id: str) -> dict[str, Any] | None:
        """All that is said of one customer, with its date and the sentence why."""
        place = self._ids.find(customer_id)
        return None if place is None else self._table.slice(place, 1).to_pylist()[0]


def forget(models: Path, customer_id: str) -> int:
    """Take a customer out of every file of tiers; out of how many.

    The rest is written first, then where it is, then the former file goes: whoever reads, or is
    stopped in between, finds one of the two. Doing it again finds nothing to do.
    """
    forgotten = 0
    for path in sorted((models / "tiers").glob("*.arrow")):
        rows = pl.read_ipc(path)
        rest = rows.filter(pl.col("customer_id") != customer_id)
        if rest.height == rows.height:
            continue
        now = write_tiers(models, rest)
        for note in path.parent.glob("*.now"):
            if note.read_text("ascii") == path.stem:
                write_atomically(note, now.encode("ascii"))
        write_atomically(_note(models, path.stem), now.encode("ascii"))
        path.unlink()
        forgotten += 1
    return forgotten


def _file(models: Path, sha: str) -> Path:
    return models / "tiers" / f"{sha}.arrow"


def _note(models: Path, sha: str) -> Path:
    return models / "tiers" / f"{sha}.now"


def _now(models: Path, sha: str) -> str:
    """Under which hash the tiers of that hash stand now."""
    note = _note(models, sha)
    return note.read_text("ascii") if note.is_file() else sha


def _graded(column: str, grades: Sequence[tuple[str, float]]) -> pl.Expr:
    """The first grade whose share of the bank the row's rank reaches; equal values, equal grades."""
    share = (pl.col(column).rank("max") / pl.col(column).count()).alias("share")
    found = pl.when(pl.col(column).is_null()).then(pl.lit(None, pl.String))
    for name, least in grades:
        found = found.when(share > least).then(pl.lit(name))
    return found.otherwise(pl.lit(grades[-1][0]))


def _peers(people: pl.DataFrame) -> pl.Expr:
    """Words that peers share: `person, 30-44, salary 2`."""
    parts: list[pl.Expr] = []
    if "kind" in people.columns:
        parts.append(pl.col("kind").fill_null("?"))
    if "age_years" in people.columns:
        age = pl.col("age_years")
        parts.append(pl.when(age < 30).then(pl.lit("under 30")).when(age < 45).then(pl.lit("30 to 44"))
                     .when(age < 60).then(pl.lit("45 to 59")).when(age >= 60).then(pl.lit("60 and over"))
                     .otherwise(pl.lit("age unknown")))  # fmt: skip
    if "salary_sum_90d" in people.columns:
        steps = sum((pl.col("salary_sum_90d").fill_null(0) >= step).cast(pl.Int8) for step in _SALARY_STEPS_MINOR)
        parts.append(pl.format("salary step {}", steps))
    return pl.concat_str(parts, separator=", ") if parts else pl.lit("everybody")


def _why(currency: str) -> pl.Expr:
    def told(name: str) -> pl.Expr:
        return pl.col(name).map_elements(lambda minor: money(minor, currency), pl.String)

    known = pl.format("brings {} a year ({} of the bank's customers bring less or as much); the better quarter of his peers ({}) brings {}",
                      told("contribution_minor"), _share("contribution_minor"), pl.col("peers"), told("peers_minor"))  # fmt: skip
    return (
        pl.when(pl.col("tier").is_null())
        .then(pl.lit("nothing is known of his balances, purchases or fees"))
        .otherwise(known)
        .alias("why")
    )


def _share(column: str) -> pl.Expr:
    share = (pl.col(column).rank("max") / pl.col(column).count() * 100).floor().cast(pl.Int64)
    return pl.format("{} %", share)
