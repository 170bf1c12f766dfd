"""Keys: shown once, kept as an HMAC, ended by time or by hand."""

import sqlite3
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger
from serving.ledger.keys import DAY_MICROS, Principal, Role, add, listed_keys, revoke, who

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECRET = b"secret of the home"


@pytest.fixture
def ledger(tmp_path: Path) -> Generator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'nbo.db'}", lambda: NOW, SECRET) as opened:
        yield opened


def _add(ledger: Ledger, name: str = "sms-gateway", days: int = 30) -> str:
    def task(connection: Connection) -> str:
        return add(connection, name, Role.CHANNEL, secret=SECRET, now=0, days=days)

    return ledger.write(task).result(10)


def _who(ledger: Ledger, key: str, now: int = 1, secret: bytes = SECRET) -> Principal | None:
    with ledger.read() as connection:
        return who(connection, key, secret=secret, now=now)


def test_key_is_known_by_name_and_role(ledger: Ledger) -> None:
    assert _who(ledger, _add(ledger)) == Principal("sms-gateway", Role.CHANNEL)


def test_key_is_nowhere_in_the_file(ledger: Ledger, tmp_path: Path) -> None:
    key = _add(ledger)
    ledger.close()
    for file in tmp_path.iterdir():
        assert key.encode() not in file.read_bytes()
        assert key.removeprefix("nbo_").encode() not in file.read_bytes()


def test_key_ends_at_its_expiry_to_the_microsecond(ledger: Ledger) -> None:
    key = _add(ledger, days=30)
    assert _who(ledger, key, 30 * DAY_MICROS - 1) is not None
    assert _who(ledger, key, 30 * DAY_MICROS) is None


def test_revoked_key_is_unknown_from_then_on(ledger: Ledger) -> None:
    key = _add(ledger)
    ledger.write(lambda c: revoke(c, "sms-gateway", 5)).result(10)
    ledger.write(lambda c: revoke(c, "sms-gateway", 9)).result(10)
    assert _who(ledger, key) is None
    with ledger.read() as connection:
        assert [(row.name, row.revoked_at) for row in listed_keys(connection)] == [("sms-gateway", 5)]


@pytest.mark.parametrize("presented", ["", "nbo_", "nbo_" + "A" * 43, "\0", "键"])
def test_unknown_key_is_nobody(ledger: Ledger, presented: str) -> None:
    _add(ledger)
    assert _who(ledger, presented) is None


def test_digest_stolen_from_the_file_opens_nothing(ledger: Ledger, tmp_path: Path) -> None:
    _add(ledger)
    with sqlite3.connect(tmp_path / "nbo.db") as raw:
        (digest,) = raw.execute("SELECT key_sha256 FROM keys").fetchone()
    assert _who(ledger, digest) is None


def test_another_home_does_not_know_the_key(ledger: Ledger) -> None:
    assert _who(ledger, _add(ledger), secret=b"another") is None


@pytest.mark.parametrize(
    ("name", "days", "message"),
    [
        ("sms-gateway", 1, "already"),
        ("", 1, "1 to 64"),
        ("a\nb", 1, "printable"),
        ("x", 0, "`0` days"),
    ],
)
def test_key_that_cannot_be_made_is_one_line(ledger: Ledger, name: str, days: int, message: str) -> None:
    _add(ledger)
    with pytest.raises(ValueError, match=message):
        _add(ledger, name, days)


def test_revoking_a_stranger_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="there is no key `nobody`"):
        ledger.write(lambda c: revoke(c, "nobody", 1)).result(10)
