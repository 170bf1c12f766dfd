"""The PKDD'99 bank in its original files, whole or in the parts that are public."""

import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from features.feed import FeedError, FeedReport
from features.home import Home, Settings
from features.sources.berka import SETTINGS, import_berka
from features.store import FeatureStore

DATA = Path(os.environ.get("NBO_DATA", Path(__file__).parents[4] / "shared" / "data")) / "berka"
needs_data = pytest.mark.skipif(
    not (DATA / "account.asc").is_file(), reason=f"{DATA} holds no Berka files; set NBO_DATA to the folder above them"
)
SMALL = {
    "account.asc": '"account_id";"district_id";"frequency";"date"\n1;1;"POPLATEK MESICNE";930101\n2;1;"POPLATEK TYDNE";930305\n',
    "client.asc": '"client_id";"birth_number";"district_id"\n1;"706213";1\n2;"450204";1\n3;"801301";1\n',
    "disp.asc": '"disp_id";"client_id";"account_id";"type"\n1;1;1;"OWNER"\n2;2;1;"DISPONENT"\n3;3;2;"OWNER"\n',
    "district.asc": 'A1;A2;A3\n1;"Benesov";"central Bohemia"\n',
    "card.asc": '"card_id";"disp_id";"type";"issued"\n7;2;"classic";931107 00:00:00\n',
    "loan.asc": '"loan_id";"account_id";"date";"amount";"duration";"payments";"status"\n9;1;930705;96396;12;8033.00;"B"\n',
    "order.asc": '"order_id";"account_id";"bank_to";"account_to";"amount";"k_symbol"\n4;1;"YZ";"8";1.00;"UVER"\n',
    "trans.asc": (
        '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"\n'
        '11;1;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;\n'
        '12;1;930101;"VYBER";"VYBER";200.10;499.90;" ";;\n'
        '13;1;930131;"PRIJEM";"";10.20;510.10;"UROK";;\n'
        '14;1;930131;"VYDAJ";"VYBER";14.60;495.50;"SLUZBY";;\n'
        '15;2;930801;"VYDAJ";"PREVOD NA UCET";50.00;-50.00;"UVER";"AB";"1"\n'
        '16;2;930802;"DAREK";"PREVOD NA UCET";5.00;-55.00;"SIPO";"AB";"1"\n'
    ),
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", SETTINGS)


def small(folder: Path) -> Path:
    folder.mkdir()
    for name, text in SMALL.items():
        (folder / name).write_text(text)
    return folder


def test_a_whole_download_by_hand(home: Home, tmp_path: Path) -> None:
    report = import_berka(home, small(tmp_path / "source"))
    assert [line.split("; see")[0] for line in report.lines()] == [
        "transactions: 1 rows quarantined: `amount_minor` is empty (first: transactions.parquet row 6)"
    ]
    rows = pl.read_parquet(home.table("transactions") / "*.parquet").sort("transaction_id")
    assert rows["amount_minor"].to_list() == [70000, -20010, 1020, -1460, -5000]
    assert rows["kind"].to_list() == ["cash_deposit", "cash_withdrawal", "interest", "fee", "loan_payment"]
    assert rows["customer_id"].to_list() == ["1", "1", "1", "1", "3"]
    assert (
        rows["booked_at"][0] == datetime(1993, 1, 1, 11, tzinfo=UTC) and rows["booked_at"].is_unique().all() is not None
    )
    people = pl.read_parquet(home.table("customers") / "*.parquet").sort("customer_id")
    assert people["birth_date"].to_list() == [date(1970, 12, 13), date(1945, 2, 4), None]
    held = pl.read_parquet(home.table("holders") / "*.parquet")
    assert set(held.filter(pl.col("customer_id") == "2")["role"]) == {"authorised", "owner"}
    store = FeatureStore(home)
    store.build(datetime(1993, 2, 1, tzinfo=UTC))
    snapshot = store.newest()
    assert snapshot is not None
    row = snapshot.rows(["1"]).to_pylist()[0]
    assert (row["balance_czk_minor"], row["holds_loan"], row["consent_marketing_mail"]) == (49550.0, False, "granted")
    assert not any("PARTS" in s or "October" in s for s in home.assumptions())


def added(source: Path, name: str, line: str) -> None:
    (source / name).write_text((source / name).read_text() + line + "\n")


def refused(report: FeedReport, table: str) -> list[tuple[str, int]]:
    return [(reject.reason, reject.count) for reject in report.tables[table].rejects]


@pytest.mark.parametrize(("operation", "kind"), [("VKLADX", None), ("", "transfer_in"), (" ", "transfer_in")])
def test_only_where_no_operation_stands_does_the_type_say_what_a_booking_was(
    home: Home, tmp_path: Path, operation: str, kind: str | None
) -> None:
    """Mutant: a code nobody knows passes for a transfer."""
    source = small(tmp_path / "source")
    added(source, "trans.asc", f'17;2;930803;"PRIJEM";"{operation}";5.00;-60.00;"";;')
    report = import_berka(home, source)
    rows = pl.read_parquet(home.table("transactions") / "*.parquet").filter(pl.col("transaction_id") == "17")
    assert rows["kind"].to_list() == ([kind] if kind else [])
    assert (("`kind` is empty", 1) in refused(report, "transactions")) == (kind is None)


def test_bookings_of_an_account_with_two_owners_are_nobodys(home: Home, tmp_path: Path) -> None:
    """Mutant: each booking came once an owner, under one id, and the first of them had it."""
    source = small(tmp_path / "source")
    added(source, "disp.asc", '4;3;1;"OWNER"\n5;3;2;"OWNER"')  # the owner of the second account once more
    report = import_berka(home, source)
    assert report.tables["transactions"].rows == 6
    assert ("`customer_id` is empty", 4) in refused(report, "transactions")
    rows = pl.read_parquet(home.table("transactions") / "*.parquet")
    assert rows["customer_id"].to_list() == ["3"]
    assert ("`customer_id` is empty", 1) in refused(report, "holders"), "the loan of the account"


@pytest.mark.parametrize(("name", "line"), [
    ("loan.asc", '10;99;930705;96396;12;8033.00;"B"'), ("card.asc", '8;99;"classic";931107 00:00:00'),
])  # fmt: skip
def test_a_loan_or_card_of_nobody_is_refused_and_counted(home: Home, tmp_path: Path, name: str, line: str) -> None:
    """Mutant: an inner join drops who holds it, and nobody hears of it."""
    source = small(tmp_path / "source")
    added(source, name, line)
    before = refused(import_berka(home, small(tmp_path / "whole")), "holders")
    assert (before, refused(import_berka(home, source), "holders")) == ([], [("`customer_id` is empty", 1)])


@pytest.mark.parametrize("name", ["district.asc", "trans.asc"])
def test_a_file_that_is_not_utf_8_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    """Mutant: the byte became a sign of its own in the name of a branch."""
    source = small(tmp_path / "source")
    text = (source / name).read_text().replace("Benesov", "Bene\x9aov").replace("SIPO", "SIP\xd3")
    (source / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(FeedError) as error:
        import_berka(home, source)
    assert str(error.value) == f"`{source / name}` is not UTF-8; take the file as it was published"


@needs_data
def test_the_public_parts_are_taken_over(home: Home) -> None:
    report = import_berka(home, DATA)
    assert {name: (t.rows, t.accepted) for name, t in report.tables.items()} == {
        "customers": (5369, 5369), "products": (5, 5), "accounts": (6074, 6074), "holders": (6943, 6943),
        "transactions": (102120, 102120),
    }  # fmt: skip
    assert any("October 1997" in sentence for sentence in home.assumptions())
    rows = pl.read_parquet(home.table("transactions") / "*.parquet")
    # 49,102 + 30,200 + 23,995 bookings, of which 1,177 stand in two parts.
    assert len(rows) == 49_102 + 30_200 + 23_995 - 1_177
    chain = rows.filter(pl.col("balance_after_minor").is_not_null()).sort("account_id", "booked_at")
    assert chain["channel"].null_count() < len(chain)
    store = FeatureStore(home)
    store.build(datetime(1997, 11, 1, tzinfo=UTC))
    snapshot = store.newest()
    assert snapshot is not None
    table = pl.DataFrame(snapshot.table)
    assert table["holds_card_classic"].sum() > 200 and table["transaction_count_30d"].max() > 5


@needs_data
def test_the_undated_orders_are_never_read(home: Home, tmp_path: Path) -> None:
    """An order for a loan exists only once the loan does: without the file, the same bytes."""
    source = tmp_path / "source"
    shutil.copytree(DATA, source)
    (source / "order.asc").unlink(missing_ok=True)
    import_berka(home, source)
    without = {p.relative_to(home.path): p.read_bytes() for p in home.data.rglob("part-*.parquet")}
    import_berka(home, DATA)
    assert {p.relative_to(home.path): p.read_bytes() for p in home.data.rglob("part-*.parquet")} == without


@pytest.mark.parametrize(("spoil", "line"), [
    ("loan.asc", "`{s}`: loan.asc is missing; give the folder of the PKDD'99 files"),
    ("trans.asc", "`{s}`: trans.asc is missing, and so are its parts; add one of them"),
])  # fmt: skip
def test_a_missing_file_is_one_line(home: Home, tmp_path: Path, spoil: str, line: str) -> None:
    source = small(tmp_path / "source")
    (source / spoil).unlink()
    with pytest.raises(FeedError) as error:
        import_berka(home, source)
    assert str(error.value) == line.format(s=source)


def test_a_changed_file_and_a_wrong_home_are_one_line(home: Home, tmp_path: Path) -> None:
    source = small(tmp_path / "source")
    (source / "disp.asc").write_text("disp_id;client_id\n1;1\n")
    with pytest.raises(FeedError) as error:
        import_berka(home, source)
    assert (
        str(error.value)
        == f"`{source / 'disp.asc'}`: column `account_id` is missing; take the file as it was published"
    )
    euros = Home.create(tmp_path / "euros", Settings(currency="EUR"))
    with pytest.raises(FeedError) as error:
        import_berka(euros, source)
    assert str(error.value) == f"`{euros.path}`: bank.yaml has no CZK; add it to `currencies`"
