"""What an import did: the report a bank reads, and the errors that stop an import.

FeedError    the import stopped and nothing was written; one line: file, column, remedy
FeedReport   the import went through; what was accepted and what went to the quarantine
"""

from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel

from features.feed_drift import Drift, table_drift

# Called with the table's name and the rows read of it so far.
Progress = Callable[[str, int], None]

UNRATED = "transactions.unrated.parquet"  # accepted all the same; beside what was refused


class FeedError(ValueError):
    """An import cannot go on and has written nothing; one line: what, where, remedy."""


class Reject(BaseModel):
    """Rows of one table refused for one reason. `first_row` counts data rows from 1."""

    reason: str
    count: int
    first_file: str
    first_row: int


class TableReport(BaseModel):
    """One table of an import.

    `freshness` is the latest instant or day of the table that lies not in the future; null where it
    has none. `completeness` is the share of accepted rows with a value, per column; `values` the count
    of each category of a column that has few, and of numbers of each order of magnitude (`-1e3`). `unrated`: per currency the accepted rows whose day no
    rate has been given by; what they are worth in base currency is unknown, and not guessed.
    """

    rows: int
    accepted: int
    rejects: list[Reject]
    freshness: datetime | None
    completeness: dict[str, float]
    values: dict[str, dict[str, int]] = {}
    unrated: dict[str, int] = {}


class FeedReport(BaseModel):
    """What an import did: per table rows, accepted rows, refusals by reason, completeness.

    `ignored` names files of the source that belong to no table. `assumptions` are the sentences of
    the source's assumptions.yaml and those the import had to add. `drift` compares with the import of
    `last_imported_at`, null for a first one. `unnamed_channels`: bookings by channel, where most are on channels
    that `booking_channels` in bank.yaml does not name. `unheard`: assumptions about a table that is not there, of
    other words than the features understand.
    """

    imported_at: datetime
    source: str
    tables: dict[str, TableReport]
    ignored: list[str]
    assumptions: list[str]
    last_imported_at: datetime | None = None
    drift: list[Drift] = []
    unnamed_channels: dict[str, int] = {}
    unheard: list[str] = []

    def compared(self, last: "FeedReport | None") -> "FeedReport":
        """The same report with its drift against the last import."""
        if last is None:
            return self
        empty = TableReport(rows=0, accepted=0, rejects=[], freshness=None, completeness={})
        found: list[Drift] = []
        for name in [*self.tables, *(n for n in last.tables if n not in self.tables)]:
            one, other = last.tables.get(name, empty), self.tables.get(name, empty)
            found += table_drift(name, (one.accepted, other.accepted), (one.freshness, other.freshness), (one.completeness, other.completeness),
                                 (one.values, other.values))  # fmt: skip
        return self.model_copy(update={"last_imported_at": last.imported_at, "drift": found})

    @property
    def rejected(self) -> int:
        """Rows in the quarantine, all tables."""
        return sum(table.rows - table.accepted for table in self.tables.values())

    def lines(self) -> list[str]:
        """One line a refusal: table, reason, rows, first file and row, where the rows stand.

        Then one for each currency whose rates are missing, and one for what drifted notably.
        """
        refused = [
            f"{name}: {reject.count} rows quarantined: {reject.reason} (first: {reject.first_file}"
            f" row {reject.first_row}); see data/quarantine/{name}.parquet"
            for name, table in self.tables.items()
            for reject in table.rejects
        ]
        unrated = [
            f"{name}: {count} rows in {currency} have no rate by their day; their worth in base currency is unknown;"
            f" see data/quarantine/{UNRATED}"
            for name, table in self.tables.items()
            for currency, count in table.unrated.items()
        ]
        counted = ", ".join(f"{n:,} on `{name}`" for name, n in self.unnamed_channels.items())
        remedy = "no features of their own; name channels in bank.yaml, `booking_channels`"
        unnamed = [f"transactions: {counted}: {remedy}"] if counted else []
        unheard = [
            f"assumption `{said}` changes no feature; write one of docs/import.md, or mend it" for said in self.unheard
        ]
        return [*refused, *unrated, *unnamed, *unheard, *(found.line for found in self.drift if found.notable)]
