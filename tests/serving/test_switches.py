"""P30 with two workers on PostgreSQL: a pause that was answered has passed no claim by."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from serving import claims, contacting
from serving.http.messages import ClaimRequest, RecallsQuery, SwitchAction, SwitchRequest
from serving.office import Office
from tests.home import Clock, ask, call, office_at
from tests.postgres import move_home

PAUSE = SwitchRequest(scope="channel:sms", action=SwitchAction.PAUSE, note="wrong text")


def claimed_amid_a_pause(one: Office, other: Office, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """A claim that has read the switches when another worker pauses; (its status, how many contacts are recalled)."""
    contact = ask(one, "C0000010", channels=("sms",)).choices[0].contact_id
    assert contact is not None
    read, go, real = threading.Event(), threading.Event(), claims.claim

    def slowly(connection: Connection, contact_id: str, now: int) -> Any:
        read.set()
        go.wait(30)
        return real(connection, contact_id, now)

    monkeypatch.setattr(claims, "claim", slowly)
    claim = one.claim(contact, ClaimRequest(), call("POST /v1/contacts/{contact_id}/claim"))
    assert read.wait(30)
    pause = other.switch(PAUSE, call("POST /v1/switches"))
    threading.Timer(0.5, go.set).start()  # a pause that waits for nobody is answered long before
    assert pause.result(30).status == 200
    status = claim.result(30).status
    return status, len(other.recalls(RecallsQuery(channel="sms"), call("GET /v1/recalls")).recalls)


@pytest.mark.parametrize("heeding", [True, False])
def test_p30_a_claim_under_way_is_recalled_by_the_pause(
    bank: Path, clock: Clock, server: str, heeding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant shares no lock with the pause: its claim stands, goes out, and no feed tells of it."""
    if not heeding:
        monkeypatch.setattr(contacting, "HEEDING", ())
    move_home(bank, server)
    one, other = office_at(bank, clock), office_at(bank, clock)
    assert claimed_amid_a_pause(one, other, monkeypatch) == (200, int(heeding))
    for office in (one, other):
        office.close()
