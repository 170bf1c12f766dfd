"""What the console has done aside: one function a kind of job, each over functions the commands use. Runs in working.py."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.home import Home
from rules.folder import find_policies
from rules.liveset import files_in, laid_out
from rules.policy import ContactPolicy
from rules.proof_answers import prove_answer
from rules.reasons import Layer
from serving.campaign import CampaignError
from serving.changes.live import open_engine, sibling
from serving.commands import lists
from serving.commands.audit_verify import checked
from serving.console.charts import draw_funnels, draw_measured
from serving.console.whatif import DryRun, WhatIf
from serving.engine import Engine
from serving.ledger import changes
from serving.ledger.book import Ledger
from serving.lists.aftermath import campaign_report
from serving.lists.figures import Report, make_report
from serving.lists.files import certificate
from serving.lists.plan import Progress, make_plan
from serving.office import open_ledger, reading_ledger

Asked = dict[str, Any]
Work = Callable[[Home, Asked, str, Path, Progress], Asked]


def dry_run(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """What the campaigns' list would be now, and under each variant; nothing is written, nothing reserved."""
    variants = [WhatIf(), *(WhatIf.model_validate(one) for one in asked["variants"])]
    at, reports = home.now(), list[Report]()
    with open_ledger(home) as own:
        engine = _engine(home, own, asked.get("change"))
    with reading_ledger(home, engine) as ledger:
        for place, variant in enumerate(variants):
            told = lambda stage, done, of, place=place: progress(f"{place + 1}/{len(variants)} {stage}", done, of)
            tried = _varied(engine, asked["campaigns"], variant)
            plan = make_plan(tried, ledger, asked["campaigns"], at, told)
            told("report", 0, 1)
            reports.append(make_report(plan, certificate(plan)))
    progress("charts", 0, 1)
    draw_funnels(folder, reports)
    return DryRun(variants=variants, reports=reports).model_dump(mode="json")


def results(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """What came of a campaign, against those held out."""
    with open_ledger(home) as own:
        engine = open_engine(home, own)
    with reading_ledger(home, engine) as ledger, ledger.read() as connection:
        return campaign_report(engine, connection, asked["campaign"], home.now()).model_dump(mode="json")


def make_list(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """The list itself: reserved, written, sealed; as `nbo plan` makes it."""
    at = datetime.fromisoformat(asked["at"])
    made = lists.make_list(home, asked["campaigns"], at, operator=by, progress=progress)
    return {"run": made.run, "contacts": made.contacts}


def proofs(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """Every invariant of the policy in force, proved now or broken by somebody."""
    progress("proofs", 0, 1)
    with open_ledger(home) as ledger:
        engine = open_engine(home, ledger)
        with ledger.read() as connection:
            revision = changes.revision_in_force(connection, ledger.now_micros())
            files = changes.files_of(connection, revision) if revision else None
    with laid_out(files if files is not None else files_in(home.path)) as laid:
        [one] = find_policies(laid, laid)
        one = replace(one, given=pa.schema([f for f in engine.store.schema if f.metadata]))
        return prove_answer(one, engine.day(home.now())).model_dump(mode="json")


def verify(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """Every record of the ledger against its seal, the chain, the exported days."""
    progress("seals", 0, 1)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        return checked(home, connection).model_dump(mode="json")


def models(home: Home, asked: Asked, by: str, folder: Path, progress: Progress) -> Asked:
    """Champion and challenger on the outcomes since: calibration, ranking, drift; and the pictures of their training."""
    from serving.console.measuring import measured  # loads what training needs

    found = measured(home, folder, progress)
    draw_measured(folder, found)
    return {"models": [json.loads(json.dumps(asdict(one), default=str)) for one in found]}


WORKS: dict[str, Work] = {
    "dry_run": dry_run, "results": results, "list": make_list, "proofs": proofs, "verify": verify, "models": models,
}  # fmt: skip


def _engine(home: Home, ledger: Ledger, change_id: str | None) -> Engine:
    """The engine in force, or the one a change would put there."""
    engine = open_engine(home, ledger)
    if change_id is None:
        return engine
    with ledger.read() as connection:
        steps = changes.entries(connection, change_id)
        if not steps:
            raise CampaignError("there is no such change any more; start the dry run from the page of one that stands")
        return sibling(engine, connection, steps[0].step.target)


def _varied(engine: Engine, campaigns: list[str], variant: WhatIf) -> Engine:
    if variant == WhatIf():
        return engine
    first = engine.campaign(campaigns[0])
    changed: dict[str, Any] = {"seats": first.seats | variant.seats}
    if variant.budget_minor is not None:
        changed["budget_minor"] = variant.budget_minor
    campaign = first.model_copy(update=changed)
    campaign.audience_of(engine.catalogue)  # CampaignError where a channel is none
    return replace(
        engine, campaigns=engine.campaigns | {first.id: campaign}, policy=_without(engine.policy, variant.without)
    )


def _without(policy: ContactPolicy, parts: list[str]) -> ContactPolicy:
    """The policy without some parts; CampaignError for one that the law asks for, or that is not there."""
    known = {part.id: part for part in policy.parts}
    for name in parts:
        if name not in known:
            raise CampaignError(f"the policy has no part `{name[:64]}`; choose one of its rules")
        if known[name].reason.layer is Layer.REGULATORY:
            raise CampaignError(f"`{name}` is what the law asks for; nobody plans without it")
    if not parts:
        return policy
    sections = ("rules", "caps", "cool_offs", "event_suppressions", "orders", "quiet_hours")
    left = {name: tuple(part for part in getattr(policy, name) if part.id not in parts) for name in sections}
    return policy.model_copy(update=left)
