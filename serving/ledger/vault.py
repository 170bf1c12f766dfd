"""Personal payload under a key per customer: shredding the key erases it, and the seal stays whole.

A record's inputs and result are AES-256-GCM ciphertext, bound to their decision_id and column. The
customer's data key lies in the table `vault`, wrapped by the home's key. The row hash and the seal
are taken over the ciphertext, so they hold when nobody can read it any more.

The wrapped key is read in the decision's own transaction, never remembered: a shredded key acts with
the next decision in every process. What is remembered is how a wrapped key unwraps.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from serving.ledger.keyring import Keyring
from serving.ledger.records import DecisionRow
from serving.ledger.schema import vault
from serving.ledger.statement import Entry, Statement, is_listed, listed

ENCRYPTED = b"\x01"  # first byte of a payload; JSON, as records were before the vault, begins with `{`
NONCE_BYTES, KEY_BYTES = 12, 32
KEPT = 65_536  # unwrapped keys remembered in a process: about 20 MB

_FIND = Statement(
    select(vault.c.wrapped, vault.c.key_id, vault.c.shredded_at).where(vault.c.customer_id == bindparam("customer_id"))
)
_FIND_MANY = Statement(
    select(vault.c.customer_id, vault.c.wrapped, vault.c.key_id).where(
        is_listed(vault.c.customer_id, bindparam("customer_ids"))
    )
)
_FIELDS = ("customer_id", "wrapped", "key_id", "made_at", "shredded_at")
_NEW = Statement(insert(vault))
_MAKE = Statement(
    insert(vault),
    "ON CONFLICT (customer_id) DO UPDATE SET wrapped = excluded.wrapped, key_id = excluded.key_id,"
    " made_at = excluded.made_at WHERE vault.wrapped IS NULL RETURNING key_id",
)


class ErasedError(ValueError):
    """The payload was erased: its key is shredded. `at`: when, in microseconds UTC."""

    def __init__(self, at: int) -> None:
        super().__init__("the payload of this record was erased, its key is shredded; the record and its seal stand")
        self.at = at


class PayloadError(ValueError):
    """The payload cannot be opened, and was not erased: bytes or key are not what they were."""


class Vault:
    """Closes and opens the payload of records with the customers' keys."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self._unwrapped: Callable[[bytes, str, str], AESGCM] = lru_cache(KEPT)(self._unwrap)

    def ciphers(self, connection: Connection, customers: Iterable[str]) -> dict[str, AESGCM | None]:
        """The ciphers of those who have or had a key, null where it was shredded.

        Good for this transaction, as long as nobody shreds one there.
        """
        found = _FIND_MANY.run(connection, customer_ids=listed(customers)).fetchall()
        return {
            customer: wrapped and self._unwrapped(bytes(wrapped), key_id, customer)
            for customer, wrapped, key_id in found
        }

    def closed(self, connection: Connection, row: DecisionRow) -> DecisionRow:
        """The row with its payload encrypted; a customer's first record makes his key."""
        return closed_with(self._cipher_of(connection, row.customer_id, row.recorded_at), row)

    def keying(self, customer: str, now: int) -> tuple[AESGCM, Entry]:
        """A cipher for somebody who never had a key, and what is to be entered with it."""
        plain, key_id = os.urandom(KEY_BYTES), self.keyring.current()
        return AESGCM(plain), Entry(_NEW, _FIELDS, (customer, self._wrap(plain, key_id, customer), key_id, now, None))

    def opened(self, connection: Connection, row: DecisionRow) -> DecisionRow:
        """The row with its payload readable; ErasedError, or PayloadError where it is damaged."""
        if not row.inputs.startswith(ENCRYPTED) and not row.result.startswith(ENCRYPTED):
            return row
        found = _FIND.run(connection, customer_id=row.customer_id).fetchone()
        if found is None:
            raise PayloadError("the customer's key is missing from the vault; restore it from the backup")
        wrapped, key_id, shredded_at = found
        try:
            if wrapped is None:
                raise InvalidTag
            cipher = self._unwrapped(bytes(wrapped), key_id, row.customer_id)
            return replace(row, inputs=_decrypt(cipher, row, "inputs"), result=_decrypt(cipher, row, "result"))
        except InvalidTag:
            if shredded_at is not None and row.recorded_at <= shredded_at:
                raise ErasedError(int(shredded_at)) from None
            raise PayloadError("the payload does not open with the customer's key: bytes were changed") from None

    def rewrap(self, connection: Connection, after: str, limit: int = 1_000) -> tuple[int, str]:
        """Wrap keys by the home's key in force, at most `limit` beyond customer `after`; (how many, the last one)."""
        current = self.keyring.current()
        rows = connection.execute(
            select(vault.c.customer_id, vault.c.wrapped, vault.c.key_id)
            .where(vault.c.wrapped.is_not(None), vault.c.key_id != current, vault.c.customer_id > after)
            .order_by(vault.c.customer_id)
            .limit(limit)
        ).all()
        for customer, wrapped, key_id in rows:
            plain = self._plain(bytes(wrapped), key_id, customer)
            values = {"wrapped": self._wrap(plain, current, customer), "key_id": current}
            connection.execute(update(vault).where(vault.c.customer_id == customer).values(values))
        return len(rows), rows[-1][0] if rows else after

    def _cipher_of(self, connection: Connection, customer: str, now: int) -> AESGCM:
        found = _FIND.run(connection, customer_id=customer).fetchone()
        if found is None or found[0] is None:
            return self._new_cipher(connection, customer, now)
        return self._unwrapped(bytes(found[0]), found[1], customer)

    def _new_cipher(self, connection: Connection, customer: str, now: int) -> AESGCM:
        """The cipher of a key made now for somebody who has none; another worker's where that was first."""
        key_id, plain = self.keyring.current(), os.urandom(KEY_BYTES)
        made = dict(zip(_FIELDS, (customer, self._wrap(plain, key_id, customer), key_id, now, None), strict=True))
        if _MAKE.run(connection, **made).fetchone() is not None:
            return AESGCM(plain)
        wrapped, key_id, _ = _FIND.run(connection, customer_id=customer).fetchone()
        return self._unwrapped(bytes(wrapped), key_id, customer)

    def _wrap(self, plain: bytes, key_id: str, customer: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + _cipher(self.keyring.vault_key(key_id)).encrypt(nonce, plain, customer.encode())

    def _plain(self, wrapped: bytes, key_id: str, customer: str) -> bytes:
        home = _cipher(self.keyring.vault_key(key_id))
        return home.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], customer.encode())

    def _unwrap(self, wrapped: bytes, key_id: str, customer: str) -> AESGCM:
        return AESGCM(self._plain(wrapped, key_id, customer))


_cipher = lru_cache(maxsize=64)(AESGCM)  # of the home's keys, which are few


def closed_with(cipher: AESGCM, row: DecisionRow) -> DecisionRow:
    """The row with its payload encrypted."""
    return replace(row, inputs=_encrypt(cipher, row, "inputs"), result=_encrypt(cipher, row, "result"))


def shred(connection: Connection, customer: str, now: int) -> None:
    """Forget the customer's key: what it encrypted cannot be read again, by anyone."""
    gone = {"customer_id": customer, "wrapped": None, "key_id": None, "made_at": now, "shredded_at": now}
    known = update(vault).where(vault.c.customer_id == customer)
    if connection.execute(known.values(wrapped=None, key_id=None, shredded_at=now)).rowcount == 0:
        connection.execute(insert(vault).values(gone))


def _encrypt(cipher: AESGCM, row: DecisionRow, column: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return ENCRYPTED + nonce + cipher.encrypt(nonce, getattr(row, column), _bound_to(row, column))


def _decrypt(cipher: AESGCM, row: DecisionRow, column: str) -> bytes:
    payload: bytes = getattr(row, column)
    if not payload.startswith(ENCRYPTED):
        raise InvalidTag
    start = len(ENCRYPTED) + NONCE_BYTES
    return cipher.decrypt(payload[len(ENCRYPTED) : start], payload[start:], _bound_to(row, column))


def _bound_to(row: DecisionRow, column: str) -> bytes:
    return f"{row.decision_id}\0{column}".encode()
