"""What the named columns of a table mean: label, treatment, id, time and group, checked.

Two values are a label. Which of them is the positive one is known from the words (yes, true, 1);
else the rarer one is, and the report says so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from training.encode import Matrix
from training.errors import DatasetError

ROW_ORDER = "@row"  # --time @row: the file's own order is the order of time
_YES = frozenset({"yes", "y", "true", "t", "1", "1.0", "positive", "treated", "treatment", "success"})
_NO = frozenset({"no", "n", "false", "f", "0", "0.0", "-1", "negative", "control", "untreated", "failure"})
LEAST_OF_A_CLASS = 10

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Binary:
    """A column of two values as 0 and 1, (n,), which value is 1, and whether that was a guess."""

    codes: Matrix
    positive: str
    guessed: bool


def binary(column: pl.Series, what: str, *, guess: bool) -> Binary:
    """Read a column of two values; `what` is "label" or "treatment".

    Raises:
        DatasetError: A null or NaN, one value, more than two, or - without `guess` - words that do
            not say which of the two is the positive one.
    """
    name = f"{what} `{column.name}`"
    missing = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)
    if missing:
        raise DatasetError(f"{name} is empty in {missing} of {len(column)} rows; fill them in or leave them out")
    values = sorted(column.unique().to_list(), key=str)
    if len(values) == 1:
        nothing = "no positives" if str(values[0]).lower() in _NO else "one value only"
        raise DatasetError(f"{name} has {nothing} in {len(column)} rows; both classes are needed")
    if len(values) > 2:
        raise DatasetError(f"{name} has {len(values)} values, expected two (0 and 1, no and yes)")
    positive = _positive(column, values)
    known = positive is not None
    if positive is None:
        if not guess:
            raise DatasetError(f"{name} has two values and neither says treated; write 0 and 1, or no and yes")
        positive = min(values, key=lambda value: (int((column == value).sum()), str(value)))
    return Binary((column == positive).cast(pl.Float64).to_numpy(), str(positive), not known)


def instants(frame: pl.DataFrame, name: str, now: datetime | None = None) -> Matrix:
    """When each row was, (n,), a number that only its order matters of.

    Raises:
        DatasetError: Empty values, text that is no date, or rows later than `now` (default: the clock).
    """
    if name == ROW_ORDER:
        return np.arange(len(frame), dtype=np.float64)
    column = frame[name]
    if column.null_count():
        raise DatasetError(f"time `{name}` is empty in {column.null_count()} of {len(frame)} rows; fill them in")
    if column.dtype == pl.String:
        try:
            column = column.str.to_datetime()
        except pl.exceptions.PolarsError as error:
            raise DatasetError(f"time `{name}` is text and no date; write 2026-06-01 or a number") from error
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        column = column.cast(pl.Datetime("us")).dt.epoch("us")
        present = (now or datetime.now(UTC)).timestamp() * 1e6
        late = int((column > present).sum())
        if late:
            raise DatasetError(f"time `{name}` lies in the future in {late} rows; what has not happened has no label")
    if not column.dtype.is_numeric():
        raise DatasetError(f"time `{name}` is {column.dtype}, expected dates, instants or numbers")
    at = column.cast(pl.Float64).to_numpy()
    if not np.isfinite(at).all():
        raise DatasetError(f"time `{name}` has values that are no number; fill them in")
    return at


def group_codes(column: pl.Series, start: int = 0) -> Codes:
    """The group of each row as a number from `start`, (n,).

    Raises:
        DatasetError: A row without a group.
    """
    if column.null_count():
        raise DatasetError(f"group `{column.name}` is empty in {column.null_count()} rows; each row needs one")
    return column.rank("dense").cast(pl.Int64).to_numpy() - 1 + start


def check_ids(column: pl.Series) -> None:
    """Refuse ids that are empty or repeat; how many, never which.

    Raises:
        DatasetError: With the count.
    """
    if column.null_count():
        raise DatasetError(f"id `{column.name}` is empty in {column.null_count()} rows; each row needs one")
    again = len(column) - column.n_unique()
    if again:
        remedy = "keep one row each, or name the column with --group"
        raise DatasetError(f"id `{column.name}` repeats in {again} of {len(column)} rows; {remedy}")


def _positive(column: pl.Series, values: list[object]) -> object | None:
    if column.dtype == pl.Boolean:
        return True
    if column.dtype.is_numeric():
        return values[0] if float(str(values[0])) > float(str(values[1])) else values[1]
    words = [str(value).strip().lower() for value in values]
    yes = [value for value, word in zip(values, words, strict=True) if word in _YES]
    no = [value for value, word in zip(values, words, strict=True) if word in _NO]
    if len(yes) == 1:
        return yes[0]
    return next(value for value in values if value != no[0]) if len(no) == 1 else None
