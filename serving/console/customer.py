"""One customer: what we would offer now and why, every cell that is closed and why, and all that happened. Writes nothing."""

from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from serving.claims import instant
from serving.console.grid import grid
from serving.console.visit import ROWS, Visit
from serving.engine import Engine
from serving.http.errors import NotFound
from serving.http.messages import Direction
from serving.http.messages.reading import MessageError, read_id
from serving.ledger.locks import unit_of
from serving.ledger.timeline import Moment, open_suppressions, timeline
from serving.outlook import outlook


def search(visit: Visit) -> Response:
    """One box; a customer's own page follows."""
    wanted = visit.asked("id")
    if wanted:
        try:
            return visit.go(f"/console/customers/{read_id(wanted)}")
        except MessageError:
            return visit.page("search.html", 422, what="customer", problem=visit.t("That is no customer's id."))
    return visit.page("search.html", what="customer", problem="")


def customer(visit: Visit) -> Response:
    """The page of one customer."""
    name = read_id(visit.path("customer"))
    direction = Direction.INBOUND if visit.asked("direction") == "inbound" else Direction.OUTBOUND

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        now = visit.now
        seen = outlook(engine, connection, name, direction, instant(now))
        _, n = timeline(connection, name, 0, 0)
        page = visit.paged(n)
        if not seen.cells and not n:
            raise NotFound("nothing is known of such a customer; look at the id again")
        moments, _ = timeline(connection, name, page.start, ROWS)
        titles = {part.id: part.title for part in engine.policy.parts}
        return {
            "customer": name, "seen": seen, "direction": str(direction), "grid": grid(engine.catalogue, seen.cells, lambda cell: cell.closings), "titles": titles,
            "unit": unit_of(connection, [name])[name], "offers": {o.id: o for o in engine.catalogue.offers},
            "channels": {c.id: c.title for c in engine.catalogue.channels}, "families": {f.id: f.title for f in engine.catalogue.families},
            "suppressions": open_suppressions(connection, name, now), "moments": moments, "paged": page, "instant": instant,
            "campaigns": {key: one.title for key, one in engine.campaigns.items()}, "at": instant(now),
            "lists": _runs(engine, moments), "known": bool(seen.cells),
        }  # fmt: skip

    return visit.page("customer.html", **visit.read(found))


def _runs(engine: Engine, moments: list[Moment]) -> set[str]:
    """Which decisions of the contacts shown are lists, not records."""
    named = {str(one.row.get("decision_id")) for one in moments if one.kind == "contact" and one.row.get("decision_id")}
    return {name for name in named if "/" not in name and (engine.home.lists / name / "manifest.json").is_file()}
