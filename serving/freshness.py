"""How fresh what the bank tells us is: each table of the last import, and what came over HTTP last."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from features.feed import FeedReport
from features.home import Home
from serving.claims import instant
from serving.ledger.schema import consents, events, outcomes

_RECEIVED = {"events": events.c.received_at, "outcomes": outcomes.c.recorded_at, "consents": consents.c.received_at}


@dataclass(frozen=True)
class Feed:
    """One table of the last import. latest: its newest instant or day that lies not in the future; null: it has none.

    rows: taken over; aside: refused rows, in the quarantine.
    """

    table: str
    latest: datetime | None
    rows: int
    aside: int


@dataclass(frozen=True)
class Freshness:
    """imported_at: null before the first import. received: events, outcomes, consents -> when the ledger took the last in."""

    imported_at: datetime | None
    feeds: tuple[Feed, ...]
    received: dict[str, datetime | None]

    @property
    def aside(self) -> int:
        """Rows in the quarantine, all tables."""
        return sum(feed.aside for feed in self.feeds)


def freshness(home: Home, connection: Connection) -> Freshness:
    """What `data/feed.json` and the ledger say; reads only. A report no longer understood counts as none."""
    received = {
        name: None if (at := connection.execute(select(func.max(column))).scalar()) is None else instant(at)
        for name, column in _RECEIVED.items()
    }
    try:
        report = FeedReport.model_validate_json((home.data / "feed.json").read_bytes())
    except (OSError, ValidationError):
        return Freshness(None, (), received)
    feeds = (Feed(name, one.freshness, one.accepted, one.rows - one.accepted) for name, one in report.tables.items())
    return Freshness(report.imported_at, tuple(feeds), received)
