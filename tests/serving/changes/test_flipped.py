"""P09: the live set flips while others decide; each decision carries exactly one of the sets, and the caps hold."""

import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from rules.liveset import files_in
from rules.review import Act, Actor, Kind
from serving.changes.desk import Desk
from serving.http.messages import DecisionResponse
from serving.ledger import changes, records
from serving.office import Office
from serving.replay import replayed
from tests.home import Clock, adopt, ask
from tests.serving.changes.conftest import new_rule
from tests.serving.ledger import recount

ANNA, BOB, CHECKER = Actor("anna", "compliance"), Actor("bob", "compliance"), Actor("checker", "admin")
DECIDERS, CUSTOMERS = 3, 400


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("flips", [20, pytest.param(1_000, marks=pytest.mark.long)])
def test_p09_each_decision_carries_one_of_the_sets_while_they_flip(
    office: Office, bank: Path, clock: Clock, flips: int
) -> None:
    adopt(bank)
    done, told, problems = threading.Event(), list[DecisionResponse](), list[BaseException]()

    def decide(turn: int) -> None:
        try:
            while not done.is_set():
                who = f"C{turn % CUSTOMERS + 1:07d}"
                told.append(ask(office, who, ("outbound", "inbound")[turn % 2]))
                turn += DECIDERS
        except BaseException as error:
            problems.append(error)
            raise

    deciders = [threading.Thread(target=decide, args=(place,)) for place in range(DECIDERS)]
    for one in deciders:
        one.start()
    try:
        sets = flipped(office, bank, clock, flips)
    finally:
        done.set()
        for one in deciders:
            one.join(120)
    assert problems == []
    policies = {
        name: Counter(one.revisions["policy"] for one in told if one.revisions["live_set"] == name) for name in sets
    }
    assert {one.revisions["live_set"] for one in told} == set(sets), "both have to have decided"
    assert all(len(found) == 1 for found in policies.values()), "a policy of one set under the name of the other"
    assert len({next(iter(found)) for found in policies.values()}) == 2
    with office.ledger.read() as connection:
        found = changes.entries(connection)
        acts = Counter(str(entry.step.act) for entry in found if entry.note in ("flip", "flop"))
        assert acts == {"propose": flips // 2, "rollback": flips // 2}
        for one in told[:: max(len(told) // 60, 1)]:  # each under its own set, whatever holds now
            row = records.find(connection, one.decision_id)
            assert row is not None
            assert replayed(office.engine, connection, row)
    raw = sqlite3.connect(bank / "nbo.db")
    assert recount.over_cap(raw) == 0
    assert recount.unrecorded(raw) == 0
    assert raw.execute("SELECT count(*) FROM contacts WHERE source = 'decision'").fetchone()[0] > 0
    raw.close()


def flipped(office: Office, bank: Path, clock: Clock, flips: int) -> list[str]:
    """A change put into force and rolled back by turns, through the desk that every door uses; the two sets."""
    ledger, first = office.ledger, files_in(bank)
    patch = new_rule(bank)

    def at_desk(work):
        clock.forward(milliseconds=1)
        task = lambda c: work(c, Desk(office.engine, c, ledger.secret, ledger.now_micros()))
        return ledger.write(task, touches=changes.CHANGES).result()

    sets = at_desk(lambda c, _: [changes.keep_set(c, first), changes.keep_set(c, first | patch)])

    def approved(c, desk, change: str) -> None:
        """What propose, check and approve enter, without the seconds that a check takes."""
        steps = ((Act.PROPOSE, ANNA, {"note": "flip"}), (Act.CHECK, CHECKER, {"passed": True}), (Act.APPROVE, BOB, {}))
        for act, actor, more in steps:
            changes.append(c, ledger.secret, change_id=change, act=act, actor=actor, kinds={Kind.RULES}, base=sets[0],
                           target=sets[1], at=desk.now, **more)  # fmt: skip

    for turn in range(flips // 2):
        at_desk(lambda c, desk, change=f"flip-{turn}": approved(c, desk, change))
        at_desk(lambda _, desk, change=f"flip-{turn}": desk.activate(BOB, change))
        ask(office)
        at_desk(lambda _, desk: desk.rollback(ANNA, "flop"))
        ask(office)
    return sorted(sets)
