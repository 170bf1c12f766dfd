"""P30: one pauses, two resume, everything is on record."""

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger
from serving.ledger.switches import Change, SwitchError, history, pause, paused, resume

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, b"secret") as opened:
        yield opened


def _do(ledger: Ledger, task: Callable[[Connection], object]) -> object:
    return ledger.write(task).result(10)


def _paused(ledger: Ledger) -> frozenset[str]:
    with ledger.read() as connection:
        return paused(connection)


def test_p30_pause_is_read_by_the_very_next_transaction(ledger: Ledger) -> None:
    _do(ledger, lambda c: pause(c, "channel:sms", "anna", "wrong text", 1))
    assert _do(ledger, paused) == _paused(ledger) == {"channel:sms"}


def test_p30_two_people_resume(ledger: Ledger) -> None:
    _do(ledger, lambda c: pause(c, "all", "anna", "fire", 1))
    assert _do(ledger, lambda c: resume(c, "all", "anna", "it is out", 2)) is False
    assert _paused(ledger) == {"all"}
    with pytest.raises(SwitchError, match="someone else has to agree"):
        _do(ledger, lambda c: resume(c, "all", "anna", "really", 3))
    assert _do(ledger, lambda c: resume(c, "all", "ben", "seen", 4)) is True
    assert _paused(ledger) == frozenset()
    with ledger.read() as connection:
        assert history(connection) == [
            Change("all", "pause", "anna", "fire", 1),
            Change("all", "ask", "anna", "it is out", 2),
            Change("all", "resume", "ben", "seen", 4),
        ]


def test_p30_new_pause_voids_a_wish_to_resume(ledger: Ledger) -> None:
    _do(ledger, lambda c: pause(c, "all", "anna", "fire", 1))
    _do(ledger, lambda c: resume(c, "all", "ben", "out", 2))
    _do(ledger, lambda c: pause(c, "all", "anna", "it burns again", 3))
    assert _do(ledger, lambda c: resume(c, "all", "cara", "out", 4)) is False


def test_scopes_are_apart(ledger: Ledger) -> None:
    for scope in ("all", "channel:sms", "family:wealth", "offer:card_gold", "campaign:2026-Q2"):
        _do(ledger, lambda c, scope=scope: pause(c, scope, "anna", "test", 1))
    _do(ledger, lambda c: resume(c, "all", "anna", "", 2))
    _do(ledger, lambda c: resume(c, "all", "ben", "", 3))
    assert _paused(ledger) == {
        "channel:sms", "family:wealth", "offer:card_gold", "campaign:2026-Q2",
    }  # fmt: skip


@pytest.mark.parametrize("scope", ["", "sms", "channel:", "everything:x", "offer:a b", "all\n"])
def test_unknown_scope_is_refused(ledger: Ledger, scope: str) -> None:
    with pytest.raises(SwitchError, match="unknown scope"):
        _do(ledger, lambda c: pause(c, scope, "anna", "", 1))


def test_resuming_what_runs_is_refused(ledger: Ledger) -> None:
    with pytest.raises(SwitchError, match="is not paused"):
        _do(ledger, lambda c: resume(c, "all", "anna", "", 1))
