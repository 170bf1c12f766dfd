"""P03, P04: workers on PostgreSQL are restarted one by one under load; who repeats with his key loses nothing and sees no error."""

import contextlib
import http.client
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from serving.ledger.keys import add
from serving.office import open_office
from tests.home import BOSS, HERO, UNTIL, copied
from tests.postgres import database, move_home, plain
from tests.serving.test_torture_http import service, workers_of

AT = UNTIL.isoformat().replace("+00:00", "Z")
PATIENCE = 45.0  # seconds that a caller repeats himself before he gives up


class Caller:
    """Sends events one after the other, each until it is acknowledged, always with its own key."""

    def __init__(self, port: int, key: str, name: str, repeating: bool = True) -> None:
        self.port, self.key, self.name, self.repeating = port, key, name, repeating
        self.kept, self.lost, self.repeats = list[str](), list[str](), 0

    def run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            event = f"{self.name}-{number}"
            (self.kept if self._told(event) else self.lost).append(event)

    def _told(self, event: str) -> bool:
        until, body = time.monotonic() + PATIENCE, self._body(event)
        while (status := self._asked(event, body)) != 200:
            assert status in (0, 429, 503, 504), status
            if not self.repeating or time.monotonic() > until:
                return False
            self.repeats += 1
            time.sleep(0.1)
        return True

    def _body(self, event: str) -> str:
        return json.dumps({"event_id": event, "customer_id": HERO, "kind": "fee", "amount_minor": -1, "currency": "CNY",
                           "booked_at": AT, "recorded_at": AT})  # fmt: skip

    def _asked(self, event: str, body: str) -> int:
        """The status; 0 where the connection broke: nobody knows."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Idempotency-Key": event}
        try:
            connection.request("POST", "/v1/events", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return answer.status


def restarted(child: Any, old: psutil.Process) -> None:
    """Ask one worker to go, and wait until another one stands in its place and both have settled."""
    count = len(workers_of(child))
    old.terminate()
    until = time.monotonic() + 90
    while time.monotonic() < until:
        alive = [one.pid for one in workers_of(child)]
        if old.pid not in alive and len(alive) == count:
            return
        time.sleep(0.1)
    raise AssertionError("no new worker came")


def rolled(home: Path, folder: Path, rounds: int) -> tuple[list[Caller], int]:
    """Two workers, three callers; each worker is restarted `rounds` times. (callers, restarts)."""
    office = open_office(home, serving=False)
    secret, now = office.engine.home.secret(), office.ledger.now_micros()
    key = office.ledger.write(lambda c: add(c, BOSS.name, BOSS.role, secret=secret, now=now)).result(30)
    office.close()
    stop, restarts = threading.Event(), 0
    with service(home, 2, folder) as (port, child):
        callers = [Caller(port, key, f"r{n}-{os.getpid()}") for n in range(3)]
        threads = [threading.Thread(target=caller.run, args=(stop,)) for caller in callers]
        for thread in threads:
            thread.start()
        try:
            for _ in range(rounds):
                for worker in workers_of(child):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        restarted(child, worker)
                        restarts += 1
                    time.sleep(1.0)
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE + 20)
    return callers, restarts


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.long)])
def test_p03_p04_a_rolling_restart_loses_nothing(tmp_path: Path, rounds: int) -> None:
    home = copied(tmp_path / "bank")
    with database() as url:
        move_home(home, url)
        callers, restarts = rolled(home, tmp_path, rounds)
        with psycopg.connect(plain(url)) as connection:
            found = connection.execute("SELECT event_id, count(*) FROM events WHERE kind = 'fee' GROUP BY 1").fetchall()
    assert restarts == 2 * rounds
    assert [caller.lost for caller in callers] == [[], [], []]
    kept = {event for caller in callers for event in caller.kept}
    assert len(kept) > 20 * rounds
    assert kept <= {event for event, _ in found}, "an acknowledged event is not in the ledger"
    assert {n for _, n in found} == {1}
