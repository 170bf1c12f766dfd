"""The counter: work is done once a key, wholly or not at all, under the set in force."""

from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from serving.http.door import StoredAnswer
from serving.ledger.book import Touches
from serving.ledger.idempotency import ConflictError
from serving.ledger.schema import meta
from serving.office import Office
from tests.home import Clock, adopt, call, office_at, run_until

ROUTE, TOUCHES = "POST /v1/test", Touches(names=("test",))


def worked(office: Office, key: str, *, body: str = "a", said: bytes = b"{}", fails: bool = False) -> StoredAnswer:
    """The answer to work that writes one row."""

    def work(connection: Connection, now: int) -> StoredAnswer:
        connection.execute(insert(meta).values(name=f"test {next(_turn)}", value="x"))
        if fails:
            raise RuntimeError("half way")
        return StoredAnswer(said)

    return office.once(call(ROUTE, key=key, body=body), TOUCHES, work).result(30)


_turn = iter(range(10**9))


def n_written(office: Office) -> int:
    with office.ledger.read() as connection:
        return len(connection.execute(select(meta.c.name).where(meta.c.name.like("test %"))).fetchall())


def test_p03_work_is_done_once_a_key_whoever_asks_again(office: Office) -> None:
    answers = run_until([lambda turn=turn: worked(office, "k", said=f"{turn}".encode()) for turn in range(6)])
    assert len({answer.body for answer in answers}) == 1 and n_written(office) == 1
    worked(office, "other")
    assert n_written(office) == 2


def test_p03_a_key_that_comes_with_another_body_is_refused(office: Office) -> None:
    worked(office, "k")
    with pytest.raises(ConflictError):
        worked(office, "k", body="b")
    assert n_written(office) == 1


def test_p04_work_that_fails_leaves_nothing_and_its_key_is_free(office: Office) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        worked(office, "k", fails=True)
    assert n_written(office) == 0
    assert worked(office, "k", said=b"done").body == b"done" and n_written(office) == 1


def test_p24_work_is_done_under_the_set_that_is_in_force_by_then(bank: Path, clock: Clock) -> None:
    """Another process activates while the office runs: its next work is under that set."""
    office = office_at(bank, clock)
    catalogue = bank / "catalogue.yaml"
    before = office.engine.live_set
    catalogue.write_text(catalogue.read_text("utf-8").replace("margin_minor: 60000", "margin_minor: 60001"), "utf-8")
    assert office.engine.live_set == before
    adopt(bank)
    found = office.ledger.write(lambda connection: office.in_force(connection, office.ledger.now_micros()).live_set)
    assert found.result(30) == office.engine.live_set != before
    office.close()
