"""A client and a worker in one process: it drives every route of an office and logs what was acknowledged.

`python -m tests.serving.ledger.torture HOME load SEED T0 SECONDS`: at random, from several threads,
until the time is over. One second of ours is an hour of the bank's, so windows pass while it runs.
"""

import hashlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.http.door import StoredAnswer
from serving.http.errors import as_door_error
from serving.http.messages import (
    BatchDecisionRequest,
    CancelRequest,
    ClaimRequest,
    DecisionRequest,
    Direction,
    EventKind,
    EventRequest,
    ExternalContactRequest,
    OutcomeKind,
    OutcomeRequest,
    Purpose,
    SentRequest,
    SwitchAction,
    SwitchRequest,
)  # fmt: skip
from serving.office import Office
from tests.home import APP, BOSS, COUPLE, HERO, NOW, call, said

CUSTOMERS = (*COUPLE, HERO, *(f"C{n:07d}" for n in range(4, 12)))
Acknowledge = Callable[[dict[str, Any]], None]


class Client:
    """Sends requests with keys of its own and logs each answer once it has it."""

    def __init__(
        self, office: Office, name: str, seed: int, clock: Callable[[], datetime], acknowledge: Acknowledge
    ) -> None:
        self.office, self.clock, self.acknowledge = office, clock, acknowledge
        self.random, self.name = random.Random(seed), name
        self.turn, self.contacts, self.sent = 0, list[str](), list[tuple[str, Callable[[], None]]]()

    def step(self) -> None:
        """One request at random, or an earlier one again."""
        self.turn += 1
        if self.sent and self.random.random() < 0.15:
            self.random.choice(self.sent)[1]()
            return
        kinds = [self.decide] * 6 + [self.batch] * 2 + [self.claim] * 4 + [self.report, self.cancel, self.outcome, self.event,
                                                                         self.consent, self.external, self.switch]  # fmt: skip
        self.random.choice(kinds)()

    def send(self, route: str, submit: Callable[[Any], Any], note: Callable[[dict[str, Any]], dict[str, Any]], who: Any = BOSS,
             key: str | None = None) -> None:  # fmt: skip
        """Send now, remember for later, log what was answered; refusals of the house are answers too."""
        key = key or f"{self.name}-{self.turn}"

        def attempt() -> None:
            try:
                answer: StoredAnswer = submit(call(route, who=who, key=key)).result(30)
            except Exception as error:
                known = as_door_error(error)
                if known is None:
                    raise
                return
            body = json.loads(answer.body)
            told = note(body) if answer.status == 200 else {}
            self.acknowledge({"route": route, "key": key, "sha256": hashlib.sha256(answer.body).hexdigest(), **told})

        self.sent = [*self.sent[-40:], (key, attempt)]
        attempt()

    def customer(self) -> str:
        return self.random.choice(CUSTOMERS[:3]) if self.random.random() < 0.6 else self.random.choice(CUSTOMERS)

    def _decided(self, decisions: list[dict[str, Any]]) -> dict[str, Any]:
        contacts = [c["contact_id"] for one in decisions for c in one["choices"]]
        self.contacts = [
            *self.contacts[-30:],
            *(c["contact_id"] for one in decisions for c in one["choices"] if c["send_after"]),
        ]
        return {"rows": {"decisions": [one["decision_id"] for one in decisions], "contacts": contacts}}

    def decide(self, customer: str | None = None, direction: str = "outbound", key: str | None = None) -> None:
        inbound = direction == "inbound" or self.random.random() < 0.1
        request = DecisionRequest(
            customer_id=customer or self.customer(), direction=Direction("inbound" if inbound else "outbound")
        )
        self.send(
            "POST /v1/decisions", lambda c: self.office.decide(request, c), lambda body: self._decided([body]), key=key
        )

    def batch(self) -> None:
        request = BatchDecisionRequest(decisions=tuple(DecisionRequest(customer_id=self.customer()) for _ in range(3)))
        self.send("POST /v1/decisions/batch", lambda c: self.office.decide_batch(request, c),
                  lambda body: self._decided(body["decisions"]))  # fmt: skip

    def contact(self) -> str:
        return self.random.choice(self.contacts) if self.contacts else "none"

    def claim(self) -> None:
        contact = self.contacts[-1] if self.contacts and self.random.random() < 0.7 else self.contact()
        self.send("POST /v1/contacts/{contact_id}/claim", lambda c: self.office.claim(contact, ClaimRequest(), c),
                  lambda _: {"claimed": True, "contact_id": contact})  # fmt: skip
        if self.random.random() < 0.7:
            self.turn += 1
            self.report(contact)

    def report(self, contact: str | None = None) -> None:
        which = contact or self.contact()
        self.send(
            "POST /v1/contacts/{contact_id}/sent", lambda c: self.office.sent(which, SentRequest(), c), lambda _: {}
        )

    def cancel(self) -> None:
        which = self.contact()
        self.send(
            "POST /v1/contacts/{contact_id}/cancel",
            lambda c: self.office.cancel(which, CancelRequest(), c),
            lambda _: {},
        )

    def outcome(self, kind: str | None = None) -> None:
        which, at = self.contact(), self.clock()
        kind = kind or self.random.choice(["opened", "delivered", "refused", "opted_out"])
        request = OutcomeRequest(contact_id=which, kind=OutcomeKind(kind), at=at)
        self.send("POST /v1/outcomes", lambda c: self.office.outcome(request, c), lambda _: {"outcome": [which, kind]})

    def event(self) -> None:
        at, name = self.clock() - timedelta(minutes=self.random.randrange(600)), f"e-{self.name}-{self.turn}"
        request = EventRequest(event_id=name, customer_id=self.customer(), kind=EventKind.CASH_WITHDRAWAL, amount_minor=-5_000,
                               currency="USD", balance_after_minor=1_000_000, booked_at=at, recorded_at=at)  # fmt: skip
        self.send("POST /v1/events", lambda c: self.office.event(request, c), lambda _: {"rows": {"events": [name]}})

    def consent(self) -> None:
        state = self.random.choice(["granted", "granted", "withdrawn"])
        request = said(self.clock(), state, self.customer(), self.random.choice(["all", "sms", "email"]))
        self.send("POST /v1/consents", lambda c: self.office.consent(request, c),
                  lambda body: {"rows": {"consents": [body["consent_id"]]}})  # fmt: skip

    def external(self) -> None:
        name = f"x-{self.name}-{self.turn}"
        request = ExternalContactRequest(contact_id=name, customer_id=self.customer(), channel="sms", purpose=Purpose("service"),
                                         sent_at=self.clock())  # fmt: skip
        self.send(
            "POST /v1/contacts",
            lambda c: self.office.external_contact(request, c),
            lambda _: {"rows": {"contacts": [name]}},
        )

    def switch(self) -> None:
        scope = self.random.choice(["channel:call", "family:wealth"])
        for action, who in (("pause", BOSS), ("resume", APP), ("resume", BOSS)):
            self.turn += 1
            request = SwitchRequest(scope=scope, action=SwitchAction(action), note="torture")
            self.send("POST /v1/switches", lambda c, request=request: self.office.switch(request, c), lambda _: {}, who)


def scripted(client: Client) -> None:
    """Every route once or twice, always the same: what the enumerated kills walk through."""
    steps = (lambda: client.decide(HERO, key="s1"), client.claim, lambda: client.decide(COUPLE[0], key="s2"), client.cancel,
             client.batch, client.event, client.outcome, client.consent, client.external, client.switch,
             lambda: client.decide(HERO, "inbound", key="s3"))  # fmt: skip
    for step in steps:
        client.turn += 1
        step()


def write_line(one: dict[str, Any]) -> None:
    """To standard output in one piece: what is written is acknowledged."""
    os.write(1, (json.dumps(one) + "\n").encode())


def main() -> None:
    """Open the home and load it from four threads."""
    from serving.office import open_office

    home, _, seed, began, seconds = sys.argv[1:6]
    t0, n = float(began), int(seed)

    def clock() -> datetime:
        return NOW + timedelta(seconds=(time.time() - t0) * 3600)

    office = open_office(Path(home), serving=True, clock=clock)
    print("ready", flush=True)
    until = time.monotonic() + float(seconds)

    def run(thread: int) -> None:
        client = Client(office, f"{n}-{os.getpid()}-{thread}", n * 100 + thread, clock, write_line)
        while time.monotonic() < until:
            client.step()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run, k) for k in range(4)]:
            done.result()
    office.close()
    print("done", flush=True)


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread() and UTC is not None
    main()
