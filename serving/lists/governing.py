"""The rules that were asked before a contact: those of the policy then in force that hold for its cell.

They let it pass. Who complains of a contact is told which rules had a say in it, and in which revision.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from pydantic import BaseModel
from sqlalchemy.engine import Connection

from rules.liveset import laid_out
from serving.engine import Engine
from serving.ledger import changes

Asked = Callable[[str | None, str | None, str | None, str, datetime], "list[RuleAsked] | None"]


class RuleAsked(BaseModel):
    """A part of the policy that was asked. layer: as in rules.reasons."""

    id: str
    layer: str


def rules_asked(engine: Engine, connection: Connection, campaign: str) -> Asked:
    """What tells the rules, by precedence, of (live set, policy revision, offer, channel, when it was decided).

    Null where that revision cannot be had any more: its files are unknown here, or do not fit this home now.
    """
    opened = cache(lambda live_set: _opened(engine, connection, live_set))

    @cache
    def of_day(live_set: str, policy: str, at: datetime) -> dict[tuple[str, str], list[RuleAsked]]:
        found = opened(live_set)
        if found is None or found.policy.revision != policy or campaign not in found.campaigns:
            return {}
        return _by_cell(found, campaign, at)

    def asked(live_set: str | None, policy: str | None, offer: str | None, channel: str, at: datetime) -> list[RuleAsked] | None:  # fmt: skip
        if live_set is None or policy is None or offer is None:
            return None
        noon = datetime.combine(engine.day(at), datetime.min.time(), engine.home.settings.tz).replace(hour=12)
        return of_day(live_set, policy, noon.astimezone(UTC)).get((offer, channel))

    return asked


def _opened(engine: Engine, connection: Connection, live_set: str) -> Engine | None:
    if live_set == engine.live_set:
        return engine
    if live_set in engine.siblings:
        return engine.siblings[live_set]
    try:
        files = changes.files_of(connection, live_set)
        with laid_out(files) as folder:
            return engine.with_files(folder, live_set)
    except ValueError:  # unknown here, or it reads a feature that is gone
        return None


def _by_cell(engine: Engine, campaign: str, at: datetime) -> dict[tuple[str, str], list[RuleAsked]]:
    terms, parts = engine.terms(at, campaigns=[campaign]), {part.id: part for part in engine.policy.parts}
    covers: dict[str, int] = {}  # a step holds the rules of one condition; each has its own cells
    for rule in terms.policy.lowered(engine.catalogue, terms.day):
        if rule.scope.direction != "inbound":
            covers[rule.id] = covers.get(rule.id, 0) | rule.scope.cells(engine.catalogue)
    found: dict[tuple[str, str], list[RuleAsked]] = {}
    for offer in engine.catalogue.offers:
        for channel in engine.catalogue.channels:
            cell = engine.catalogue.cell(offer.id, channel.id)
            steps = [step for step in terms.program.steps["outbound"] if step.cells >> cell & 1]
            ids = dict.fromkeys(name for step in steps for name in step.rules if covers.get(name, 0) >> cell & 1)
            found[offer.id, channel.id] = [RuleAsked(id=name, layer=str(parts[name].layer)) for name in ids]
    return found
