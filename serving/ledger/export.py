"""The sealed days as files: HOME/ledger/<day>/ with records, leaves and seals in Parquet, and a signed head.

A day is a UTC day of sealing. It is written once, when it is over; kept on storage that cannot be
overwritten, its head shows later whether the chain was cut or made anew. Payload is ciphertext there
too, so that erasure reaches it.
"""

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError
from sqlalchemy import Select, func, select
from sqlalchemy.engine import Connection

from features.settings import write_whole
from serving.ledger.keyring import Keyring, KeyringError
from serving.ledger.records import FIELDS
from serving.ledger.schema import decisions, leaves, seals
from serving.ledger.seal import Seal, seal_of
from serving.ledger.verify import Finding
from serving.ledger.writer import EPOCH, micros

HEAD_FILE, RECORDS_FILE = "head.json", "records.parquet"
_DAY = timedelta(days=1)
_BATCH = 5_000


class DayHead(BaseModel):
    """The end of one day of the chain. files: sha256 of each; mac: HMAC over all the rest."""

    day: str
    first_seal: int
    last_seal: int
    head: str
    files: dict[str, str]
    key_id: str
    mac: str = ""

    def signed(self, keyring: Keyring) -> str:
        """The HMAC this head should carry; KeyringError where its key is gone."""
        said = json.dumps(self.model_dump(exclude={"mac"}), sort_keys=True).encode()
        return hmac.new(keyring.seal_key(self.key_id), said, hashlib.sha256).hexdigest()


def export_days(connection: Connection, keyring: Keyring, folder: Path, now: int) -> list[str]:
    """Write every sealed day that is over and not written yet; which ones. Reads the ledger only."""
    today = _start(EPOCH + timedelta(microseconds=now))
    first, last = connection.execute(select(func.min(seals.c.sealed_at), func.max(seals.c.sealed_at))).one()
    if first is None:
        return []
    day, done = _start(EPOCH + timedelta(microseconds=first)), []
    while day < today and micros(day) <= last:
        name = f"{day:%Y-%m-%d}"
        if not (folder / name / HEAD_FILE).is_file() and _export(connection, keyring, folder, day):
            done.append(name)
        day += _DAY
    return done


def check_days(connection: Connection, keyring: Keyring, folder: Path, pruned_before: int = 0) -> list[Finding]:
    """What is wrong with the exported days. pruned_before: records sealed earlier may be gone."""
    findings: list[Finding] = []
    for path in sorted(folder.glob(f"*/{HEAD_FILE}")):
        findings += [Finding("export", path.parent.name, problem)
                     for problem in _problems(connection, keyring, path, pruned_before)]  # fmt: skip
    return findings


def _problems(connection: Connection, keyring: Keyring, path: Path, pruned_before: int) -> Iterator[str]:
    try:
        head = DayHead.model_validate_json(path.read_bytes())
        signed = hmac.compare_digest(head.signed(keyring).encode(), head.mac.encode())
    except (ValidationError, KeyringError):
        yield "its head.json cannot be read, or its key is not in the keyring"
        return
    if not signed:
        yield "its head.json does not carry the home's HMAC"
        return
    stands = connection.execute(select(seals.c.head).where(seals.c.seal_id == head.last_seal)).scalar()
    if stands != head.head:
        yield f"the chain has another head at seal {head.last_seal} than was exported: it was cut or made anew"
    over = micros(datetime.fromisoformat(head.day).replace(tzinfo=UTC) + _DAY) <= pruned_before
    for name, digest in head.files.items():
        file = path.parent / name
        if not file.is_file():
            if not (over and name == RECORDS_FILE):
                yield f"{name} is missing"
        elif _sha256(file) != digest:
            yield f"{name} is not what was written"


def _export(connection: Connection, keyring: Keyring, folder: Path, day: datetime) -> bool:
    within = (seals.c.sealed_at >= micros(day)) & (seals.c.sealed_at < micros(day + _DAY))
    ends = connection.execute(select(func.min(seals.c.seal_id), func.max(seals.c.seal_id)).where(within)).one()
    if ends[0] is None:
        return False
    last: Seal = seal_of(connection.execute(select(*seals.c).where(seals.c.seal_id == ends[1])).one())
    final, beside = folder / f"{day:%Y-%m-%d}", folder / f".{day:%Y-%m-%d}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    covered = (leaves.c.seal_id >= ends[0]) & (leaves.c.seal_id <= ends[1])
    of_day = select(*leaves.c).where(covered).order_by(leaves.c.seal_id, leaves.c.place)
    held = select(leaves.c.seal_id, leaves.c.place, *(decisions.c[name] for name in (*FIELDS, "row_sha256")))
    held = held.join(decisions, (leaves.c.kind == "decision") & (leaves.c.row_id == decisions.c.decision_id))
    chain = select(*seals.c).where(within).order_by(seals.c.seal_id)
    parts = {"leaves.parquet": of_day, "seals.parquet": chain,
             RECORDS_FILE: held.where(covered).order_by(leaves.c.seal_id, leaves.c.place)}  # fmt: skip
    for name, query in parts.items():
        _write(connection, query, beside / name)
    head = DayHead(day=final.name, first_seal=ends[0], last_seal=ends[1], head=last.head, key_id=keyring.current(),
                   files={name: _sha256(beside / name) for name in sorted(parts)})  # fmt: skip
    head = head.model_copy(update={"mac": head.signed(keyring)})
    write_whole(beside / HEAD_FILE, head.model_dump_json(indent=2).encode())
    shutil.rmtree(final, ignore_errors=True)  # without a head.json: half of an earlier try
    beside.rename(final)
    return True


def _write(connection: Connection, query: Select[Any], path: Path) -> None:
    types = {int: pa.int64(), bytes: pa.binary(), str: pa.string()}
    schema = pa.schema([(c.name, types[c.type.python_type]) for c in query.selected_columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in connection.execute(query.execution_options(yield_per=_BATCH)).mappings().partitions(_BATCH):
            writer.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema))


def _start(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
