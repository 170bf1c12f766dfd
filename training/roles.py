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


def binary(column: pl.Series, what: str, *, guess: bool, positive: str | None = None) -> Binary:
    """Read a column of two values; `what` is "label" or "treatment".

    Args:
        guess: Take the larger number, or else the rarer value, where nothing says which is the positive one.
        positive: The value that counts as 1, as it is written; None: known from the words, or 0 and 1.

    Raises:
        DatasetError: A null or NaN, one value, more than two, `positive` not among them, or - without
            `guess` - values that do not say which of the two is the positive one: of 1 and 2 either may be.
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
    found = _named(values, positive, name) if positive is not None else _positive(column, values, guess=guess)
    known = found is not None
    if found is None:
        if not guess:
            shown = f"`{values[0]}` and `{values[1]}`"
            raise DatasetError(f"{name} has the values {shown} and neither says treated; name it with --treated VALUE,"
                               " or write 0 and 1")  # fmt: skip
        found = min(values, key=lambda value: (int((column == value).sum()), str(value)))
    return Binary((column == found).cast(pl.Float64).to_numpy(), str(found), not known)


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


def _named(values: list[object], positive: str, name: str) -> object:
    for value in values:
        if positive in {str(value), f"{value:g}" if isinstance(value, float) else str(value)}:
            return value
    raise DatasetError(f"{name} has no value `{positive}`; it has `{values[0]}` and `{values[1]}`")


def _positive(column: pl.Series, values: list[object], *, guess: bool) -> object | None:
    if column.dtype == pl.Boolean:
        return True
    if column.dtype.is_numeric():
        numbers = [float(str(value)) for value in values]
        return values[int(np.argmax(numbers))] if guess or sorted(numbers) == [0.0, 1.0] else None
    words = [str(value).strip().lower() for value in values]
    yes = [value for value, word in zip(values, words, strict=True) if word in _YES]
    no = [value for value, word in zip(values, words, strict=True) if word in _NO]
    if len(yes) == 1:
        return yes[0]
    return next(value for value in values if value != no[0]) if len(no) == 1 else None
