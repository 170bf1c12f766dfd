"""Campaigns: what is there, a new one by form or file, a dry run with what-ifs, approval, schedule, recall, results."""

from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from rules.catalogue import Words
from rules.liveset import Files, files_in
from serving.campaign import Campaign, CampaignError
from serving.changes.approved import live_campaigns
from serving.changes.live import sibling
from serving.claims import instant
from serving.commands.schedule import ScheduledRun, coming_of
from serving.console import campaign_form
from serving.console.campaign_form import FormError
from serving.console.visit import ROWS, Visit
from serving.console.whatif import DryRun, WhatIf
from serving.engine import Engine
from serving.http.errors import DoorError, NotFound
from serving.http.messages import ChangesQuery
from serving.http.messages.change import ChangeResponse
from serving.ledger import changes as kept
from serving.ledger.recalling import recall_campaign
from serving.lists.aftermath import CampaignReport
from serving.lists.files import Manifest, read_manifest
from serving.lists.plan import check_campaigns

TABS = ("about", "try", "results")
RUNS_TOLD = 3
GROUPS_TOLD = 12
VARIANTS_MAX = 2


def campaigns(visit: Visit) -> Response:
    """Every campaign in force, those that wait for approval, and the lists that were made."""

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        day = engine.day(instant(visit.now))
        runnable = live_campaigns(connection, visit.now).runnable
        coming = coming_of(engine.home, engine.campaigns, runnable, 1)
        return {"campaigns": [(one, one.in_force(day), _next(coming, name)) for name, one in engine.campaigns.items()],
                "titles": {name: one.title for name, one in engine.campaigns.items()},
                "channels": {one.id: one.title for one in engine.catalogue.channels}, "runs": runs_of(engine)}  # fmt: skip

    told = visit.read(found)
    page = visit.paged(len(told["runs"]))
    told["runs"] = told["runs"][page.start : page.start + ROWS]
    waiting = [one for one in visit.ask("GET /v1/changes", ChangesQuery()).changes
               if "campaigns" in one.kinds and one.state in ("proposed", "failed", "checked", "approved")]  # fmt: skip
    return visit.page("campaigns.html", waiting=waiting, paged=page, **told)


def campaign(visit: Visit) -> Response:
    """One campaign. `?change=`: as that change would have it."""
    tab = visit.asked("tab") if visit.asked("tab") in TABS else "about"
    name, change = visit.path("campaign"), visit.asked("change")

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        seen = _of_change(engine, connection, change)
        one = _known(seen, name)
        audience = one.audience_of(seen.catalogue)
        live = live_campaigns(connection, visit.now)
        return {
            "campaign": one, "approver": None if change else live.approver.get(name), "offers": [o for o in seen.catalogue.offers if o.id in audience.offers],
            "channels": {c.id: c.title for c in seen.catalogue.channels}, "titles": titles(seen), "audience": audience,
            "coming": coming_of(engine.home, {name: one}, live.runnable, RUNS_TOLD),
            "runs": [run for run in runs_of(engine) if name in run.campaigns][:ROWS], "in_force": name in engine.campaigns,
            "rules": [part for part in seen.policy.parts if part.reason.layer.value != "regulatory"],
        }  # fmt: skip

    told = visit.read(found)
    every = visit.ask("GET /v1/changes", ChangesQuery()).changes if tab == "about" else ()
    told["changes"] = visit.read(lambda _, connection: [one for one in every if _touches(connection, one, name)])
    told |= _tried(visit, name) if tab == "try" else _measured(visit, name) if tab == "results" else {}
    return visit.page("campaign.html", tab=tab, change=change, groups_told=GROUPS_TOLD, **told)


def new(visit: Visit) -> Response:
    """An empty form."""
    return _form(visit, {}, None, "")


def edit(visit: Visit) -> Response:
    """The form of a campaign as it is in force."""
    one = visit.read(lambda engine, _: _known(engine, visit.path("campaign")))
    return _form(visit, campaign_form.typed(one, visit.house.settings.currency), one.id, "")


def propose(visit: Visit) -> Response:
    """A campaign handed in for approval; the form once more where it does not hold."""
    form = visit.form
    try:
        before = visit.read(lambda engine, _: engine.campaigns.get(form.one("id")))
        held = visit.read(lambda engine, connection: _files(engine, connection, visit.now))
        mine, file = campaign_form.file_of(held, form.one("id")), form.text("file")
        name, text = (
            campaign_form.of_file(file) if file.strip() else campaign_form.written(form, before, held.get(mine, ""))
        )
        files = {campaign_form.file_of(held, name): text}
        note = form.one("note") or visit.t("campaign {name}", name=name)
        change: ChangeResponse = visit.act("POST /v1/changes", {"files": files, "note": note})
    except (CampaignError, FormError) as error:
        return _form(visit, form.fields, None, str(error), 422)
    except DoorError as error:
        return _form(visit, form.fields, None, error.message, error.status)
    return visit.go(f"/console/changes/{change.change_id}", done="proposed")


def dry_run(visit: Visit) -> Response:
    """Start a dry run with up to two variants beside it."""
    name, change = visit.path("campaign"), visit.form.one("change") or None
    visit.read(lambda engine, connection: _known(_of_change(engine, connection, change or ""), name))
    variants = [one.model_dump() for k in range(1, VARIANTS_MAX + 1) if (one := _variant(visit, k)) != WhatIf()]
    asked = {"campaigns": [name], "change": change, "variants": variants}
    return visit.go(f"/console/jobs/{visit.house.jobs.start('dry_run', asked, visit.principal.name)}")


def measure(visit: Visit) -> Response:
    """Count what came of it."""
    name = visit.path("campaign")
    visit.read(lambda engine, _: _known(engine, name))
    return visit.go(f"/console/jobs/{visit.house.jobs.start('results', {'campaign': name}, visit.principal.name)}")


def recall(visit: Visit) -> Response:
    """Take back everything the campaign has reserved and nobody claimed."""
    name = visit.path("campaign")
    n = recall_campaign(visit.house.office.ledger, name)
    return visit.go(f"/console/campaigns/{name}", done="recalled", n=str(n))


def make_list(visit: Visit) -> Response:
    """Have the list made now: reserved and written."""
    name, at = visit.path("campaign"), instant(visit.now).replace(microsecond=0)
    visit.read(lambda engine, _: check_campaigns(engine, [name], at))
    asked = {"campaigns": [name], "at": at.isoformat()}
    return visit.go(f"/console/jobs/{visit.house.jobs.start('list', asked, visit.principal.name)}")


def titles(engine: Engine) -> dict[str, Words]:
    """Id -> title of every channel, offer and campaign: of whatever a limit names."""
    named = {one.id: one.title for one in (*engine.catalogue.channels, *engine.catalogue.offers)}
    return named | {name: one.title for name, one in engine.campaigns.items()}


def runs_of(engine: Engine) -> list[Manifest]:
    """The lists that were made, the newest first."""
    found = [read_manifest(path.parent) for path in engine.home.lists.glob("*/manifest.json")]
    return sorted(found, key=lambda one: (one.as_of, one.run), reverse=True)


def _form(visit: Visit, typed: dict[str, list[str]], name: str | None, problem: str, status: int = 200) -> Response:
    catalogue = visit.read(lambda engine, _: engine.catalogue)
    return visit.page("campaign_form.html", status, typed=typed, name=name, problem=problem, catalogue=catalogue)


def _known(engine: Engine, name: str) -> Campaign:
    if name not in engine.campaigns:
        raise NotFound("there is no such campaign; the page Campaigns names them")
    return engine.campaigns[name]


def _of_change(engine: Engine, connection: Connection, change: str) -> Engine:
    """The engine that a change would put into force; the one given where none is named."""
    if not change:
        return engine
    steps = kept.entries(connection, change)
    if not steps:
        raise NotFound("there is no such change; the page Changes names them")
    return sibling(engine, connection, steps[0].step.target)


def _next(coming: list[ScheduledRun], name: str) -> ScheduledRun | None:
    return next((run for run in coming if run.campaign == name), None)


def _files(engine: Engine, connection: Connection, now: int) -> Files:
    """The files in force."""
    revision = kept.revision_in_force(connection, now)
    return kept.files_of(connection, revision) if revision else files_in(engine.home.path)


def _touches(connection: Connection, change: ChangeResponse, name: str) -> bool:
    """Whether a change is about the campaign."""
    return campaign_form.file_of(kept.files_of(connection, change.revision), name) in change.files


def _variant(visit: Visit, k: int) -> WhatIf:
    form = visit.form
    seats = {field.removeprefix(f"seats{k}_"): campaign_form.whole(form.one(field)) for field in form.fields
             if field.startswith(f"seats{k}_") and form.one(field)}  # fmt: skip
    budget = form.one(f"budget{k}")
    minor = campaign_form.minor(budget, visit.house.settings.currency) if budget else None
    return WhatIf(seats=seats, budget_minor=minor, without=form.many(f"without{k}"))


def _tried(visit: Visit, name: str) -> dict[str, Any]:
    jobs = visit.house.jobs
    job = jobs.look(visit.asked("job")) if visit.asked("job") else jobs.last("dry_run", campaigns=[name], change=visit.asked("change") or None)  # fmt: skip
    answer = DryRun.model_validate(job.answer) if job and job.answer else None
    return {"job": job, "dry": answer, "variants_max": VARIANTS_MAX}


def _measured(visit: Visit, name: str) -> dict[str, Any]:
    jobs = visit.house.jobs
    job = jobs.look(visit.asked("job")) if visit.asked("job") else jobs.last("results", campaign=name)
    answer = CampaignReport.model_validate(job.answer) if job and job.answer else None
    return {
        "job": job,
        "results": answer,
        "measured_at": job and datetime.fromtimestamp(job.at, visit.house.settings.tz),
    }
