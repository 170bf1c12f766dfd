"""The periodic seal: what it asks of the writer."""

from collections.abc import Generator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from serving import sealer as room
from serving.ledger.seal import last_seal, look, seal, seal_of_row
from serving.ledger.sealed import SORTS
from serving.sealer import Sealer, seal_all
from tests.sealed_ledger import Small, small


@pytest.fixture
def one(tmp_path: Path) -> Generator[Small]:
    """A ledger all of which is sealed, a minute and more after its last seal."""
    with small(tmp_path) as made:
        made.filled()
        seal_all(made.ledger, made.keyring)
        made.clock.now += timedelta(seconds=80)
        yield made


def test_a_row_that_became_visible_late_is_found_by_a_sweep_off_the_writer(
    one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer looks from that row on, not at all rows: with millions of them decisions would wait for it."""
    sealer, asked = Sealer(one.ledger, one.keyring), list[Mapping[str, int]]()
    monkeypatch.setattr(room, "seal", lambda c, k, now, found: (asked.append(found.oldest), seal(c, k, now, found))[1])
    sealer._round(sweep=True)
    assert asked == [], "all is sealed: the writer is not asked"
    with one.ledger.read() as connection:
        last = last_seal(connection)
    assert last is not None
    one.decided("late")
    at = last.through - 60_000_000
    one.run("UPDATE decisions SET recorded_at = ? WHERE decision_id = 'late'", at)
    sealer._round(sweep=False)
    assert sealed_of(one, "late") is None, "a minute behind the last seal is not looked at each second"
    sealer._round(sweep=True)
    assert asked[-1] == {"decision": at} and sealed_of(one, "late") is not None


def test_what_is_never_sealed_is_passed_over_off_the_writer(one: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: the first start after a large import scanned all its outcomes in the writer, and decisions waited."""
    looked = list[str]()
    for sort in SORTS:
        fresh = sort.fresh
        noted = lambda c, *, kind=sort.kind, was=fresh.run, **values: (looked.append(kind), was(c, **values))[1]
        monkeypatch.setattr(fresh, "run", noted)
    one.decided("new")
    with one.ledger.read() as connection:
        found = look(connection, one.ledger.now_micros(), since=0)
    assert set(found.oldest) == {"decision"} and len(looked) == len(SORTS)
    looked.clear()
    made = one.ledger.write(lambda c: seal(c, one.keyring, one.ledger.now_micros(), found)).result(30)
    assert made is not None and looked == ["decision"], "the writer looked at sorts of which nothing was found"


def test_a_row_recorded_between_look_and_seal_is_sealed_by_the_next_round(one: Small) -> None:
    """Mutant: a seal that claims to reach the instant it was made at leaves the row until a sweep."""
    one.decided("first")
    with one.ledger.read() as connection:
        found = look(connection, one.ledger.now_micros())
    one.clock.now += timedelta(seconds=5)
    one.others("between")
    one.clock.now += timedelta(seconds=30)
    made = one.ledger.write(lambda c: seal(c, one.keyring, one.ledger.now_micros(), found)).result(30)
    assert made is not None and made.leaves == 1 and made.through == found.at
    Sealer(one.ledger, one.keyring)._round(sweep=False)
    with one.ledger.read() as connection:
        assert seal_of_row(connection, "consent", "between") is not None


def sealed_of(small: Small, decision_id: str) -> int | None:
    with small.ledger.read() as connection:
        return seal_of_row(connection, "decision", decision_id)
