"""The customers of a run: block by block they are what they are all at once, and no unit is parted."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.identity import shared
from serving.ledger.consents import consents_table
from serving.ledger.events import events_table
from serving.lists import people
from serving.lists.dealt import CHUNK, Queue, deal
from serving.lists.people import queue_of, read_people
from serving.office import Office
from tests.home import COUPLE, HERO, Clock, call, move, said

PAIRS = [("C0000004", "C0000005"), ("C0000006", "C0000900"), ("C0000011", "C0000012")]
CERTAIN = PAIRS[:2]


def tables_of(office: Office, clock: Clock) -> dict[str, pa.Table]:
    """What the ledger holds after some events and consents, and three persons with two ids each."""
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)
    move(office, "salary", 900_000, 1_000_000, clock.now, "C0000900", "CNY")
    office.consent(said(clock.now, "withdrawn", PAIRS[0][0], "all"), call()).result(30)
    office.consent(said(clock.now, "denied", PAIRS[2][1], "sms"), call()).result(30)
    rows = [{"customer_id": name, "person_id": pair[0]} for pair in PAIRS for name in pair]
    with office.ledger.read() as connection:
        return {"events": events_table(connection, 0), "consents": consents_table(connection, 0),
                "persons": pa.Table.from_pylist(rows, pa.schema([("customer_id", pa.string()), ("person_id", pa.string())]))}  # fmt: skip


def members() -> pa.Table:
    """The ledger's units: each pair is one, and the couple no longer lives together."""
    rows = [{"customer_id": name, "unit_id": f"U{pair[0]}"} for pair in PAIRS for name in pair]
    return pa.Table.from_pylist([*rows, *({"customer_id": name, "unit_id": name} for name in COUPLE)])


def all_at_once(office: Office, clock: Clock, ledger: dict[str, pa.Table]) -> pa.Table:
    """The slow obvious way: everybody in memory, overlaid, shared, given his unit, sorted."""
    snapshot = office.engine.snapshot(clock.now)
    assert snapshot is not None
    rows = office.engine.store.overlay(snapshot.table, clock.now, ledger["events"], ledger["consents"])
    rows = shared(rows, PAIRS, CERTAIN)
    known = dict(zip(*(members().column(name).to_pylist() for name in ("customer_id", "unit_id")), strict=True))
    units = [known.get(who, unit) for who, unit in zip(*(rows.column(n).to_pylist() for n in ("customer_id", "unit_id")), strict=True)]  # fmt: skip
    where = rows.schema.get_field_index("unit_id")
    rows = rows.set_column(where, rows.schema.field(where), pa.array(units))
    return rows.sort_by([("unit_id", "ascending"), ("customer_id", "ascending")])


def read(office: Office, clock: Clock, ledger: dict[str, pa.Table], block: int) -> pa.Table:
    snapshot = office.engine.snapshot(clock.now)
    assert snapshot is not None
    waiting = queue_of(snapshot, members(), block)
    return read_people(office.engine.store, snapshot, clock.now, waiting, deal(dict(ledger), waiting), CERTAIN)


def test_in_blocks_of_any_size_they_are_what_they_are_all_at_once(office: Office, clock: Clock) -> None:
    ledger = tables_of(office, clock.forward(hours=1) and clock)
    clock.forward(minutes=1)
    wanted = all_at_once(office, clock, ledger)
    assert wanted.column("unit_id").to_pylist() != wanted.column("customer_id").to_pylist(), "there are households"
    for block in (157, CHUNK):
        found = read(office, clock, ledger, block)
        assert found.schema.equals(wanted.schema, check_metadata=True)
        assert [n for n in found.column_names if not found.column(n).equals(wanted.column(n))] == []
        seen: set[str] = set()
        for part in found.to_batches():
            mine = set(part.column("unit_id").to_pylist())
            assert not mine & seen, "a unit stands in two blocks"
            seen |= mine


def test_a_block_that_parts_a_unit_is_seen(office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a block ends between the two ids of a person. What the one refused is then not known of the other."""
    ledger = tables_of(office, clock)
    clock.forward(minutes=1)
    wanted = all_at_once(office, clock, ledger)
    cut = wanted.column("customer_id").to_pylist().index(PAIRS[0][1])
    assert read(office, clock, ledger, cut).equals(wanted), "a queue parts nobody"
    whole = people.queue

    def parted(customers: pa.ChunkedArray, units: pa.ChunkedArray, size: int) -> Queue:
        return replace(whole(customers, units, size), ends=np.array([cut, len(customers)]))

    monkeypatch.setattr(people, "queue", parted)
    monkeypatch.setattr(people, "TOGETHER", 1)
    assert not read(office, clock, ledger, CHUNK).equals(wanted)


def test_nobody_is_nobody(office: Office, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tables_of(office, clock)
    snapshot = office.engine.snapshot(clock.now)
    assert snapshot is not None
    snapshot.__dict__["table"] = snapshot.table.slice(0, 0)
    assert read(office, clock, ledger, 10).num_rows == 0


def test_the_file_has_no_name_when_it_is_read(
    office: Office, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one left behind by a run that fails."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    ledger = tables_of(office, clock)
    found = read(office, clock, ledger, 100)
    assert list((tmp_path / "own").iterdir()) == []
    assert HERO in found.column("customer_id").to_pylist() and pc.sum(found.column("age_years")).as_py() > 0
    with pytest.raises(KeyError):
        read(office, clock, {"persons": ledger["persons"]}, 100)
    assert list((tmp_path / "own").iterdir()) == []
