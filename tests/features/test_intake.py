"""Bad input: one line and nothing written, or good rows in and bad rows counted in quarantine."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.feed import FeedError, FeedReport
from features.feed_drift import magnitudes
from features.home import Home
from features.intake import import_tables
from features.staging import LOCK, WRITTEN, alone
from features.staging import TABLES as TAKEN
from features.tables import TABLES
from tests.feature_bank import NOW, Rows, made_up_bank, small_home, write_tables

BOOKED = datetime(2025, 5, 1, 12, tzinfo=UTC)


def customer(name: str = "C1", **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(c.name for c in TABLES["customers"].columns), "customer_id": name,
            "kind": "person", **more}  # fmt: skip


def booking(name: str = "T1", **more: Any) -> dict[str, Any]:
    return {"transaction_id": name, "account_id": None, "customer_id": "C1", "amount_minor": -100,
            "currency": "GBP", "kind": "purchase", "channel": None, "balance_after_minor": None,
            "booked_at": BOOKED, "recorded_at": BOOKED, **more}  # fmt: skip


def bank(**tables: Rows) -> dict[str, Rows]:
    return {"customers": [customer()], "transactions": [booking()], **tables}


def as_csv(rows: Rows) -> str:
    def text(value: object) -> str:
        return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)

    return "\n".join([",".join(rows[0]), *(",".join(text(v) for v in row.values()) for row in rows)]) + "\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return small_home(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tables(bank(), tmp_path / "source")


def by_key(rows: Rows, key: tuple[str, ...]) -> Rows:
    return sorted(rows, key=lambda row: tuple(row[column] for column in key))


def held(home: Home, table: str) -> Rows:
    return pq.read_table(home.table(table)).to_pylist()


def test_good_tables_are_taken_over_whole(home: Home, tmp_path: Path) -> None:
    tables = made_up_bank(1, transactions=200)
    tables["fx_rates"] = [row for row in tables["fx_rates"] if row["day"] <= NOW.date()]
    report = import_tables(home, write_tables(tables, tmp_path / "s"))
    assert report.rejected == 0 and report.lines() == []
    for name, rows in tables.items():
        stored = held(home, name)
        assert {row.pop("imported_at") for row in stored} == {NOW}
        key = TABLES[name].key
        assert by_key(stored, key) == by_key(rows, key), name
        assert pq.read_table(home.table(name)).schema.equals(TABLES[name].schema)
    assert report.tables["transactions"].freshness == max(r["recorded_at"] for r in tables["transactions"])
    assert report.tables["customers"].completeness["manager_id"] == 0.0
    booked = [row["booked_at"] for row in held(home, "transactions")]
    assert booked == sorted(booked)


def test_csv_gives_what_parquet_gives(home: Home, source: Path, tmp_path: Path) -> None:
    import_tables(home, source)
    wanted = {name: held(home, name) for name in ("customers", "transactions")}
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "customers.csv").write_text(as_csv([customer()]))
    (texts / "transactions.csv").write_text("\ufeff" + as_csv([booking(booked_at="2025-05-01T12:00:00Z")]))
    report = import_tables(home, texts)
    assert report.lines() == []
    assert {name: held(home, name) for name in wanted} == wanted


def test_a_table_may_come_in_parts(home: Home, source: Path) -> None:
    part = (source / "transactions.parquet").rename(source / "one.parquet")
    (source / "transactions").mkdir()
    part.rename(source / "transactions" / "a.parquet")
    more = bank(transactions=[booking("T2"), booking("T1")])
    write_tables(more, source / "more")
    (source / "more" / "transactions.parquet").rename(source / "transactions" / "b.parquet")
    (source / "transactions" / "_SUCCESS").touch()  # a mark of who wrote it
    report = import_tables(home, source)
    assert report.lines() == [
        (
            "transactions: 1 rows quarantined: duplicate key; an earlier row stays"
            " (first: b.parquet row 2); see data/quarantine/transactions.parquet"
        )
    ]
    assert sorted(row["transaction_id"] for row in held(home, "transactions")) == ["T1", "T2"]


STOPS: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing column",
     lambda s: _rewrite(s, lambda t: t.rename_columns([n.replace("currency", "curency") for n in t.column_names])),
     "`{s}/transactions.parquet`: column `currency` is missing; rename `curency`"),
    ("missing column without a near name",
     lambda s: _rewrite(s, lambda t: t.drop(["kind"])),
     "`{s}/transactions.parquet`: column `kind` is missing; add it, empty where the bank has no value"),
    ("extra column",
     lambda s: _rewrite(s, lambda t: t.append_column("iban", pa.array(["x"]))),
     "`{s}/transactions.parquet`: column `iban` is not in table `transactions`; drop it"),
    ("wrong type",
     lambda s: _rewrite(s, lambda t: t.set_column(3, "amount_minor", pa.array([1.5]))),
     "`{s}/transactions.parquet`: column `amount_minor` is double; expected a whole number (int64); cast it"),
    ("ids as numbers",
     lambda s: _rewrite(s, lambda t: t.set_column(2, "customer_id", pa.array([1]))),
     "`{s}/transactions.parquet`: column `customer_id` is int64; expected text (string); cast it"),
    ("naive instants",
     lambda s: _rewrite(s, lambda t: t.set_column(8, "booked_at", t["booked_at"].cast(pa.timestamp("us")))),
     ("`{s}/transactions.parquet`: column `booked_at` is timestamp[us]; expected an instant with its zone"
      " such as 2026-06-01T00:00:00Z (timestamp[us, tz=UTC]); write UTC instants")),
    ("lost digits",
     lambda s: _rewrite(s, lambda t: t.set_column(8, "booked_at", pa.array([1], pa.timestamp("ns", "UTC")))),
     ("`{s}/transactions.parquet`: column `booked_at` (timestamp[ns, tz=UTC]) loses digits as"
      " timestamp[us, tz=UTC]; write timestamp[us, tz=UTC]")),
    ("empty file",
     lambda s: (s / "transactions.parquet").write_bytes(b""),
     "`{s}/transactions.parquet` is empty; write its header and rows, or remove it"),
    ("no rows",
     lambda s: _rewrite(s, lambda t: t.slice(0, 0)),
     "`{s}/transactions.parquet` has no rows; write its rows"),
    ("header only",
     lambda s: (s / "cases.csv").write_text("case_id,customer_id,kind,opened_at,closed_at\n"),
     "`{s}/cases.csv` has a header and no rows; write its rows, or remove it"),
    ("not Parquet",
     lambda s: (s / "transactions.parquet").write_bytes(b"PAR1 but not really"),
     "`{s}/transactions.parquet` is not a Parquet file; write it again"),
    ("UTF-16",
     lambda s: (s / "cases.csv").write_text("case_id,customer_id,kind,opened_at,closed_at\nF1,C1,other,,\n", "utf-16"),
     "`{s}/cases.csv` is UTF-16; save the file as UTF-8"),
    ("UTF-16 without a mark",
     lambda s: (s / "cases.csv").write_text("case_id,customer_id,kind,opened_at,closed_at\nF1,C1,other,,\n", "utf-16-be"),
     "`{s}/cases.csv` is UTF-16; save the file as UTF-8"),
    ("a column of one CSV that is not of its type at all",
     lambda s: (s / "fx_rates.csv").write_text("day,currency,per_base\n1.5.2025,USD,1\n2.5.2025,USD,1\n"),
     "`{s}/fx_rates.csv`: column `day` holds no value that is a day such as 2026-06-01"),
    ("separated by semicolons",
     lambda s: (s / "cases.csv").write_text("case_id;customer_id;kind;opened_at;closed_at\nF1;C1;other;;\n"),
     "`{s}/cases.csv` is separated by `;`; write it with commas, or quote and convert it"),
    ("a table under another ending",
     lambda s: (s / "consents.CSV").write_text("x"),
     "`{s}/consents.CSV` is not read; write consents.parquet or consents.csv, or take it away"),
    ("a table packed",
     lambda s: (s / "consents.csv.gz").write_bytes(b"x"),
     "`{s}/consents.csv.gz` is not read; write consents.parquet or consents.csv, or take it away"),
    ("a second year beside the table",
     lambda s: (s / "transactions.2026.csv").write_text("x"),
     "`{s}/transactions.2026.csv` is not read; write transactions.parquet or transactions.csv, or take it away"),
    ("a part that is no Parquet beside one that is",
     lambda s: ((s / "cases").mkdir(), (s / "cases" / "a.parquet").write_bytes(b"x"), (s / "cases" / "b.csv").write_text("x")),
     "`{s}/cases/b.csv` is not read; a table in parts is *.parquet files and no more"),
    ("text that is not UTF-8 in Parquet",
     lambda s: _rewrite(s, lambda t: t.set_column(6, "channel", pa.array([b"caf\xe9"]).view(pa.string()))),
     "`{s}/transactions.parquet`: column `channel` holds text that is not UTF-8; write it as UTF-8"),
    ("every row of a table refused that need not be there",
     lambda s: (s / "consents.csv").write_text("customer_id,purpose,channel,state,source,wording,at,expires_at\n"
                                               "X1,marketing,all,withdrawn,,,2026-01-01T00:00:00Z,\n"),
     ("`{s}/consents.csv`: 1 of 1 rows are refused, 1 for: `customer_id` is an unknown customer"
      " (first: row 1); mend them, the home's tables stay as they are")),
    ("nine rows of ten and more refused",
     lambda s: (s / "cases.csv").write_text("case_id,customer_id,kind,opened_at,closed_at\n" + "".join(
         f"F{n},{'C1' if n < 10 else 'X1'},other,2025-01-01T00:00:00Z,\n" for n in range(101))),
     ("`{s}/cases.csv`: 91 of 101 rows are refused, 91 for: `customer_id` is an unknown customer"
      " (first: row 11); mend them, the home's tables stay as they are")),
    ("a quote that a later row closes, with rows between them",
     lambda s: (s / "calendar.csv").write_text('day,region,holiday\n2026-01-01,all,"New Year\n2026-12-25,all,Christmas\n'
                                               '2026-12-26,all,Boxing "Day\n'),
     "`{s}/calendar.csv` row 1: `holiday` holds several lines with the commas of a row; close the quote before them"),
    ("every booking refused",
     lambda s: _rewrite(s, lambda t: t.set_column(5, "kind", pa.array(["P"]))),
     ("`{s}/transactions.parquet`: 1 of 1 rows are refused, 1 for: `kind` is not one of "
      f"{', '.join(TABLES['transactions'].column('kind').domain)} (first: row 1); mend them, the home's tables stay as they are")),
    ("missing table",
     lambda s: (s / "transactions.parquet").unlink(),
     "`{s}`: table `transactions` is missing; add transactions.parquet or transactions.csv"),
    ("table in two forms",
     lambda s: (s / "transactions.csv").write_text("x"),
     "`{s}` holds `transactions` in more than one form; keep one of them"),
    ("misspelt table",
     lambda s: (s / "consent.csv").write_text("x"),
     "`{s}/consent.csv` is no table; did you mean `consents`? rename it"),
    ("assumptions that are no list",
     lambda s: (s / "assumptions.yaml").write_text("consents: none"),
     "`{s}/assumptions.yaml`: expected a list of sentences, one `- ...` a line"),
]  # fmt: skip


def _rewrite(source: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = source / "transactions.parquet"
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(("spoil", "line"), [row[1:] for row in STOPS], ids=[row[0] for row in STOPS])
def test_p22_a_wrong_file_stops_with_one_line_and_nothing_written(
    home: Home, source: Path, spoil: Callable[[Path], object], line: str
) -> None:
    import_tables(home, source)
    before = {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()}
    spoil(source)
    with pytest.raises(FeedError) as error:
        import_tables(home, source)
    assert str(error.value) == line.format(s=source)
    assert "\n" not in str(error.value)
    assert {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()} == before


BAD_ROWS: list[tuple[str, dict[str, Rows], str, str]] = [
    ("unknown currency", {"transactions": [booking("T2", currency="XAU")]},
     "transactions", "`currency` is not among bank.yaml's currencies"),
    ("future booking", {"transactions": [booking("T2", booked_at=NOW + timedelta(seconds=1))]},
     "transactions", "`booked_at` lies in the future"),
    ("future day", {"customers": [customer("C2", joined_on=(NOW + timedelta(days=1)).date())]},
     "customers", "`joined_on` lies in the future"),
    ("duplicate id", {"customers": [customer("C1")]},
     "customers", "duplicate key; an earlier row stays"),
    ("unknown customer", {"transactions": [booking("T2", customer_id="C9")]},
     "transactions", "`customer_id` is an unknown customer"),
    ("unknown account", {"accounts": [], "transactions": [booking("T2", account_id="A9")]},
     "transactions", "`account_id` is an unknown account"),
    ("null in a required column", {"transactions": [booking("T2", amount_minor=None)]},
     "transactions", "`amount_minor` is empty"),
    ("value outside its domain", {"transactions": [booking("T2", kind="gift")]},
     "transactions", f"`kind` is not one of {', '.join(TABLES['transactions'].column('kind').domain)}"),
    ("value below its range", {"customers": [customer("C2", risk_tolerance=0)]},
     "customers", "`risk_tolerance` is below 1"),
    ("value above its range", {"customers": [customer("C2", credit_grade=11)]},
     "customers", "`credit_grade` is above 10"),
    ("empty id", {"customers": [customer("")]},
     "customers", "`customer_id` is not an id; expected 1 to 64 printable characters"),
    ("long id", {"customers": [customer("C" * 65)]},
     "customers", "`customer_id` is not an id; expected 1 to 64 printable characters"),
    ("unprintable id", {"customers": [customer("C\x07")]},
     "customers", "`customer_id` is not an id; expected 1 to 64 printable characters"),
    ("id with a blank at its end", {"customers": [customer("C1 ")]},
     "customers", "`customer_id` is not an id; expected 1 to 64 printable characters"),
    ("not a number", {"fx_rates": [{"day": BOOKED.date(), "currency": "USD", "per_base": rate} for rate in (1.1, float("nan"))]},
     "fx_rates", "`per_base` is not a finite number"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "table", "reason"), [row[1:] for row in BAD_ROWS],
                         ids=[row[0] for row in BAD_ROWS])  # fmt: skip
def test_p22_a_bad_row_is_quarantined_with_reason_and_count(
    home: Home, tmp_path: Path, more: dict[str, Rows], table: str, reason: str
) -> None:
    good = bank()
    tables = {**good, **{name: [*good.get(name, []), *rows] for name, rows in more.items()}}
    report = import_tables(home, write_tables(tables, tmp_path / "s"))
    place = len(tables[table])
    assert report.lines() == [
        (
            f"{table}: 1 rows quarantined: {reason} (first: {table}.parquet row {place});"
            f" see data/quarantine/{table}.parquet"
        )
    ]
    assert (report.tables[table].rows, report.tables[table].accepted) == (place, place - 1)
    kept = pl.read_parquet(home.quarantine / f"{table}.parquet").to_dicts()
    assert [(row["reason"], row["file"], row["row"]) for row in kept] == [(reason, f"{table}.parquet", place)]
    assert len(held(home, table)) == place - 1
    assert len(held(home, "customers")) >= 1 and len(held(home, "transactions")) >= 1


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_customers_with_one_id_neither_is_taken_though_one_is_refused_for_itself(
    home: Home, tmp_path: Path, swapped: bool
) -> None:
    """Mutant: keys of accepted rows alone; the row that says he must not be contacted has a bad cell, the other is taken."""
    two = [customer("C1", do_not_contact=False), customer("C1", do_not_contact=True, risk_tolerance=9)]
    folder = write_tables(bank(customers=[*two[:: -1 if swapped else 1], customer("C2")]), tmp_path / "s")
    (folder / "transactions.parquet").unlink()
    write_tables({"transactions": [booking(customer_id="C2")]}, folder)
    report = import_tables(home, folder).tables["customers"]
    assert [row["customer_id"] for row in held(home, "customers")] == ["C2"]
    assert {reject.reason for reject in report.rejects} == {
        "`risk_tolerance` is above 5", "two customers have this id; neither is taken"
    }  # fmt: skip


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_customers_with_one_id_neither_is_taken(home: Home, tmp_path: Path, swapped: bool) -> None:
    """Mutant: with the first row taken, the order of the rows decides whether he may be contacted."""
    two = [customer("C1", do_not_contact=False), customer("C1", do_not_contact=True, deceased=True)]
    people = [customer("C2"), *(two[::-1] if swapped else two), customer("C3"), customer("C2")]
    bookings = [booking("T1"), booking("T2", customer_id="C2"), booking("T2", customer_id="C2", kind="fee")]
    report = import_tables(home, write_tables({"customers": people, "transactions": bookings}, tmp_path / "s"))
    assert [(r.reason, r.count, r.first_row) for r in report.tables["customers"].rejects] == [
        ("duplicate key; an earlier row stays", 1, 5), ("two customers have this id; neither is taken", 2, 2),
    ]  # fmt: skip
    assert [row["customer_id"] for row in held(home, "customers")] == ["C2", "C3"]
    kept = pl.read_parquet(home.quarantine / "customers.parquet")
    assert sorted(kept["customer_id"].to_list()) == ["C1", "C1", "C2"]
    assert [(r.reason, r.count) for r in report.tables["transactions"].rejects] == [
        ("`customer_id` is an unknown customer", 1),
        ("duplicate key; an earlier row stays", 1),
    ]  # fmt: skip


def test_p22_cells_in_latin_1_go_to_the_quarantine_and_a_mark_at_the_start_does_not(home: Home, tmp_path: Path) -> None:
    """Mutant: without the check of each cell, the whole file was refused for one letter."""
    tables = {**bank(), "customers": [customer("C1"), customer("C2"), customer("C3")]}
    source = write_tables(tables, tmp_path / "s")
    (source / "customers.parquet").unlink()
    text = as_csv([customer("C1"), customer("C2", home_branch="Müller"), customer("C3", home_branch="Zürich")])
    lines = ("\ufeff" + text).split("\n")
    body = "\n".join(lines[:-2]).encode() + b"\n" + lines[-2].encode("latin-1") + b"\n"
    (source / "customers.csv").write_bytes(body)
    report = import_tables(home, source)
    assert [(r.reason, r.count, r.first_row) for r in report.tables["customers"].rejects] == [
        ("`home_branch` is not UTF-8", 1, 3)
    ]
    assert [row["home_branch"] for row in held(home, "customers")][1] == "Müller"
    assert pl.read_parquet(home.quarantine / "customers.parquet")["home_branch"].to_list() == ["Z\ufffdrich"]


def test_p22_a_currency_without_a_rate_is_listed_and_not_guessed(home: Home, tmp_path: Path) -> None:
    """Its bookings stay, for their own currency needs no rate."""
    early, late = BOOKED - timedelta(days=2), BOOKED
    bookings = [booking("T1"), booking("T2", currency="USD", booked_at=early, recorded_at=early),
                booking("T3", currency="USD", booked_at=late, recorded_at=late)]  # fmt: skip
    rates = [{"day": BOOKED.date(), "currency": "USD", "per_base": 1.1}]
    tables = {**bank(), "transactions": bookings, "fx_rates": rates}
    report = import_tables(home, write_tables(tables, tmp_path / "s"))
    assert report.rejected == 0 and report.tables["transactions"].unrated == {"USD": 1}
    assert report.lines() == [
        "transactions: 1 rows in USD have no rate by their day; their worth in base currency is unknown;"
        " see data/quarantine/transactions.unrated.parquet"
    ]
    listed = pl.read_parquet(home.quarantine / "transactions.unrated.parquet").rows(named=True)
    assert [(row["transaction_id"], row["currency"], row["day"]) for row in listed] == [("T2", "USD", early.date())]
    assert listed[0]["reason"].startswith("no rate of its currency by its day")
    none = import_tables(home, write_tables({**bank(), "transactions": bookings}, tmp_path / "n"))
    assert none.tables["transactions"].unrated == {"USD": 2}
    assert len(pl.read_parquet(home.quarantine / "transactions.unrated.parquet")) == 2
    rated = import_tables(home, write_tables({**bank(), "transactions": bookings[:1]}, tmp_path / "r"))
    assert not rated.tables["transactions"].unrated and not list(home.quarantine.iterdir())


def test_the_report_says_what_drifted_since_the_last_import(home: Home, tmp_path: Path) -> None:
    def imported(n: int, kind: str, branch: str | None, folder: str) -> FeedReport:
        people = [customer(f"C{i}", home_branch=branch if i % 2 else "B1") for i in range(10)]
        booked = [booking(f"T{i}", kind=kind if i % 2 else "fee") for i in range(n)]
        return import_tables(
            home, write_tables({**bank(), "customers": people, "transactions": booked}, tmp_path / folder)
        )

    assert imported(20, "purchase", "B2", "1").drift == []
    again = imported(20, "purchase", "B2", "2")
    assert again.last_imported_at == again.imported_at and not any(d.notable for d in again.drift)
    assert {(d.table, d.column, d.what) for d in again.drift} >= {
        ("transactions", None, "rows"), ("transactions", "kind", "values"), ("customers", "home_branch", "missing")
    }  # fmt: skip
    moved = imported(10, "salary", None, "3")
    lines = [line for line in moved.lines() if "last time" in line]
    assert lines == [
        "customers.home_branch: 0.0% without a value last time, 50.0% now",
        "transactions: 20 rows last time, 10 now",
        f"transactions.kind: its values shifted since last time, stability index {moved_index():.2f}",
    ]


def test_the_report_says_that_a_table_went_back_in_time(home: Home, tmp_path: Path) -> None:
    """Mutant: last year's file, delivered again, with as many rows as the one before."""
    for year, folder in ((2025, "1"), (2024, "2"), (2025, "3")):
        at = BOOKED.replace(year=year)
        tables = bank(transactions=[booking(booked_at=at, recorded_at=at)])
        lines = [
            line for line in import_tables(home, write_tables(tables, tmp_path / folder)).lines() if "newest" in line
        ]
        said = "transactions: newest row of 2025-05-01T12:00:00Z last time, of 2024-05-01T12:00:00Z now"
        assert lines == ([said] if year == 2024 else [])


@pytest.mark.parametrize("times", [100, -1, 1])
def test_the_report_says_that_amounts_are_of_another_size(home: Home, tmp_path: Path, times: int) -> None:
    """Mutant: a source that begins to give whole pounds, or turns the sign; every row is good in itself."""
    for factor, folder in ((1, "1"), (times, "2")):
        booked = [booking(f"T{i}", amount_minor=factor * (i - 5) * 10 ** (i % 4)) for i in range(20)]
        report = import_tables(home, write_tables(bank(transactions=booked), tmp_path / folder))
    told = [d.column for d in report.drift if d.notable]
    assert told == ([] if times == 1 else ["amount_minor"])


@given(st.lists(st.integers(-(10**12), 10**12) | st.sampled_from([0, 1, -1, 9, 10, 999, 1000])))
def test_magnitudes_are_counted_off_the_digits(numbers: list[int]) -> None:
    found = magnitudes(pl.Series(numbers, dtype=pl.Int64)).to_list()
    assert found == ["0" if n == 0 else f"{'-' if n < 0 else ''}1e{len(str(abs(n))) - 1}" for n in numbers]


@pytest.mark.parametrize(("channels", "told"), [
    (["ATM01", "ATM01", "web", "atm"], {"ATM01": 2, "web": 1}), (["ATM01", "atm"], {}), ([None], {}),
])  # fmt: skip
def test_the_report_says_when_most_bookings_are_on_channels_without_features(
    home: Home, tmp_path: Path, channels: list[str | None], told: dict[str, int]
) -> None:
    booked = [booking(f"T{i}", channel=channel) for i, channel in enumerate(channels)]
    report = import_tables(home, write_tables(bank(transactions=booked), tmp_path / "s"))
    assert report.unnamed_channels == told
    line = "transactions: 2 on `ATM01`, 1 on `web`: no features of their own; name channels in bank.yaml, `booking_channels`"
    assert report.lines() == ([line] if told else [])


def moved_index() -> float:
    """Half of all left `purchase` for `salary`: (q - p) ln(q / p) twice, an absent share counted as 1e-4."""
    return 2 * (0.5 - 1e-4) * math.log(0.5 / 1e-4)


def test_p22_bad_cells_of_a_csv_go_to_the_quarantine_as_they_came(home: Home, source: Path) -> None:
    rows = [
        booking("T1", booked_at="2025-05-01T12:00:00Z"),
        booking("T2", booked_at="2025-05-01 12:00:00"),
        booking("T3", booked_at="yesterday+01:00"),
        booking("T4", amount_minor="12.50"),
        booking("T5", booked_at="2025-05-01T14:00:00+02:00"),
        booking("T6", amount_minor="99999999999999999999"),
    ]
    (source / "transactions.parquet").unlink()
    (source / "transactions.csv").write_text(as_csv(rows))
    report = import_tables(home, source)
    assert [(r.reason, r.count, r.first_row) for r in report.tables["transactions"].rejects] == [
        ("`amount_minor` is not a whole number", 2, 4),
        ("`booked_at` has no time zone", 1, 2),
        ("`booked_at` is not an instant with its zone such as 2026-06-01T00:00:00Z", 1, 3),
    ]
    raw = pl.read_parquet(home.quarantine / "transactions.parquet")
    assert raw.filter(pl.col("transaction_id") == "T4")["amount_minor"].item() == "12.50"
    assert [row["booked_at"] for row in held(home, "transactions")] == [BOOKED, BOOKED]


def test_p22_the_first_row_of_a_key_stays_even_across_batches(
    home: Home, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.columnar.BATCH_ROWS", 3)
    rows = [booking(f"T{i % 7}", amount_minor=i, booked_at=BOOKED - timedelta(hours=i)) for i in range(20)]
    write_tables(bank(transactions=rows), source)
    report = import_tables(home, source)
    assert sorted(row["amount_minor"] for row in held(home, "transactions")) == list(range(7))
    assert [(r.count, r.first_row) for r in report.tables["transactions"].rejects] == [(13, 8)]
    assert sorted(pl.read_parquet(home.quarantine / "transactions.parquet")["row"]) == list(range(8, 21))


def test_a_bad_first_row_does_not_take_its_good_twin_along(home: Home, tmp_path: Path) -> None:
    rows = [booking("T1", kind="gift"), booking("T1")]
    report = import_tables(home, write_tables(bank(transactions=rows), tmp_path / "s"))
    assert (report.rejected, len(held(home, "transactions"))) == (1, 1)


def test_a_reference_to_a_table_that_is_not_there_is_an_assumption(home: Home, source: Path) -> None:
    write_tables(bank(transactions=[booking(account_id="A1")]), source)
    report = import_tables(home, source)
    assert report.rejected == 0
    assert "no accounts: references to accounts are not checked" in home.assumptions()
    assert report.assumptions == home.assumptions()


def test_a_second_import_replaces_the_first_whole(home: Home, source: Path, tmp_path: Path) -> None:
    import_tables(home, write_tables(bank(cases=[]), tmp_path / "a"))
    assert home.table("cases").is_dir()
    import_tables(home, source)
    assert not home.table("cases").exists()
    assert [p.name for p in home.path.iterdir() if p.name.startswith(".")] == [LOCK]


def test_an_import_cut_short_between_its_renames_is_undone(home: Home, source: Path) -> None:
    import_tables(home, source)
    home.data.rename(home.path / ".data-before")
    assert held(Home.open(home.path), "customers")


def test_the_same_tables_give_the_same_bytes(home: Home, source: Path) -> None:
    import_tables(home, source)
    import_tables(home, source)  # the first report has nothing to compare with
    first = {p: p.read_bytes() for p in home.data.rglob("*") if p.is_file()}
    import_tables(home, source)
    assert {p: p.read_bytes() for p in home.data.rglob("*") if p.is_file()} == first


def test_p22_large_amounts_are_kept_to_the_digit_and_impossible_ones_refused(home: Home, tmp_path: Path) -> None:
    """10^9 of a currency is nothing strange; what 64 bits could not add up is refused, not wrapped around.

    Mutant: without the bounds, two amounts of 2^62 made an outflow negative.
    """
    huge = 2**62
    rows = [booking("T1", amount_minor=10**15 - 1), booking("T2", amount_minor=-(10**11) - 1),
            booking("T3", amount_minor=huge), booking("T4", balance_after_minor=-huge)]  # fmt: skip
    report = import_tables(home, write_tables(bank(transactions=rows), tmp_path / "s"))
    assert sorted(row["amount_minor"] for row in held(home, "transactions")) == [-(10**11) - 1, 10**15 - 1]
    assert [(r.reason, r.count, r.first_row) for r in report.tables["transactions"].rejects] == [
        ("`amount_minor` is above 1e+15", 1, 3), ("`balance_after_minor` is below -1e+15", 1, 4)
    ]  # fmt: skip


def test_one_import_at_a_time_and_what_a_killed_one_left_is_gone(home: Home, source: Path) -> None:
    with alone(home) as staging:
        (staging / "customers").mkdir()
        with pytest.raises(FeedError, match=r"^`.*`: another import is running; wait for its end and repeat$"):
            import_tables(home, source)
        assert (staging / "customers").is_dir()
    for left in (TAKEN, WRITTEN):
        (home.path / left).mkdir()
        (home.path / left / "customers.csv").write_text("everybody")
    import_tables(home, source)
    assert not [path for path in home.path.iterdir() if path.name in (TAKEN, WRITTEN)]


def test_p22_one_bad_cell_in_a_column_that_is_nearly_empty_costs_its_row(home: Home, tmp_path: Path) -> None:
    people = [customer(f"C{n}", **({"risk_assessed_on": "31.12.2025"} if n == 7 else {})) for n in range(1, 100)]
    folder = write_tables(bank(), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    (folder / "customers.csv").write_text(as_csv(people))
    report = import_tables(home, folder)
    assert [reject.reason for reject in report.tables["customers"].rejects] == [
        "`risk_assessed_on` is not a day such as 2026-06-01"
    ]
    assert report.tables["customers"].accepted == 98


def test_p22_rows_of_another_width_cost_themselves_and_are_told_by_their_number(home: Home, tmp_path: Path) -> None:
    """Mutant: one comma too many stops the whole feed, and prints its customer's cells."""
    lines = as_csv([customer("C1"), *(customer(f"D{n:06d}") for n in range(40_000))]).splitlines()
    lines[3] = "D000001,person"
    lines[30_000] += ",more"
    folder = write_tables(bank(), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    (folder / "customers.csv").write_text("\n".join(lines))
    report = import_tables(home, folder).tables["customers"]
    width = len(TABLES["customers"].columns)
    assert (report.rows, report.accepted) == (40_001, 39_999)
    assert [(r.reason, r.first_row) for r in report.rejects] == [
        (f"has 2 cells and not {width}; check quotes and commas", 3),
        (f"has {width + 1} cells and not {width}; check quotes and commas", 30_000),
    ]
    kept = pl.read_parquet(home.quarantine / "customers.parquet")
    assert kept["customer_id"].to_list() == [lines[3], lines[30_000]] and kept["row"].to_list() == [3, 30_000]


def test_p22_rows_around_odd_ones_bear_their_own_numbers(home: Home, tmp_path: Path) -> None:
    """Every third row has a comma too many, every seventh an unknown kind; the file is read in several blocks."""
    lines = as_csv(
        [customer(f"D{n:06d}", kind="robot" if n % 7 == 0 else "person") for n in range(1, 60_001)]
    ).splitlines()
    lines[3::3] = [line + "," for line in lines[3::3]]
    folder = write_tables(bank(customers=[customer("C1")]), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    (folder / "customers.csv").write_text("\n".join([*lines, as_csv([customer("C1")]).splitlines()[1]]))
    report = import_tables(home, folder).tables["customers"]
    kept = pl.read_parquet(home.quarantine / "customers.parquet")
    robots = kept.filter(pl.col("reason").str.contains("kind"))["row"].to_list()
    assert robots == [n for n in range(1, 60_001) if n % 7 == 0 and n % 3]
    assert sorted(kept["row"].to_list()) == [n for n in range(1, 60_001) if n % 7 == 0 or n % 3 == 0]
    assert report.accepted == 60_001 - len(kept)


def test_p22_a_file_of_odd_rows_stops_the_import(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.odd_rows.ODD_MOST", 10)
    lines = as_csv([customer(f"D{n:06d}") for n in range(30)]).splitlines()
    folder = write_tables(bank(), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    (folder / "customers.csv").write_text("\n".join([*lines[:3], *(line + "," for line in lines[3:])]))
    with pytest.raises(
        FeedError, match=r"more than 10 rows have another number of cells than the header .first: row 3.; check"
    ):
        import_tables(home, folder)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")  # Arrow's traceback, with his cells
def test_p22_a_broken_row_that_is_not_utf_8_stops_in_one_line_without_its_cells(home: Home, tmp_path: Path) -> None:
    folder = write_tables(bank(), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    (folder / "customers.csv").write_bytes(as_csv([customer("C1")]).encode() + b"C2,caf\xe9\n")
    with pytest.raises(FeedError) as error:
        import_tables(home, folder)
    assert (
        "C2" not in str(error.value) and "caf" not in str(error.value) and ", got 2; check quotes" in str(error.value)
    )


def test_a_header_may_have_blanks_and_a_cell_lines(home: Home, tmp_path: Path) -> None:
    """Lines in quotes beyond one block of the file; the header as a person types it."""
    told = "x" * 200 + "\n" + "y"
    people = [customer("C1"), *(customer(f"D{n:05d}", home_branch=f'"{told}"') for n in range(15_000))]
    folder = write_tables(bank(), tmp_path / "s")
    (folder / "customers.parquet").unlink()
    head, _, rows = as_csv(people).partition("\n")
    (folder / "customers.csv").write_text(", ".join(f'"{name}" ' for name in head.split(",")) + "\n" + rows)
    report = import_tables(home, folder)
    assert (report.tables["customers"].accepted, report.lines()) == (15_001, [])
    assert {row["home_branch"] for row in held(home, "customers")} == {None, told}


def test_strange_files_are_named(home: Home, source: Path) -> None:
    csv.write_csv(pa.table({"a": [1]}), source / "readme_first.csv")
    assert import_tables(home, source).ignored == ["readme_first.csv"]
