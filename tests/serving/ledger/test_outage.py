"""P04 on PostgreSQL: a full disk or a read-only server gives 503 and no contact, and the same key goes through later."""

from collections.abc import Generator

import psycopg
import pytest

from serving.http.errors import as_door_error
from serving.http.messages import ClaimRequest, DecisionResponse
from serving.ledger.errors import LedgerError
from serving.office import Office
from tests.home import HERO, Clock, ask, call, copied, move, office_at, said
from tests.postgres import database, move_home, plain

Server = tuple[Office, Clock, str]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    home, clock = copied(tmp_path_factory.mktemp("outage") / "bank"), Clock()
    with database() as url:
        move_home(home, url)
        office = office_at(home, clock)
        yield office, clock, url
        office.close()


def sql(url: str, *statements: str) -> None:
    with psycopg.connect(plain(url), autocommit=True) as raw:
        raw.execute("SET default_transaction_read_only = off")
        for one in statements:
            raw.execute(one)


def counted(url: str) -> dict[str, int]:
    """Rows of every table that a request may write, past our code."""
    with psycopg.connect(plain(url)) as raw:
        names = ("contacts", "decisions", "idempotency", "events", "consents", "suppressions", "outcomes", "vault")
        return {name: int(str((raw.execute(f"SELECT count(*) FROM {name}").fetchone() or (-1,))[0])) for name in names}


OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
FULL = """CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"""
AT_ONCE = "CREATE TRIGGER no_space BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION no_space()"
AT_COMMIT = """CREATE CONSTRAINT TRIGGER no_space AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION no_space()"""
TABLES = ("contacts", "decisions", "events", "consents", "meta")


def break_server(url: str, how: str) -> None:
    if how == "read-only":  # as a server does that was made a standby, or whose operator froze it
        name = url.rpartition("/")[2]
        sql(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on", OTHERS)
        return
    trigger = AT_ONCE if how == "full at a statement" else AT_COMMIT
    sql(url, FULL, *(trigger.format(table=table) for table in TABLES))


def mend_server(url: str) -> None:
    name = url.rpartition("/")[2]
    sql(
        url,
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
        "DROP FUNCTION IF EXISTS no_space CASCADE",
        OTHERS,
    )


def recovered(office: Office, key: str) -> DecisionResponse:
    """The decision; the first try may find its connection gone with the server."""
    try:
        return ask(office, HERO, key=key)
    except LedgerError:
        return ask(office, HERO, key=key)


def refused(office: Office, clock: Clock, contact: str, key: str) -> list[int]:
    """The status each writing route answers with."""
    tried = [lambda: ask(office, HERO, key=key), lambda: move(office, "salary", 5_000, 1_000_000, clock.now, name=f"e-{key}"),
             lambda: office.consent(said(clock.now, "granted", HERO), call()).result(30)]  # fmt: skip
    tried += [lambda: office.claim(contact, ClaimRequest(), call()).result(30)] if contact else []
    found: list[int] = []
    for one in tried:
        try:
            one()
        except Exception as error:
            known = as_door_error(error)
            assert known is not None, error
            found.append(known.status)
        else:
            found.append(200)
    return found


@pytest.mark.parametrize("how", ["read-only", "full at a statement", "full at the commit"])
def test_p04_postgresql_out_of_order_is_503_and_no_contact(opened: Server, how: str) -> None:
    office, clock, url = opened
    clock.forward(days=3)
    contact = str(ask(office, "C0000002").choices[0].contact_id) if how == "read-only" else ""
    before = counted(url)
    break_server(url, how)
    try:
        statuses = refused(office, clock, contact, f"outage {how}")
        assert set(statuses) == {503}, statuses
        assert how == "full at the commit" or not office.ready().ready
        assert counted(url) == before, "nothing half written"
    finally:
        mend_server(url)
    again = [recovered(office, f"outage {how}") for _ in range(2)]
    assert again[0] == again[1] and again[0].choices[0].contact_id, "the same key goes through, once"
    after = counted(url)
    assert after["decisions"] == before["decisions"] + 1 and after["contacts"] == before["contacts"] + 1


def test_p04_the_mutant_that_answers_from_memory_is_seen(opened: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: a failed COMMIT is taken for done."""
    from serving.ledger import writer

    office, clock, url = opened
    clock.forward(days=3)
    before = counted(url)
    break_server(url, "full at the commit")

    class Lenient(writer.Writer):
        def _fail(self, group: object, error: Exception) -> list[object]:
            for request in group:
                request.future.set_result(request.answer)
            return []

    try:
        honest = office.ledger._writer._one

        def keeping(connection: object, request: object, alone: bool) -> object:
            request.answer = honest(connection, request, alone)
            return request.answer

        monkeypatch.setattr(office.ledger._writer, "_one", keeping)
        monkeypatch.setattr(office.ledger._writer, "_fail", Lenient._fail.__get__(office.ledger._writer))
        assert 200 in refused(office, clock, "", "mutant") and counted(url) == before
    finally:
        mend_server(url)
