"""`nbo keys`: the key is shown once and works; nothing that is listed would open the door."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.home import Home, Settings
from serving.commands.keys import app
from serving.ledger import keys
from serving.ledger.book import Ledger
from serving.ledger.keys import Principal, Role
from serving.ledger.writer import micros


@pytest.fixture
def home(tmp_path) -> Home:
    settings = Settings(clock="simulated", now="2026-06-01T00:00:00Z")
    return Home.create(tmp_path / "bank", settings)


def nbo(home: Path, *words: str):
    """One command; its result with stdout and stderr apart."""
    return CliRunner().invoke(app, list(words), obj=home)


def who(home: Home, key: str) -> Principal | None:
    """Whose key it is, asked as the service asks."""
    with (
        Ledger.open(home.database_url, home.now, home.secret()) as ledger,
        ledger.read() as connection,
    ):
        return keys.who(connection, key, secret=home.secret(), now=micros(home.now()))


def test_a_key_is_shown_once_and_works(home):
    made = nbo(home.path, "add", "sms-gateway", "--role", "channel", "--days", "30", "--json")
    assert made.exit_code == 0, made.output
    said = json.loads(made.stdout)
    assert said["expires_at"] == "2026-07-01T00:00:00Z"
    assert (said["name"], said["role"]) == ("sms-gateway", "channel")
    assert who(home, said["key"]) == Principal("sms-gateway", Role.CHANNEL)
    listed = nbo(home.path, "list", "--json")
    assert said["key"] not in listed.stdout
    assert json.loads(listed.stdout)["keys"] == [{
        "name": "sms-gateway", "role": "channel", "created_at": "2026-06-01T00:00:00Z",
        "expires_at": "2026-07-01T00:00:00Z", "revoked_at": None,
    }]  # fmt: skip


def test_p25_a_revoked_key_is_nobodys(home):
    said = json.loads(nbo(home.path, "add", "boss", "--role", "admin", "--json").stdout)
    gone = nbo(home.path, "revoke", "boss", "--json")
    assert json.loads(gone.stdout) == {"name": "boss"}
    assert who(home, said["key"]) is None
    row = json.loads(nbo(home.path, "list", "--json").stdout)["keys"][0]
    assert row["revoked_at"] == "2026-06-01T00:00:00Z"


def test_people_read_sentences(home):
    made = nbo(home.path, "add", "boss", "--role", "admin")
    assert "key for boss (admin), good until 2027-06-01" in made.stdout
    assert "not shown again" in made.stdout
    assert "boss" in nbo(home.path, "list").stdout
    assert nbo(home.path, "revoke", "boss").stdout == "the key of boss is revoked\n"


@pytest.mark.parametrize(("name", "noted"), [("legacy", True), ("call-desk", False)])
def test_a_channel_key_without_a_channel_in_its_name_is_noted(home, name, noted):
    made = nbo(home.path, "add", name, "--role", "channel", "--json")
    assert ("begins with no channel" in made.stderr) == noted
    assert len(made.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("revoke", "nobody"), "there is no key `nobody`; `nbo keys list` names them"),
        (("add", "", "--role", "admin"), "a key needs a printable name of 1 to 64 characters"),
    ],
)
def test_a_mistake_is_one_line(home, words, line):
    result = nbo(home.path, *words)
    assert isinstance(result.exception, ValueError)
    assert str(result.exception).startswith(line)


def test_an_unknown_role_is_refused_by_name(home):
    result = nbo(home.path, "add", "x", "--role", "king")
    assert result.exit_code == 2
    assert "king" in result.output
