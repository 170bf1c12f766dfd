"""The sealed days as files: written once, checked against the chain, and proof against a chain cut short."""

import json
import shutil
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from serving.ledger.export import check_days, export_days
from serving.ledger.merkle import merkle_root
from serving.ledger.seal import leaf_bytes
from tests.sealed_ledger import Small, small


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Small]:
    with small(tmp_path, request.param) as one:
        one.filled()
        one.clock.now += timedelta(days=1)
        one.decided("next day")
        one.sealed()
        yield one


def exported(one: Small) -> list[str]:
    with one.ledger.read() as connection:
        return export_days(connection, one.keyring, one.path.parent / "ledger", one.ledger.now_micros())


def wrong(one: Small, pruned_before: int = 0) -> list[str]:
    with one.ledger.read() as connection:
        return [
            f"{f.which} {f.problem}"
            for f in check_days(connection, one.keyring, one.path.parent / "ledger", pruned_before)
        ]


def test_a_day_that_is_over_is_exported_once_with_the_same_bytes(both: Small) -> None:
    assert exported(both) == ["2026-06-01"], "today is not over"
    day = both.path.parent / "ledger" / "2026-06-01"
    before = {path.name: path.read_bytes() for path in day.iterdir()}
    assert sorted(before) == ["head.json", "leaves.parquet", "records.parquet", "seals.parquet"]
    assert exported(both) == [] and {path.name: path.read_bytes() for path in day.iterdir()} == before
    shutil.rmtree(day)
    assert exported(both) == ["2026-06-01"] and {path.name: path.read_bytes() for path in day.iterdir()} == before
    assert wrong(both) == []


def test_the_files_alone_give_the_roots(both: Small) -> None:
    exported(both)
    day = both.path.parent / "ledger" / "2026-06-01"
    leaves, seals = pq.read_table(day / "leaves.parquet").to_pylist(), pq.read_table(day / "seals.parquet").to_pylist()
    for seal in seals:
        mine = [
            leaf_bytes(row["kind"], row["row_id"], row["sha256"]) for row in leaves if row["seal_id"] == seal["seal_id"]
        ]
        assert merkle_root(mine) == seal["root"]
    records = pq.read_table(day / "records.parquet").to_pylist()
    assert len(records) == 10 and all(row["inputs"][:1] == b"\x01" for row in records), (
        "ciphertext, so erasure reaches it"
    )
    assert json.loads((day / "head.json").read_text())["head"] == seals[-1]["head"]


def test_p05_a_changed_file_and_a_chain_cut_short_are_found(both: Small) -> None:
    exported(both)
    day = both.path.parent / "ledger" / "2026-06-01"
    records = (day / "records.parquet").read_bytes()
    (day / "records.parquet").write_bytes(records[:-1] + bytes([records[-1] ^ 1]))
    assert wrong(both) == ["2026-06-01 records.parquet is not what was written"]
    (day / "records.parquet").unlink()
    assert wrong(both) == ["2026-06-01 records.parquet is missing"]
    assert wrong(both, both.ledger.now_micros()) == [], "pruned: the head and the leaves stay"
    (day / "records.parquet").write_bytes(records)
    both.run("DELETE FROM seals WHERE seal_id >= 4")
    both.run("DELETE FROM leaves WHERE seal_id >= 4")
    assert wrong(both) == ["2026-06-01 the chain has another head at seal 4 than was exported: it was cut or made anew"]
    head = (day / "head.json").read_text()
    (day / "head.json").write_text(head.replace('"last_seal": 4', '"last_seal": 3'))
    assert wrong(both) == ["2026-06-01 its head.json does not carry the home's HMAC"]
    (day / "head.json").write_text("{}")
    assert wrong(both) == ["2026-06-01 its head.json cannot be read, or its key is not in the keyring"]
