"""One handler: kept once, refused in one line that quotes nothing, tried again while the ledger is away."""

import asyncio
import json
import logging
from concurrent.futures import Future
from typing import Any

import pytest

from serving.http.door import StoredAnswer
from serving.http.errors import Unprocessable
from serving.ledger.errors import LedgerError
from serving.office import Office
from serving.streams import intake as module
from serving.streams.intake import Fate, Intake, Told
from tests.home import HERO, HERO_DOLLARS, NOW, rows

AT = NOW.isoformat().replace("+00:00", "Z")


def event(name: str = "s-1", **more: Any) -> dict[str, Any]:
    return {"event_id": name, "customer_id": HERO, "kind": "cash_withdrawal", "amount_minor": -1_150_000, "currency": "USD",
            "balance_after_minor": HERO_DOLLARS - 1_150_000, "booked_at": AT, "recorded_at": AT} | more  # fmt: skip


def consent(**more: Any) -> dict[str, Any]:
    return {"customer_id": HERO, "purpose": "marketing", "channel": "sms", "state": "withdrawn", "at": AT} | more


def taken(door: Any, *messages: tuple[str, bytes]) -> tuple[list[Told], dict[str, int]]:
    async def take() -> tuple[list[Told], dict[str, int]]:
        intake = Intake(door, "stream test")
        return list(await asyncio.gather(*(intake.take(*message) for message in messages))), intake.counts

    return asyncio.run(take())


def test_p03_the_same_message_twice_and_the_same_event_written_otherwise_are_one_event(office: Office) -> None:
    body = json.dumps(event()).encode()
    told, counts = taken(office, ("events", body), ("events", body), ("events", json.dumps(event(), indent=2).encode()))
    assert [one.fate for one in told] == [Fate.KEPT] * 3
    assert counts["kept"] == 3
    assert rows(office, "SELECT count(*) FROM events WHERE event_id = 's-1'") == [(1,)]


def test_consents_and_outcomes_come_the_same_way(office: Office) -> None:
    told, _ = taken(office, ("consents", json.dumps(consent()).encode()), ("consents", json.dumps(consent()).encode()),
                    ("outcomes", json.dumps({"contact_id": "nobody", "kind": "opened", "at": AT}).encode()))  # fmt: skip
    assert [one.fate for one in told] == [Fate.KEPT, Fate.KEPT, Fate.REFUSED]
    assert rows(office, "SELECT channel, state FROM consents WHERE customer_id = ? AND received_at > 0 AND source IS NULL", HERO).count(("sms", "withdrawn")) == 1  # fmt: skip


CANARY = "C-CANARY-77"


@pytest.mark.parametrize(("kind", "body", "line"), [
    ("events", b"", "body is not JSON"),
    ("events", b"{", "body is not JSON"),
    ("events", b"[]", "body should be a JSON object"),
    ("events", b"\xff\xfe", "body is not UTF-8"),
    ("events", json.dumps(event(customer_id=CANARY, amount_minor=float("nan"))).encode(), "`NaN` is not JSON"),
    ("events", json.dumps(event(customer_id=CANARY, kind="theft")).encode(), "`kind` should be"),
    ("events", json.dumps(event(customer_id=CANARY, currency="XXX")).encode(), "`currency` is not kept by this bank"),
    ("events", json.dumps(event(customer_id=CANARY, booked_at="2099-01-01T00:00:00Z")).encode(), "is in the future"),
    ("events", b" " * 70_000, "larger than 65536 bytes"),
    ("consents", json.dumps(consent(customer_id=CANARY, mood="bad")).encode(), "a field that is not known here"),
    ("outcomes", json.dumps({"contact_id": CANARY, "kind": "opened", "at": AT}).encode(), "no such contact"),
])  # fmt: skip
def test_p21_p26_poison_is_refused_in_one_line_that_quotes_nothing(
    office: Office, caplog: pytest.LogCaptureFixture, kind: str, body: bytes, line: str
) -> None:
    before = rows(office, "SELECT count(*) FROM events") + rows(office, "SELECT count(*) FROM consents")
    with caplog.at_level(logging.DEBUG):
        [told], counts = taken(office, (kind, body))
    assert told.fate is Fate.REFUSED and line in told.line and "\n" not in told.line
    assert CANARY not in told.line + caplog.text
    assert counts["refused"] == 1
    assert rows(office, "SELECT count(*) FROM events") + rows(office, "SELECT count(*) FROM consents") == before


class Shaky:
    """A door that fails a few times, each time in its way."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def event(self, *_: object) -> Future[StoredAnswer]:
        self.asked += 1
        done: Future[StoredAnswer] = Future()
        if self.errors:
            done.set_exception(self.errors.pop(0))
        else:
            done.set_result(StoredAnswer(b"{}"))
        return done


def test_p04_a_ledger_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    door = Shaky(LedgerError("away"), LedgerError("away"))
    [told], counts = taken(door, ("events", json.dumps(event()).encode()))
    assert (told.fate, door.asked, counts["retries"]) == (Fate.KEPT, 3, 2)


def test_p04_told_to_stop_while_the_ledger_is_away_it_leaves_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 30.0)
    door = Shaky(*(LedgerError("away") for _ in range(9)))

    async def stopped() -> Told:
        intake = Intake(door, "stream test")  # type: ignore[arg-type]
        asked = asyncio.create_task(intake.take("events", json.dumps(event()).encode()))
        await asyncio.sleep(0.01)
        intake.stop()
        return await asyncio.wait_for(asked, 5)

    assert asyncio.run(stopped()).fate is Fate.LEFT
    assert door.asked == 1


def test_an_error_nobody_expected_holds_up_nobody_and_is_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told, _ = taken(Shaky(RuntimeError(CANARY)), *[("events", json.dumps(event(f"e{n}")).encode()) for n in range(2)])
    assert sorted(one.fate for one in told) == [Fate.KEPT, Fate.REFUSED]
    assert "RuntimeError" in caplog.text and CANARY not in caplog.text


def test_an_instant_a_little_ahead_is_tried_again_until_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far ahead it is refused at once. Mutant: a clock a second ahead sends an outflow to the dead letters."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    ahead = lambda: Unprocessable("`booked_at` is in the future; report it when it has happened")
    for years, fate, asked in ((0, Fate.KEPT, 3), (70, Fate.REFUSED, 1)):
        door, at = Shaky(ahead(), ahead()), NOW.replace(year=NOW.year + years).isoformat()
        [told], _ = taken(door, ("events", json.dumps(event(booked_at=at, recorded_at=at)).encode()))
        assert (told.fate, door.asked) == (fate, asked)


@pytest.mark.parametrize("kind", ["cash_withdrawal", "salary"])
def test_a_booking_that_moves_money_and_names_none_is_refused_and_the_whole_one_taken(
    office: Office, kind: str
) -> None:
    """Mutant: it is kept, acts on nothing, and the whole event under its id is refused afterwards."""
    whole = event(kind=kind, amount_minor=-1_150_000 if kind == "cash_withdrawal" else 1_150_000)
    bare = {name: value for name, value in whole.items() if name not in ("amount_minor", "currency", "balance_after_minor")}  # fmt: skip
    [told], _ = taken(office, ("events", json.dumps(bare).encode()))
    assert told.fate is Fate.REFUSED and "`amount_minor` is missing" in told.line
    [told], _ = taken(office, ("events", json.dumps(whole).encode()))
    assert told.fate is Fate.KEPT
