"""P09: the live set is swapped under load; each record names the one that decided and replays under it."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from rules.liveset import files_in, revision_of
from rules.review import Act, Actor, Kind
from serving import asking
from serving import office as room
from serving.changes.live import current, sibling
from serving.decisions import Decided
from serving.ledger import changes, records
from serving.office import Office
from serving.replay import ReplayError, replayed
from tests.home import CHANNELS, Clock, ask, office_at

ASKED = 12
RULE = ("when: deceased", "when: deceased OR tenure_days < 400")  # offers new customers nothing


def other_set(bank: Path) -> dict[str, str]:
    """The home's files with another rule."""
    return {
        name: text.replace(*RULE) if name == "policies/retail.yaml" else text for name, text in files_in(bank).items()
    }


def put_into_force(office: Office, files: dict[str, str]) -> str:
    """Past the review: what is tested here is who hears of it, and when."""

    def task(connection: Connection) -> str:
        now, revision = office.ledger.now_micros(), changes.keep_set(connection, files)
        changes.append(connection, office.ledger.secret, change_id=f"flip-{revision[:6]}", act=Act.ACTIVATE, actor=Actor("test", "admin"),
                       kinds=frozenset(Kind), base=revision, target=revision, at=now, effective_at=now)  # fmt: skip
        return revision

    return office.ledger.write(task, touches=changes.CHANGES).result(30)


def dated_ahead(office: Office, files: dict[str, str], hours: int) -> None:
    """A set that comes into force so many hours from now, past the review."""

    def task(connection: Connection) -> None:
        now, target = office.ledger.now_micros(), changes.keep_set(connection, files)
        changes.append(connection, office.ledger.secret, change_id="ahead", act=Act.ACTIVATE, actor=Actor("test", "admin"), kinds=[],
                       base=target, target=target, at=now, effective_at=now + hours * 3_600_000_000)  # fmt: skip

    office.ledger.write(task, touches=changes.CHANGES).result(30)


def flipped(office: Office, both: tuple[dict[str, str], dict[str, str]], flips: int) -> list[str]:
    """Decisions from three threads while the set in force is swapped at least `flips` times; their ids."""
    ids = list[str]()
    turned, asked = threading.Event(), threading.Event()

    def flip() -> None:
        for turn in range(10**9):
            put_into_force(office, both[turn % 2])
            if turn >= flips:
                turned.set()
                if asked.is_set():
                    return

    def load(thread: int) -> None:
        n = 0
        while n < ASKED or not turned.is_set():
            customer = f"C{thread * ASKED + n % ASKED + 1:07d}"
            one = ask(office, customer, ("outbound", "inbound")[n % 2], channels=(None, CHANNELS[:2])[n % 3 == 0])
            ids.append(one.decision_id)
            n += 1

    with ThreadPoolExecutor(4) as pool:
        turning = pool.submit(flip)
        for done in [pool.submit(load, thread) for thread in range(3)]:
            done.result()
        asked.set()
        turning.result()
    return ids


def verdict(office: Office, both: tuple[str, str], ids: list[str]) -> tuple[Counter[str], Counter[str]]:
    """(how many records replay under exactly the set they name, and otherwise), (sets named)."""
    found, named = Counter[str](), Counter[str]()
    with office.ledger.read() as connection:
        engines = {revision: sibling(office.engine, connection, revision) for revision in both}
        for decision_id in ids:
            row = records.find(connection, decision_id)
            assert row is not None
            told = json.loads(row.revisions)
            engine = engines[told["live_set"]]
            named[told["live_set"]] += 1
            try:
                same = replayed(office.engine, connection, row) and engine.policy.revision == told["policy"]
            except ReplayError:  # those are not its terms
                same = False
            found["own" if same else "broken"] += 1
    return found, named


@pytest.mark.parametrize("flips", [20, pytest.param(1_000, marks=pytest.mark.long)])
def test_p09_each_record_replays_under_its_own_set_while_rules_flip(office: Office, bank: Path, flips: int) -> None:
    both = (files_in(bank), other_set(bank))
    ids = flipped(office, both, flips)
    found, named = verdict(office, (revision_of(both[0]), revision_of(both[1])), ids)
    assert found == {"own": len(ids)}, found
    assert len(named) == 2, "both sets decided"


def test_p09_the_mutant_that_reads_the_set_twice_is_seen(
    office: Office, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug: the answer is decided under one set and its revisions are told of the one that came meanwhile."""
    both = (files_in(bank), other_set(bank))
    revisions = (revision_of(both[0]), revision_of(both[1]))
    honest = asking.kept

    def late(connection: Any, decided: Decided, now: int, asked_by: str) -> Any:
        other = sibling(decided.engine, connection, revisions[decided.engine.live_set == revisions[0]])
        told = other.revisions(decided.said["as_of"], decided.terms)
        return honest(connection, replace(decided, said=decided.said | {"revisions": told}), now, asked_by)

    for files in both:
        put_into_force(office, files)
    monkeypatch.setattr(asking, "kept", late)
    found, _ = verdict(office, revisions, flipped(office, both, 3))
    assert found["broken"] > 0


def heard(office: Office, bank: Path, worker: Office) -> tuple[str, str]:
    """(the set put into force, the one the other worker's very next decision names)."""
    ask(worker, "C0000005")
    revision = put_into_force(office, other_set(bank))
    return revision, ask(worker, "C0000006").revisions["live_set"]


def test_p09_the_next_decision_of_every_worker_is_of_the_new_set(served: Callable[[], Office], bank: Path) -> None:
    revision, named = heard(served(), bank, served())
    assert named == revision


def test_p09_the_mutant_that_looks_once_at_its_start_is_seen(
    served: Callable[[], Office], bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.live, "current", lambda engine, *_: engine)
    revision, named = heard(served(), bank, served())
    assert named != revision


@pytest.fixture
def served(bank: Path, clock: Clock, server: str) -> Any:
    """Makes workers over one PostgreSQL ledger."""
    file, made = bank / "bank.yaml", list[Office]()
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("database:")]
    file.write_text("\n".join([*lines, f"database: {server}", ""]), "utf-8")

    def worker() -> Office:
        made.append(office_at(bank, clock))
        return made[-1]

    yield worker
    for office in made:
        office.close()


def test_a_set_dated_ahead_holds_from_its_instant_on(office: Office, bank: Path, clock: Clock) -> None:
    before = ask(office, "C0000005").revisions["live_set"]
    files = other_set(bank)
    dated_ahead(office, files, hours=1)
    assert ask(office, "C0000006").revisions["live_set"] == before
    clock.forward(minutes=59)
    assert ask(office, "C0000007").revisions["live_set"] == before
    clock.forward(minutes=1)
    assert ask(office, "C0000008").revisions["live_set"] == revision_of(files)
    with office.ledger.read() as connection:
        assert current(office.engine, connection, office.ledger.now_micros()) is office.engine
