"""P01-P04, P11 through HTTP: workers are killed and the service is stopped under load; SQL recounts what is left."""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from serving.commands.serve import kill_all
from serving.http.door import Call, StoredAnswer
from serving.http.errors import BadRequest, Unavailable
from serving.http.routes import ROUTES
from serving.ledger.keys import add
from serving.office import open_office
from tests.home import APP, BOSS, copied
from tests.ports import free_port
from tests.postgres import database, move_home, plain
from tests.serving import torture_door
from tests.serving.ledger.recount import verdict
from tests.serving.ledger.torture import Client

REPOSITORY = Path(__file__).resolve().parents[2]
NONE = {"over cap": 0, "lost": 0, "double": 0, "unrecorded": 0}
PATHS = {route.door: route.path for route in ROUTES}


class Remote:
    """An office behind HTTP: each method answers as the office's own would, or says that nobody knows."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self.port, self.keys = port, keys

    def __getattr__(self, method: str) -> Callable[..., Future[StoredAnswer]]:
        def ask(*given: Any) -> Future[StoredAnswer]:
            *ids, request, call = given
            done: Future[StoredAnswer] = Future()
            try:
                done.set_result(self._answer(PATHS[method].format(contact_id=ids[0] if ids else ""), request, call))
            except Exception as error:  # the caller asks the future
                done.set_exception(error)
            return done

        return ask

    def _answer(self, path: str, request: Any, call: Call) -> StoredAnswer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {self.keys[call.principal.name]}", "Content-Type": "application/json",
                   "Idempotency-Key": str(call.idempotency_key)}  # fmt: skip
        try:
            connection.request("POST", path, request.model_dump_json(exclude_none=True), headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            raise Unavailable("the worker is gone: nobody knows") from None
        finally:
            connection.close()
        if status in (408, 429, 503, 504):
            raise Unavailable("not now")
        assert status < 500, (path, status, body)
        if status != 200:
            error = json.loads(body)["error"]
            # A claim that is refused for good is an answer that is kept; one that holds no more, or waits, is refused anew each time.
            if error["code"] != "claim_refused" or not error["message"].endswith("; do not send"):
                raise BadRequest(error["code"])
        return StoredAnswer(body, status)


@contextmanager
def service(home: Path, workers: int, folder: Path) -> Generator[tuple[int, subprocess.Popen[bytes]]]:
    """A service of the home with so many workers; its port and process."""
    from tests.serving.test_service import wait_until_live

    port, log = free_port(), folder / f"log-{time.time_ns()}"
    environment = os.environ | {
        "NBO_HOME": str(home), "NBO_WORKERS": str(workers), "NBO_DOOR": "tests.serving.torture_door:open_door",
        torture_door.STARTED: str(time.time()), "PYTHONPATH": str(REPOSITORY), "BENTOML_HOME": str(folder),
    }  # fmt: skip
    os.environ[torture_door.STARTED] = environment[torture_door.STARTED]
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "serving.service:NextBestOffer",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until_live(port, child, log)
        yield port, child
    finally:
        kill_all(child)


def workers_of(child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for one in psutil.Process(child.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it is gone already
            if "worker" in " ".join(one.cmdline()):
                found.append(one)
    return found


def tortured(home: Path, workers: int, folder: Path, seconds: float) -> tuple[list[dict[str, Any]], int]:
    """Four callers at random while workers are killed and, at last, the service is stopped; (what was answered, kills)."""
    with_office = open_office(home, serving=False)
    secret, now = with_office.engine.home.secret(), with_office.ledger.now_micros()
    keys = {who.name: with_office.ledger.write(lambda c, who=who: add(c, who.name, who.role, secret=secret, now=now)).result(30)
            for who in (APP, BOSS)}  # fmt: skip
    with_office.close()
    log, lock, stop, kills = list[dict[str, Any]](), threading.Lock(), threading.Event(), 0

    def note(one: dict[str, Any]) -> None:
        with lock:
            log.append(one)

    dice = random.Random(11)
    with service(home, workers, folder) as (port, child):
        clients = [Client(Remote(port, keys), f"t{n}", n, torture_door.now, note) for n in range(4)]  # type: ignore[arg-type]
        complaints: list[BaseException] = []

        def drive(client: Client) -> None:
            try:
                while not stop.is_set():
                    client.step()
            except BaseException as error:
                complaints.append(error)

        threads = [threading.Thread(target=drive, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(dice.uniform(3.0, 8.0))
            if alive := workers_of(child):
                with contextlib.suppress(psutil.Error):
                    dice.choice(alive).kill()
                    kills += 1
        time.sleep(8)  # the last one killed is back, and requests are on their way
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not complaints, complaints[0]
    return log, kills


@pytest.mark.long
@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1), ("postgresql", 2)])
def test_p01_p02_p03_p04_p11_workers_killed_behind_http(tmp_path: Path, kind: str, workers: int) -> None:
    """Every answer that reached a caller is in the ledger, byte for byte; no cap is broken, nothing is there twice."""
    home = copied(tmp_path / "bank")
    if kind == "sqlite":
        log, kills = tortured(home, workers, tmp_path, 40)
        rows: Any = sqlite3.connect(home / "nbo.db")
        found = verdict(rows, log)
        rows.close()
    else:
        with database() as url:
            move_home(home, url)
            log, kills = tortured(home, workers, tmp_path, 40)
            with psycopg.connect(plain(url)) as rows:
                found = verdict(rows, log)
    assert found == NONE, found
    assert kills >= 3 and len(log) > 100, (kills, len(log))
