"""The proof that one row is what it was: its hash, its leaf, the root, the head, the HMAC, the link to the seal before.

What `verify` does for the whole ledger, for one row, and told step by step. Reads only.
"""

import hmac
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection

from serving.ledger.keyring import Keyring, KeyringError
from serving.ledger.merkle import merkle_root
from serving.ledger.records import is_whole
from serving.ledger.schema import leaves, seals
from serving.ledger.seal import COLUMNS, FIRST_PREVIOUS, Seal, head_of, leaf_bytes, mac_of, seal_of, seal_of_row


@dataclass(frozen=True)
class SealProof:
    """Each step holds or does not. seal: null where no seal covers the row yet; then only `row` is known."""

    row: bool  # the stored bytes have the row's hash
    seal: Seal | None
    leaf: bool = False  # the row's hash is the one that was sealed
    root: bool = False  # the leaf is among those the root is made of
    head: bool = False  # the head is the hash of root and times
    mac: bool = False  # the head bears the home's HMAC
    chain: bool = False  # it follows the head of the seal before

    @property
    def is_whole(self) -> bool:
        """Whether every step holds."""
        return self.seal is not None and all((self.row, self.leaf, self.root, self.head, self.mac, self.chain))


def proof_of_decision(connection: Connection, keyring: Keyring, decision_id: str, row_sha256: str) -> SealProof:
    """The proof of a decision's record. KeyError: there is none."""
    row, number = is_whole(connection, decision_id), seal_of_row(connection, "decision", decision_id)
    if number is None:
        return SealProof(row, None)
    found = {
        one.seal_id: one
        for one in map(seal_of, connection.execute(select(*COLUMNS).where(seals.c.seal_id.in_((number - 1, number)))))
    }
    seal = found.get(number)
    if seal is None:
        return SealProof(row, None)
    sealed = connection.execute(
        select(leaves.c.kind, leaves.c.row_id, leaves.c.sha256)
        .where(leaves.c.seal_id == number)
        .order_by(leaves.c.place)
    ).all()
    before = found[number - 1].head if number - 1 in found else FIRST_PREVIOUS
    return SealProof(
        row, seal,
        leaf=("decision", decision_id, row_sha256) in {(leaf.kind, leaf.row_id, leaf.sha256) for leaf in sealed},
        root=merkle_root([leaf_bytes(leaf.kind, leaf.row_id, leaf.sha256) for leaf in sealed]) == seal.root,
        head=head_of(seal.seal_id, seal.sealed_at, seal.through, seal.leaves, seal.root, seal.previous) == seal.head,
        mac=_signed(keyring, seal), chain=seal.previous == before,
    )  # fmt: skip


def _signed(keyring: Keyring, seal: Seal) -> bool:
    try:
        return hmac.compare_digest(mac_of(keyring, seal.key_id, seal.head).encode(), seal.mac.encode())
    except KeyringError:
        return False
