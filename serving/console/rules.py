"""Rules: each as a sentence, with source, owner, dates and cases; what it stopped this month and at what cost."""

import logging
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import Connection
from starlette.responses import Response

from rules.liveset import Files, files_in
from rules.proof_answers import ProveAnswer
from rules.reasons import Layer
from serving.changes.rulebook import PackCase, PackCost, PackRule, costs_of, rulebook
from serving.claims import instant
from serving.console.house import House
from serving.console.visit import Visit
from serving.engine import Engine
from serving.http.errors import NotFound
from serving.ledger import changes
from serving.ledger.timeline import open_by_rule

TABS = ("rules", "proofs")
KEPT = 4
logger = logging.getLogger("nbo.http")


def rules(visit: Visit) -> Response:
    """All of them, by layer; or the proofs."""
    tab = visit.asked("tab") if visit.asked("tab") in TABS else "rules"
    if tab == "proofs":
        jobs = visit.house.jobs
        job = jobs.look(visit.asked("job")) if visit.asked("job") else jobs.last("proofs")
        told = ProveAnswer.model_validate(job.answer) if job and job.answer else None
        return visit.page(
            "proofs.html", job=job, proofs=told, live_policy=visit.read(lambda engine, _: engine.policy.revision)
        )
    return visit.page("rules.html", **visit.read(lambda engine, connection: _told(visit, engine, connection)))


def rule(visit: Visit) -> Response:
    """One part of the policy, with its cases."""
    name = visit.path("rule")

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        told, cases = book(engine, connection, visit.now)
        one = next((one for one in told if one.id == name), None)
        if one is None:
            raise NotFound("there is no such rule; the page Rules names them")
        costs, lists = _costs(engine, visit.now)
        return {"rule": one, "cases": [case for case in cases if case.about == name], "lists": lists,
                "costs": [cost for cost in costs if name in cost.rules], "open": open_by_rule(connection, visit.now).get(name)}  # fmt: skip

    return visit.page("rule.html", **visit.read(found))


def prove(visit: Visit) -> Response:
    """Prove the invariants anew."""
    return visit.go(f"/console/jobs/{visit.house.jobs.start('proofs', {}, visit.principal.name)}")


def book(engine: Engine, connection: Connection, now: int) -> tuple[list[PackRule], list[PackCase]]:
    """The policy in force, as people read it."""
    revision = changes.revision_in_force(connection, now)
    files = files_in(engine.home.path) if revision is None else changes.files_of(connection, revision)
    return _book(_Held(files, engine.store.schema))


def warm(house: House) -> None:
    """Have the policy at hand before the first who asks for it; what fails here is told to him."""
    try:
        with house.office.ledger.read() as connection:
            book(house.office.engine, connection, house.office.ledger.now_micros())
    except Exception as error:  # noqa: BLE001  # nobody waits for it
        logger.warning("the rules could not be read ahead: %s", type(error).__name__)


class _Held:
    """Files and features that are hashed by what they say: an engine is made anew with each night and each model."""

    def __init__(self, files: Files, features: pa.Schema) -> None:
        self.files, self.features = files, features
        self._key = (*sorted(files.items()), features.serialize().to_pybytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self._key == other._key


@lru_cache(KEPT)
def _book(held: _Held) -> tuple[list[PackRule], list[PackCase]]:
    return rulebook(held.features, held.files)


def _told(visit: Visit, engine: Engine, connection: Connection) -> dict[str, Any]:
    told, _ = book(engine, connection, visit.now)
    costs, lists = _costs(engine, visit.now)
    mine: dict[str, PackCost] = {}
    for cost in costs:  # a cost of several parts that say the same alike is told at each
        for name in cost.rules:
            known = mine.get(name)
            mine[name] = cost if known is None else known.model_copy(update={
                "customers": known.customers + cost.customers,
                "value_minor": None if known.value_minor is None and cost.value_minor is None else (known.value_minor or 0) + (cost.value_minor or 0)})  # fmt: skip
    layers = [(str(layer), [one for one in told if one.en.layer == str(layer)]) for layer in Layer]
    return {"layers": [(layer, found) for layer, found in layers if found], "costs": mine, "lists": lists, "policy": engine.policy.title,
            "revision": changes.revision_in_force(connection, visit.now), "open": open_by_rule(connection, visit.now), "n": len(told)}  # fmt: skip


def _costs(engine: Engine, now: int) -> tuple[list[PackCost], list[str]]:
    """What each rule cost in the lists of this month, in the bank's zone."""
    tz = engine.home.settings.tz
    first = instant(now).astimezone(tz).date().replace(day=1)
    begin, end = (
        datetime.combine(day, time(), tz).astimezone(UTC)
        for day in (first, (first + timedelta(days=31)).replace(day=1))
    )
    return costs_of(engine.home.lists, begin, end, {part.id: part.title for part in engine.policy.parts})
