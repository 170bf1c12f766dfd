"""The columns of a table nobody described, as features: kinds, domains and what is left out.

Everything is learned from the rows of the fitting part alone, and nothing from the label. Text
becomes the place among its most frequent values, so that a million categories cost one column. How often
a value occurs is no feature: what has been fitted on has occurred, and rows to come bring values that have
not, so that its scores were off where households are new (ece 0.13 beside 0.03 without). Dates become days since 1970, month and weekday.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from training.encode import Feature, Matrix, encode
from training.errors import DatasetError, ScoreError
from training.tablefile import need_columns

MOST_VALUES = 48  # of a text column with codes of their own
FEW_LEVELS = 8  # whole numbers of so few values may be codes: a straight line needs them one by one
_KEY_ROWS = 20  # fewer rows cannot tell a key from a value
_KEY_NAME = re.compile(r"(^|_)(id|key|uuid|guid)$|[a-z]I[dD]$", re.ASCII)
_SECONDS = 86_400.0


@dataclass(frozen=True)
class Plan:
    """How a table becomes a matrix; dropped: column -> why."""

    features: tuple[Feature, ...]
    sources: tuple[str, ...]  # columns read, in the file's order
    types: dict[str, pl.DataType]
    many: dict[str, int]  # text of more values than have codes: how many there are
    dropped: dict[str, str] = field(default_factory=dict[str, str])

    def matrix(self, frame: pl.DataFrame, what: str) -> Matrix:
        """(n, n_features) float64 in row order; null and unseen values NaN.

        Raises:
            DatasetError: The frame lacks a column or holds another type in it; `what` names it.
        """
        need_columns(frame, self.sources, what)
        columns: list[pl.Series] = []
        wanted = {feature.name for feature in self.features}
        for name in self.sources:
            column = _as_type(frame[name], self.types[name], what)
            columns += _derived(column)
            if f"{name}#level" in wanted:
                columns.append(column.cast(self.types[name], strict=False).cast(pl.String).alias(f"{name}#level"))
        try:
            return encode(pl.DataFrame(columns).to_arrow(), self.features)
        except ScoreError as error:
            raise DatasetError(f"{what}: {error}") from error


def plan_columns(frame: pl.DataFrame, left_out: Collection[str]) -> Plan:
    """Choose kinds and domains from the rows to fit on.

    Args:
        frame: Rows of the fitting part.
        left_out: Label, treatment, id, time, group and what the caller drops.

    Raises:
        DatasetError: No column is left to learn from.
    """
    features: list[Feature] = []
    sources: list[str] = []
    dropped: dict[str, str] = {}
    many: dict[str, int] = {}
    for column in frame.drop(left_out, strict=False).iter_columns():
        why = _useless(column)
        if why:
            dropped[column.name] = why
            continue
        sources.append(column.name)
        if _is_text(column) and (values := column.drop_nulls().n_unique()) > MOST_VALUES:
            many[column.name] = values
        features += _features(column)
    if not features:
        raise DatasetError("no column is left to learn from; each is constant, empty, a key or left out")
    types = {name: frame.schema[name] for name in sources}
    return Plan(tuple(features), tuple(sources), types, many, dropped)


def _useless(column: pl.Series) -> str | None:
    known = column.drop_nulls()
    if column.dtype.is_float():
        known = known.filter(known.is_finite())
    if len(known) == 0:
        return "empty in every row"
    if column.dtype.is_nested() or isinstance(column.dtype, pl.Binary | pl.Object):
        return f"of type {column.dtype}, which is no number, text, flag or date"
    distinct = known.n_unique()
    if distinct == 1 and len(known) == len(column):  # one value that is now there and now not says something
        return "the same in every row"
    different = distinct == len(column) and distinct > _KEY_ROWS
    if different and (_is_text(column) or (column.dtype.is_integer() and _KEY_NAME.search(column.name))):
        return "a key: different in every row"
    return None


def _features(column: pl.Series) -> list[Feature]:
    name = column.name
    if column.dtype == pl.Boolean:
        return [Feature(name=name, kind="flag")]
    if _is_text(column):
        text = column.cast(pl.String)
        frequent = text.drop_nulls().value_counts().sort(["count", name], descending=[True, False])
        domain = tuple(sorted(frequent[name].head(MOST_VALUES).to_list()))
        return [Feature(name=name, kind="enum", domain=domain)]
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        return [Feature(name=each, kind="number") for each in (name, f"{name}#month", f"{name}#weekday")]
    found = [Feature(name=name, kind="number")]
    if column.dtype.is_integer() and 2 < column.drop_nulls().n_unique() <= FEW_LEVELS:
        levels = tuple(str(value) for value in column.drop_nulls().unique().sort())
        found.append(Feature(name=f"{name}#level", kind="enum", domain=levels))
    return found


def _derived(column: pl.Series) -> list[pl.Series]:
    name = column.name
    if _is_text(column):
        return [column.cast(pl.String)]
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        instant = column.cast(pl.Datetime("us"))
        days = instant.dt.epoch("s").cast(pl.Float64) / _SECONDS
        return [days.alias(name), instant.dt.month().cast(pl.Float64).alias(f"{name}#month"),
                instant.dt.weekday().cast(pl.Float64).alias(f"{name}#weekday")]  # fmt: skip
    if column.dtype == pl.Boolean:
        return [column]
    if isinstance(column.dtype, pl.Time | pl.Duration):
        return [(column.cast(pl.Int64).cast(pl.Float64) / 1e9).alias(name)]
    return [column.cast(pl.Float64)]


def _as_type(column: pl.Series, wanted: pl.DataType, what: str) -> pl.Series:
    if column.dtype == wanted or (column.dtype.is_numeric() and wanted.is_numeric()):
        return column
    changed = column.cast(pl.String if isinstance(wanted, pl.Categorical | pl.Enum) else wanted, strict=False)
    if changed.null_count() > column.null_count():
        raise DatasetError(
            f"column `{column.name}` is {column.dtype} in {what}, but was learned as {wanted}; align them"
        )
    return changed


def _is_text(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum)
