"""P26: payload is unreadable without the customer's key, and bound to its record."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.ledger.keyring import Keyring, KeyringError
from serving.ledger.records import find, is_whole
from serving.ledger.vault import ErasedError, PayloadError, Vault, shred
from tests.sealed_ledger import SECRET, Small, small


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        yield one


def opened(one: Small, name: str, vault: Vault | None = None) -> bytes:
    with one.ledger.read() as connection:
        row = find(connection, name)
        assert row is not None and is_whole(connection, name)
        return (vault or one.vault).opened(connection, row).inputs


def test_p26_payload_is_stored_encrypted_and_reads_back(both: Small) -> None:
    stored = both.decided("d1")
    both.decided("d2", "C2")
    assert b"age" not in stored.inputs and b"offer" not in stored.result
    assert opened(both, "d1") == b'{"age": "d1"}' and opened(both, "d2") == b'{"age": "d2"}'
    assert opened(both, "d1", Vault(both.keyring)) == b'{"age": "d1"}', "another process"


def test_payload_of_one_record_does_not_open_in_another_place(both: Small) -> None:
    one, two = both.decided("d1"), both.decided("d2")
    with both.ledger.read() as connection:
        for moved in (replace(one, inputs=two.inputs), replace(one, inputs=one.result), replace(one, customer_id="C9"),
                      replace(one, inputs=b"{}")):  # fmt: skip
            with pytest.raises(PayloadError):
                both.vault.opened(connection, moved)
        plain = replace(one, inputs=b"{}", result=b"{}")
        assert both.vault.opened(connection, plain) == plain, "records from before the vault"


def test_p26_a_shredded_key_erases_in_every_process_at_once(both: Small) -> None:
    """Mutant: a vault that remembers the customer's key by his id would go on reading here."""
    both.decided("d1")
    both.decided("kept", "C2")
    other = Vault(both.keyring)
    assert opened(both, "d1", other)
    both.ledger.write(lambda c: shred(c, "C1", both.ledger.now_micros())).result(30)
    for vault in (both.vault, other):
        with pytest.raises(ErasedError, match="was erased"):
            opened(both, "d1", vault)
    assert opened(both, "kept")
    both.decided("again")
    assert opened(both, "again"), "who comes back gets another key"
    with pytest.raises(ErasedError):
        opened(both, "d1")


def test_rotation_wraps_the_keys_anew_and_old_records_read(both: Small) -> None:
    for n in range(5):
        both.decided(f"d{n}", f"C{n}")
    both.ledger.write(lambda c: shred(c, "C4", both.ledger.now_micros())).result(30)
    assert both.keyring.rotate() == "k1"
    n_done, after = both.ledger.write(lambda c: both.vault.rewrap(c, "", limit=3)).result(30)
    assert (n_done, after) == (3, "C2")
    assert both.ledger.write(lambda c: both.vault.rewrap(c, after)).result(30) == (1, "C3")
    assert both.ledger.write(lambda c: both.vault.rewrap(c, "")).result(30) == (0, "")
    assert [opened(both, f"d{n}") for n in range(4)] == [f'{{"age": "d{n}"}}'.encode() for n in range(4)]


def test_a_service_that_runs_takes_a_new_key_from_the_file(tmp_path: Path) -> None:
    running, operator = (Keyring(tmp_path / "keyring.json", SECRET) for _ in range(2))
    assert running.current() == "k0"
    operator.rotate()
    assert running.current() == "k1" and running.ids() == ("k0", "k1")
    assert running.seal_key("k1") == operator.seal_key("k1") != running.vault_key("k1")
    with pytest.raises(KeyringError, match="`k7` is missing"):
        running.seal_key("k7")
    (tmp_path / "keyring.json").write_text("[]")
    with pytest.raises(KeyringError, match="no keyring"):
        running.current()
