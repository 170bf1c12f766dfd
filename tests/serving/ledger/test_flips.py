"""P09: the policy is swapped under load, and each record replays under the terms that it names."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from features.home import Home
from serving import office as room
from serving.decisions import Decided
from serving.engine import Engine
from serving.ledger import records
from serving.office import Office, open_engine
from serving.replay import ReplayError, replayed
from tests.home import CHANNELS, Clock, ask

ASKED = 12


def other_policy(bank: Path) -> Engine:
    """An engine of the same home whose policy offers new customers nothing: another revision."""
    (path,) = (p for p in (bank / "policies").glob("*.yaml") if p.name.count(".") == 1)
    text = path.read_text("utf-8")
    path.write_text(text.replace("when: deceased", "when: deceased OR tenure_days < 400"), "utf-8")
    try:
        return open_engine(Home.open(bank))
    finally:
        path.write_text(text, "utf-8")


def flipped(office: Office, both: tuple[Engine, Engine]) -> list[str]:
    """Decisions from three threads while the engine is swapped without a pause; their ids."""
    stop, ids = threading.Event(), list[str]()

    def flip() -> int:
        turn = 0
        while not stop.is_set():
            office.engine = both[turn % 2]
            turn += 1
        return turn

    def load(thread: int) -> None:
        for n in range(ASKED):
            one = ask(
                office,
                f"C{thread * ASKED + n + 1:07d}",
                ("outbound", "inbound")[n % 2],
                channels=(None, CHANNELS[:2])[n % 3 == 0],
            )
            ids.append(one.decision_id)

    with ThreadPoolExecutor(4) as pool:
        flips = pool.submit(flip)
        for done in [pool.submit(load, thread) for thread in range(3)]:
            done.result()
        stop.set()
        assert flips.result() > 100
    return ids


def verdict(office: Office, both: tuple[Engine, Engine], ids: list[str]) -> Counter[str]:
    """How many records replay under exactly the engine whose policy they name."""
    found: Counter[str] = Counter()
    with office.ledger.read() as connection:
        for decision_id in ids:
            row = records.find(connection, decision_id)
            assert row is not None
            named = json.loads(row.revisions)["policy"]
            for engine in both:
                try:
                    same = replayed(engine, connection, row)
                except ReplayError:  # not its terms
                    same = False
                is_own = engine.policy.revision == named
                found["own" if same and is_own else "other" if same else "broken" if is_own else "refused"] += 1
    return found


def test_p09_each_record_replays_under_its_own_terms_while_rules_flip(office: Office, bank: Path, clock: Clock) -> None:
    both = (office.engine, other_policy(bank))
    assert both[0].policy.revision != both[1].policy.revision
    ids = flipped(office, both)
    found = verdict(office, both, ids)
    assert found == {"own": 3 * ASKED, "refused": 3 * ASKED}, found
    with office.ledger.read() as connection:
        named = Counter(json.loads(records.find(connection, one).revisions)["policy"] for one in ids)  # type: ignore[union-attr]
    assert len(named) == 2, "both revisions decided"


def test_p09_the_mutant_that_reads_the_policy_twice_is_seen(
    office: Office, bank: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug: the answer is decided under one engine and its revisions are told of the one that came meanwhile."""
    both = (office.engine, other_policy(bank))
    honest = room.kept

    def late(connection: Any, decided: Decided, now: int, asked_by: str) -> Any:
        current = both[1] if decided.engine is both[0] else both[0]
        told = current.revisions(decided.said["as_of"], decided.terms)
        return honest(connection, replace(decided, said=decided.said | {"revisions": told}), now, asked_by)

    monkeypatch.setattr(room, "kept", late)
    found = verdict(office, both, flipped(office, both))
    assert found["broken"] > 0 and found["other"] > 0
