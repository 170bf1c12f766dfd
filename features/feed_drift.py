"""How an import differs from the one before it: rows, shares without a value, shifts among categories and sizes."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
from pydantic import BaseModel

ROWS_LOOK, MISSING_LOOK, VALUES_LOOK = 0.2, 0.05, 0.1  # from here on a line is told
MOST_VALUES, OTHERS = 50, "..."
_LEAST_SHARE = 1e-4  # of a value nobody has: keeps the logarithm finite
_PLAIN = 1_000  # added to an exponent, so that none is 0 or below


class Drift(BaseModel):
    """One thing compared with the last import.

    `what` says what before and after are: `rows` - accepted rows of the table; `freshness` - its newest instant,
    seconds since 1970; `missing` - the share of the column without a value; `values` - rows that have one, and `psi` is the population stability
    index of the column's categories, or of its numbers' orders of magnitude. `notable`: worth a line.
    """

    table: str
    column: str | None
    what: str
    before: float
    after: float
    psi: float | None = None
    notable: bool = False

    @property
    def line(self) -> str:
        """The sentence for people."""
        if self.what == "rows":
            return f"{self.table}: {self.before:,.0f} rows last time, {self.after:,.0f} now"
        if self.what == "freshness":
            newest = [datetime.fromtimestamp(seconds, UTC) for seconds in (self.before, self.after)]
            return f"{self.table}: newest row of {newest[0]:%FT%TZ} last time, of {newest[1]:%FT%TZ} now"
        if self.what == "missing":
            return f"{self.table}.{self.column}: {self.before:.1%} without a value last time, {self.after:.1%} now"
        return f"{self.table}.{self.column}: its values shifted since last time, stability index {self.psi:.2f}"


def table_drift(name: str, rows: tuple[int, int], newest: tuple[datetime | None, datetime | None],
                filled: tuple[Mapping[str, float], Mapping[str, float]],
                values: tuple[Mapping[str, Mapping[str, int]], Mapping[str, Mapping[str, int]]]) -> list[Drift]:  # fmt: skip
    """One table, the last import and this one: accepted rows, newest instant, completeness and counts of categories a column."""
    change = abs(rows[1] - rows[0]) / rows[0] if rows[0] else float(rows[1] > 0)
    found = [Drift(table=name, column=None, what="rows", before=rows[0], after=rows[1], notable=change >= ROWS_LOOK)]
    if newest[0] is not None and newest[1] is not None:
        before, after = (newest[0].timestamp(), newest[1].timestamp())
        found.append(
            Drift(table=name, column=None, what="freshness", before=before, after=after, notable=after < before)
        )
    for column in filled[0].keys() & filled[1].keys() if rows[0] and rows[1] else ():
        gone = [round(1 - share[column], 6) for share in filled]
        notable = abs(gone[1] - gone[0]) >= MISSING_LOOK
        found.append(Drift(table=name, column=column, what="missing", before=gone[0], after=gone[1], notable=notable))
    for column in values[0].keys() & values[1].keys():
        before, after = values[0][column], values[1][column]
        if before and after:
            psi = round(stability_index(before, after), 6)
            found.append(Drift(table=name, column=column, what="values", before=sum(before.values()),
                               after=sum(after.values()), psi=psi, notable=psi >= VALUES_LOOK))  # fmt: skip
    return sorted(found, key=lambda d: (d.column or "", d.what))


def stability_index(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Population stability index of two counts of categories; see features/drift.py."""
    sizes = sum(before.values()), sum(after.values())
    total = 0.0
    for value in before.keys() | after.keys():
        p, q = (
            max(counts.get(value, 0) / size, _LEAST_SHARE) for counts, size in zip((before, after), sizes, strict=True)
        )
        total += (q - p) * math.log(q / p)
    return total


def most(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent values, the most frequent first, and the sum of all others."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[MOST_VALUES:])
    return dict(ranked[:MOST_VALUES]) | ({OTHERS: rest} if rest else {})


def magnitudes(numbers: pl.Series) -> pl.Series:
    """Each number's order of magnitude with its sign: `0`, `1e4` for 10,000 to 99,999, `-1e2` ..."""
    values = numbers.cast(pl.Float64).to_numpy()
    size = np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values)))) + _PLAIN  # Polars has 10^2 for 1,000
    coded = pl.Series((size * np.sign(values)).astype(np.int64))
    known = coded.unique().to_list()
    words = ["0" if code == 0 else f"{'-' if code < 0 else ''}1e{abs(code) - _PLAIN}" for code in known]
    return coded.replace_strict(known, words, return_dtype=pl.String) if known else coded.cast(pl.String)
