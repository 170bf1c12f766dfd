"""`nbo users`: people who sign in; the password is asked for, kept as a hash, and said to nobody."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.home import Home, Settings
from serving.commands.users import app
from serving.ledger import users
from serving.ledger.book import Ledger
from serving.ledger.keys import Role

PASSWORD = "correct horse battery"


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.create(tmp_path / "bank", Settings(clock="simulated", now="2026-06-01T00:00:00Z"))


def nbo(home: Home, *words: str, said: str = f"{PASSWORD}\n"):
    return CliRunner().invoke(app, list(words), obj=home.path, input=said)


def stored(home: Home, name: str) -> users.Stored:
    with Ledger.open(home.database_url, home.now, home.secret()) as ledger, ledger.read() as connection:
        return users.stored(connection, name)


def test_a_user_signs_in_with_his_password_until_it_is_changed_or_he_is_revoked(home):
    assert nbo(home, "add", "mei", "--role", "marketing", "--password-stdin").exit_code == 0
    assert stored(home, "mei").role is Role.MARKETING
    assert users.matches(stored(home, "mei"), PASSWORD)
    assert not users.matches(stored(home, "mei"), PASSWORD + " ")
    assert nbo(home, "password", "mei", "--password-stdin", said="another long one\n").exit_code == 0
    assert not users.matches(stored(home, "mei"), PASSWORD)
    assert nbo(home, "revoke", "mei").exit_code == 0
    assert not users.matches(stored(home, "mei"), "another long one")
    assert stored(home, "mei") == stored(home, "nobody")


def test_the_password_is_asked_for_twice_and_nowhere_shown(home):
    made = nbo(home, "add", "lin", "--role", "compliance", "--json", said=f"{PASSWORD}\n{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    assert PASSWORD not in made.output
    assert json.loads(made.stdout.splitlines()[-1]) == {"name": "lin"}
    assert nbo(home, "add", "wang", "--role", "compliance", said=f"{PASSWORD}\nanother\n").exit_code == 1
    listed = nbo(home, "list", "--json").stdout
    assert json.loads(listed)["users"] == [{"name": "lin", "role": "compliance", "created_at": "2026-06-01T00:00:00Z",
                                            "changed_at": "2026-06-01T00:00:00Z", "revoked_at": None}]  # fmt: skip
    assert "argon2" not in listed
    assert PASSWORD.encode() not in Path(home.path / "nbo.db").read_bytes()


@pytest.mark.parametrize(("words", "said", "line"), [
    (("add", "mei", "--role", "marketing"), "short\n", "a password has 12 to 128 characters; choose another"),
    (("add", "mei", "--role", "marketing"), "x" * 129 + "\n", "a password has 12 to 128 characters; choose another"),
    (("add", "mei", "--role", "marketing"), "I am MEI and long\n", "the password holds the name; choose another"),
    (("add", " mei", "--role", "marketing"), PASSWORD + "\n", "a user needs a printable name of 1 to 64 characters without outer spaces; choose one"),
    (("password", "nobody"), PASSWORD + "\n", "there is no user `nobody`; nbo users list names them"),
])  # fmt: skip
def test_what_will_not_do_is_one_line(home, words, said, line):
    refused = nbo(home, *words, "--password-stdin", said=said)
    assert str(refused.exception) == line


def test_a_name_is_given_once_for_ever(home):
    nbo(home, "add", "mei", "--role", "marketing", "--password-stdin")
    nbo(home, "revoke", "mei")
    assert "already" in str(nbo(home, "add", "mei", "--role", "admin", "--password-stdin").exception)
    assert "there is no user" in str(nbo(home, "revoke", "lin").exception)


def test_a_desk_user_without_a_channel_is_told(home):
    assert "begins with no channel" in nbo(home, "add", "li", "--role", "channel", "--password-stdin").stderr
    assert nbo(home, "add", "call-li", "--role", "channel", "--password-stdin").stderr == ""
