"""P05: a changed byte of anything sealed is found and named, by verify and by an oracle that shares no code."""

import shutil
import sqlite3
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from serving.ledger import verify as verifying
from serving.ledger.book import Ledger
from serving.ledger.keyring import Keyring
from serving.ledger.seal import last_seal, look, seal, seal_of_row, unsealed
from serving.ledger.verify import Verified, verify
from serving.ledger.writer import SIMULATED
from tests.seal_oracle import problems
from tests.sealed_ledger import SECRET, Small, small

KEYS = {"k0": SECRET}


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        yield one


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger with four seals."""
    folder = tmp_path_factory.mktemp("filled")
    with small(folder) as one:
        one.filled()
    return folder / "nbo.db"


@pytest.fixture
def lite(filled: Path, tmp_path: Path) -> Generator[Small]:
    """A copy of it, a minute and more after the last seal."""
    shutil.copy(filled, tmp_path / "nbo.db")
    with small(tmp_path) as one:
        one.clock.now += timedelta(seconds=80)
        yield one


def verified(one: Small) -> Verified:
    with one.ledger.read() as connection:
        return verify(connection, one.keyring)


def named(one: Small) -> set[str]:
    return {f"{finding.what} {finding.which}" for finding in verified(one).findings}


def test_p05_what_nobody_touched_is_whole_and_the_tail_is_named(both: Small) -> None:
    both.filled()
    found = verified(both)
    assert found.findings == () and found.tail == () and found.seals == 4
    assert found.rows == 10 + 4 + 4 + 4 + 4 and found.head is not None
    both.decided("late")
    both.others("later")
    assert verified(both).tail == (("decision", "late"), ("consent", "later"), ("switch", "5"), ("journal", "5"))
    with both.ledger.read() as connection:
        assert seal_of_row(connection, "decision", "d00") == 1 and seal_of_row(connection, "decision", "late") is None
    assert both.sealed() is not None
    assert both.sealed() is None, "nothing new, no seal"
    again = verified(both)
    assert again.findings == again.tail == ()
    if both.url.startswith("sqlite"):
        assert problems(both.path, KEYS) == set()


def test_a_seal_takes_rows_the_clock_saw_before_the_last_one_and_leaves_imports_alone(both: Small) -> None:
    both.decided("a")
    both.sealed()
    both.decided("b")  # in the same instant
    made = both.sealed()
    assert made is not None and made.leaves == 1
    both.contacted("imported", source="import")
    assert both.sealed() is None and verified(both).rows == 2


def test_p05_an_old_row_that_no_seal_covers_is_found(both: Small) -> None:
    """Slipped in behind the chain: hashed as it should be, and older than what was sealed long ago."""
    both.filled()
    both.decided("slipped")
    both.run("UPDATE decisions SET recorded_at = recorded_at - 60000000 WHERE decision_id = 'slipped'")
    assert "decision slipped" in named(both)


def test_more_rows_than_one_seal_takes_are_all_sealed(both: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.ledger.seal.LEAVES_MAX", 3)
    for n in range(10):
        both.decided(f"d{n}")
    both.clock.now += timedelta(minutes=1)
    while both.sealed() is not None:
        pass
    found = verified(both)
    assert (found.findings, found.tail, found.rows, found.seals) == ((), (), 10, 4)


FLIPS = {
    "inputs first": ("inputs 0", {"decision d10"}),
    "inputs nonce": ("inputs 5", {"decision d10"}),
    "inputs middle": ("inputs 20", {"decision d10"}),
    "inputs last": ("inputs -1", {"decision d10"}),
    "result first": ("result 0", {"decision d10"}),
    "result last": ("result -1", {"decision d10"}),
    "reasons": ("UPDATE decisions SET reasons = '[]' WHERE decision_id = 'd10'", {"decision d10"}),
    "terms": ("UPDATE decisions SET terms = 'b' || substr(terms, 2) WHERE decision_id = 'd10'", {"decision d10"}),
    "as_of": ("UPDATE decisions SET as_of = as_of + 1 WHERE decision_id = 'd10'", {"decision d10"}),
    "customer": ("UPDATE decisions SET customer_id = 'C7' WHERE decision_id = 'd10'", {"decision d10"}),
    "row hash": ("UPDATE decisions SET row_sha256 = {flip} WHERE decision_id = 'd10'", {"decision d10"}),
    "row id": ("UPDATE decisions SET decision_id = 'dx' WHERE decision_id = 'd10'", {"decision d10", "decision dx"}),
    "row gone": ("DELETE FROM decisions WHERE decision_id = 'd10'", {"decision d10"}),
    "consent": ("UPDATE consents SET state = 'denied' WHERE consent_id = 's1'", {"consent s1"}),
    "consent null": ("UPDATE consents SET source = 'None' WHERE consent_id = 's1'", {"consent s1"}),
    "outcome": ("UPDATE outcomes SET recorded_at = recorded_at + 1 WHERE contact_id = 'c1'", None),
    "outcome gone": ("DELETE FROM outcomes WHERE contact_id = 'c1'", None),
    "switch": ("UPDATE switches SET principal = 'nobody' WHERE switch_id = 2", {"switch 2"}),
    "journal": ("UPDATE journal SET body = '{{}}' WHERE entry_id = 2", {"journal 2"}),
    "leaf": ("UPDATE leaves SET sha256 = {flip} WHERE row_id = 'd10'", {"decision d10", "seal 2"}),
    "leaf id": ("UPDATE leaves SET row_id = 'd1x' WHERE row_id = 'd10'", None),
    "leaf gone": ("DELETE FROM leaves WHERE row_id = 'd10'", None),
    "leaves swapped": ("UPDATE leaves SET place = 99 WHERE seal_id = 2 AND place = 0", {"seal 2"}),
    "root": ("UPDATE seals SET root = {flip} WHERE seal_id = 2", {"seal 2"}),
    "previous": ("UPDATE seals SET previous = {flip} WHERE seal_id = 2", {"seal 2"}),
    "head": ("UPDATE seals SET head = {flip} WHERE seal_id = 2", None),
    "sealed at": ("UPDATE seals SET sealed_at = sealed_at - 1 WHERE seal_id = 2", {"seal 2"}),
    "through": ("UPDATE seals SET through = through + 1 WHERE seal_id = 2", {"seal 2"}),
    "mac": ("UPDATE seals SET mac = {flip} WHERE seal_id = 2", {"seal 2"}),
    "key id": ("UPDATE seals SET key_id = 'k9' WHERE seal_id = 2", {"seal 2"}),
    "seal gone": ("DELETE FROM seals WHERE seal_id = 2", None),
}  # fmt: skip


def changed(one: Small, how: str) -> None:
    """One statement; or `column place`: one bit of that byte of d10's ciphertext."""
    if how.startswith(("UPDATE", "DELETE")):
        assert one.run(how) == 1
        return
    column, place = how.split()
    with sqlite3.connect(one.path) as raw:
        stored = bytearray(raw.execute(f"SELECT {column} FROM decisions WHERE decision_id = 'd10'").fetchone()[0])
        stored[int(place)] ^= 1
        raw.execute(f"UPDATE decisions SET {column} = ? WHERE decision_id = 'd10'", (bytes(stored),))


PLACES = [(flip, place) for flip in FLIPS for place in ((1, 33, 64) if "{flip}" in FLIPS[flip][0] else (1,))]


@pytest.mark.parametrize(("flip", "place"), PLACES)
def test_p05_a_flipped_byte_is_found_and_named(lite: Small, flip: str, place: int) -> None:
    sql, expected = FLIPS[flip]
    column = sql.split(" SET ")[1].split(" ")[0] if "{flip}" in sql else ""
    other = f"substr({column}, 1, {place - 1}) || CASE substr({column}, {place}, 1) WHEN '0' THEN '1' ELSE '0' END || substr({column}, {place + 1})"
    assert problems(lite.path, KEYS) == named(lite) == set()
    changed(lite, sql.format(flip=other))
    found = named(lite)
    assert found, "nothing was found"
    assert expected is None or found == expected
    assert problems(lite.path, KEYS), "the oracle sees it too"


def test_p05_a_chain_made_anew_without_the_key_is_found(lite: Small, tmp_path: Path) -> None:
    """Whoever can write the database, and has read this code, still lacks the home's key."""
    lite.run("DELETE FROM seals")
    lite.run("DELETE FROM leaves")
    forged = Keyring(tmp_path / "other.json", b"\0" * 32)
    lite.ledger.write(
        lambda c: seal(c, forged, lite.ledger.now_micros(), look(c, lite.ledger.now_micros(), since=0))
    ).result(30)
    assert named(lite) == {"seal 1"}


CHECKS = {  # the check left out -> what then passes unseen
    "_roots": "root", "_rows": "inputs middle", "_gone": "row gone",
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_p05_mutant_a_check_left_out_lets_its_byte_pass(
    lite: Small, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check is needed: with it put away, the byte that the test above finds goes unseen."""
    if check == "_roots":  # a forger with the key: head and HMAC are made anew over the false root
        from serving.ledger.seal import head_of, mac_of

        with lite.ledger.read() as connection:
            last = last_seal(connection)
        assert last is not None
        head = head_of(last.seal_id, last.sealed_at, last.through, last.leaves, "0" * 64, last.previous)
        lite.run("UPDATE seals SET root = ?, head = ?, mac = ? WHERE seal_id = ?", "0" * 64, head, mac_of(lite.keyring, "k0", head), last.seal_id)  # fmt: skip
    else:
        changed(lite, FLIPS[CHECKS[check]][0])
    assert named(lite)
    monkeypatch.setattr(verifying, check, lambda *_: [])
    assert not named(lite)


def test_p05_mutant_a_mac_that_is_not_compared_lets_a_forged_chain_pass(
    lite: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.run("DELETE FROM seals")
    lite.run("DELETE FROM leaves")
    forged = Keyring(tmp_path / "other.json", b"\0" * 32)
    lite.ledger.write(
        lambda c: seal(c, forged, lite.ledger.now_micros(), look(c, lite.ledger.now_micros(), since=0))
    ).result(30)
    monkeypatch.setattr(verifying.hmac, "compare_digest", lambda *_: True)
    assert not named(lite)


def test_rotated_keys_leave_old_seals_verifiable(lite: Small, tmp_path: Path) -> None:
    assert lite.keyring.rotate() == "k1"
    lite.decided("after")
    made = lite.sealed()
    assert made is not None and made.key_id == "k1"
    assert lite.keyring.rotate() == "k2" and (tmp_path / "keyring.json").stat().st_mode & 0o777 == 0o600
    assert named(lite) == set()
    (tmp_path / "keyring.json").unlink()
    assert named(lite) == {f"seal {made.seal_id}"}, "without its key a seal proves nothing"


def test_two_workers_on_postgresql_seal_each_row_once(tmp_path: Path) -> None:
    """Mutant: without the advisory lock both take the same number, and one seal is lost with an error."""
    with small(tmp_path, "postgresql") as one, \
            Ledger.open(one.url, one.clock, SECRET, bounds=SIMULATED) as other:  # fmt: skip
        errors: list[BaseException] = []

        def sealing(ledger: Ledger) -> None:
            try:
                for _ in range(25):
                    ledger.write(lambda c: seal(c, one.keyring, ledger.now_micros()), units=()).result(30)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=sealing, args=(ledger,)) for ledger in (one.ledger, other)]
        for thread in threads:
            thread.start()
        for n in range(40):
            one.decided(f"d{n}")
        for thread in threads:
            thread.join()
        while one.sealed() is not None:
            pass
        found = verified(one)
        with one.ledger.read() as connection:
            assert errors == [] and unsealed(connection) == []
        assert (found.findings, found.rows) == ((), 40)
