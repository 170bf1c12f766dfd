"""Row checks of the input contract: per row the first reason why it cannot be used, or none."""

from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import polars as pl

from features.batch import Batch
from features.tables import DAY, INSTANT, SHARE, TEXT, Column, Table

ID_CHARACTERS_MAX = 64
# Printable, with blanks inside only: ` 12` and `12` must not pass for two customers.
_EDGE, _INNER = r"[^\p{C}\p{Z}]", r"[^\p{C}\p{Zl}\p{Zp}]"
_ID = rf"^{_EDGE}(?:{_INNER}{{0,{ID_CHARACTERS_MAX - 2}}}{_EDGE})?$"
# Planned instants and days; every other one that lies ahead of the home's clock is a mistake.
MAY_LIE_AHEAD = {
    ("consents", "expires_at"),
    ("contacts", "answer_by"),
    ("accounts", "matures_on"),
    ("accounts", "closed_on"),
    ("notes", "until"),
    ("calendar", "day"),
    ("fx_rates", "day"),  # fixed in the evening for the day to come; it counts from that day on
}


def is_id(column: Column) -> bool:
    """Whether the column holds an id: named so, or the text key of its table."""
    named = column.name.endswith("_id") or column.name == "product"
    return column.type == TEXT and named


class RowChecks:
    """The checks of one table. `known` are the accepted ids of the tables it refers to, sorted."""

    def __init__(self, table: Table, currencies: tuple[str, ...], now: datetime, zone: ZoneInfo,
                 known: dict[str, pl.Series]) -> None:  # fmt: skip
        self.table = table
        today = now.astimezone(zone).date()
        checks: list[pl.Expr] = []
        for column in table.columns:
            checks.extend(_value_checks(column))
            if column.name == "currency":
                remedy = "is not among bank.yaml's currencies"
                checks.append(_refuse(~pl.col("currency").is_in(currencies), f"`currency` {remedy}"))
            if (table.name, column.name) not in MAY_LIE_AHEAD and column.type in (INSTANT, DAY):
                limit = pl.lit(now, pl.Datetime("us", "UTC")) if column.type == INSTANT else today
                checks.append(_refuse(pl.col(column.name) > limit, f"`{column.name}` lies in the future"))
        for name, target in table.refers.items():
            if target in known:
                noun = target.split(".")[0].removesuffix("s")
                there = pl.col(name).map_batches(partial(_among, known=known[target]), return_dtype=pl.Boolean)
                checks.append(_refuse(~there, f"`{name}` is an unknown {noun}"))
        self._reason = pl.coalesce(pl.col("_unread"), *checks)

    def reasons(self, batch: Batch) -> pl.Series:
        """Per row the first reason against it, null where there is none; (n_rows,) string."""
        rows = batch.rows.with_columns(batch.unread.alias("_unread"))
        return rows.select(self._reason.alias("reason")).get_column("reason")


def _among(values: pl.Series, known: pl.Series) -> pl.Series:
    """Whether each is among the sorted `known`, null for null: `is_in` would hash a million of them for each small file."""
    if known.is_empty():
        return values.is_in([])
    return known.gather(known.search_sorted(values).clip(upper_bound=len(known) - 1)) == values


def _refuse(wrong: pl.Expr, reason: str) -> pl.Expr:
    # A null is nobody's mistake here: required columns have their own check.
    return pl.when(wrong.fill_null(False)).then(pl.lit(reason))


def _value_checks(column: Column) -> list[pl.Expr]:
    value, name = pl.col(column.name), column.name
    checks: list[pl.Expr] = []
    if column.required:
        checks.append(_refuse(value.is_null(), f"`{name}` is empty"))
    if is_id(column):
        rule = f"expected 1 to {ID_CHARACTERS_MAX} printable characters"
        checks.append(_refuse(~value.str.contains(_ID), f"`{name}` is not an id; {rule}"))
    if column.domain:
        allowed = ", ".join(column.domain)
        checks.append(_refuse(~value.is_in(column.domain), f"`{name}` is not one of {allowed}"))
    if column.low is not None:
        checks.append(_refuse(value < column.low, f"`{name}` is below {column.low:g}"))
    if column.high is not None:
        checks.append(_refuse(value > column.high, f"`{name}` is above {column.high:g}"))
    if column.type == SHARE:
        checks.append(_refuse(~value.is_finite(), f"`{name}` is not a finite number"))
    return checks
