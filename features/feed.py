"""What an import did: the report a bank reads, and the errors that stop an import.

FeedError    the import stopped and nothing was written; one line: file, column, remedy
FeedReport   the import went through; what was accepted and what went to the quarantine
"""

from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel

# Called with the table's name and the rows read of it so far.
Progress = Callable[[str, int], None]


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
    has none. `completeness` is the share of accepted rows with a value, per column.
    """

    rows: int
    accepted: int
    rejects: list[Reject]
    freshness: datetime | None
    completeness: dict[str, float]


class FeedReport(BaseModel):
    """What an import did: per table rows, accepted rows, refusals by reason, completeness.

    `ignored` names files of the source that belong to no table. `assumptions` are the sentences of
    the source's assumptions.yaml and those the import had to add.
    """

    imported_at: datetime
    source: str
    tables: dict[str, TableReport]
    ignored: list[str]
    assumptions: list[str]

    @property
    def rejected(self) -> int:
        """Rows in the quarantine, all tables."""
        return sum(table.rows - table.accepted for table in self.tables.values())

    def lines(self) -> list[str]:
        """One line a refusal: table, reason, rows, first file and row, where the rows stand."""
        return [
            f"{name}: {reject.count} rows quarantined: {reject.reason} (first: {reject.first_file}"
            f" row {reject.first_row}); see data/quarantine/{name}.parquet"
            for name, table in self.tables.items()
            for reject in table.rejects
        ]
