"""The slow truth about seals: raw SQL, hashlib and recursion, sharing nothing with serving.ledger.

Written from the documented format alone. `problems` names what is wrong with a SQLite ledger.
"""

import hashlib
import hmac
import sqlite3
from pathlib import Path
from typing import Any

ROWS = {
    "decision": ("decisions", "decision_id", "decision_id customer_id unit_id as_of inputs result reasons terms revisions recorded_at"),
    "consent": ("consents", "consent_id", "consent_id customer_id purpose channel state source wording at received_at"),
    "outcome": ("outcomes", "contact_id || ' ' || kind || ' ' || at", "contact_id kind at recorded_at"),
    "switch": ("switches", "CAST(switch_id AS TEXT)", "switch_id scope action principal reason at"),
    "journal": ("journal", "CAST(entry_id AS TEXT)", "entry_id kind subject principal body at"),
    "change": ("change_steps", "CAST(step_id AS TEXT)", "step_id change_id act principal role kinds base target at effective_at passed note report previous signature"),
}  # fmt: skip


def digest(values: tuple[Any, ...]) -> str:
    whole = b""
    for value in values:
        if value is None:
            whole += b"\xff\xff\xff\xff\xff\xff\xff\xff"
        else:
            part = value if isinstance(value, bytes) else str(value).encode()
            whole += len(part).to_bytes(8, "big") + part
    return hashlib.sha256(whole).hexdigest()


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1: split at the largest power of two below n."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def problems(path: Path, keys: dict[str, bytes]) -> set[str]:
    """`kind id` of every row, and `seal n` of every seal, that is not what was sealed; unsealed rows are no problem."""
    db = sqlite3.connect(path)
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    bad: set[str] = set()
    previous = "0" * 64
    for n, at, through, count, root, before, head, key_id, mac in db.execute("SELECT * FROM seals ORDER BY seal_id"):
        leaves = db.execute("SELECT kind, row_id, sha256 FROM leaves WHERE seal_id = ? ORDER BY place", (n,)).fetchall()
        texts = [f"{kind}\0{row}\0{sha}".encode("utf-8", "surrogateescape") for kind, row, sha in leaves]
        seal_key = hmac.digest(keys.get(key_id, b"none"), b"nbo\0seal", "sha256")
        if (len(leaves) != count or not leaves or tree(texts).hex() != root or before != previous
                or digest((n, at, through, count, root, before)) != head
                or hmac.new(seal_key, head.encode(), "sha256").hexdigest() != mac):  # fmt: skip
            bad.add(f"seal {n}")
        previous = head
        for kind, row_id, sha in leaves:
            table, name, columns = ROWS.get(kind, ROWS["decision"])
            found = db.execute(
                f"SELECT {columns.replace(' ', ', ')} FROM {table} WHERE {name} = ?", (row_id,)
            ).fetchone()
            if found is None or digest(found) != sha:
                bad.add(f"{kind} {row_id}")
            stated = db.execute("SELECT row_sha256 FROM decisions WHERE decision_id = ?", (row_id,)).fetchone()
            if kind == "decision" and stated != (sha,):
                bad.add(f"{kind} {row_id}")
    db.close()
    return bad
