"""The ledger: reservations a second beside the bare database doing the same statements, in one run.

A reservation is what a decision leaves behind: the key looked up, the unit's contacts counted, the
contact reserved, the decision recorded with its hash, the answer stored under the key. The bare
database gets the very same statements with values made ready beforehand, in transactions of the
same size, from as many threads or processes; its answers are checked to be equal row by row.
"""

import gc
import json
import multiprocessing as mp
import os
import secrets
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from benchmarks.table import Table
from serving.ledger import book, clock, idempotency, lifecycle, locks, records
from serving.ledger.book import Ledger, Touches, contacts_of_units, micros, reserve
from serving.ledger.lifecycle import ContactRow
from serving.ledger.records import DecisionRow

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
N, N_QUICK, N_ROUNDS = 6_000, 300, 3  # of 8 processes each: more rounds take more than five minutes
GROUP, PER_UNIT = 64, 3
SERVER = "postgresql://postgres@127.0.0.1:5432/{}"
INPUTS = json.dumps({f"state_{n}": n * 0.5 for n in range(60)}).encode()
ANSWER = json.dumps({"decision_id": "d" * 32, "choices": [{"offer_id": "card_gold", "why": ["x" * 200]}]}).encode()
Latencies = list[float]
Run = tuple[float, Latencies, float]  # seconds, waits, processor seconds of our side of the connection
Rows = dict[str, tuple[int, int]]  # table -> rows, and a sum over what stands in them


class Measured(NamedTuple):
    """One run. rate: reservations a second; waits: seconds of each; cpu: processor seconds of each on our side."""

    rate: float
    waits: Latencies
    cpu: float
    rows: Rows


def run(quick: bool) -> list[Table]:
    """SQLite at FULL one by one and grouped, PostgreSQL at 1 and 8 writers; target: 0.6 of the bare database."""
    n, rounds = (N_QUICK, 1) if quick else (N, N_ROUNDS)
    table = Table(
        "ledger", f"{n:,} reservations, {len(_statements())} statements each, medians of {rounds} alternated rounds"
    )
    print(f"ledger: {table.setting}")
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as the service does
    try:
        for name, single in (("SQLite FULL, one at a time", True), ("SQLite FULL, grouped", False)):
            _beside(table, name, [(_sqlite(_ours, n // 6 if single else n, single), _sqlite(_bare, n // 6 if single else n, single))
                                  for _ in range(rounds)])  # fmt: skip
        if not _has_server():
            table.add("PostgreSQL", None, "1/s", note="no server on 127.0.0.1:5432")
            return [table]
        for workers in (1, 8):
            for name, single in (("one at a time", True), ("grouped", False)):
                count = max(n // (6 if single else 1), 64)
                _beside(table, f"PostgreSQL, {workers} writer{'s' if workers > 1 else ''}, {name}",
                        [(_postgres(_ours, count, single, workers), _postgres(_bare, count, single, workers)) for _ in range(rounds)])  # fmt: skip
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
    table.add(
        f"{name}: bare over ours",
        median(o[1].rate / o[0].rate for o in rounds),
        "times",
        1 / 0.6,
        f"ours is {ours / bare:.2f} of it",
    )


def _waited(waits: Latencies, cpu: float) -> str:
    return f"p50 {waits[len(waits) // 2] * 1e3:.2f}, p99 {waits[len(waits) * 99 // 100] * 1e3:.1f}, worst {waits[-1] * 1e3:.1f} ms; {cpu * 1e6:.0f} us of processor each"


# ---- one reservation -----------------------------------------------------------------------------


def _unit(worker: int, turn: int) -> str:
    return f"H{worker}-{turn // PER_UNIT}"


def _contact(worker: int, turn: int) -> ContactRow:
    unit = _unit(worker, turn)
    return ContactRow(contact_id=f"d{worker}-{turn:028d}-0", customer_id=f"C{unit}", unit_id=unit, channel="sms", decided_at=AT,
                      send_after=AT, send_before=AT + 43_200_000_000, offer_id="card_gold", family="card", treatment="warm",
                      campaign_id="spring", p_chosen=0.98, decision_id=f"d{worker}-{turn:028d}")  # fmt: skip


def _decision(worker: int, turn: int) -> DecisionRow:
    unit = _unit(worker, turn)
    return DecisionRow(decision_id=f"d{worker}-{turn:028d}", customer_id=f"C{unit}", unit_id=unit, as_of=AT, inputs=INPUTS, result=ANSWER,
                       reasons="[]", terms="t" * 64, revisions='{"policy":"r"}', recorded_at=AT)  # fmt: skip


def _reserve(connection: Connection, worker: int, turn: int) -> int:
    """The steps of serving.office around a decision, without the decision."""
    key, digest = f"key-{worker}-{turn}", f"{turn:064d}"
    if idempotency.remembered(connection, "app", "POST /v1/decisions", key, digest) is not None:
        return -1
    counted = sum(row.counts(AT) for row in contacts_of_units(connection, [_unit(worker, turn)], 0))
    reserve(connection, _contact(worker, turn))
    records.record(connection, _decision(worker, turn))
    idempotency.remember(connection, "app", "POST /v1/decisions", key, digest, idempotency.Answer(200, ANSWER), AT)
    return counted


def _statements() -> list[lifecycle.Statement]:
    return [idempotency._FIND, lifecycle._OF_UNIT, lifecycle._INSERT, records._INSERT, idempotency._INSERT]


def _ready(dialect: Any, worker: int, turn: int) -> list[tuple[str, tuple[Any, ...], bool]]:
    """(SQL, values, whether rows are fetched) of one reservation, as ours runs them."""
    key, digest, decision = f"key-{worker}-{turn}", f"{turn:064d}", _decision(worker, turn)
    who = {"principal": "app", "route": "POST /v1/decisions", "key": key}
    row = {name: getattr(decision, name) for name in records.FIELDS} | {
        "row_sha256": records.row_sha256(decision),
        "sealed": None,
    }
    values = [who, {"unit_id": _unit(worker, turn), "since": 0}, _contact(worker, turn).values(), row,
              who | {"body_sha256": digest, "status": 200, "answer": ANSWER, "recorded_at": AT}]  # fmt: skip
    found: list[tuple[str, tuple[Any, ...], bool]] = []
    for statement, bound in zip(_statements(), values, strict=True):
        sql, names, fixed = statement._compiled(dialect)
        found.append((sql, tuple((fixed | bound)[name] for name in names), sql.startswith("SELECT")))
    return found


def _opening(dialect: Any, worker: int, turns: range) -> list[tuple[str, tuple[Any, ...], bool]]:
    """What ours does first in each transaction: read the clock and write it down, or hold the units and keys of its group."""
    if dialect.name == "sqlite":
        sql, names, fixed = book._SET_META._compiled(dialect)
        bound = fixed | {"name": "last_seen", "value": str(AT)}
        return [(f"SELECT {book.MARKS}", (), True), (sql, tuple(bound[name] for name in names), False)]
    customers = json.dumps(list(dict.fromkeys(f"C{_unit(worker, turn)}" for turn in turns)))
    sql, _, _ = locks._UNITS._compiled(dialect)
    held = locks.lock_numbers({f"C{_unit(worker, turn)}" for turn in turns}, [f"key-{worker}-{turn}" for turn in turns])
    return [(f"SELECT {clock.SERVER_MICROS}, {book.MARKS}", (), True), ("SELECT pg_advisory_xact_lock_shared(%s)", (locks.ALL,), True),
            (sql, (customers,), True), ("SELECT pg_advisory_xact_lock(held) FROM unnest(%s::bigint[]) AS held", (held,), True)]  # fmt: skip


# ---- two subjects --------------------------------------------------------------------------------


def _ours(url: str, worker: int, n: int, single: bool) -> Run:
    """(seconds, waits) of n reservations through the ledger; 64 callers' requests wait at once, or one."""
    waits: Latencies = []
    with Ledger.open(url, lambda: NOW, b"secret") as ledger:
        ledger.write(lambda _: None, units=()).result()
        _quiet()
        start, spent = time.perf_counter(), time.process_time()
        if single:
            for turn in range(n):
                began = time.perf_counter()
                _submit(ledger, worker, turn).result()
                waits.append(time.perf_counter() - began)
        else:
            waits = _crowd(ledger, worker, n)
        seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    gc.unfreeze()
    return seconds, waits, cpu


def _submit(ledger: Ledger, worker: int, turn: int) -> "Future[int]":
    return ledger.write(lambda connection: _reserve(connection, worker, turn), touches=Touches(
        customers=(f"C{_unit(worker, turn)}",), names=(f"key-{worker}-{turn}",)))  # fmt: skip


def _crowd(ledger: Ledger, worker: int, n: int) -> Latencies:
    """64 requests are always on their way, as 64 connections of a service have them; none waits for another."""
    waits: Latencies = []
    free = threading.Semaphore(2 * GROUP)

    def answered(began: float) -> Callable[["Future[int]"], None]:
        def note(future: "Future[int]") -> None:
            waits.append(time.perf_counter() - began)
            free.release()
            future.result()

        return note

    for turn in range(n):
        free.acquire()
        _submit(ledger, worker, turn).add_done_callback(answered(time.perf_counter()))
    for _ in range(2 * GROUP):
        free.acquire()
    return waits


def _bare(url: str, worker: int, n: int, single: bool) -> Run:
    """The same statements on the driver, values ready, in transactions of 1, or of 64 with a savepoint each."""
    with Ledger.open(url, lambda: NOW, b"secret") as ledger, ledger.read() as connection:
        dialect = connection.dialect
        ready = [_ready(dialect, worker, turn) for turn in range(n)]
    if url.startswith("sqlite"):
        raw: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
        begin = "BEGIN IMMEDIATE"
    else:
        import psycopg

        raw, begin = psycopg.connect(url.replace("+psycopg", ""), autocommit=True), "BEGIN"
    cursor, waits, size = raw.cursor(), [], 1 if single else GROUP
    opening = [_opening(dialect, worker, range(first, min(first + size, n))) for first in range(0, n, size)]
    _quiet()
    start, spent = time.perf_counter(), time.process_time()
    for first in range(0, n, size):
        began = time.perf_counter()
        cursor.execute(begin)
        for sql, values, fetches in opening[first // size]:
            cursor.execute(sql, values)
            if fetches:
                cursor.fetchall()
        for one in ready[first : first + size]:
            if not single:
                cursor.execute("SAVEPOINT request")
            for sql, values, fetches in one:
                cursor.execute(sql, values)
                if fetches:
                    cursor.fetchall()
            if not single:
                cursor.execute("RELEASE SAVEPOINT request")
        cursor.execute("COMMIT")
        waits += [time.perf_counter() - began] * len(ready[first : first + size])
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

Subject = Callable[[str, int, int, bool], Run]


SUMS = {
    "contacts": "send_before % 1000003",
    "decisions": "length(inputs) + length(result)",
    "idempotency": "length(answer)",
}


def _left(execute: Callable[[str], Any]) -> Rows:
    found: Rows = {}
    for table, of in SUMS.items():
        n, total = execute(f"SELECT count(*), coalesce(sum({of}), 0) FROM {table}").fetchone()
        found[table] = int(n), int(total)
    return found


def _sqlite(subject: Subject, n: int, single: bool) -> Measured:
    folder = Path(tempfile.mkdtemp(prefix="nbo-bench-"))
    try:
        url = f"sqlite:///{folder / 'nbo.db'}"
        seconds, waits, cpu = subject(url, 0, n, single)
        raw = sqlite3.connect(folder / "nbo.db")
        rows = _check(n, _left(raw.execute))
        raw.close()
        return Measured(n / seconds, waits, cpu / n, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(n: int, found: Rows) -> Rows:
    if {count for count, _ in found.values()} != {n}:
        raise SystemExit(f"{n} reservations were asked for and {found} are there; a figure would mean nothing")
    return found


def _has_server() -> bool:
    import psycopg

    try:
        psycopg.connect(SERVER.format("postgres"), connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def _work(subject: Subject, url: str, worker: int, n: int, single: bool, start: Any, said: Any) -> None:
    sys.setswitchinterval(0.0005)
    _starting.append(start)
    said.put(subject(url, worker, n, single))


def _postgres(subject: Subject, n: int, single: bool, workers: int) -> Measured:
    import psycopg

    admin = psycopg.connect(SERVER.format("postgres"), autocommit=True)
    name = f"nbo_bench_{os.getpid()}_{secrets.token_hex(3)}"
    admin.execute(f"CREATE DATABASE {name}")
    url = f"postgresql+psycopg://postgres@127.0.0.1:5432/{name}"
    try:
        Ledger.open(url, lambda: NOW, b"secret").close()
        if workers == 1:
            (seconds, waits, cpu), done = subject(url, 0, n, single), n
        else:
            (seconds, waits, cpu), done = _processes(subject, url, n // workers, single, workers)
        with psycopg.connect(SERVER.format(name)) as raw:
            rows = _check(done, _left(raw.execute))
        return Measured(done / seconds, waits, cpu / done, rows)
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.close()


def _processes(subject: Subject, url: str, n: int, single: bool, workers: int) -> tuple[Run, int]:
    spawn = mp.get_context("spawn")
    start, said = spawn.Barrier(workers), spawn.Queue()
    children = [spawn.Process(target=_work, args=(subject, url, k, n, single, start, said)) for k in range(workers)]
    for child in children:
        child.start()
    told = [said.get(timeout=300) for _ in children]
    for child in children:
        child.join()
    waits = [wait for one in told for wait in one[1]]
    return (max(one[0] for one in told), waits, sum(one[2] for one in told)), n * workers
