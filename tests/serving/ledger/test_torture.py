"""Workers that die at every statement and under load: recounted by SQL that knows none of our code."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine as Database

from features.home import Home
from serving.engine import Engine
from serving.office import Office, open_engine, open_ledger
from tests.home import NOW, Clock, copied, template
from tests.postgres import database, move_home, plain
from tests.serving.ledger.recount import read_log, verdict
from tests.serving.ledger.torture import Client, scripted

ROOT = Path(__file__).parents[3]
NONE = {"over cap": 0, "double": 0, "lost": 0, "unrecorded": 0}
Place = tuple[Path, Callable[[], Any]]  # a home, and how to open its rows past our code


# ---- every statement -----------------------------------------------------------------------------


class Fuse:
    """Kills the process before or after its n-th statement, commits and rollbacks included."""

    def __init__(self, at: int) -> None:
        self.left = at

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _fused(fuse: Fuse) -> Callable[..., None]:
    """A listener that gives new connections a cursor and a commit with the fuse in them."""

    class SqliteCursor(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            fuse.burn()
            done = super().execute(*args)
            fuse.burn()
            return done

    class Sqlite(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(SqliteCursor)

        def commit(self) -> None:
            fuse.burn()
            super().commit()
            fuse.burn()

    class Remote(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **more: Any) -> Any:
            fuse.burn()
            done = super().execute(*args, **more)
            fuse.burn()
            return done

    def connecting(dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters.update({"factory": Sqlite} if dialect.name == "sqlite" else {"cursor_factory": Remote})

    return connecting


def _work(home: Path, engine: Engine, fuse: Fuse, log: int, early: bool = False) -> None:
    """In a child: the scripted requests, each logged once answered. early is the mutant: logged before."""
    ledger = open_ledger(Home.open(home), serving=True)
    ledger._clock._clock = Clock(NOW)
    office = Office(engine, ledger)

    def acknowledge(one: dict[str, Any]) -> None:
        os.write(log, (json.dumps(one) + "\n").encode())

    client = Client(office, "k", 7, Clock(NOW), acknowledge)
    if early:
        _answer_early(office, acknowledge)
    # From here on: what opens the ledger is the migrations' matter.
    for pool in (ledger._writing, ledger._reading):
        pool.dispose()
        event.listen(pool, "do_connect", _fused(fuse))
    if ledger._writing.dialect.name == "postgresql":
        event.listen(Database, "commit", lambda _: fuse.burn())
    scripted(client)
    office.close()


def _answer_early(office: Office, acknowledge: Callable[[dict[str, Any]], None]) -> None:
    """The mutant of P02 and P04: the answer leaves when the work is done, not when it is on disk."""
    from serving.ledger import idempotency

    honest = idempotency.remembering

    def remembering(asked: Any, answer: Any, now: int) -> Any:
        import hashlib

        acknowledge({"route": asked.route, "key": asked.key, "sha256": hashlib.sha256(answer.body).hexdigest()})
        return honest(asked, answer, now)

    idempotency.remembering = remembering  # the child's own copy


def _forked(work: Callable[[int], None], seconds: float = 60) -> tuple[bool, str]:
    """Run the work in a fork with a pipe to log to; (whether it was killed, the log)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            work(writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    parts: list[bytes] = []
    os.set_blocking(reading, False)
    until, status = time.monotonic() + seconds, None
    while status is None and time.monotonic() < until:
        done, code = os.waitpid(child, os.WNOHANG)
        status = code if done else None
        try:
            parts.append(os.read(reading, 1 << 20))
        except BlockingIOError:
            time.sleep(0.005)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError("the child hung")
    while True:
        try:
            part = os.read(reading, 1 << 20)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    os.close(reading)
    if os.WIFSIGNALED(status):
        return True, b"".join(parts).decode()
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False, b"".join(parts).decode()


@contextmanager
def _place(tmp: Path, kind: str, seeded: str | None) -> Generator[Place]:
    """A fresh copy of the small home, its ledger on SQLite or as a copy of a seeded PostgreSQL database."""
    home = tmp / f"bank-{kind}-{time.monotonic_ns()}"
    home.mkdir()
    source = template()
    for part in source.iterdir():
        if kind == "sqlite" and part.name.startswith("nbo.db"):
            shutil.copy(part, home / part.name)
        elif part.name == "bank.yaml":
            shutil.copy(part, home / part.name)
        elif not part.name.startswith("nbo.db"):
            (home / part.name).symlink_to(part)
    try:
        if kind == "sqlite":
            yield home, lambda: sqlite3.connect(home / "nbo.db")
        else:
            with database(template=seeded) as url:
                move_home(home, url)
                yield home, lambda: psycopg.connect(plain(url))
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def warm() -> Engine:
    """The engine, with one decision made by it, so that a fork starts where a service stands."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        home = copied(Path(folder) / "bank")
        engine = open_engine(Home.open(template()))
        ledger = open_ledger(Home.open(home))
        office = Office(engine, ledger)
        client = Client(office, "warm", 1, Clock(NOW), lambda _: None)
        scripted(client)
        office.close()
    return engine


@contextmanager
def _seeded(kind: str, tmp: Path) -> Generator[str | None]:
    """Name of a seeded PostgreSQL database to copy; null for SQLite."""
    if kind == "sqlite":
        yield None
        return
    from serving.office import open_office

    with database() as url:
        home = copied(tmp / "seeding")
        move_home(home, url)
        open_office(home, serving=False).close()
        yield url.rpartition("/")[2]


def _kills(
    tmp_path: Path, warm: Engine, kind: str, every: int, early: bool = False
) -> tuple[int, int, list[dict[str, int]]]:
    """(places a kill was tried at, repeated answers that differed, verdicts that are not all 0)."""
    bad: list[dict[str, int]] = []
    differing, number = 0, 1
    with _seeded(kind, tmp_path) as seeded:
        while True:
            with _place(tmp_path, kind, seeded) as (home, raw):
                fuse = Fuse(number)
                killed, first = _forked(lambda log: _work(home, warm, fuse, log, early))
                log = read_log(first)
                rows = raw()
                found = verdict(rows, log)
                rows.close()
                if not early:  # whoever got no answer asks again under the same keys
                    _, second = _forked(lambda log: _work(home, warm, Fuse(0), log))
                    again = {one["key"]: one["sha256"] for one in read_log(second)}
                    differing += sum(_answered_again(one, again) != one["sha256"] for one in log)
                    rows = raw()
                    after = verdict(rows, log + read_log(second))
                    rows.close()
                    bad += [after] if after != NONE else []
                bad += [found] if found != NONE else []
            if not killed or (early and bad):
                return number, differing, bad
            number += every


def _answered_again(one: dict[str, Any], again: dict[str, str]) -> str | None:
    """What the same key was answered; a claim that holds no more, sent or closed since, may be refused."""
    return again.get(one["key"], one["sha256"] if one["route"].endswith("/claim") else None)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_p02_p03_p04_kills_over_the_road_of_every_route(tmp_path: Path, warm: Engine, kind: str) -> None:
    """The short form: every 97th place before or after a statement; then all is asked again under the same keys."""
    number, differing, bad = _kills(tmp_path, warm, kind, 97)
    assert number > 200 and differing == 0 and bad == []


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_p02_p03_p04_kills_before_and_after_every_statement(tmp_path: Path, warm: Engine, kind: str) -> None:
    number, differing, bad = _kills(tmp_path, warm, kind, 1)
    assert number > 200 and differing == 0 and bad == []


def test_p02_p04_the_kills_catch_an_answer_given_before_the_commit(tmp_path: Path, warm: Engine) -> None:
    """The mutant: answers leave before COMMIT. Some kill must show one that is not there."""
    _, _, bad = _kills(tmp_path, warm, "sqlite", 3, early=True)
    assert bad and bad[0]["lost"] > 0


# ---- under load ----------------------------------------------------------------------------------


def _worker(home: Path, seed: int, t0: float, seconds: float) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "tests.serving.ledger.torture",
        str(home),
        "load",
        str(seed),
        str(t0),
        str(seconds),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Reader(threading.Thread):
    """Collects what a worker says, so that its pipe never fills."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        super().__init__(daemon=True)
        self.child, self.parts = child, list[bytes]()
        self.is_ready = threading.Event()
        self.start()

    def run(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.parts.append(line)
            if line == b"ready\n":
                self.is_ready.set()

    def text(self) -> str:
        self.join(60)
        return b"".join(self.parts).decode()


def _torture(
    tmp_path: Path, kind: str, workers: int, rounds: int, seconds: float, kill: bool
) -> tuple[dict[str, int], int, list[str]]:
    """Rounds of workers against one ledger, each killed somewhere in the middle; (verdict, answers, complaints)."""
    draw, t0 = random.Random(4), time.time()
    log: list[dict[str, Any]] = []
    complaints: list[str] = []
    with _seeded(kind, tmp_path) as seeded, _place(tmp_path, kind, seeded) as (home, raw):
        for number in range(rounds):
            children = [_worker(home, number * 10 + k, t0, seconds) for k in range(workers)]
            readers = [Reader(child) for child in children]
            for reader in readers:
                assert reader.is_ready.wait(120), reader.child.stderr and reader.child.stderr.read()
            if kill:
                time.sleep(draw.uniform(0.3, 1.0) * seconds)
                for child in children:
                    child.send_signal(signal.SIGKILL)
            for child, reader in zip(children, readers, strict=True):
                text = reader.text()
                assert child.stderr is not None
                if child.wait(60) not in (0, -signal.SIGKILL):
                    complaints.append(child.stderr.read().decode()[-2000:])
                log += read_log(text)
        rows = raw()
        found = verdict(rows, log)
        rows.close()
    return found, len(log), complaints


@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1)])
def test_p01_p02_p03_p04_p11_kill_under_load(tmp_path: Path, kind: str, workers: int) -> None:
    """Short: two rounds of one worker; two on PostgreSQL are in the long form. Duplicates, batches, opt-outs, switches, claims, from four threads a worker."""
    found, answers, complaints = _torture(tmp_path, kind, workers, 2, 3, kill=True)
    assert complaints == [] and found == NONE and answers > 20


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1), ("postgresql", 2), ("postgresql", 4)])
def test_p01_p02_p03_p04_p11_kill_under_load_long(tmp_path: Path, kind: str, workers: int) -> None:
    found, answers, complaints = _torture(tmp_path, kind, workers, 12, 15, kill=True)
    assert complaints == [] and found == NONE and answers > 1_000


MUTANT = """
import sys
from serving.ledger import locks
from serving.ledger import writer
from serving.ledger.book import Ledger
init = Ledger.__init__
def without(self, *args, **more):
    init(self, *args, **more)
    self._writer._lock = None
Ledger.__init__ = without
from tests.serving.ledger import torture
torture.CUSTOMERS = torture.CUSTOMERS[:3]
torture.main()
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_p01_the_recount_catches_two_workers_that_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: no advisory locks. With 0 over cap the torture would test nothing. Chance decides: on a busy machine a run may miss it."""

    def mutant(home: Path, seed: int, t0: float, seconds: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", MUTANT, str(home), "load", str(seed), str(t0), str(seconds)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    monkeypatch.setattr(sys.modules[__name__], "_worker", mutant)
    for attempt in range(5):
        (tmp_path / str(attempt)).mkdir()
        found, _, _ = _torture(tmp_path / str(attempt), "postgresql", 3, 3, 15, kill=False)
        if found["over cap"]:
            return
    pytest.fail("five runs without locks, and no cap was broken")
