"""The home's keys for seals and for the vault, by id, so that they can change while old seals still verify.

`k0` is made from the home's secret. Each rotation adds a random key to HOME/keyring.json, which only
its owner may read; nothing is ever taken out, for an old seal needs its old key. Draws, holdouts and
the hashes of service keys stay with the secret itself: they must not move with a rotation.
"""

import hashlib
import hmac
import json
import os
import secrets
from functools import lru_cache
from pathlib import Path

FIRST = "k0"


class KeyringError(ValueError):
    """A key is missing or the file is no keyring; one line."""


@lru_cache(maxsize=64)
def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, b"nbo\0" + purpose, hashlib.sha256).digest()


class Keyring:
    """The keys of one home. file: keyring.json, which may be absent; read again when it changes."""

    def __init__(self, file: Path, secret: bytes) -> None:
        self._file, self._secret = file, secret
        self._read: tuple[int, dict[str, bytes]] = (-1, {})

    def current(self) -> str:
        """The id of the key in force: the newest."""
        return list(self._keys())[-1]

    def ids(self) -> tuple[str, ...]:
        """Every key's id, the oldest first."""
        return tuple(self._keys())

    def seal_key(self, key_id: str) -> bytes:
        """32 bytes for the HMAC over heads; KeyringError where the id is unknown."""
        return self._derived(key_id, b"seal")

    def vault_key(self, key_id: str) -> bytes:
        """32 bytes that wrap customers' data keys; KeyringError where the id is unknown."""
        return self._derived(key_id, b"vault")

    def rotate(self) -> str:
        """Add a random key and put it in force; its id. The file is written whole, for its owner only."""
        kept = {key_id: key.hex() for key_id, key in self._keys().items() if key_id != FIRST}
        key_id = f"k{len(kept) + 1}"
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(kept | {key_id: secrets.token_hex(32)}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._file)
        return key_id

    def _derived(self, key_id: str, purpose: bytes) -> bytes:
        key = self._keys().get(key_id)
        if key is None:
            raise KeyringError(f"key `{key_id}` is missing in keyring.json; bring the file back from the backup")
        return _derived(key, purpose)

    def _keys(self) -> dict[str, bytes]:
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if changed != self._read[0]:
            self._read = (changed, {FIRST: self._secret} | (self._parsed() if changed else {}))
        return self._read[1]

    def _parsed(self) -> dict[str, bytes]:
        try:
            return {str(name): bytes.fromhex(key) for name, key in json.loads(self._file.read_bytes()).items()}
        except (ValueError, AttributeError, TypeError):
            raise KeyringError("keyring.json is no keyring; bring the file back from the backup") from None
