"""Decide again from what a record stored: the same bytes, or the proof is broken."""

import json
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel
from sqlalchemy.engine import Connection

from rules.decide import decide
from serving.account import deciding, prices_in, restored, terms_of
from serving.claims import instant
from serving.decisions import canonical
from serving.engine import Engine
from serving.ledger import records
from serving.ledger.records import DecisionRow
from serving.ledger.vault import ErasedError, PayloadError


class ReplayError(ValueError):
    """There is nothing to decide on, or those terms are not in force any more; one line."""


class Tally(BaseModel):
    """What became of many replays. different: ids whose bytes differ; skipped: why -> how many."""

    replayed: int
    same: int
    different: list[str]
    skipped: dict[str, int]


def replayed(engine: Engine, connection: Connection, row: DecisionRow) -> bool:
    """Whether decide gives the recorded bytes again from the stored inputs, under the recorded terms.

    ReplayError where there is nothing to decide on, or those terms are not in force any more;
    ErasedError and PayloadError where the payload cannot be read.
    """
    row = engine.vault.opened(connection, row)
    stored, result = json.loads(row.inputs), json.loads(row.result)
    if result["row"] is None:
        raise ReplayError("the customer was unknown; there is nothing to replay")
    terms = terms_of(deciding(engine, connection, row), connection, row.terms, instant(row.as_of), prices_in(stored))
    if terms is None:
        raise ReplayError(
            "the terms of that decision are not in force any more; restore that policy, catalogue and campaigns to replay it"
        )
    customers, scores = restored(terms, stored)
    return canonical(decide(customers, terms, lambda *_: scores).to_pylist()[0]) == canonical(result["row"])


def replay_many(engine: Engine, connection: Connection, decision_ids: Iterable[str]) -> Tally:
    """Replay each. A record whose bytes were changed counts as different."""
    different: list[str] = []
    skipped: Counter[str] = Counter()
    n_replayed = 0
    for decision_id in decision_ids:
        row = records.find(connection, decision_id)
        assert row is not None  # its id was read in the same view
        try:
            same = records.is_whole(connection, decision_id) and replayed(engine, connection, row)
        except (ErasedError, ReplayError) as error:
            skipped[str(error)] += 1
            continue
        except PayloadError:
            same = False
        n_replayed += 1
        if not same:
            different.append(decision_id)
    n_same = n_replayed - len(different)
    return Tally(replayed=n_replayed, same=n_same, different=different, skipped=dict(sorted(skipped.items())))
