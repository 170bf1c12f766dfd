"""A seeded simulator drives the ledger and a naive one through the same operations; they never differ.

One process, one thread, one seed: a failure prints the seed and the operation, and comes again.
"""

import random
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from rules.caps import ContactCount, most
from serving.ledger import consents, events, idempotency, lifecycle, outcomes, switches
from serving.ledger.book import Ledger, contacts_of_units, micros, reserve, unit_of
from serving.ledger.clock import EPOCH, SIMULATED, ClockError
from serving.ledger.contact import COUNTING, TRANSITIONS, Action, ContactRow, LifecycleError, State
from serving.ledger.idempotency import ConflictError
from serving.ledger.lifecycle import expire_unit
from serving.ledger.seed import assign_units
from serving.ledger.switches import SwitchError
from tests.home import NOW
from tests.postgres import database
from tests.serving.ledger.naive import Naive

UNITS = {"C1": "H1", "C2": "H1", "C3": "C3", "C4": "H4", "C5": "H4"}
CHANNELS = ("sms", "email")
HOUR, DAY = 3_600_000_000, 86_400_000_000
COUNT = ContactCount(unit=True, channel=None, family=None, window_days=2)
CAP = 2


def counted(rows: list[ContactRow], now: int, after: int, before: int) -> int:
    """As serving.rows and rules.state count: contacts that count, each somewhere in its window."""
    f, t, g = COUNT.shifts
    spans = [(row.sent_at, row.sent_at) if row.sent_at is not None else (row.send_after, row.send_before)
             for row in rows if row.counts(now)]  # fmt: skip
    placed = [(max(s + f, after + g), min(e + t, before)) for s, e in spans]
    return most([(low, high) for low, high in placed if low <= high])


class Real:
    """The ledger, behind the same operations as Naive."""

    def __init__(self, url: str) -> None:
        self.url, self.at = url, micros(NOW)
        self.ledger = self._opened()
        self.ledger.write(lambda c: assign_units(c, UNITS)).result(30)

    def _opened(self) -> Ledger:
        return Ledger.open(
            self.url, lambda: EPOCH + timedelta(microseconds=self.at), b"s", serving=True, bounds=SIMULATED
        )

    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self._opened()

    def do(self, task: Callable[[Connection, int], Any]) -> Any:
        try:
            return self.ledger.write(lambda c: task(c, self.ledger.now_micros())).result(30)
        except LifecycleError as error:
            return "unknown" if error.state is None else "refused"
        except ConflictError:
            return "conflict"
        except SwitchError:
            return "refused"

    def reserve(self, key: str, body: str, customer: str, channel: str, delay: int, window: int) -> "Future[Any]":
        def task(connection: Connection) -> str:
            now = self.ledger.now_micros()
            known = idempotency.remembered(connection, "p", "r", key, body)
            if known is not None:
                return known.body.decode()
            unit = unit_of(connection, [customer])[customer]
            rows = contacts_of_units(connection, [unit], now - 30 * DAY)
            answer = "silence"
            if (
                not stopped(connection, customer, channel)
                and counted(rows, now, now + delay, now + delay + window) < CAP
            ):
                expire_unit(connection, unit, now)
                reserve(connection, ContactRow(contact_id=key, customer_id=customer, unit_id=unit, channel=channel, decided_at=now,
                                               send_after=now + delay, send_before=now + delay + window))  # fmt: skip
                answer = "made"
            idempotency.remember(connection, "p", "r", key, body, idempotency.Answer(200, answer.encode()), now)
            return answer

        return self.ledger.write(task)

    def move(self, name: str, action: str) -> str:
        def task(connection: Connection, now: int) -> str:
            row = lifecycle.find(connection, name)
            if (
                action == "claim"
                and row is not None
                and row.state == State.RESERVED
                and stopped(connection, row.customer_id, row.channel)
            ):
                lifecycle.close(connection, name, Action.RECALL, now, "opted_out")
                return "refused"
            if action == "claim":
                lifecycle.claim(connection, name, now)
            elif action == "sent":
                lifecycle.sent(connection, name, now)
            else:
                lifecycle.close(connection, name, Action(action), now)
            return "done"

        return self.do(task)

    def outcome(self, name: str, kind: str) -> str:
        return self.do(lambda c, now: "new" if outcomes.accept(c, name, kind, now, now).new else "known")

    def say(self, customer: str, channel: str, state: str, at: int) -> bool:
        said = (customer, "marketing", channel, state, "form", None, at)
        return self.do(lambda c, now: consents.record(c, consents.ConsentRow(
            consent_id=consents.consent_id(*said), customer_id=customer, purpose="marketing", channel=channel, state=state,
            source="form", wording=None, at=at, received_at=now)))  # fmt: skip

    def event(self, name: str, booking: str, customer: str, amount: int) -> str:
        row = events.EventRow(event_id=name, customer_id=customer, kind="salary", amount_minor=amount, currency="CNY",
                              balance_after_minor=None, booked_at=5, recorded_at=5, received_at=0,
                              transaction_id=None if booking == name else booking)  # fmt: skip
        return self.do(
            lambda c, now: "new" if events.accept(c, row, UNITS[customer], now, lambda *_: ()).new else "known"
        )

    def external(self, name: str, customer: str, channel: str) -> bool:
        def task(connection: Connection, now: int) -> bool:
            if lifecycle.find(connection, name) is not None:
                return False
            return lifecycle.enter_external(connection, ContactRow(
                contact_id=name, customer_id=customer, unit_id=UNITS[customer], channel=channel, decided_at=now, send_after=now,
                send_before=now, state=State.SENT, source="external", sent_at=now))  # fmt: skip

        return self.do(task)

    def turn(self, scope: str, action: str, who: str) -> str:
        if action == "pause":
            return self.do(lambda c, now: switches.pause(c, scope, who, "", now) or "paused")
        return self.do(lambda c, now: "running" if switches.resume(c, scope, who, "", now) else "asked")

    def expire(self) -> int:
        return self.do(lambda c, now: lifecycle.expire(c, now))

    def states(self) -> dict[str, tuple[str, str | None]]:
        with self.ledger.read() as connection:
            return {row.contact_id: (str(row.standing(self.at)), row.close_reason if row.state == "closed" else None)
                    for row in contacts_of_units(connection, set(UNITS.values()), 0)}  # fmt: skip


def stopped(connection: Connection, customer: str, channel: str) -> bool:
    said = [w for w in consents.of_customers(connection, [customer]) if w.channel in (channel, consents.ALL)]
    return bool({"all", f"channel:{channel}"} & switches.paused(connection)) or bool(
        said and said[-1].state != "granted"
    )


def simulate(url: str, seed: int, n_steps: int) -> None:
    """AssertionError, with the seed and the step, where the two differ."""
    draw, real = random.Random(seed), Real(url)
    naive = Naive(UNITS, CAP, COUNT.window_days * DAY, now=real.at)
    try:
        for step in range(n_steps):
            what, ours, theirs = _step(draw, real, naive, step)
            assert ours == theirs, f"seed {seed}, step {step}: {what} says {ours}, the naive ledger {theirs}"
            if step % 10 == 9 or step == n_steps - 1:
                expected = {
                    name: (_standing(naive, c), c.why if c.state == "closed" else None)
                    for name, c in naive.contacts.items()
                }
                assert real.states() == expected, f"seed {seed}, step {step}: contacts differ"
    finally:
        real.ledger.close()


def _standing(naive: Naive, contact: Any) -> str:
    return "closed" if contact.state == "reserved" and contact.before <= naive.now else contact.state


def _step(draw: random.Random, real: Real, naive: Naive, step: int) -> tuple[str, Any, Any]:
    by = draw.choice([1, 1000, 1000, HOUR // 60, HOUR // 60, HOUR, 7 * HOUR, DAY])
    real.at += by
    naive.now = real.at
    customer, channel = draw.choice(sorted(UNITS)), draw.choice(CHANNELS)
    name = draw.choice([*sorted(naive.contacts)[-12:], *list(naive.contacts)[-2:] * 4, "nobody"])
    kind = draw.choice(["reserve"] * 5 + ["burst", "claim", "claim", "claim", "sent", "sent", "cancelled", "not_sent", "expire", "outcome",
                                          "say", "event", "external", "turn", "turn", "back", "reopen"])  # fmt: skip
    if kind in ("reserve", "burst"):
        asked = []
        for k in range(1 if kind == "reserve" else draw.randrange(2, 6)):
            old = sorted(naive.keys)
            key = draw.choice(old) if old and draw.random() < 0.2 else f"k{step:04d}-{k}"
            body = naive.keys[key][0] if key in naive.keys and draw.random() < 0.8 else f"b{step}"
            asked.append(
                (
                    key,
                    body,
                    draw.choice(sorted(UNITS)) if kind == "burst" else customer,
                    channel,
                    draw.choice([0, 0, 0, 3 * DAY]),
                    draw.choice([HOUR, 12 * HOUR]),
                )
            )
        answers = [real.reserve(*one) for one in asked]
        ours = ["conflict" if isinstance(a.exception(30), ConflictError) else a.result(30) for a in answers]
        _persist_expiry(naive, [])
        theirs = []
        for one in asked:
            theirs.append(naive.reserve(*one))
            if theirs[-1] == "made" and one[0].startswith(f"k{step:04d}"):
                _persist_expiry(naive, [one[2]])
        return kind, ours, theirs
    if kind == "claim":  # and again at once, as a channel does that lost the answer: only the first may send
        return kind, [real.move(name, kind) for _ in range(2)], [naive.move(name, kind) for _ in range(2)]
    if kind in ("sent", "cancelled", "not_sent"):
        return kind, real.move(name, kind), naive.move(name, kind)
    if kind == "outcome":
        told = draw.choice(["opened", "refused", "opted_out"])
        return kind, real.outcome(name, told), naive.outcome(name, told)
    if kind == "say":
        word = customer, draw.choice([*CHANNELS, "all"]), draw.choice(["granted", "granted", "withdrawn", "denied"]), real.at - draw.choice([0, 5 * HOUR])  # fmt: skip
        return kind, real.say(*word), naive.say(*word)
    if kind == "event":
        event = f"e{draw.randrange(9)}"
        booking = draw.choice([event, f"t{draw.randrange(4)}"])
        told = event, booking, draw.choice(["C1", "C2"]), draw.choice([5, 6])
        return kind, real.event(*told), naive.event(*told)
    if kind == "external":
        which = f"x{draw.randrange(40)}", customer, channel
        return kind, real.external(*which), naive.external(*which)
    if kind == "turn":
        scope, action, who = (
            draw.choice(["all", "channel:sms"]),
            draw.choice(["pause", "resume", "resume", "resume"]),
            draw.choice("ab"),
        )
        return kind, real.turn(scope, action, who), naive.turn(scope, action, who)
    if kind == "expire":
        return kind, real.expire(), naive.expire()
    if kind == "back":
        assert real.expire() == naive.expire()  # the ledger has seen this instant, and it goes back from here
        jumped, real.at = real.at, real.at - draw.choice([HOUR, 365 * DAY])
        try:
            told = real.expire()
        except ClockError:
            told = "refused"
        real.at = jumped
        return kind, told, "refused"
    real.reopen()
    return kind, None, None


def _persist_expiry(naive: Naive, customers: list[str]) -> None:
    """Whoever reserves closes what is dead in the unit: the naive ledger writes the same reason down."""
    for customer in customers:
        for c in naive.contacts.values():
            if naive.units[c.customer] == naive.units[customer] and c.state == "reserved" and c.before <= naive.now:
                c.state, c.why = "closed", "expired"


@pytest.mark.parametrize("seed", range(5))
def test_p01_p03_p11_p12_p20_p30_the_ledger_does_what_the_naive_one_does(tmp_path: Path, seed: int) -> None:
    simulate(f"sqlite:///{tmp_path / 'nbo.db'}", seed, 250)


@pytest.mark.parametrize("seed", range(100, 101))
def test_p01_p03_the_ledger_on_postgresql_does_what_the_naive_one_does(seed: int) -> None:
    with database() as url:
        simulate(url, seed, 250)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_ledger_does_what_the_naive_one_does_long(tmp_path: Path) -> None:
    for seed in range(1_000, 1_120):
        simulate(f"sqlite:///{tmp_path / f'{seed}.db'}", seed, 500)
    for seed in range(2_000, 2_020):
        with database() as url:
            simulate(url, seed, 500)


# ---- mutants: the bug put back, and the simulator sees it ----------------------------------------


def _counts_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ContactRow, "counts", lambda *_: True)


def _counts_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ContactRow, "counts", lambda row, _: row.state in COUNTING)


def _counts_backward_only(patch: pytest.MonkeyPatch) -> None:
    before = ContactCount(unit=True, channel=None, family=None, window_days=2, side="before")
    patch.setitem(globals(), "COUNT", before)


def _counts_per_person(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(globals(), "unit_of", lambda _, asked: {c: c for c in asked})


def _forgets_the_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(idempotency, "remembered", lambda *_: None)


def _takes_any_body(patch: pytest.MonkeyPatch) -> None:
    honest = idempotency.remembered

    def lenient(connection: Connection, principal: str, route: str, key: str, _body: str) -> Any:
        row = idempotency._FIND.run(connection, principal=principal, route=route, key=key).fetchone()
        return row and honest(connection, principal, route, key, row[0])

    patch.setattr(idempotency, "remembered", lenient)


def _opt_out_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "withdraw", lambda *_: None)


def _claims_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(TRANSITIONS, (State.CLAIMED, Action.CLAIM), State.CLAIMED)


def _claims_late(patch: pytest.MonkeyPatch) -> None:
    honest = lifecycle.claim
    patch.setattr(lifecycle, "claim", lambda c, name, now: honest(c, name, min(now, _before(c, name, now))))


def _before(connection: Connection, name: str, now: int) -> int:
    row = lifecycle.find(connection, name)
    return now if row is None else row.send_before - 1


def _one_resumes(patch: pytest.MonkeyPatch) -> None:
    honest = switches.resume

    def alone(connection: Connection, scope: str, who: str, reason: str, now: int) -> bool:
        return honest(connection, scope, who, reason, now) or honest(connection, scope, who + "'", reason, now)

    patch.setattr(switches, "resume", alone)


def _booking_counts_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(events, "_is_known", lambda c, e: events._FIND.run(c, event_id=e.event_id).fetchone() is not None)


def _clock_goes_back(patch: pytest.MonkeyPatch) -> None:
    from serving.ledger.clock import LedgerClock

    patch.setattr(LedgerClock, "_refuse_jump", lambda *_: None)


MUTANTS = (_counts_closed, _counts_dead, _counts_backward_only, _counts_per_person, _forgets_the_key, _takes_any_body, _opt_out_waits,
           _claims_twice, _claims_late, _one_resumes, _booking_counts_twice, _clock_goes_back)  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__.strip("_"))
def test_p01_p03_p11_p12_p20_p30_the_simulator_catches(
    mutant: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(Exception, match=r"seed|UNIQUE") as caught:
        for seed in range(12):
            simulate(f"sqlite:///{tmp_path / f'{seed}.db'}", seed, 250)
    assert isinstance(caught.value, AssertionError) or "UNIQUE" in str(caught.value)
