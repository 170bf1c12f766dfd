"""What came of a campaign: contacts and answers, cost, and what it changed against those who were held out.

Compared are units, not contacts: everybody whom the rules let through in one of the campaign's runs, against
those let through but for the universal holdout, drawn by unit. What both may do, contacted or not, is to open
an account of an offered product within WINDOW days of their first run; a unit counts with its dearest one.
"""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.engine import Connection

from rules.facts import UNANSWERED
from rules.reasons import Layer, ReasonCode
from serving.engine import Engine
from serving.ledger.outcomes import WITHDRAWING, Kind
from serving.ledger.schema import contacts, outcomes
from serving.lists.files import Manifest, read_manifest
from serving.lists.sequence import effect

WINDOW = timedelta(days=30)
UNREACHED = {Kind.UNDELIVERED, Kind.WRONG_NUMBER}
SILENT = {*map(Kind, UNANSWERED), *UNREACHED}  # no word of the customer
LET_THROUGH = [int(code) for code in ReasonCode if code.layer is Layer.VALUE]


class CampaignRow(BaseModel):
    """Counts of contacts of one group. reached: sent and not returned; answered: any word of the customer.

    group: null where it is not known. The incremental value, its bounds and the units are null, and zero, where
    nobody comparable was held out, or nothing later than the run is known. Bounds hold at all looks together, 95 %.
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
    incremental_minor: int | None = None
    incremental_low_minor: int | None = None
    incremental_high_minor: int | None = None


class Grievance(BaseModel):
    """A complaint or opt-out, and what had allowed the contact: its list or decision, the policy and the audience."""

    contact_id: str
    kind: str
    at: datetime
    offer_id: str | None
    channel: str
    source: str | None  # the run, or the decision
    policy: str | None  # revision in force for the list; null: not from a list
    audience: str


class CampaignReport(CampaignRow):
    """`nbo report campaign ID --json`. rows: the same by branch, manager and tier. why: what is not known, one line each."""

    campaign: str
    known_until: datetime | None
    rows: list[CampaignRow]
    grievances: list[Grievance]
    why: list[str]


def campaign_report(engine: Engine, connection: Connection, campaign: str, now: datetime) -> CampaignReport:
    """The report as of now; CampaignError where there is no such campaign. Reads only."""
    audience = engine.campaign(campaign).audience
    made, said = _contacts(connection, campaign)
    runs = _runs(engine.home.lists, campaign)
    until = _known_until(engine)
    people = _people(engine, now)
    units, why = _units(engine, campaign, runs, until)
    rows: dict[tuple[str, str | None], CampaignRow] = {}
    for by in ("campaign", "branch", "manager", "tier"):
        of = {customer: (campaign if by == "campaign" else row[by]) for customer, row in people.items()}
        counted = _counts(engine, by, of, made, said, campaign)
        groups = sorted(
            {*counted, *(of.get(unit["customer_id"]) for unit in units)}, key=lambda name: (name is None, name)
        )
        for name in groups:
            mine = [unit for unit in units if of.get(unit["customer_id"]) == name]
            row = counted.get(name, CampaignRow(by=by, group=name))
            rows[by, name] = row.model_copy(update=_incremental(engine, campaign, mine))
    whole = rows.pop(("campaign", campaign), CampaignRow(by="campaign", group=campaign))
    policy = {manifest.run: manifest.revisions.get("policy") for manifest in runs}
    told = [Grievance(contact_id=c["contact_id"], kind=kind, at=at, offer_id=c["offer_id"], channel=c["channel"], source=c["decision_id"],
                      policy=policy.get(c["decision_id"] or ""), audience=audience)
            for c in made for kind, at in said[c["contact_id"]] if kind in WITHDRAWING]  # fmt: skip
    return CampaignReport(**whole.model_dump(), campaign=campaign, known_until=until, rows=list(rows.values()),
                          grievances=sorted(told, key=lambda g: (g.at, g.contact_id)), why=why)  # fmt: skip


def _contacts(
    connection: Connection, campaign: str
) -> tuple[list[dict[str, Any]], dict[str, list[tuple[str, datetime]]]]:
    found = connection.execute(
        select(contacts).where(contacts.c.campaign_id == campaign).order_by(contacts.c.contact_id)
    )
    made = [dict(row) for row in found.mappings()]
    said: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    joined = (
        select(outcomes).join_from(outcomes, contacts).where(contacts.c.campaign_id == campaign).order_by(outcomes.c.at)
    )
    for row in connection.execute(joined):
        said[row.contact_id].append((row.kind, datetime.fromtimestamp(row.at / 1_000_000, UTC)))
    return made, said


def _counts(engine: Engine, by: str, of: dict[str, str | None], made: list[dict[str, Any]],
            said: dict[str, list[tuple[str, datetime]]], campaign: str) -> dict[str | None, CampaignRow]:  # fmt: skip
    cost = {channel.id: channel.cost_minor for channel in engine.catalogue.channels}
    sums: dict[str | None, Counter[str]] = defaultdict(Counter)
    for contact in made:
        kinds = {kind for kind, _ in said[contact["contact_id"]]}
        sent = contact["state"] == "sent"
        sums[campaign if by == "campaign" else of.get(contact["customer_id"])].update({
            "issued": 1, "sent": sent, "reached": sent and not kinds & UNREACHED, "cost_minor": cost.get(contact["channel"], 0) * sent,
            "answered": bool(kinds - SILENT), "accepted": Kind.ACCEPTED in kinds,
            "complained": Kind.COMPLAINED in kinds, "opted_out": bool(kinds & {Kind.OPTED_OUT, Kind.DO_NOT_CALL})})  # fmt: skip
    return {
        name: CampaignRow(by=by, group=name, **{key: int(n) for key, n in row.items()}) for name, row in sums.items()
    }


def _runs(lists: Path, campaign: str) -> list[Manifest]:
    found = [read_manifest(path.parent) for path in sorted(lists.glob("*/manifest.json"))]
    return sorted((m for m in found if campaign in m.campaigns and not m.degraded), key=lambda m: m.as_of)


def _known_until(engine: Engine) -> datetime | None:
    parts = sorted(engine.home.table("transactions").glob("part-*.parquet"))
    return pl.scan_parquet(parts).select(pl.col("recorded_at").max()).collect().item() if parts else None


def _people(engine: Engine, now: datetime) -> dict[str, dict[str, str | None]]:
    snapshot = engine.snapshot(now)
    if snapshot is None:
        return {}
    ids = snapshot.table.column("customer_id").to_pylist()
    tier = engine.live.models.tiers.of(ids) if engine.live.models.tiers else [None] * len(ids)
    branch, manager = (snapshot.table.column(name).to_pylist() if name in snapshot.table.column_names else [None] * len(ids)
                       for name in ("home_branch", "manager_id"))  # fmt: skip
    return {c: {"branch": b, "manager": m, "tier": t} for c, b, m, t in zip(ids, branch, manager, tier, strict=True)}


def _units(
    engine: Engine, campaign: str, runs: list[Manifest], until: datetime | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Units in the order of their first run: customer_id (the first of the unit), treated, y; and why there are none."""
    ripe = [m for m in runs if until is not None and m.as_of < until]
    if not ripe:
        last = f"the bank's data end on {until:%F}" if until else "no transactions are imported"
        return [], [f"{last}: no run of this campaign lies before, so nothing is known of who took an offer unasked"]
    audience = engine.campaign(campaign).audience_of(engine.catalogue)
    margin = {
        o.product: o.margin_minor
        for o in engine.catalogue.offers
        if o.id in audience.offers and o.product and o.margin_minor > 0
    }
    if not margin:
        return [], ["none of its offers names a product whose opening could be seen"]
    tables = [_let_through(engine.home.lists / m.run, m) for m in ripe]
    let = (
        pl.concat(tables).sort("at", "unit_id", "customer_id").unique("customer_id", keep="first", maintain_order=True)
    )
    opened = _opened(engine, margin)
    worth = (let.join(opened, "customer_id").filter(pl.col("opened_on") >= pl.col("at").dt.date(), pl.col("opened_on") < (pl.col("at") + WINDOW).dt.date())
             .group_by("unit_id").agg(pl.col("margin").max().alias("y")))  # fmt: skip
    units = let.group_by("unit_id", maintain_order=True).agg(pl.col("customer_id").first(), pl.col("treated").first())
    why = [] if not units["treated"].all() else ["nobody comparable was held out"]
    return units.join(worth, "unit_id", "left", maintain_order="left").with_columns(
        pl.col("y").fill_null(0)
    ).to_dicts(), why


def _let_through(folder: Path, manifest: Manifest) -> pl.DataFrame:
    names = ["customer_id", "unit_id"]
    silent = pl.read_parquet(folder / "suppressed.parquet", columns=[*names, "reason"]).filter(
        pl.col("reason").is_in(LET_THROUGH)
    )
    parts = [(pl.read_parquet(folder / "offers.parquet", columns=names), True), (silent.select(names), True),
             (pl.read_parquet(folder / "control.parquet", columns=names), False)]  # fmt: skip
    at = pl.lit(manifest.as_of).cast(pl.Datetime("us", "UTC")).alias("at")
    return pl.concat([part.with_columns(at, pl.lit(treated).alias("treated")) for part, treated in parts])


def _opened(engine: Engine, margin: dict[str, int]) -> pl.DataFrame:
    accounts, holders = (
        pl.scan_parquet(engine.home.table(name) / "part-*.parquet") for name in ("accounts", "holders")
    )
    known = accounts.filter(pl.col("product").is_in(list(margin))).with_columns(
        pl.col("product").replace_strict(margin, default=0).alias("margin")
    )
    return known.join(holders, "account_id").select("customer_id", "opened_on", "margin").collect()


def _incremental(engine: Engine, campaign: str, units: list[dict[str, Any]]) -> dict[str, int | None]:
    treated, held = (np.array([u["y"] for u in units if u["treated"] is arm], np.float64) for arm in (True, False))
    audience = engine.campaign(campaign).audience_of(engine.catalogue)
    most = max((o.margin_minor for o in engine.catalogue.offers if o.id in audience.offers), default=0)
    found = effect(treated, held, float(most))
    counts: dict[str, int | None] = {"units": len(treated), "held_out": len(held)}
    if found is None:
        return counts
    mean, low, high = (round(side * len(treated)) for side in (found.mean, found.low, found.high))
    return counts | {"incremental_minor": mean, "incremental_low_minor": low, "incremental_high_minor": high}
