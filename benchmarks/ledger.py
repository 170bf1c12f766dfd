"""The ledger: reservations a second beside the bare database doing the same statements, in one run.

What a reservation is stands in `benchmarks.reservation`. What our writer tells its driver is taken down in a run before;
the bare database is told the very same, in transactions of the same size, from as many threads or processes, and what
it is left with is checked to be the same.
"""

import gc
import multiprocessing as mp
import os
import secrets
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine

from benchmarks.reservation import NOW, Asked, Told, asked_for, retell, submit, taken_down
from benchmarks.table import Table
from serving.ledger.book import Ledger

N, N_QUICK = 6_000, 300
ROUNDS, ROUNDS_SERVER = 9, 3  # a disk is noisy; more on the server would take more than five minutes
GROUP = 64
SERVER = "postgresql://postgres@127.0.0.1:5432/{}"
Latencies = list[float]
Run = tuple[float, Latencies, float]  # seconds, waits, processor seconds of our side of the connection
Place = Callable[[], AbstractContextManager[str]]  # makes an empty ledger: its URL
Subject = Callable[[str, int], Run]  # (URL, worker)
Rows = dict[str, tuple[int, int]]  # table -> rows, and a sum over what stands in them


class Measured(NamedTuple):
    """One run. rate: reservations a second; waits: seconds of each; cpu: processor seconds of each on our side."""

    rate: float
    waits: Latencies
    cpu: float
    rows: Rows


def run(quick: bool) -> list[Table]:
    """SQLite at FULL one by one and grouped, PostgreSQL at 1 and 8 writers; target: 0.6 of the bare database."""
    n = N_QUICK if quick else N
    table = Table(
        "ledger",
        f"{n:,} reservations, each its key, count, contact, record and answer; medians of alternated rounds",
    )
    print(f"ledger: {table.setting}")
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as the service does
    try:
        places: list[tuple[str, Place, int]] = [("SQLite FULL", _sqlite, 1)]
        if _has_server():
            places += [("PostgreSQL, 1 writer", _postgres, 1), ("PostgreSQL, 8 writers", _postgres, 8)]
        else:
            table.add("PostgreSQL", None, "1/s", note="no server on 127.0.0.1:5432")
        for place, made, workers in places:
            rounds = 1 if quick else ROUNDS if made is _sqlite else ROUNDS_SERVER
            for name, single in (("one at a time", True), ("grouped", False)):
                count = max(n // (6 if single else 1), GROUP) // workers
                told = [_taken_down(made, worker, count, single) for worker in range(workers)]
                ours, bare = partial(_ours, n=count, single=single), partial(_bare, told)
                _beside(table, f"{place}, {name}", [(_measured(made, ours, workers, count), _measured(made, bare, workers, count))
                                                    for _ in range(rounds)])  # fmt: skip
    finally:
        sys.setswitchinterval(before)
    return [table]


def _beside(table: Table, name: str, rounds: Sequence[tuple[Measured, Measured]]) -> None:
    for one, other in rounds:
        if one.rows != other.rows:
            raise SystemExit(
                f"{name}: ours left {one.rows}, the bare database {other.rows}; the two did not do the same"
            )
    ours, bare = (median(one[side].rate for one in rounds) for side in (0, 1))
    cpu, bare_cpu = (median(one[side].cpu for one in rounds) for side in (0, 1))
    waits, bare_waits = (sorted(wait for one in rounds for wait in one[side].waits) for side in (0, 1))
    table.add(f"{name}: ours", ours, "1/s", note=_waited(waits, cpu))
    table.add(f"{name}: the bare database", bare, "1/s", note=_waited(bare_waits, bare_cpu))
    times = median(other.rate / one.rate for one, other in rounds)
    table.add(f"{name}: bare over ours", times, "times", 1 / 0.6, f"ours is {1 / times:.2f} of it")


def _waited(waits: Latencies, cpu: float) -> str:
    return f"p50 {waits[len(waits) // 2] * 1e3:.2f}, p99 {waits[len(waits) * 99 // 100] * 1e3:.1f}, worst {waits[-1] * 1e3:.1f} ms; {cpu * 1e6:.0f} us of processor each"


# ---- two subjects --------------------------------------------------------------------------------


def _ours(url: str, worker: int, *, n: int, single: bool) -> Run:
    """n reservations through the ledger; 64 callers' requests wait at once, or one."""
    asked = [asked_for(worker, turn) for turn in range(n)]
    with Ledger.open(url, lambda: NOW, b"secret") as ledger:
        ledger.write(lambda _: None, units=()).result()
        _quiet()
        start, spent = time.perf_counter(), time.process_time()
        waits = (_one_by_one if single else _crowd)(ledger, asked)
        seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    gc.unfreeze()
    return seconds, waits, cpu


def _one_by_one(ledger: Ledger, asked: Sequence[Asked]) -> Latencies:
    waits: Latencies = []
    for one in asked:
        began = time.perf_counter()
        submit(ledger, one).result()
        waits.append(time.perf_counter() - began)
    return waits


def _crowd(ledger: Ledger, asked: Sequence[Asked]) -> Latencies:
    """64 requests are always on their way, as 64 connections of a service have them; none waits for another."""
    waits: Latencies = []
    free = threading.Semaphore(2 * GROUP)

    def answered(began: float) -> Callable[["Future[int]"], None]:
        def note(future: "Future[int]") -> None:
            waits.append(time.perf_counter() - began)
            free.release()
            future.result()

        return note

    for one in asked:
        free.acquire()
        submit(ledger, one).add_done_callback(answered(time.perf_counter()))
    for _ in range(2 * GROUP):
        free.acquire()
    return waits


def _taken_down(made: Place, worker: int, n: int, single: bool) -> list[list[Told]]:
    """What our writer tells its driver of n reservations, transaction by transaction."""
    asked = [asked_for(worker, turn) for turn in range(n)]
    with made() as url, taken_down() as told, Ledger.open(url, lambda: NOW, b"secret") as ledger:
        ledger.write(lambda _: None, units=()).result()
        told.clear()
        (_one_by_one if single else _crowd)(ledger, asked)
        found: list[list[Told]] = [[]]
        for one in told:
            found[-1].append(one)
            if one[0] is None:
                found.append([])
    assert not found.pop(), "something was told after the last commit"
    return found


def _bare(told: Sequence[Sequence[Sequence[Told]]], url: str, worker: int) -> Run:
    """The same told to the driver alone; a wait is that of a transaction."""
    raw: Any
    if url.startswith("sqlite"):
        raw = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
    else:
        raw = psycopg.connect(url.replace("+psycopg", ""))
    waits: Latencies = []
    _quiet()
    start, spent = time.perf_counter(), time.process_time()
    for transaction in told[worker]:
        began = time.perf_counter()
        retell(raw, transaction)
        waits.append(time.perf_counter() - began)
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    raw.close()
    gc.unfreeze()
    return seconds, waits, cpu


_starting: list[Any] = []


def _quiet() -> None:
    gc.collect()
    gc.freeze()
    if _starting:  # all workers stand ready before one begins
        _starting.pop().wait()


# ---- where they run ------------------------------------------------------------------------------

SUMS = {
    "contacts": "send_before - decided_at",
    "decisions": "length(inputs) + length(result)",
    "idempotency": "length(answer)",
}


@contextmanager
def _sqlite() -> Generator[str]:
    """An empty ledger in a file, as long as it lasts."""
    folder = tempfile.mkdtemp(prefix="nbo-bench-")
    try:
        url = f"sqlite:///{Path(folder) / 'nbo.db'}"
        Ledger.open(url, lambda: NOW, b"secret").close()
        yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _postgres() -> Generator[str]:
    """An empty ledger on the server, as long as it lasts."""
    name = f"nbo_bench_{os.getpid()}_{secrets.token_hex(3)}"
    with psycopg.connect(SERVER.format("postgres"), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            url = f"postgresql+psycopg://postgres@127.0.0.1:5432/{name}"
            Ledger.open(url, lambda: NOW, b"secret").close()
            yield url
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _has_server() -> bool:
    try:
        psycopg.connect(SERVER.format("postgres"), connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def _measured(made: Place, subject: Subject, workers: int, n: int) -> Measured:
    """n reservations of each worker in a place of its own."""
    with made() as url:
        seconds, waits, cpu = subject(url, 0) if workers == 1 else _processes(subject, url, workers)
        with create_engine(url).connect() as connection:
            rows = {table: tuple(connection.exec_driver_sql(f"SELECT count(*), coalesce(sum({of}), 0) FROM {table}").one())
                    for table, of in SUMS.items()}  # fmt: skip
    if {count for count, _ in rows.values()} != {n * workers}:
        raise SystemExit(f"{n * workers} reservations were asked for and {rows} are there; a figure would mean nothing")
    return Measured(n * workers / seconds, waits, cpu / n / workers, {name: (int(a), int(b)) for name, (a, b) in rows.items()})  # fmt: skip


def _work(subject: Subject, url: str, worker: int, start: Any, said: Any) -> None:
    sys.setswitchinterval(0.0005)
    _starting.append(start)
    said.put(subject(url, worker))


def _processes(subject: Subject, url: str, workers: int) -> Run:
    spawn = mp.get_context("spawn")
    start, said = spawn.Barrier(workers), spawn.Queue()
    children = [spawn.Process(target=_work, args=(subject, url, worker, start, said)) for worker in range(workers)]
    for child in children:
        child.start()
    told = [said.get(timeout=300) for _ in children]
    for child in children:
        child.join()
    return max(one[0] for one in told), [wait for one in told for wait in one[1]], sum(one[2] for one in told)
