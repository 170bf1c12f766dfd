"""What is handed over opens in a spreadsheet without doing anything, and says what it is."""

import csv
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.home import Home
from features.store import FeatureStore
from serving.commands.lists import make_list
from serving.lists.handover import COLUMNS, inert_csv
from tests.home import NOW


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "＠x", '=HYPERLINK("http://x","y")']
)
def test_p26_no_cell_of_a_list_is_a_formula(text: str) -> None:
    table = pa.table(
        {
            "customer_id": [text, "plain"],
            "value": [-5, 7],
            "at": [datetime(2026, 6, 1, tzinfo=UTC)] * 2,
            "none": [None, "a,b"],
        }
    )
    rows = list(csv.reader(io.StringIO(inert_csv(table).decode(), newline="")))
    assert rows[0] == ["customer_id", "value", "at", "none"]
    assert rows[1] == ["'" + text.replace("\r", " "), "-5", "2026-06-01T00:00:00Z", ""]
    assert rows[2] == ["plain", "7", "2026-06-01T00:00:00Z", "a,b"]


def test_p26_dangerous_customer_ids_are_inert_in_the_list_and_whole_in_the_table(bank: Path) -> None:
    """The road of such an id from the import to the CSV."""
    home = Home.open(bank)
    for table in ("customers", "consents", "reachability", "holders", "transactions", "identities"):
        for part in home.table(table).glob("part-*.parquet"):
            frame = pl.read_parquet(part)
            renamed = (
                pl.when(pl.col("customer_id") == "C0000001")
                .then(pl.lit("=cmd|' /C calc'!A0"))
                .otherwise(pl.col("customer_id"))
            )
            schema = pq.read_schema(part)
            pq.write_table(frame.with_columns(customer_id=renamed).to_arrow().cast(schema), part)
    FeatureStore(home).build(datetime(2026, 6, 1, tzinfo=UTC))
    folder = Path(str(make_list(home, ["dollars"], NOW).path))
    assert "=cmd|' /C calc'!A0" in pq.read_table(folder / "offers.parquet").column("customer_id").to_pylist()
    lines = (folder / "offers.csv").read_text("utf-8").splitlines()
    assert any(line.startswith("'=cmd|") for line in lines)
    assert not any(re.match(r'"?[=+\-@]', line) for line in lines)


def test_the_csv_holds_the_tables_rows_in_the_contracts_columns(bank: Path) -> None:
    folder = Path(str(make_list(Home.open(bank), ["dollars"], NOW).path))
    rows = list(csv.DictReader((folder / "offers.csv").open(encoding="utf-8")))
    table = pq.read_table(folder / "offers.parquet").to_pylist()
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(table) > 0
    for row, whole in zip(rows, table, strict=True):
        assert row["customer_id"] == whole["customer_id"] and row["contact_id"] == whole["contact_id"]
        assert int(row["expected_value_minor"]) == whole["expected_value_minor"] > 0
        assert row["send_after"] == f"{whole['send_after']:%Y-%m-%dT%H:%M:%SZ}" < row["send_before"]


class Page(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_report_fetches_nothing_and_tells_funnel_and_certificate(bank: Path) -> None:
    answer = make_list(Home.open(bank), ["all_year"], NOW)
    text = (Path(str(answer.path)) / "report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert not {tag for tag, _ in page.seen} & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in page.seen if "src" in attrs or "href" in attrs] and "http" not in text
    assert f">{answer.funnel.chosen}<" in text and f"{answer.certificate.bound_minor / 100:,.2f} CNY" in text
    for line in answer.assumptions:
        assert line in text.replace("&#39;", "'")
