"""A small ledger of rows of every sealed sort, on SQLite and on PostgreSQL, for the tests of the records."""

import json
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import Connection

from serving.ledger import consents, lifecycle, outcomes, switches
from serving.ledger.book import Ledger, micros
from serving.ledger.contact import ContactRow
from serving.ledger.journal import Entered, enter
from serving.ledger.keyring import Keyring
from serving.ledger.records import DecisionRow, record
from serving.ledger.seal import Seal, look, seal
from serving.ledger.vault import Vault
from serving.ledger.writer import SIMULATED

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
SECRET = bytes(range(32))
SERVER = "host=127.0.0.1 user=postgres dbname={} connect_timeout=2"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Small:
    """A ledger, its keys and its clock. path: of the SQLite file."""

    ledger: Ledger
    keyring: Keyring
    vault: Vault
    clock: Clock
    url: str
    path: Path

    def decided(self, name: str, customer: str = "C1") -> DecisionRow:
        """One encrypted decision, as stored."""
        now = self.ledger.now_micros()
        plain = DecisionRow(
            decision_id=name, customer_id=customer, unit_id=customer, as_of=now, inputs=json.dumps({"age": name}).encode(),
            result=b'{"offer_id":null}', reasons='["no_value"]', terms="ab" * 32, revisions="{}", recorded_at=now)  # fmt: skip

        def work(connection: Connection) -> DecisionRow:
            row = self.vault.closed(connection, plain)
            record(connection, row)
            return row

        return self.ledger.write(work).result(30)

    def contacted(self, name: str, customer: str = "C1", source: str = "external") -> None:
        """A contact that was sent, and opened."""
        at = self.ledger.now_micros()
        row = ContactRow(contact_id=name, customer_id=customer, unit_id=customer, channel="sms", decided_at=at, send_after=at,
                                   send_before=at, state="sent", source=source, sent_at=at)  # fmt: skip

        def work(connection: Connection) -> None:
            lifecycle.enter_sent(connection, [row])
            outcomes.accept(connection, name, "opened", at, at)

        self.ledger.write(work).result(30)

    def others(self, name: str) -> None:
        """A consent, a switch and a journal entry."""
        at = self.ledger.now_micros()
        said = consents.ConsentRow(consent_id=name, customer_id="C1", purpose="marketing", channel="sms", state="granted",
                                   source=None, wording="v1", at=at, received_at=at)  # fmt: skip

        def work(connection: Connection) -> None:
            consents.record(connection, said)
            switches.pause(connection, "channel:sms", "boss", "test", at)
            enter(connection, Entered.VOLUME, None, "boss", at, contacts=3)

        self.ledger.write(work).result(30)

    def sealed(self, sweep: bool = False) -> Seal | None:
        return self.ledger.write(
            lambda c: seal(
                c, self.keyring, self.ledger.now_micros(), look(c, self.ledger.now_micros(), 0 if sweep else None)
            )
        ).result(30)

    def filled(self, rounds: int = 4) -> None:
        """Seals over rows of every sort, some seconds apart."""
        for turn in range(rounds):
            for n in range(turn + 1):
                self.decided(f"d{turn}{n}", f"C{n}")
            self.contacted(f"c{turn}")
            self.others(f"s{turn}")
            assert self.sealed() is not None
            self.clock.now += timedelta(seconds=20)

    def run(self, sql: str, *values: object) -> int:
        """Rows changed by a statement past all of our code."""
        if self.url.startswith("sqlite"):
            import sqlite3

            with sqlite3.connect(self.path) as raw:
                return raw.execute(sql, values).rowcount
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as server:
            return server.execute(sql.replace("?", "%s").encode(), values).rowcount


@contextmanager
def small(tmp_path: Path, database: str = "sqlite") -> Generator[Small]:
    """An empty ledger of one's own; skips where PostgreSQL does not answer."""
    path, clock = tmp_path / "nbo.db", Clock()
    keyring = Keyring(tmp_path / "keyring.json", SECRET)
    with _server() if database == "postgresql" else _file(path) as url, \
            Ledger.open(url, clock, SECRET, bounds=SIMULATED) as ledger:  # fmt: skip
        yield Small(ledger, keyring, Vault(keyring), clock, url, path)


@contextmanager
def _file(path: Path) -> Generator[str]:
    yield f"sqlite:///{path}"


@contextmanager
def _server() -> Generator[str]:
    try:
        admin = psycopg.connect(SERVER.format("postgres"), autocommit=True)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL on 127.0.0.1:5432; start one with user postgres and trust")
    name = f"nbo_records_{uuid.uuid4().hex[:12]}"
    admin.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:5432/{name}"
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        admin.close()


def at(**ago: float) -> int:
    """An instant before NOW, in microseconds."""
    return micros(NOW - timedelta(**ago))
