"""Delta and Iceberg tables: what their newest version holds is imported as if it were Parquet, and nothing that was deleted."""

import base64
import json
import shutil
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.typedef import Record

from features.feed import FeedError
from features.home import Home
from features.intake import import_tables
from features.tables import TABLES
from tests.feature_bank import made_up_bank, small_home, write_tables

B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return small_home(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tables = made_up_bank(3, transactions=200)
    return write_tables({name: tables[name] for name in ("customers", "accounts", "transactions")}, tmp_path / "source")


def as_delta(source: Path, name: str, **how: Any) -> Path:
    """The Parquet file of a table replaced by a Delta table of the same rows, in two commits."""
    file = source / f"{name}.parquet"
    rows = pq.read_table(file)
    file.unlink()
    half = rows.num_rows // 2
    for part in (rows.slice(0, half), rows.slice(half)):
        deltalake.write_deltalake(source / name, part, mode="append", **how)
    return source / name


def as_iceberg(source: Path, name: str, partition_by: str | None = None) -> IcebergTable:
    """The Parquet file of a table replaced by an Iceberg table of the same rows, in two commits."""
    file = source / f"{name}.parquet"
    rows = pq.read_table(file)
    file.unlink()
    catalog = InMemoryCatalog("lake", warehouse=(source.parent / "elsewhere").as_uri())
    catalog.create_namespace_if_not_exists("bank")
    table = catalog.create_table(("bank", name), rows.schema, location=(source / name).as_uri())
    if partition_by:
        with table.update_spec() as update:
            update.add_identity(partition_by)
    half = rows.num_rows // 2
    for part in (rows.slice(0, half), rows.slice(half)):
        table.append(part)
    return table


def held(home: Home, name: str) -> list[dict[str, Any]]:
    key = TABLES[name].key
    return sorted(pq.read_table(home.table(name)).to_pylist(), key=lambda row: tuple(row[column] for column in key))


def deletion_vector(rows: Sequence[int]) -> dict[str, Any]:
    """Rows of a file taken away, written into the log: the protocol's RoaringBitmapArray in one bitmap, Z85."""
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *rows)
    whole = struct.pack("<IqI", 1681511377, 1, 0) + bitmap
    text = base64.b85encode(whole + b"\0" * (-len(whole) % 4)).decode().translate(str.maketrans(B85, Z85))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(whole), "cardinality": len(rows)}


def take_away(table: Path, rows: Sequence[int]) -> None:
    """A commit that takes those rows of the first file away by a deletion vector, as Spark writes one."""
    log = sorted((table / "_delta_log").glob("*.json"))
    add = next(line["add"] for line in map(json.loads, log[0].read_text().splitlines()) if "add" in line)
    feature = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": feature, "writerFeatures": feature}
    gone = {"path": add["path"], "dataChange": True, "deletionTimestamp": add["modificationTime"]}
    lines = [{"protocol": protocol}, {"remove": gone}, {"add": {**add, "deletionVector": deletion_vector(rows)}}]
    (table / "_delta_log" / f"{len(log):020}.json").write_text("\n".join(map(json.dumps, lines)) + "\n")


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_delta_table_gives_what_parquet_gives(home: Home, source: Path, partitioned: bool) -> None:
    whole = import_tables(home, source)
    wanted = {name: held(home, name) for name in ("customers", "transactions")}
    as_delta(source, "customers")
    as_delta(source, "transactions", **({"partition_by": "currency"} if partitioned else {}))
    report = import_tables(home, source)
    assert report.lines() == whole.lines() and not report.rejected
    assert {name: held(home, name) for name in wanted} == wanted


@pytest.mark.parametrize("partitioned", [False, True])
def test_an_iceberg_table_gives_what_parquet_gives(home: Home, source: Path, partitioned: bool) -> None:
    whole = import_tables(home, source)
    wanted = {name: held(home, name) for name in ("customers", "transactions")}
    as_iceberg(source, "customers")
    as_iceberg(source, "transactions", "currency" if partitioned else None)
    report = import_tables(home, source)
    assert report.lines() == whole.lines() and not report.rejected
    assert {name: held(home, name) for name in wanted} == wanted


def test_only_the_newest_version_of_an_iceberg_table_counts(home: Home, source: Path) -> None:
    """Ten commits and more: versions are counted, not spelled."""
    table = as_iceberg(source, "transactions")
    import_tables(home, source)
    kept = held(home, "transactions")
    for row in kept[:9]:
        table.delete(f"transaction_id = '{row['transaction_id']}'")
    import_tables(home, source)
    assert held(home, "transactions") == kept[9:]
    for path in (source / "transactions" / "metadata").glob(
        "*.metadata.json"
    ):  # as a table without a catalog names them
        path.rename(path.with_name(f"v{int(path.name.split('-')[0])}.metadata.json"))
    import_tables(home, source)
    assert held(home, "transactions") == kept[9:]


def test_refused_rows_of_an_iceberg_table_name_the_version(home: Home, source: Path) -> None:
    table = as_iceberg(source, "transactions")
    table.append(table.scan().to_arrow().slice(0, 1))
    line = import_tables(home, source).lines()[0]
    assert line.startswith(
        "transactions: 1 rows quarantined: duplicate key; an earlier row stays (first: transactions, version 3 row "
    )


def test_p22_a_wrong_iceberg_table_stops_with_one_line_and_nothing_written(home: Home, source: Path) -> None:
    folder = source / "transactions"
    file = pq.read_table(source / "transactions.parquet")
    place = file.schema.get_field_index("amount_minor")
    pq.write_table(file.set_column(place, "amount_minor", file.column("amount_minor").cast(pa.float64())), source / "transactions.parquet")  # fmt: skip
    as_iceberg(source, "transactions")
    with pytest.raises(FeedError) as caught:
        import_tables(home, source)
    assert str(caught.value) == f"`{folder}`: column `amount_minor` is double; expected a whole number (int64); cast it"
    newest = max((folder / "metadata").glob("*.metadata.json"))
    shutil.copy(newest, newest.with_name(f"{newest.name[:5]}-another.metadata.json"))
    with pytest.raises(FeedError, match=r"Iceberg table: its metadata do not say which version is the newest; [^\n]*$"):
        import_tables(home, source)
    newest.with_name(f"{newest.name[:5]}-another.metadata.json").unlink()
    newest.write_text("{")
    with pytest.raises(FeedError, match=r"cannot be read as an Iceberg table: [^\n]*$"):
        import_tables(home, source)
    assert not home.data.exists() or not any(home.data.rglob("*.parquet"))


class _Deletes(ManifestWriterV2):
    """A manifest of delete files, which pyiceberg reads and does not write."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return super()._meta | {"content": "deletes"}


def take_away_by(content: DataFileContent, table: IcebergTable, rows: pa.Table, equal: list[int] | None = None) -> None:
    """A version with a delete file of that content, as Flink or Spark writes one: by path and place, or by a column's values."""
    snapshot, folder = table.current_snapshot(), Path(table.location().removeprefix("file://"))
    assert snapshot is not None
    pq.write_table(rows, folder / "data" / "deletes.parquet")
    file = DataFile.from_args(content=content, file_path=(folder / "data" / "deletes.parquet").as_uri(), file_format=FileFormat.PARQUET,
                              partition=Record(), record_count=rows.num_rows, file_size_in_bytes=(folder / "data" / "deletes.parquet").stat().st_size,
                              equality_ids=equal, spec_id=0)  # fmt: skip
    file.spec_id = 0
    mine, number = snapshot.snapshot_id + 1, (snapshot.sequence_number or 0) + 1
    with _Deletes(table.spec(), table.schema(), table.io.new_output((folder / "metadata" / "deletes.avro").as_uri()), mine, "deflate") as writer:  # fmt: skip
        writer.add(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=mine, sequence_number=None,
                                           file_sequence_number=None, data_file=file))  # fmt: skip
    listed = (folder / "metadata" / "snap-deletes.avro").as_uri()
    with write_manifest_list(
        2, table.io.new_output(listed), mine, snapshot.snapshot_id, number, "deflate"
    ) as manifests:
        manifests.add_manifests([writer.to_manifest_file(), *snapshot.manifests(table.io)])
    newest = max((folder / "metadata").glob("*.metadata.json"))
    told = json.loads(newest.read_text())
    told |= {
        "last-sequence-number": number,
        "current-snapshot-id": mine,
        "last-updated-ms": told["last-updated-ms"] + 1,
    }
    told["refs"]["main"]["snapshot-id"] = mine
    told["snapshots"].append({**told["snapshots"][-1], "snapshot-id": mine, "parent-snapshot-id": snapshot.snapshot_id, "sequence-number": number,
                              "manifest-list": listed, "timestamp-ms": told["last-updated-ms"], "summary": {"operation": "delete"}})  # fmt: skip
    newest.with_name(f"{int(newest.name[:5]) + 1:05}-deletes.metadata.json").write_text(json.dumps(told))


def test_rows_behind_position_deletes_are_not_read_and_equality_deletes_are_refused(home: Home, source: Path) -> None:
    table = as_iceberg(source, "transactions")
    first = next(iter(table.scan().plan_files())).file.file_path
    gone = pq.read_table(first.removeprefix("file://")).column("transaction_id").take([0, 2]).to_pylist()
    kinds = [pa.field("file_path", pa.string(), False, {"PARQUET:field_id": "2147483546"}),
             pa.field("pos", pa.int64(), False, {"PARQUET:field_id": "2147483545"})]  # fmt: skip
    import_tables(home, source)
    before = held(home, "transactions")
    take_away_by(DataFileContent.POSITION_DELETES, table, pa.table([[first, first], [0, 2]], pa.schema(kinds)))
    import_tables(home, source)
    assert held(home, "transactions") == [row for row in before if row["transaction_id"] not in gone] != before
    shutil.rmtree(source / "transactions")
    pq.write_table(pa.Table.from_pylist(before, pq.read_schema(next(home.table("transactions").glob("*.parquet")))), source / "transactions.parquet")  # fmt: skip
    place = pa.schema([pa.field("transaction_id", pa.string(), True, {"PARQUET:field_id": "1"})])
    table = as_iceberg(source, "transactions")
    take_away_by(DataFileContent.EQUALITY_DELETES, table, pa.table([gone], place), [1])
    with pytest.raises(FeedError, match=r"cannot be read as an Iceberg table: [^\n]*$"):
        import_tables(home, source)


def test_p22_a_dropped_table_beside_the_one_made_anew_is_not_read(home: Home, source: Path) -> None:
    """The dropped one has the higher numbers, and is whole."""
    rows = pq.read_table(source / "transactions.parquet")
    table = as_iceberg(source, "transactions")
    for row in rows.column("transaction_id").to_pylist()[:3]:
        table.delete(f"transaction_id = '{row}'")
    pq.write_table(rows, source / "transactions.parquet")
    as_iceberg(source, "transactions")
    with pytest.raises(FeedError, match="its metadata do not say which version is the newest"):
        import_tables(home, source)


def test_p22_what_the_libraries_do_not_read_stops_with_one_line(home: Home, source: Path) -> None:
    table = as_delta(source, "customers")
    log = next((table / "_delta_log").glob("*0.json"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            line["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["typeWidening"], "writerFeatures": ["typeWidening"]}  # fmt: skip
    log.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(FeedError, match=r"cannot be read as a Delta table: [^\n]*$"):
        import_tables(home, source)
    shutil.rmtree(table / "_delta_log")
    as_iceberg(source, "transactions")
    for manifest in (source / "transactions" / "metadata").glob("*-m0.avro"):
        manifest.write_bytes(b"")
    with pytest.raises(FeedError, match=r"cannot be read as an Iceberg table: [^\n]*$"):
        import_tables(home, source)


def test_p22_an_iceberg_table_whose_files_are_gone_stops_with_one_line(home: Home, source: Path) -> None:
    as_iceberg(source, "transactions")
    shutil.rmtree(source / "transactions" / "data")
    with pytest.raises(FeedError, match=r"cannot be read as an Iceberg table: [^\n]*$"):
        import_tables(home, source)


def test_only_the_newest_version_counts(home: Home, source: Path) -> None:
    table = as_delta(source, "transactions")
    import_tables(home, source)
    before = held(home, "transactions")
    kept = before[: len(before) // 3]
    gone = ", ".join(f"'{row['transaction_id']}'" for row in before[len(kept) :])
    deltalake.DeltaTable(table).delete(f"transaction_id in ({gone})")
    import_tables(home, source)  # the files of the versions before still lie there
    assert held(home, "transactions") == kept


def test_rows_behind_a_deletion_vector_are_not_read(home: Home, source: Path) -> None:
    rows = pq.read_table(source / "transactions.parquet").column("transaction_id").to_pylist()
    table = as_delta(source, "transactions")
    take_away(table, [0, 2, 5])
    import_tables(home, source)
    assert [row["transaction_id"] for row in held(home, "transactions")] == sorted(
        set(rows) - {rows[0], rows[2], rows[5]}
    )


def test_refused_rows_name_the_version(home: Home, source: Path) -> None:
    table = as_delta(source, "transactions")
    first = deltalake.DeltaTable(table).to_pyarrow_table().slice(0, 1)
    deltalake.write_deltalake(table, first, mode="append")
    line = import_tables(home, source).lines()[0]
    assert line.startswith(
        "transactions: 1 rows quarantined: duplicate key; an earlier row stays (first: transactions, version 2 row "
    )


def cast(table: Path, column: str, kind: pa.DataType) -> None:
    rows = deltalake.DeltaTable(table).to_pyarrow_table()
    place = rows.schema.get_field_index(column)
    changed = rows.set_column(place, column, rows.column(column).cast(kind))
    deltalake.write_deltalake(table, changed, mode="overwrite", schema_mode="overwrite")


def test_p22_a_wrong_delta_table_stops_with_one_line_and_nothing_written(home: Home, source: Path) -> None:
    table = as_delta(source, "transactions")
    cast(table, "amount_minor", pa.float64())
    with pytest.raises(FeedError) as caught:
        import_tables(home, source)
    assert str(caught.value) == f"`{table}`: column `amount_minor` is double; expected a whole number (int64); cast it"
    next((table / "_delta_log").glob("*0.json")).write_text("{")
    with pytest.raises(FeedError, match=r"cannot be read as a Delta table: [^\n]*$"):
        import_tables(home, source)
    assert not home.data.exists() or not any(home.data.rglob("*.parquet"))


def test_without_its_package_one_line_says_so(home: Home, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delta, iceberg = as_delta(source, "customers"), source / "transactions"
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(FeedError) as caught:
        import_tables(home, source)
    assert str(caught.value) == f"`{delta}` is a Delta table; `pip install deltalake` to read it"
    shutil.rmtree(delta / "_delta_log")
    as_iceberg(source, "transactions")
    monkeypatch.setitem(sys.modules, "pyiceberg.table", None)
    with pytest.raises(FeedError) as caught:
        import_tables(home, source)
    assert str(caught.value) == f"`{iceberg}` is an Iceberg table; `pip install pyiceberg` to read it"
