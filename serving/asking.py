"""A decision as it is asked for: its key, its id, what it may be told, and who may be decided in one go."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json
from sqlalchemy.engine import Connection

from serving.bids import bid_prices
from serving.claims import instant
from serving.counter import Counter, key_of, name_of
from serving.decisions import Decided, commit, decide_several, decision_id_of, kept
from serving.http.door import Call, Pending, StoredAnswer
from serving.http.errors import Unprocessable
from serving.http.messages import BatchDecisionRequest, DecisionRequest, Direction
from serving.ledger import idempotency
from serving.ledger.ahead import Later, Wish
from serving.ledger.book import Touches, unit_of


class Asked(NamedTuple):
    """A decision asked for."""

    request: DecisionRequest
    key: idempotency.Asked
    decision_id: str


Told = Decided | StoredAnswer | Exception


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


class DecisionDoor(Counter):
    """The part of the door that decides: what arrives together is decided together, each answer in its own turn."""

    def decide(self, request: DecisionRequest, call: Call) -> Pending:
        """The decision, recorded; outbound: its contact reserved."""
        asked = Asked(request, key_of(call), id_of(call))
        wish = Wish(self._ahead, asked)

        def task(connection: Connection) -> Later[StoredAnswer] | StoredAnswer:
            told = wish.told or self._ahead(connection, [asked])[0]
            if isinstance(told, Exception):
                raise told
            if isinstance(told, StoredAnswer):
                return told
            told = self._seated(connection, told, request)
            now = self.ledger.now_micros()
            said, entries = kept(connection, told, now, call.principal.name)
            answer = StoredAnswer(to_json(said))
            entries.append(idempotency.remembering(asked.key, idempotency.Answer(answer.status, answer.body), now))
            return Later(answer, entries)

        touches = Touches(customers=(request.customer_id,), names=(name_of(asked.key),))
        return self.ledger.write(task, call.deadline, touches=touches, wish=wish)

    def _ahead(self, connection: Connection, asked: Sequence[Asked]) -> list[Told]:
        """What each key got before, else the decision; its error where it cannot be decided."""
        self.in_force(connection, self.ledger.now_micros())
        told: list[Told | None] = [
            StoredAnswer(found.body, found.status) if isinstance(found, idempotency.Answer) else found
            for found in idempotency.remembered_many(connection, [one.key for one in asked])
        ]
        for place, one in enumerate(asked):
            told[place] = told[place] or self._unknown_channel(one.request)
        fresh = [one for one, known in zip(asked, told, strict=True) if known is None]
        decided = iter(self._decided(connection, [(one.request, one.decision_id) for one in fresh]) if fresh else ())
        return [known or next(decided) for known in told]

    def decide_batch(self, request: BatchDecisionRequest, call: Call) -> Pending:
        """The decisions in order, in one transaction: a unit that comes twice sees its first contact."""

        def work(connection: Connection, now: int) -> StoredAnswer:
            asked = [(one, id_of(call, place)) for place, one in enumerate(request.decisions)]
            said: list[dict[str, Any]] = []
            self.in_force(connection, now)
            for refused in filter(None, map(self._unknown_channel, request.decisions)):
                raise refused
            for turn in by_turns(connection, asked):
                for one, (wanted, _) in zip(self._decided(connection, turn), turn, strict=True):
                    said.append(commit(connection, self._seated(connection, one, wanted), now, call.principal.name))
            return StoredAnswer(to_json({"decisions": said}))

        return self.once(call, Touches(customers=[one.customer_id for one in request.decisions]), work)

    def _decided(self, connection: Connection, asked: Sequence[tuple[DecisionRequest, str]]) -> list[Decided]:
        """Decisions about different units, by the engine in force."""
        now = self.ledger.now_micros()
        engine = self.in_force(connection, now)  # asked once: answers, records and revisions are of one set
        shut = self.seats.shut(now, instant(now)) if self.seats is not None else ()
        prices = bid_prices(connection, engine.catalogue, now, shut)
        return decide_several(engine, connection, asked, instant(now), prices)

    def _seated(self, connection: Connection, decided: Decided, request: DecisionRequest) -> Decided:
        """The decision, its seat taken; decided anew where those before it took the last one."""
        seats, said, row = self.seats, decided.said, decided.row
        if seats is None or row is None or said["channel"] is None or request.direction is not Direction.OUTBOUND:
            return decided
        if seats.is_gone(said["channel"], row["campaign_id"]):
            [decided] = self._decided(connection, [(request, said["decision_id"])])
            said, row = decided.said, decided.row
        if row is not None and said["channel"] is not None:
            seats.take(said["channel"], row["campaign_id"])
        return decided

    def _unknown_channel(self, request: DecisionRequest) -> Unprocessable | None:
        known = self.engine.catalogue.channel_index
        if all(channel in known for channel in request.channels or ()):
            return None
        return Unprocessable(f"`channels` names one that is not in the catalogue; there are: {', '.join(known)}")
