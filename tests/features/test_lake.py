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
from pyiceberg.table import Table as IcebergTable

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
