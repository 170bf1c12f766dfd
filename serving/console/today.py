"""Today: what became of the contacts, what holds customers back, how fresh everything is, and the pause switch."""

from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from rules.catalogue import Words
from serving.claims import instant
from serving.console.visit import Visit
from serving.engine import Engine
from serving.freshness import freshness
from serving.ledger.switches import history
from serving.ledger.timeline import open_by_rule
from serving.lists.activity import activity
from serving.lists.figures import Report
from serving.reports import paused_switches

DAYS = (1, 7, 30)
BRANCHES_TOLD = SILENCES_TOLD = 12
SWITCHES_TOLD = 10


def today(visit: Visit) -> Response:
    """The page of the last days, seven where nobody says how many."""
    days = int(visit.asked("days")) if visit.asked("days") in map(str, DAYS) else 7

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        now = visit.now
        at = instant(now)
        titles = {part.id: part.title for part in engine.policy.parts}
        snapshot = engine.snapshot(at)
        return {
            "days": days, "spans": DAYS, "at": at,
            "activity": activity(engine, connection, at - timedelta(days=days), at),
            "campaign_titles": {name: one.title for name, one in engine.campaigns.items()},
            "suppressions": [(titles.get(rule), rule, n) for rule, n in open_by_rule(connection, now).items()],
            "paused": paused_switches(connection), "turned": history(connection)[::-1][:SWITCHES_TOLD],
            "scopes": scopes(engine), "fresh": freshness(engine.home, connection), "problems": engine.problems(at, snapshot), "assumptions": engine.assumptions,
            "snapshot": snapshot.as_of if snapshot else None, "max_age": engine.home.settings.snapshot_max_age_hours,
            "live_set": engine.live_set, "policy": engine.policy.title, "report": last_report(engine),
            "models": [(name, bundle.manifest) for name, bundle in sorted(engine.live.models.bundles.items())],
        }  # fmt: skip

    return visit.page("today.html", branches_told=BRANCHES_TOLD, silences_told=SILENCES_TOLD, **visit.read(found))


def switch(visit: Visit) -> Response:
    """Pause or resume a scope."""
    note = visit.form.one("note")
    asked = {"scope": visit.form.one("scope"), "action": visit.form.one("action"), "note": note or None}
    told = visit.act("POST /v1/switches", asked)
    return visit.go("/console/today", done=f"switch_{told.state}")


def scopes(engine: Engine) -> dict[str, Words | None]:
    """Scope -> its title, null for all, of everything that can be paused."""
    catalogue = engine.catalogue
    found: dict[str, Words | None] = {"all": None}
    found |= {f"channel:{one.id}": one.title for one in catalogue.channels}
    found |= {f"family:{one.id}": one.title for one in catalogue.families}
    found |= {f"campaign:{name}": one.title for name, one in engine.campaigns.items()}
    return found | {f"offer:{one.id}": one.title for one in catalogue.offers}


def last_report(engine: Engine) -> Report | None:
    """The report of the latest list; null: there is no list."""
    found = sorted(engine.home.lists.glob("*/report.json"))
    return Report.model_validate_json(found[-1].read_bytes()) if found else None
