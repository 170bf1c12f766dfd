"""Pausing takes one person, resuming two keys; a recall takes back what is reserved."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from features.home import Home, Settings
from serving.commands import operate
from serving.commands.operate import recall_app, switch_app
from serving.ledger import keys, switches
from serving.ledger.book import ContactRow, find, reserve
from serving.ledger.keys import Role
from serving.office import open_ledger
from tests import bank

NOW = datetime(2026, 6, 1, 2, tzinfo=UTC)
AT = int(NOW.timestamp()) * 1_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "bank", Settings(clock="simulated", now=NOW))


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        operate, "open_engine", lambda _: SimpleNamespace(catalogue=bank.catalogue(), campaigns={"spring": None})
    )


def run(app: typer.Typer, home: Home, *words: str, key: str = "") -> tuple[int, str, BaseException | None]:
    front = typer.Typer()
    front.add_typer(app, name="x")

    @front.callback()
    def callback(context: typer.Context) -> None:
        context.obj = home.path

    result = CliRunner().invoke(front, ["x", *words], env={"NBO_KEY": key})
    return result.exit_code, result.output, result.exception


def key_of(home: Home, name: str, role: Role) -> str:
    with open_ledger(home) as ledger:
        return ledger.write(lambda c: keys.add(c, name, role, secret=ledger.secret, now=ledger.now_micros())).result()


def paused(home: Home) -> frozenset[str]:
    with open_ledger(home) as ledger, ledger.read() as connection:
        return switches.paused(connection)


def test_p30_one_person_pauses_and_two_keys_resume(home: Home) -> None:
    code, said, _ = run(switch_app, home, "pause", "channel:sms", "--json")
    assert code == 0
    assert json.loads(said)["state"] == "paused"
    assert paused(home) == {"channel:sms"}
    one, two = key_of(home, "ann", Role.MARKETING), key_of(home, "bob", Role.COMPLIANCE)
    assert json.loads(run(switch_app, home, "resume", "channel:sms", "--json", key=one)[1])["state"] == "resuming"
    code, _, error = run(switch_app, home, "resume", "channel:sms", key=one)
    assert code == 1
    assert "someone else has to agree" in str(error)
    assert paused(home) == {"channel:sms"}
    assert json.loads(run(switch_app, home, "resume", "channel:sms", "--json", key=two)[1])["state"] == "running"
    assert paused(home) == frozenset()


def test_resuming_without_a_key_or_with_a_channels_key_is_refused(home: Home) -> None:
    run(switch_app, home, "pause", "all")
    assert "resuming takes a key" in str(run(switch_app, home, "resume", "all")[2])
    assert "a channel key may not resume" in str(
        run(switch_app, home, "resume", "all", key=key_of(home, "sms-1", Role.CHANNEL))[2]
    )
    assert paused(home) == {"all"}


def test_an_unknown_scope_is_refused_in_one_line(home: Home) -> None:
    assert "unknown scope `chanel:sms`" in str(run(switch_app, home, "pause", "chanel:sms")[2])
    assert paused(home) == frozenset()


@pytest.mark.parametrize(("words", "states"), [(("customer", "A"), ["closed", "reserved"]), (("campaign", "spring"), ["closed", "closed"]),
                                               (("campaign", "none"), ["reserved", "reserved"])])  # fmt: skip
def test_p12_a_recall_takes_back_what_is_reserved(home: Home, words: tuple[str, str], states: list[str]) -> None:
    with open_ledger(home) as ledger:
        for name in ("A", "B"):
            row = ContactRow(contact_id=name, customer_id=name, unit_id=name, channel="sms", decided_at=AT, send_after=AT,
                             send_before=AT + 10**9, offer_id="x", family="card", campaign_id="spring")  # fmt: skip
            ledger.write(lambda c, row=row: reserve(c, row)).result()
    code, said, _ = run(recall_app, home, *words, "--json")
    assert code == 0
    assert json.loads(said) == {"recalled": states.count("closed")}
    with open_ledger(home) as ledger, ledger.read() as connection:
        rows = [find(connection, name) for name in ("A", "B")]
    assert [row.state for row in rows if row] == states
