"""A large snapshot is read before decisions turn to it; a small one, or an unsound one, is turned to at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from features import bases
from features.base import Base
from features.bases import Bases
from features.snapshot import Snapshot

T = datetime(2026, 6, 1, tzinfo=UTC)


class Reads:
    """Stands in for reading; what was read, in order."""

    def __init__(self) -> None:
        self.done: list[Snapshot] = []

    def __call__(self, snapshot: Snapshot) -> Base:
        self.done.append(snapshot)
        return cast("Base", f"base of {snapshot.as_of:%d}")


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Snapshot]:
    """Of three days; the first two count as large."""
    monkeypatch.setattr(bases, "LARGE_BYTES", 10)
    found = [Snapshot(T + timedelta(days), tmp_path / str(days), days) for days in range(3)]
    for one, size in zip(found, (10, 10, 9), strict=True):
        one.path.write_bytes(b"x" * size)
    return found


def sound(_: Snapshot) -> bool:
    return True


def test_a_large_snapshot_is_turned_to_once_it_is_read(snapshots: list[Snapshot]) -> None:
    reads = Reads()
    held = Bases(reads)
    held.read_ahead(snapshots[0], sound)
    assert held.usable(snapshots[1]) is snapshots[0] and reads.done == snapshots[:1]
    assert held.of(snapshots[0]) == "base of 01"
    held.read_ahead(snapshots[1], sound)
    assert held.usable(snapshots[1]) is snapshots[1] and held.of(snapshots[1]) == "base of 02"
    assert reads.done == snapshots[:2], "each once, and none by a decision"


def test_a_decision_under_way_while_others_turn_finds_its_base_still_there(snapshots: list[Snapshot]) -> None:
    reads = Reads()
    held = Bases(reads)
    held.read_ahead(snapshots[0], sound)
    under_way = held.usable(snapshots[0])
    assert under_way is snapshots[0]
    held.read_ahead(snapshots[1], sound)
    assert held.of(under_way) == "base of 01" and held.of(snapshots[1]) == "base of 02"
    assert reads.done == snapshots[:2], "neither is read again"


def test_what_is_small_or_unsound_or_gone_is_turned_to_at_once(snapshots: list[Snapshot]) -> None:
    held = Bases(Reads())
    held.read_ahead(snapshots[0], sound)
    assert held.usable(snapshots[2]) is snapshots[2]
    held.read_ahead(snapshots[1], lambda _: False)
    assert held.usable(snapshots[1]) is snapshots[1], "that it is not sound has to be heard"
    snapshots[1].path.unlink()
    held.read_ahead(snapshots[0], sound)
    assert held.usable(snapshots[1]) is snapshots[1]
    assert held.usable(None) is None


def test_an_earlier_instant_asks_for_an_earlier_snapshot(snapshots: list[Snapshot]) -> None:
    held = Bases(Reads())
    held.read_ahead(snapshots[1], sound)
    assert held.usable(snapshots[0]) is snapshots[0]


def test_whoever_does_not_read_ahead_reads_where_it_is_asked(snapshots: list[Snapshot]) -> None:
    reads = Reads()
    held = Bases(reads)
    assert held.usable(snapshots[0]) is snapshots[0] and held.usable(snapshots[1]) is snapshots[1]
    assert (held.of(snapshots[1]), held.of(snapshots[1]), reads.done) == ("base of 02", "base of 02", [snapshots[1]])
