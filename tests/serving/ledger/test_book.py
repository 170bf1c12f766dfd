"""No cap is broken, nothing acknowledged is lost: the ledger under threads, kills and bad disks."""

import itertools
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pytest
from sqlalchemy.engine import Connection

from serving.ledger import consents, events, feed, idempotency, keys, lifecycle, outcomes, records, switches
from serving.ledger.book import (
    Ledger,
    contacts_of_units,
    members_of,
    micros,
    reserve,
    unit_of,
)
from serving.ledger.contact import COUNTING, ContactRow
from serving.ledger.journal import Entered, entries
from serving.ledger.locks import Touches, hold
from serving.ledger.seed import assign_units, seed
from serving.ledger.writer import SIMULATED, ClockError, LedgerClock, LedgerError
from tests.postgres import database

T = TypeVar("T")
NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
AT = micros(NOW)
ROOT = Path(__file__).parents[3]
WAIT = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nbo.db"


@pytest.fixture
def ledger(path: Path) -> Generator[Ledger]:
    with _open(path) as opened:
        yield opened


def _open(path: Path, serving: bool = False) -> Ledger:
    return Ledger.open(f"sqlite:///{path}", lambda: NOW, b"secret", serving=serving)


def _contact(name: str, unit: str = "H1") -> ContactRow:
    return ContactRow(
        contact_id=name, customer_id=f"C-{unit}", unit_id=unit, channel="sms",
        decided_at=AT, send_after=AT, send_before=AT + 1, offer_id="card_gold", family="card",
    )  # fmt: skip


def _n_counting(connection: Connection, unit: str) -> int:
    return sum(row.state in COUNTING for row in contacts_of_units(connection, [unit], 0))


def _once(name: str, unit: str = "H1") -> Callable[[Connection], bool]:
    """The right way with cap 1: count and reserve in one transaction."""

    def task(connection: Connection) -> bool:
        if _n_counting(connection, unit) >= 1:
            return False
        reserve(connection, _contact(name, unit))
        return True

    return task


def _recount(path: Path) -> dict[str, int]:
    """Independent of the ledger's code: plain SQL over the raw rows."""
    with sqlite3.connect(path) as raw:
        return dict(raw.execute("SELECT unit_id, count(*) FROM contacts GROUP BY unit_id"))


# One request's steps. The ledger gives a whole task to the writer, so there is one step; the
# mutant counts on a connection of its own and reserves afterwards: two steps, and a gap.
Steps = Sequence[Callable[[], None]]


def _right(ledger: Ledger, name: str) -> Steps:
    return [lambda: _result(ledger, _once(name))]


def _mutant(ledger: Ledger, name: str) -> Steps:
    counted: list[int] = []

    def count() -> None:
        with ledger.read() as connection:
            counted.append(_n_counting(connection, "H1"))

    def act() -> None:
        if counted[0] < 1:
            _result(ledger, lambda c: reserve(c, _contact(name)))

    return [count, act]


def _result(ledger: Ledger, task: Callable[[Connection], T]) -> None:
    ledger.write(task).result(WAIT)


def _interleavings(*requests: Steps) -> list[list[int]]:
    turns = [n for n, steps in enumerate(requests) for _ in steps]
    return sorted(set(itertools.permutations(turns)), key=list)  # type: ignore[arg-type]


def _worst(tmp_path: Path, make: Callable[[Ledger, str], Steps], n_requests: int) -> int:
    """Most contacts for the unit after any order in which the requests' steps may run."""
    worst = 0
    shape = _interleavings(*([list(make(None, "x"))] * n_requests))  # type: ignore[arg-type]
    for number, order in enumerate(shape):
        path = tmp_path / f"{make.__name__}{n_requests}-{number}.db"
        with _open(path) as ledger:
            waiting = [iter(make(ledger, f"k{n}")) for n in range(n_requests)]
            for turn in order:
                next(waiting[turn])()
        worst = max(worst, _recount(path)["H1"])
    return worst


def test_p01_every_interleaving_of_three_requests_gives_one_contact(tmp_path: Path) -> None:
    assert _worst(tmp_path, _right, 2) == 1
    assert _worst(tmp_path, _right, 3) == 1


def test_p01_the_enumeration_catches_counting_outside_the_transaction(tmp_path: Path) -> None:
    """The mutant: the classic bug of counters that lag. With 1, P01 tests nothing."""
    assert _worst(tmp_path, _mutant, 2) == 2


def test_p01_threads_on_hot_units_reserve_exactly_one_each(path: Path, ledger: Ledger) -> None:
    hot = ("H1", "H2")

    def hammer(thread: int) -> list[bool]:
        tasks = [_once(f"{thread}-{n}-{unit}", unit) for n in range(20) for unit in hot]
        return [ledger.write(task).result(WAIT) for task in tasks]

    with ThreadPoolExecutor(8) as threads:
        won = [answer for answers in threads.map(hammer, range(8)) for answer in answers]
    assert sum(won) == len(hot)
    assert _recount(path) == dict.fromkeys(hot, 1)


def test_p01_unit_that_appears_twice_in_a_group_sees_its_first_reservation(path: Path, ledger: Ledger) -> None:
    futures = [ledger.write(_once(f"k{n}")) for n in range(50)]
    assert [future.result(WAIT) for future in futures].count(True) == 1
    assert _recount(path) == {"H1": 1}


CHILD = textwrap.dedent("""
    import os, signal, sys
    from concurrent.futures import wait
    from datetime import UTC, datetime
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from serving.ledger.book import ContactRow, Ledger, contacts_of_units, reserve

    path, mode, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if mode in ("statement", "early"):  # one process a line, forked from this one, which has imported and started no thread
        for line in sys.stdin:
            if (pid := os.fork()) == 0:
                path, number = f"{path}/{int(line)}.db", int(line)
                os.dup2(os.open(f"{path}.said", os.O_CREAT | os.O_WRONLY), 1)
                break
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        else:
            sys.exit(0)
    now = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    ledger = Ledger.open(f"sqlite:///{path}", lambda: now, b"secret", serving=mode != "race")

    def once(name, unit):
        def task(connection):
            if contacts_of_units(connection, [unit], 0):
                return None
            reserve(connection, ContactRow(contact_id=name, customer_id=unit, unit_id=unit,
                    channel="sms", decided_at=1, send_after=1, send_before=2))
            if mode == "early":  # the mutant: tell before COMMIT
                os.write(1, (name + "\\n").encode())
            return name
        return task

    def acknowledge(future):
        if future.result() is not None:
            os.write(1, (future.result() + "\\n").encode())

    if mode in ("statement", "early"):  # die before that statement
        left = [number]
        def count(_):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        def watch(connection):
            connection.connection.dbapi_connection.set_trace_callback(count)
        ledger.write(watch).result()
        number = 0
    units = {"load": 1_000_000, "race": 60}.get(mode, 1)
    for n in range(units):
        unit = f"U{n}" if mode == "race" else f"U{number}-{n}"
        futures = [ledger.write(once(f"{number}-{n}-{twin}", unit)) for twin in (0, 1)]
        for future in futures:
            future.add_done_callback(acknowledge)
        if mode != "load" or n % 8 == 7:
            wait(futures)
    ledger.close()
    os.write(1, b"done\\n")
""")


def _child(path: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", CHILD, str(path), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


@contextmanager
def _dying(folder: Path, mode: str) -> Generator[Callable[[int], tuple[list[str], int]]]:
    """Runs a writer that dies before its n-th statement, on `n.db`, a new ledger in the folder: (what it said, its exit code)."""
    _open(folder / "new.db").close()
    command = [sys.executable, "-c", CHILD, str(folder), mode, "0"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        asked, told = server.stdin, server.stdout

        def run(number: int) -> tuple[list[str], int]:
            shutil.copy(folder / "new.db", folder / f"{number}.db")
            print(number, file=asked, flush=True)
            code = int(told.readline())
            return (folder / f"{number}.db.said").read_text().split(), code

        yield run
        asked.close()


def _check_after_crash(path: Path, acknowledged: set[str]) -> None:
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {row[0] for row in raw.execute("SELECT contact_id FROM contacts")}
    assert acknowledged <= stored
    assert set(_recount(path).values()) <= {1}


def test_p02_kill_at_every_statement_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The writer dies before its 1st, 2nd, ... statement, until a run outlives its number."""
    outlived, number = False, 0
    with _dying(tmp_path, "statement") as run:
        while not outlived and number < 200:
            number += 1
            said, code = run(number)
            outlived = "done" in said
            assert code == (0 if outlived else -signal.SIGKILL)
            _check_after_crash(tmp_path / f"{number}.db", set(said) - {"done"})
    assert outlived and number > 4


def test_p02_the_kills_catch_an_answer_given_before_the_commit(tmp_path: Path) -> None:
    """The mutant of P02 and P04: some kill must show an acknowledged row that is not there."""
    with _dying(tmp_path, "early") as run:
        for number in range(1, 40):
            said, _ = run(number)
            with sqlite3.connect(tmp_path / f"{number}.db") as raw:
                stored = {row[0] for row in raw.execute("SELECT contact_id FROM contacts")}
            if set(said) - stored:
                return
    pytest.fail("no kill found the answer that was given too early")


def test_p01_processes_on_hot_units_reserve_exactly_one_each(path: Path) -> None:
    """A command beside the service: two processes write to one file."""
    _open(path).close()
    children = [_child(path, "race", str(number)) for number in range(2)]
    said = [child.communicate(timeout=WAIT)[0].decode().split() for child in children]
    assert [words.pop() for words in said] == ["done", "done"]
    assert _recount(path) == {f"U{n}": 1 for n in range(60)}
    assert sum(map(len, said)) == 60


def test_p02_kill_under_load_loses_nothing_acknowledged(path: Path) -> None:
    """Three rounds on one file; each is killed when it has acknowledged 200 reservations."""
    acknowledged: set[str] = set()
    for number in range(3):
        child = _child(path, "load", str(number))
        assert child.stdout is not None
        said = [child.stdout.readline().decode().strip() for _ in range(200)]
        child.send_signal(signal.SIGKILL)
        rest = child.communicate(timeout=WAIT)[0].decode()
        acknowledged |= {*said, *(rest.rpartition("\n")[0].split())}
        _check_after_crash(path, acknowledged)
    assert len(acknowledged) >= 600


def test_p04_full_disk_fails_the_task_and_keeps_no_half_of_it(path: Path, ledger: Ledger) -> None:
    def fill_up(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def many(connection: Connection) -> None:
        for n in range(2_000):
            reserve(connection, _contact(f"k{n}", f"H{n}"))

    ledger.write(fill_up).result(WAIT)
    with pytest.raises(LedgerError, match=r"full.*ask again"):
        ledger.write(many).result(WAIT)
    assert _recount(path) == {}
    ledger.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000")).result(WAIT)
    assert ledger.write(_once("after")).result(WAIT)
    assert _recount(path) == {"H1": 1}


def test_p04_full_disk_leaves_the_neighbours_of_the_big_task(path: Path, ledger: Ledger) -> None:
    """SQLite may roll back the whole transaction when the disk is full; the others go again."""

    def too_big(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        try:
            for n in range(2_000):
                reserve(connection, _contact(f"big{n}", f"B{n}"))
        finally:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    futures = [
        ledger.write(_once("a", "H1")),
        ledger.write(too_big),
        ledger.write(_once("b", "H2")),
    ]
    assert futures[0].result(WAIT) and futures[2].result(WAIT)
    with pytest.raises(LedgerError, match="full"):
        futures[1].result(WAIT)
    assert _recount(path) == {"H1": 1, "H2": 1}


QUOTA = textwrap.dedent("""
    import os, resource, signal, sys
    from datetime import UTC, datetime
    from serving.ledger.book import ContactRow, Ledger, LedgerError, reserve

    now = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    ledger = Ledger.open(f"sqlite:///{sys.argv[1]}", lambda: now, b"secret")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes beyond the quota fail instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    for n in range(10_000):
        row = ContactRow(contact_id=f"k{n}", customer_id="C", unit_id=f"U{n}", channel="sms" * 99,
                         decided_at=1, send_after=1, send_before=2)
        try:
            ledger.write(lambda connection: reserve(connection, row)).result()
        except LedgerError as error:
            os.write(2, str(error).encode())
            os._exit(3)
        os.write(1, f"k{n}\\n".encode())
""")


def test_p04_quota_of_the_file_system_gives_one_line_and_loses_nothing(path: Path) -> None:
    command = [sys.executable, "-c", QUOTA, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 3
    assert b"the ledger cannot be read or written" in done.stderr
    assert b"\n" not in done.stderr
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {row[0] for row in raw.execute("SELECT contact_id FROM contacts")}
    assert stored == set(done.stdout.decode().split()) != set()


def test_p04_read_only_ledger_fails_writes_and_still_reads(path: Path, ledger: Ledger) -> None:
    assert ledger.write(_once("before")).result(WAIT)
    ledger.write(lambda c: c.exec_driver_sql("PRAGMA query_only = 1")).result(WAIT)
    with pytest.raises(LedgerError, match="readonly"):
        ledger.write(_once("after", "H2")).result(WAIT)
    with ledger.read() as connection:
        assert _n_counting(connection, "H1") == 1
    assert _recount(path) == {"H1": 1}


def test_reader_cannot_write(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="readonly"), ledger.read() as connection:
        reserve(connection, _contact("k1"))


def test_reader_keeps_one_view_while_others_write(ledger: Ledger) -> None:
    with ledger.read() as connection:
        before = _n_counting(connection, "H1")
        assert ledger.write(_once("k1")).result(WAIT)
        assert _n_counting(connection, "H1") == before == 0
    with ledger.read() as connection:
        assert _n_counting(connection, "H1") == 1


def test_second_serving_process_is_refused_in_one_sentence(path: Path) -> None:
    with _open(path, serving=True):
        with pytest.raises(LedgerError, match="another process serves this ledger") as caught:
            _open(path, serving=True)
        assert "\n" not in str(caught.value)
        _open(path).close()  # commands beside the service are welcome
    _open(path, serving=True).close()


def test_serving_place_is_free_again_after_a_kill(path: Path) -> None:
    child = _child(path, "load", "0")
    assert child.stdout is not None and child.stdout.readline()
    with pytest.raises(LedgerError, match="another process"):
        _open(path, serving=True)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=WAIT)
    _open(path, serving=True).close()


def test_processes_that_meet_a_new_file_all_open_it(path: Path) -> None:
    code = textwrap.dedent(f"""
        from datetime import UTC, datetime
        from serving.ledger.book import Ledger
        now = datetime(2026, 6, 1, tzinfo=UTC)
        Ledger.open("sqlite:///{path}", lambda: now, b"s").write(lambda c: None).result()
    """)
    children = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [child.wait(WAIT) for child in children] == [0, 0, 0]


def test_opening_and_reading_do_not_wait_for_somebody_who_writes(path: Path) -> None:
    _open(path).close()
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO units (customer_id, unit_id) VALUES ('C1', 'H1')")
        with _open(path) as ledger, ledger.read() as connection:
            assert unit_of(connection, ["C1"]) == {"C1": "C1"}
        raw.execute("COMMIT")


def test_p17_opening_and_reading_leave_the_file_as_it_is(path: Path) -> None:
    _once_at(path, NOW, "k1")
    before = path.read_bytes()
    with _open(path) as ledger, ledger.read() as connection:
        assert _n_counting(connection, "H1") == 1
    assert path.read_bytes() == before


def test_database_is_set_to_survive_a_power_cut(path: Path, ledger: Ledger) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert ledger.write(pragmas).result(WAIT) == ["wal", 2, 1]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "cannot live in memory"),
        ("nonsense", "no SQLAlchemy URL"),
        ("sqlite:////nowhere/at/all/nbo.db", "ledger cannot be read or written|cannot write"),
    ],
)
def test_address_that_cannot_be_opened_is_one_line(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger.open(url, lambda: NOW, b"secret")
    assert "\n" not in str(caught.value)


def test_file_that_is_no_database_is_one_line_and_left_alone(path: Path) -> None:
    path.write_bytes(b"customer_id,offer_id\n" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        _open(path)
    assert path.read_bytes() == b"customer_id,offer_id\n" * 100


def test_p20_clock_that_went_back_writes_nothing_even_after_a_restart(path: Path) -> None:
    _once_at(path, NOW, "k1")
    with pytest.raises(ClockError, match="went back by 1:00:00"):
        _once_at(path, NOW - timedelta(hours=1), "k2")
    with pytest.raises(ClockError, match="jumped ahead by 365 days"):
        _once_at(path, NOW + timedelta(days=365), "k2")
    assert _recount(path) == {"H1": 1}
    _once_at(path, NOW + timedelta(hours=1), "k2", "H2")
    assert _recount(path) == {"H1": 1, "H2": 1}


def _once_at(path: Path, now: datetime, name: str, unit: str = "H1") -> None:
    with Ledger.open(f"sqlite:///{path}", lambda: now, b"secret") as ledger:
        ledger.write(_once(name, unit)).result(WAIT)


def test_p20_operator_resets_the_clock_and_the_record_says_so(path: Path) -> None:
    _once_at(path, NOW, "k1")
    back = NOW - timedelta(days=365)
    with Ledger.open(f"sqlite:///{path}", lambda: back, b"secret") as ledger:
        with pytest.raises(ClockError):
            ledger.write(_once("k2", "H2")).result(WAIT)
        assert ledger.reset_clock("anna", "the test bench ran a year ahead") == micros(back)
        assert ledger.write(_once("k2", "H2")).result(WAIT)
    with Ledger.open(f"sqlite:///{path}", lambda: back, b"secret") as ledger, ledger.read() as connection:
        (entry,) = entries(connection, Entered.CLOCK)
    assert (entry.principal, entry.at) == ("anna", micros(back))
    assert entry.body == {"reason": "the test bench ran a year ahead", "seen": AT}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("is_mutant", [False, True])
def test_p20_a_running_service_goes_on_after_a_reset_in_another_process(
    path: Path, kind: str, is_mutant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock ran a year ahead, and is set right. The mutant: how often it was reset is not looked at."""
    if is_mutant:
        honest = LedgerClock.remember
        monkeypatch.setattr(LedgerClock, "remember", lambda clock, seen, resets=0: honest(clock, seen))
    with database() if kind == "postgresql" else nullcontext(f"sqlite:///{path}") as url:
        now = [NOW + timedelta(days=365)]
        with Ledger.open(url, lambda: now[0], b"secret") as service:
            service.write(_once("k1", "H1")).result(WAIT)
            now[0] = NOW
            with pytest.raises(ClockError):
                service.write(_once("k2", "H2")).result(WAIT)
            with Ledger.open(url, lambda: NOW, b"secret") as other:
                other.reset_clock("anna", "set right")
            if is_mutant:
                with pytest.raises(ClockError):
                    service.write(_once("k3", "H3")).result(WAIT)
                return
            assert service.write(_once("k3", "H3")).result(WAIT)
            assert service.now_micros() == micros(NOW)
            now[0] = NOW - timedelta(minutes=1)
            with pytest.raises(ClockError):  # the next jump is refused again
                service.write(_once("k4", "H4")).result(WAIT)


def test_simulated_clock_may_jump_ahead(path: Path) -> None:
    now = [NOW]
    url = f"sqlite:///{path}"
    with Ledger.open(url, lambda: now[0], b"secret", bounds=SIMULATED) as ledger:
        ledger.write(_once("k1")).result(WAIT)
        now[0] = NOW + timedelta(days=400)
        assert ledger.now_micros() == micros(now[0])


def test_unit_of_names_households_and_lets_strangers_stand_alone(ledger: Ledger) -> None:
    ledger.write(lambda c: assign_units(c, {"C1": "H1", "C2": "H1", "C3": "C3"})).result(WAIT)
    with ledger.read() as connection:
        assert unit_of(connection, ["C9", "C1", "C3"]) == {"C9": "C9", "C1": "H1", "C3": "C3"}
        assert members_of(connection, ["H1", "C9"]) == {"H1": ["C1", "C2"], "C9": ["C9"]}
        hold(connection, Touches(units=["H1"]))  # nothing to do on SQLite, and no error


SERVER = "host=127.0.0.1 user=postgres dbname={} connect_timeout=2"


def test_p01_two_workers_on_postgresql_reserve_exactly_one_each(server: str) -> None:
    """Two ledgers, as two workers have; units named in crossing order, so a circle would show."""
    with _served(server) as one, _served(server) as other:
        both = (one, other)

        def pair(n: int) -> Callable[[Connection], int]:
            first, second = _once(f"{n}a", f"U{n % 7}"), _once(f"{n}b", f"U{-n % 7}")
            return lambda connection: first(connection) + second(connection)

        units = [[f"U{n % 7}", f"U{-n % 7}"] for n in range(400)]
        futures = [both[n % 2].write(pair(n), units=units[n]) for n in range(400)]
        assert sum(future.result(WAIT) for future in futures) == 7
        with one.read() as connection:
            assert {_n_counting(connection, f"U{n}") for n in range(7)} == {1}


def test_p01_workers_that_name_no_unit_wait_for_each_other(server: str) -> None:
    with _served(server) as one, _served(server) as other:
        both = (one, other)
        futures = [both[n % 2].write(_once(f"k{n}")) for n in range(100)]
        assert sum(future.result(WAIT) for future in futures) == 1


def test_p01_two_workers_without_the_lock_break_the_cap(server: str) -> None:
    """The mutant: both say that they count nobody, and both count before either acts."""
    both_counted = threading.Barrier(2)

    def careless(name: str) -> Callable[[Connection], None]:
        def task(connection: Connection) -> None:
            assert _n_counting(connection, "H1") == 0
            both_counted.wait(WAIT)
            reserve(connection, _contact(name))

        return task

    with _served(server) as one, _served(server) as other:
        one.write(lambda _: None).result(WAIT)  # the first write of all also starts the clock
        futures = [one.write(careless("a"), units=()), other.write(careless("b"), units=())]
        for future in futures:
            future.result(WAIT)
        with one.read() as connection:
            assert _n_counting(connection, "H1") == 2


def test_both_databases_answer_alike(path: Path, server: str) -> None:
    """Every module's hot and cold statements, once, with the same answers."""
    with _open(path) as embedded, _served(server) as remote:
        assert _story(embedded) == _story(remote)


def _served(url: str) -> Ledger:
    return Ledger.open(url, lambda: NOW, b"secret", serving=True)


def _story(ledger: Ledger) -> list[object]:
    row = _contact("k1")
    money = events.EventRow(
        event_id="e1", customer_id="C-H1", kind="transfer_out", amount_minor=-5, currency="USD",
        balance_after_minor=0, booked_at=AT - 1, recorded_at=AT - 1, received_at=AT,
    )  # fmt: skip
    stretch = events.Stretch("flee", AT - 1, AT + 9, None, "e1", 5)
    decision = records.DecisionRow(
        decision_id="d1", customer_id="C-H1", unit_id="H1", as_of=AT, inputs=b"\xff", result=b"{}",
        reasons="[]", terms="t", revisions="{}", recorded_at=AT,
    )  # fmt: skip
    answer = idempotency.Answer(200, b"\xff")
    history = pa.table({
        "contact_id": ["h1"], "customer_id": ["C-H1"], "offer_id": ["card_gold"],
        "channel": ["sms"], "direction": ["outbound"], "purpose": ["marketing"],
        "decided_at": [NOW], "sent_at": [NOW],
    })  # fmt: skip
    outcome = pa.table({"contact_id": ["h1", "no"], "kind": ["opted_out", "opened"], "at": [NOW] * 2})
    units = pa.table({"customer_id": ["C-H1"], "unit_id": ["H9"]})
    steps: list[Callable[[Connection], object]] = [
        lambda c: reserve(c, row),
        lambda c: lifecycle.due(c, "sms", AT),
        lambda c: lifecycle.claim(c, "k1", AT),
        lambda c: lifecycle.sent(c, "k1", AT),
        lambda c: outcomes.accept(c, "k1", "refused", AT, AT),
        lambda c: outcomes.outcomes_of_units(c, ["H1"], 0),
        lambda c: events.accept(c, money, "H1", AT, lambda *_: [stretch]),
        lambda c: events.accept(c, money, "H1", AT, lambda *_: [stretch]),
        lambda c: events.suppressions_of_units(c, ["H1"], AT),
        lambda c: records.record(c, decision),
        lambda c: (records.find(c, "d1"), list(records.broken(c))),
        lambda c: idempotency.remember(c, "p", "r", "k", "sha", answer, AT),
        lambda c: idempotency.remembered(c, "p", "r", "k", "sha"),
        lambda c: keys.add(c, "sms", keys.Role.CHANNEL, secret=b"s", now=AT)[:4],
        lambda c: [key.name for key in keys.listed_keys(c)],
        lambda c: switches.pause(c, "all", "anna", "test", AT),
        lambda c: (switches.paused(c), switches.resume(c, "all", "ben", "", AT)),
        lambda c: reserve(c, _contact("k2")),
        lambda c: lifecycle.expire(c, AT + 1),
        lambda c: reserve(c, _contact("k3")),
    ]
    said = [ledger.write(step).result(WAIT) for step in steps]
    said.append(seed(ledger, history, outcome, units, {"card_gold": "card"}))
    with ledger.read() as connection:
        said += [feed.recalls(connection), contacts_of_units(connection, ["H9"], 0)]
        said += [lifecycle.contacts_table(connection, 0).sort_by("contact_id").to_pylist()]
        said += [outcomes.outcomes_table(connection, 0).sort_by("contact_id").to_pylist()]
        said += [events.suppressions_table(connection, 0).to_pylist()]
        said += [events.events_table(connection, 0).to_pylist()]
        said += [consents.consents_table(connection, 0).to_pylist()]
    return said


def test_lock_and_descriptor_are_released_when_opening_fails(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at\n" * 30)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(LedgerError):
            _open(path, serving=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == n_open
