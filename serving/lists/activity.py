"""What became of the contacts of the last days: issued, contacted, reached, answered, accepted - by campaign and branch.

The words mean what they mean in a campaign's report (aftermath.py). Reads only.
"""

from datetime import datetime

import polars as pl
import pyarrow as pa
from pydantic import BaseModel
from sqlalchemy import and_, select
from sqlalchemy.engine import Connection

from rules.facts import UNANSWERED
from serving.engine import Engine
from serving.ledger.book import State, micros
from serving.ledger.outcomes import Kind
from serving.ledger.schema import contacts, outcomes
from serving.ledger.statement import arrow
from serving.lists.aftermath import SILENT, UNREACHED

_FOUND = pa.schema([(name, pa.string()) for name in ("contact_id", "customer_id", "campaign_id", "state", "kind")])
_COUNTS = ("issued", "contacted", "reached", "responded", "converted")


class ActivityRow(BaseModel):
    """Counts of contacts of one group; group null: none, or not known."""

    group: str | None
    issued: int
    contacted: int
    reached: int
    responded: int
    converted: int


class Activity(BaseModel):
    """Outbound marketing contacts decided since an instant: all, by campaign and by branch, the largest first."""

    since: datetime
    whole: ActivityRow
    campaigns: list[ActivityRow]
    branches: list[ActivityRow]


def activity(engine: Engine, connection: Connection, since: datetime, now: datetime) -> Activity:
    """Count the contacts decided since then."""
    counted = _counted(connection, micros(since))
    snapshot = engine.snapshot(now)
    if snapshot is None or "home_branch" not in snapshot.table.column_names:
        home = pl.DataFrame(schema={"customer_id": pl.String, "branch": pl.String})
    else:
        home = pl.from_arrow(
            snapshot.table.select(["customer_id", "home_branch"]).rename_columns(["customer_id", "branch"])
        )
        assert isinstance(home, pl.DataFrame)
    placed = counted.join(home.with_columns(pl.all().cast(pl.String)), "customer_id", "left")
    whole = _rows(placed.with_columns(pl.lit(None, pl.String).alias("all")), "all")
    none = ActivityRow(group=None, **dict.fromkeys(_COUNTS, 0))
    return Activity(since=since, whole=whole[0] if whole else none, campaigns=_rows(placed, "campaign_id"), branches=_rows(placed, "branch"))  # fmt: skip


def _counted(connection: Connection, since: int) -> pl.DataFrame:
    """A row a contact with its five truths."""
    ours = (contacts.c.decided_at >= since, contacts.c.purpose == "marketing", contacts.c.direction == "outbound")
    # Most outcomes say only that it was delivered.
    telling = and_(outcomes.c.contact_id == contacts.c.contact_id, *(outcomes.c.kind != kind for kind in UNANSWERED))
    columns = (*(contacts.c[name] for name in _FOUND.names[:-1]), outcomes.c.kind)
    found = pl.from_arrow(arrow(connection, select(*columns).join_from(contacts, outcomes, telling, isouter=True).where(*ours), _FOUND))  # fmt: skip
    assert isinstance(found, pl.DataFrame)
    kind = pl.col("kind")
    unreached, silent = kind.is_in([str(one) for one in UNREACHED]), kind.is_in([str(one) for one in SILENT])
    sent = pl.col("state").first() == str(State.SENT)
    return found.group_by("contact_id").agg(
        pl.col("customer_id", "campaign_id").first(),
        pl.lit(True).alias("issued"), sent.alias("contacted"), (sent & ~unreached.any()).alias("reached"),
        (~silent).any().alias("responded"), (kind == str(Kind.ACCEPTED)).any().alias("converted"),
    )  # fmt: skip


def _rows(found: pl.DataFrame, by: str) -> list[ActivityRow]:
    summed = (
        found.group_by(by).agg(pl.col(*_COUNTS).sum()).sort(["issued", by], descending=[True, False], nulls_last=True)
    )
    return [ActivityRow(group=row[by], **{name: row[name] for name in _COUNTS}) for row in summed.iter_rows(named=True)]
