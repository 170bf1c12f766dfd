"""P15: the oracle, the engine and Spark give one answer, however rows are shuffled and spread."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rules.terms import Exploration
from serving.spark import table as module
from serving.spark.session import packed
from tests.bank import population, scores, terms
from tests.conformance import assert_same, by_engine, by_oracle, by_spark
from tests.spark import spark

N = 240


def bank(n: int) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]], list[int]]:
    of = terms(exploration=Exploration(0.2, 50_000))
    order = list(range(n))
    random.Random(3).shuffle(order)
    return of, population(of, n, 11), scores(of, n, 12), order


def test_p15_the_oracle_the_engine_and_spark_give_the_same_bytes() -> None:
    of, rows, given, order = bank(N)
    found = by_spark(spark(), of, rows, given, order, 3)
    assert found.equals(by_engine(of, rows, given))
    assert_same(of, found, by_oracle(of, rows, given))
    assert 0 < found.column("offer_id").null_count < N


def batches_of(sizes: list[int], units: list[str]) -> list[pa.RecordBatch]:
    whole = pa.table({"unit_id": units, module.ROW: list(range(len(units)))}).combine_chunks()
    found: list[pa.RecordBatch] = []
    start = 0
    for size in sizes:
        found += whole.slice(start, size).to_batches()
        start += size
    return found


def units_seen(sizes: list[int], units: list[str]) -> list[list[str]]:
    seen: list[list[str]] = []

    def work(rows: pa.Table) -> pa.Table:
        seen.append(rows.column("unit_id").to_pylist())
        return rows

    out = list(module.whole_units(batches_of(sizes, units), work))
    assert [row for batch in out for row in batch.column(module.ROW).to_pylist()] == list(range(len(units)))
    return seen


@pytest.mark.parametrize("sizes", [[7], [1] * 7, [2, 2, 3], [3, 4], [6, 1], [1, 5, 1]])
def test_p11_no_unit_is_ever_cut_in_two(sizes: list[int]) -> None:
    units = ["a", "b", "b", "b", "c", "c", "d"]
    seen = units_seen(sizes, units)
    assert [unit for part in seen for unit in part] == units
    for unit in set(units):
        assert sum(unit in part for part in seen) == 1, (sizes, seen)


def test_p11_the_mutant_that_takes_batches_as_they_come_is_seen() -> None:
    cut = [batch.column("unit_id").to_pylist() for batch in batches_of([2, 5], ["a", "b", "b", "b", "c", "c", "d"])]
    assert sum("b" in part for part in cut) == 2


def test_every_type_comes_back_as_it_was() -> None:
    schema = pa.schema([("a", pa.uint64()), ("b", pa.list_(pa.float64(), 2)), ("c", pa.uint16()), ("d", pa.date32()),
                        ("e", pa.timestamp("us", "UTC")), pa.field("f", pa.string(), nullable=False, metadata={"unit": "x"})])  # fmt: skip
    rows = pa.table([pa.array([2**64 - 1, None], pa.uint64()), pa.array([[1.5, None], None], schema.field("b").type), pa.array([65_535, 0], pa.uint16()),
                     pa.array([0, None], pa.date32()), pa.array([0, None], pa.timestamp("us", "UTC")), ["x", "y"]], schema=schema)  # fmt: skip
    sent = spark().createDataFrame(module.to_plain(rows)).toArrow()
    assert module.as_was(sent, schema).equals(rows.to_batches()[0], check_metadata=True)


def test_what_is_sent_to_the_workers_is_enough_to_work_there(tmp_path: Path) -> None:
    """Imported from the zip alone, compiled; a worker started in the repository itself would not show it."""
    asked = "import sys; sys.path.insert(0, sys.argv[1]); import serving.spark.plan as p, serving.spark.scoring as s; print(p.__file__, s.__file__)"
    said = subprocess.run(
        [sys.executable, "-I", "-c", asked, str(packed(tmp_path))], capture_output=True, text=True, check=True
    )
    assert [Path(name).suffix for name in said.stdout.split()] == [".pyc", ".pyc"]
    assert all("next_best_offer.zip" in name for name in said.stdout.split())
