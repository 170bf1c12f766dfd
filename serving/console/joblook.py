"""A job's page while it runs, and its pictures. What came of it stands on the page it was started from."""

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from serving.console.house import SECURITY_HEADERS
from serving.console.jobs import Job
from serving.console.visit import Visit
from serving.http.errors import Forbidden, NotFound
from serving.ledger.keys import Role

# Kind -> (whose it is, the page that shows it).
_SEEN = {
    "dry_run": (("marketing", "compliance", "admin"), lambda asked: f"/console/campaigns/{asked['campaigns'][0]}?tab=try"),
    "results": (("marketing", "compliance", "admin"), lambda asked: f"/console/campaigns/{asked['campaign']}?tab=results"),
    "list": (("marketing", "admin"), lambda asked: f"/console/campaigns/{asked['campaigns'][0]}"),
    "proofs": (("marketing", "compliance", "data_science", "admin"), lambda _: "/console/rules?tab=proofs"),
    "models": (("marketing", "compliance", "data_science", "admin"), lambda _: "/console/models"),
    "verify": (("compliance", "admin"), lambda _: "/console/decisions"),
}  # fmt: skip


def job(visit: Visit) -> Response:
    """How far it is; over: on to the page that shows it. `?part=1`: only what changes, for the script that looks again."""
    found = _mine(visit, visit.path("job"))
    if visit.asked("part"):
        return visit.page("job_part.html", job=found)
    if found.is_over:
        return visit.go(shown_at(found))
    return visit.page("job.html", job=found)


def picture(visit: Visit) -> Response:
    """One of its pictures."""
    found = _mine(visit, visit.path("job"))
    body = visit.house.jobs.picture(found.id, visit.path("picture"))
    if body is None:
        raise NotFound("there is no such picture; measure again")
    policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # a drawing of ours: no script, nothing fetched
    return Response(body, 200, SECURITY_HEADERS | {"Content-Security-Policy": policy}, media_type="image/svg+xml")


def shown_at(found: Job) -> str:
    """The page that shows what came of it."""
    place = _SEEN[found.kind][1]({k: _quoted(v) for k, v in found.asked.items()})
    return f"{place}{'&' if '?' in place else '?'}job={found.id}"


def _mine(visit: Visit, name: str) -> Job:
    found = visit.house.jobs.look(name)
    if visit.role not in {Role(role) for role in _SEEN[found.kind][0]}:
        raise Forbidden(f"role `{visit.role}` may not see this computation")
    return found


def _quoted(value: Any) -> Any:
    if isinstance(value, list):
        return [quote(str(one)) for one in value]
    return quote(value) if isinstance(value, str) else value
