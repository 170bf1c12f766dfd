"""The periodic seal: what it asks of the writer."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from serving import sealer as room
from serving.ledger.seal import last_seal, seal, seal_of_row
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
    sealer, asked = Sealer(one.ledger, one.keyring), list[int | None]()
    monkeypatch.setattr(
        room, "seal", lambda c, k, now, *, since: (asked.append(since), seal(c, k, now, since=since))[1]
    )
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
    assert asked[-1] == at and sealed_of(one, "late") is not None


def sealed_of(small: Small, decision_id: str) -> int | None:
    with small.ledger.read() as connection:
        return seal_of_row(connection, "decision", decision_id)
