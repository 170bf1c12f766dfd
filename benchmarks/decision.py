"""One decision in process, stage by stage: processor time in the writer's own transaction, durable (SQLite FULL).

30 offers x 5 channels, the shipped policy, all models; each customer asked once, outbound and inbound by turns. Three
rounds, so that none disturbs another's caches: the stages one by one; the same customers on the Arrow road, untimed, who
must give the same DECISIONS row; the whole, as the service runs it.
"""

import gc
import json
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from statistics import median
from typing import Any, TypeVar

import pyarrow as pa
from pydantic_core import to_json
from sqlalchemy.engine import Connection

from benchmarks.http import bank
from benchmarks.table import Table
from rules.alone import decide_alone
from rules.decide import decide
from rules.suppress import closed_row
from serving.claims import instant
from serving.decisions import canonical, commit, decide_one, decision_id_of
from serving.engine import Engine
from serving.http.door import StoredAnswer
from serving.http.messages import DecisionRequest
from serving.ledger import idempotency
from serving.ledger.switches import paused
from serving.office import Office, open_office
from serving.plainrow import online_row
from serving.rows import Asked, online_rows

T = TypeVar("T")
WARM = 100
TARGETS = {"features": 0.15, "rules": 0.05, "scoring": 0.35, "arbitration": 0.03, "answer": None,
           "without the ledger": 0.5, "ledger": 0.25, "whole decision": 0.9}  # fmt: skip


class _Watch:
    """Processor time by stage, milliseconds."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        begun = time.process_time()
        done = work()
        self.spent[stage].append((time.process_time() - begun) * 1e3)
        return done


def run(quick: bool = False) -> list[Table]:
    """p50 of every stage beside its target."""
    asked = 300 if quick else 1_500
    table = Table("decision", "30 offers x 5 channels, shipped policy, all models, SQLite FULL; p50 of processor time")
    print(f"decision: {table.setting}")
    with bank(1_000 if quick else 5_000) as (home, bodies), closing(open_office(home.path, serving=False)) as office:
        requests = [DecisionRequest.model_validate_json(body) for body in bodies[: asked + WARM]]
        watch = office.ledger.write(lambda connection: _asked(office, connection, requests)).result()
    halves = {stage: median(spent) for stage, spent in watch.spent.items()}
    halves["arbitration"] = max(halves.pop("settled") - halves["rules"], 0.0)
    halves["answer"] = halves["without the ledger"] - sum(
        halves[s] for s in ("features", "rules", "scoring", "arbitration")
    )
    halves["whole decision"] = halves["without the ledger"] + halves["ledger"]
    for stage, target in TARGETS.items():
        table.add(stage, halves[stage], "ms", target)
    return [table]


def _asked(office: Office, connection: Connection, requests: list[DecisionRequest]) -> _Watch:
    engine, now = office.engine, office.ledger.now_micros()
    for place, request in enumerate(requests[:WARM]):
        _stages(engine, connection, request, now, _Watch())
        _by_arrow(engine, connection, request, now)
        _whole(engine, connection, request, f"warm-{place}", now, _Watch())
    gc.collect()
    gc.freeze()
    watch, timed = _Watch(), requests[WARM:]
    found = [_stages(engine, connection, request, now, watch) for request in timed]
    for request, decision in zip(timed, found, strict=True):
        assert canonical(decision) == canonical(_by_arrow(engine, connection, request, now)), "the two roads differ"
    for place, request in enumerate(timed):
        _whole(engine, connection, request, f"b-{place}", now, watch)
    return watch


def _stages(engine: Engine, connection: Connection, request: DecisionRequest, now: int, watch: _Watch) -> dict[str, Any]:  # fmt: skip
    """DECISIONS as a mapping; writes nothing."""
    at, terms = instant(now), engine.terms(instant(now), paused(connection))
    known = watch.timed("features", lambda: online_row(engine, terms, connection, _asked_for(request), at))
    assert known is not None, "the bank does not know its own customer"
    who, cells = known.who, []
    watch.timed("rules", lambda: closed_row(terms.program, who.row, who.direction, ()))
    decide_alone(
        who, terms, lambda open_: cells.append(open_) or engine.score_few([who.unit_id], [known.features], open_)
    )
    scored = watch.timed("scoring", lambda: engine.score_few([who.unit_id], [known.features], cells[0]))
    return watch.timed("settled", lambda: decide_alone(who, terms, lambda _: scored)).decision


def _whole(engine: Engine, connection: Connection, request: DecisionRequest, key: str, now: int, watch: _Watch) -> None:
    decided = watch.timed("without the ledger", lambda: decide_one(
        engine, connection, request, decision_id_of("app-bench", "POST /v1/decisions", key), instant(now)))  # fmt: skip

    def kept() -> None:
        answer = StoredAnswer(to_json(commit(connection, decided, now)))
        stored = idempotency.Answer(answer.status, answer.body)
        idempotency.remember(connection, "app-bench", "POST /v1/decisions", key, "0" * 64, stored, now)

    watch.timed("ledger", kept)
    assert json.loads(decided.inputs), "nothing was stored"


def _asked_for(request: DecisionRequest) -> Asked:
    return Asked(request.customer_id, request.direction.value, request.channels)


def _by_arrow(engine: Engine, connection: Connection, request: DecisionRequest, now: int) -> dict[str, Any]:
    at, terms = instant(now), engine.terms(instant(now), paused(connection))
    known = online_rows(engine, terms, connection, [_asked_for(request)], at)
    assert known is not None
    customers, plain = known

    def score(rows: pa.RecordBatch, open_: Any) -> pa.RecordBatch:
        return engine.score(rows, open_)

    return decide(customers, terms, score, plain).to_pylist()[0]
