"""A decision as it is asked for: its key, its id, what it may be told, and who may be decided in one go."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

from sqlalchemy.engine import Connection

from serving.decisions import Decided, decision_id_of
from serving.http.door import Call, StoredAnswer
from serving.http.messages import DecisionRequest
from serving.ledger import idempotency
from serving.ledger.book import unit_of


class Asked(NamedTuple):
    """A decision asked for."""

    request: DecisionRequest
    key: idempotency.Asked
    decision_id: str


Told = Decided | StoredAnswer | Exception


def key_of(call: Call) -> idempotency.Asked:
    """Who asks, and under which key."""
    return idempotency.Asked(call.principal.name, call.route, call.idempotency_key or "", call.body_sha256 or "")


def name_of(asked: idempotency.Asked) -> str:
    """What is held of a key: its twin on another worker waits, and then reads the answer."""
    return f"key {asked.principal} {asked.route} {asked.key}"


def id_of(call: Call, place: int = 0) -> str:
    """The id of the decision, the place-th of a batch."""
    return decision_id_of(call.principal.name, call.route, call.idempotency_key or "", place)


def by_turns(
    connection: Connection, asked: Sequence[tuple[DecisionRequest, str]]
) -> Generator[list[tuple[DecisionRequest, str]]]:
    """The requests in their order, cut where a unit comes again: it has to see what it was offered before."""
    units = unit_of(connection, [request.customer_id for request, _ in asked])
    turn: list[tuple[DecisionRequest, str]] = []
    seen: set[str] = set()
    for one in asked:
        if (unit := units[one[0].customer_id]) in seen:
            yield turn
            turn, seen = [], set()
        turn.append(one)
        seen.add(unit)
    yield turn
