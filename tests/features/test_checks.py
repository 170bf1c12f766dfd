"""The checks of rows: what they let pass without one of them, and that each table's are complete."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from features.batch import Batch
from features.checks import RowChecks
from features.feed import UNRATED, FeedError
from features.intake import import_tables
from features.tables import TABLES, Table
from tests.feature_bank import NOW, Rows, Tables, made_up_bank, small_home, write_tables

LATER = datetime(2027, 1, 1, tzinfo=UTC)


def spoilt() -> tuple[Tables, dict[str, int]]:
    """A whole bank with bad rows among the good ones, and how many there are a reason."""
    tables = made_up_bank(51, transactions=200)
    tables["fx_rates"] = [row for row in tables["fx_rates"] if row["day"] <= NOW.date()]
    some: Rows = [dict(row) for row in tables["transactions"][:6]]
    some[0]["transaction_id"] = "X0"
    some[0]["customer_id"] = "NOBODY"
    some[1] |= {"transaction_id": "X1", "customer_id": "NOBODY"}
    some[2] |= {"transaction_id": "X2", "currency": "XAU"}
    some[3] |= {"transaction_id": "X3", "booked_at": LATER, "recorded_at": LATER}
    some[4] |= {"transaction_id": "X4", "amount_minor": 2**62}
    tables["transactions"] = [*tables["transactions"], *some]  # the sixth is a second row of its id
    tables["customers"] = [*tables["customers"], dict(tables["customers"][0])]
    return tables, {
        "`customer_id` is an unknown customer": 2, "`currency` is not among bank.yaml's currencies": 1,
        "`booked_at` lies in the future": 1, "`amount_minor` is above 1e+15": 1,
        "duplicate key; an earlier row stays": 2,
    }  # fmt: skip


def refused(folder: Path, tables: Tables) -> dict[str, int]:
    """Reasons and counts as the quarantine itself holds them; the report must say the same."""
    home = small_home(folder / "home")
    report = import_tables(home, write_tables(tables, folder / "source"))
    paths = [path for path in home.quarantine.glob("*.parquet") if path.name != UNRATED]  # those were accepted
    kept = [pl.read_parquet(path, columns=["reason"]) for path in paths]
    counts = dict(pl.concat(kept)["reason"].value_counts().iter_rows()) if kept else {}
    told: dict[str, int] = {}
    for table in report.tables.values():
        assert table.rows - table.accepted == sum(r.count for r in table.rejects)
        for reject in table.rejects:
            told[reject.reason] = told.get(reject.reason, 0) + reject.count
    assert told == counts
    return counts


def test_p22_every_bad_row_has_its_line_in_the_quarantine_and_the_good_ones_survive(tmp_path: Path) -> None:
    tables, wanted = spoilt()
    assert refused(tmp_path, tables) == wanted
    good = pl.read_parquet(tmp_path / "home" / "data" / "transactions" / "*.parquet")
    assert len(good) == len(tables["transactions"]) - 6 and good["transaction_id"].is_unique().all()


def test_p22_mutant_without_the_checks_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(_checks: RowChecks, batch: Batch) -> pl.Series:
        return batch.unread

    monkeypatch.setattr(RowChecks, "reasons", unchecked)
    tables, wanted = spoilt()
    assert refused(tmp_path, tables) == {"duplicate key; an earlier row stays": 2} != wanted


@pytest.mark.parametrize("broken", ['T9,,"C001,-1,GBP,purchase\n', 'T9,,"C001\n' + "T8,,C001\n" * 3, 'T9,,"a\nb",1\n'])
def test_p22_a_quote_that_is_not_closed_stops_the_import_and_says_where(tmp_path: Path, broken: str) -> None:
    """The rows after it would be one cell, and lost."""
    home = small_home(tmp_path / "home")
    source = write_tables(made_up_bank(52, transactions=20), tmp_path / "source")
    (source / "transactions.parquet").unlink()
    header = ",".join(c.name for c in TABLES["transactions"].columns)
    line = "T{},,C001,-1,GBP,purchase,,,2025-06-01T10:00:00Z,2025-06-01T10:00:00Z\n"
    text = header + "\n" + "".join(line.format(n) for n in range(5)) + broken
    (source / "transactions.csv").write_text(text)
    with pytest.raises(FeedError) as error:
        import_tables(home, source)
    assert str(error.value).startswith(f"`{source / 'transactions.csv'}` row 6: a quote is not closed")
    assert str(error.value).endswith("close the quote") and "\n" not in str(error.value)
    assert "C001" not in str(error.value) and not any(home.data.iterdir())


CLOCKS = [(name, c.name) for name, table in TABLES.items() for c in table.columns if c.name in ("at", "booked_at")]


@pytest.mark.parametrize(("name", "column"), CLOCKS)
def test_p22_no_instant_of_something_that_happened_lies_ahead(name: str, column: str) -> None:
    ahead = pl.lit(NOW + timedelta(seconds=1)).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({column: [None]}).with_columns(ahead.alias(column))
    only = Table(name, "", (TABLES[name].column(column),))
    batch = Batch("x", np.array([1]), rows, rows, pl.Series([None], dtype=pl.String))
    checks = RowChecks(only, ("GBP",), NOW, ZoneInfo("UTC"), {})
    assert checks.reasons(batch).to_list() == [f"`{column}` lies in the future"]
