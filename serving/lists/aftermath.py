"""What came of a campaign: contacts and answers, cost, complaints, and what it changed (serving/lists/incremental.py)."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.engine import Connection

from rules.facts import UNANSWERED
from rules.line import Line
from serving.engine import Engine
from serving.ledger.outcomes import Kind
from serving.ledger.schema import contacts, outcomes
from serving.lists.files import Manifest, read_manifest
from serving.lists.grievances import OPTING_OUT, Grievance, Said, grievances, withdrawals
from serving.lists.incremental import measure

UNREACHED = {Kind.UNDELIVERED, Kind.WRONG_NUMBER}
SILENT = {*map(Kind, UNANSWERED), *UNREACHED}  # no word of the customer


class CampaignRow(BaseModel):
    """Counts of contacts of one group. reached: sent and not returned; answered: any word of the customer.

    group: null where it is not known. units and held_out are those whose 30 days are over, unripe those whose are not.
    The incremental value and its bounds are null where nobody comparable was held out, or no unit is ripe. Bounds
    hold at all looks together, 95 %.
    """

    by: str
    group: str | None
    issued: int = 0
    sent: int = 0
    reached: int = 0
    answered: int = 0
    accepted: int = 0
    complained: int = 0
    opted_out: int = 0
    cost_minor: int = 0
    units: int = 0
    held_out: int = 0
    unripe: int = 0
    incremental_minor: int | None = None
    incremental_low_minor: int | None = None
    incremental_high_minor: int | None = None


class CampaignReport(CampaignRow):
    """`nbo report campaign ID --json`. rows: the same by branch, manager and tier. why: what is not known, one line each."""

    campaign: str
    known_until: datetime | None
    rows: list[CampaignRow]
    grievances: list[Grievance]
    why: list[Line]


def campaign_report(engine: Engine, connection: Connection, campaign: str, now: datetime) -> CampaignReport:
    """The report as of now; CampaignError where there is no such campaign. Reads only."""
    engine.campaign(campaign)
    made, said = _contacts(connection, campaign)
    left = withdrawals(connection, made, said)
    runs, until = _runs(engine.home.lists, campaign), _known_until(engine)
    people, measured = _people(engine, now), measure(engine, campaign, runs, until)
    rows: list[CampaignRow] = []
    for by in ("branch", "manager", "tier"):
        of = dict(zip(people["customer_id"].to_list(), people[by].to_list(), strict=True))
        counted, changed = _counts(engine, by, of, made, said, left), measured.of(people, by)
        rows += [counted.get(name, CampaignRow(by=by, group=name)).model_copy(update=changed.get(name, {}))
                 for name in sorted({*counted, *changed}, key=lambda name: (name is None, name))]  # fmt: skip
    everybody = {contact["customer_id"]: campaign for contact in made}
    whole = _counts(engine, "campaign", everybody, made, said, left).get(
        campaign, CampaignRow(by="campaign", group=campaign)
    )
    whole = whole.model_copy(update=measured.of(None, campaign).get(campaign, {}))
    return CampaignReport(**whole.model_dump(), campaign=campaign, known_until=until, rows=rows,
                          grievances=grievances(engine, connection, campaign, runs, made, said, left), why=list(measured.why))  # fmt: skip


def _contacts(connection: Connection, campaign: str) -> tuple[list[dict[str, Any]], Said]:
    found = connection.execute(
        select(contacts).where(contacts.c.campaign_id == campaign).order_by(contacts.c.contact_id)
    )
    made = [dict(row) for row in found.mappings()]
    said: Said = defaultdict(list)
    joined = (
        select(outcomes).join_from(outcomes, contacts).where(contacts.c.campaign_id == campaign).order_by(outcomes.c.at)
    )
    for row in connection.execute(joined):
        said[row.contact_id].append((row.kind, datetime.fromtimestamp(row.at / 1_000_000, UTC)))
    return made, said


def _counts(engine: Engine, by: str, of: Mapping[str, str | None], made: list[dict[str, Any]],
            said: Said, left: dict[str, datetime]) -> dict[str | None, CampaignRow]:  # fmt: skip
    cost = {channel.id: channel.cost_minor for channel in engine.catalogue.channels}
    sums: dict[str | None, Counter[str]] = defaultdict(Counter)
    for contact in made:
        kinds = {kind for kind, _ in said[contact["contact_id"]]}
        sent = contact["state"] == "sent"
        sums[of.get(contact["customer_id"])].update({
            "issued": 1, "sent": sent, "reached": sent and not kinds & UNREACHED, "cost_minor": cost.get(contact["channel"], 0) * sent,
            "answered": bool(kinds - SILENT), "accepted": Kind.ACCEPTED in kinds,
            "complained": Kind.COMPLAINED in kinds, "opted_out": bool(kinds & OPTING_OUT) or contact["contact_id"] in left})  # fmt: skip
    return {
        name: CampaignRow(by=by, group=name, **{key: int(n) for key, n in row.items()}) for name, row in sums.items()
    }


def _runs(lists: Path, campaign: str) -> list[Manifest]:
    found = [read_manifest(path.parent) for path in sorted(lists.glob("*/manifest.json"))]
    return sorted((m for m in found if campaign in m.campaigns and not m.degraded), key=lambda m: m.as_of)


def _known_until(engine: Engine) -> datetime | None:
    parts = sorted(engine.home.table("transactions").glob("part-*.parquet"))
    return pl.scan_parquet(parts).select(pl.col("recorded_at").max()).collect().item() if parts else None


def _people(engine: Engine, now: datetime) -> pl.DataFrame:
    """customer_id, branch, manager, tier of everybody in the newest snapshot, null where not known."""
    snapshot = engine.snapshot(now)
    if snapshot is None:
        return pl.DataFrame(schema=dict.fromkeys(("customer_id", "branch", "manager", "tier"), pl.String))
    ids = snapshot.table.column("customer_id").to_pylist()
    tier = engine.live.models.tiers.of(ids) if engine.live.models.tiers else [None] * len(ids)
    branch, manager = (snapshot.table.column(name).to_pylist() if name in snapshot.table.column_names else [None] * len(ids)
                       for name in ("home_branch", "manager_id"))  # fmt: skip
    said = {"customer_id": ids, "branch": branch, "manager": manager, "tier": tier}
    return pl.DataFrame({name: pl.Series(name, values, pl.String) for name, values in said.items()})
