"""Decide on Spark: the same pure function, unit by unit, in mapInArrow; terms and models travel once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rules.decide import decide
from rules.terms import Terms
from rules.types import CUSTOMERS, DECISIONS
from serving.spark.scoring import Scoring
from serving.spark.table import ROW, Tables, as_was, by_unit, spark_type, whole_units

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Kit:
    """What every worker needs to decide. columns: of the customers, with their types."""

    terms: Terms
    scoring: Scoring
    columns: pa.Schema


DECIDED = pa.schema([*DECISIONS, pa.field(ROW, pa.int64())])


def decide_frame(customers: "DataFrame", kit: Kit, parts: int | None = None) -> "DataFrame":
    """DECISIONS with `row`, one row a customer, in no order.

    customers: CUSTOMERS, the state columns and what the scoring reads, as `table.to_plain` gives them, and `row`,
    the customer's place in the run. Bytes are those of `rules.decide` however the rows are spread.
    """
    sent = customers.sparkSession.sparkContext.broadcast(kit)

    def work(batches: Iterable[pa.RecordBatch]) -> Tables:
        return _decided(sent.value, batches)

    return by_unit(customers, parts).mapInArrow(work, spark_type(DECIDED))


def _decided(kit: Kit, batches: Iterable[pa.RecordBatch]) -> Tables:
    score = kit.scoring()

    def work(rows: pa.Table) -> pa.Table:
        found: Any = decide(as_was(rows, kit.columns), kit.terms, score)
        return pa.Table.from_batches([found]).append_column(ROW, rows.column(ROW))

    return whole_units(batches, work)


def needed(terms: Terms, *more: str) -> list[str]:
    """Columns that deciding reads, in order, each once."""
    return list(dict.fromkeys([*CUSTOMERS.names, *terms.state_schema.names, *more]))
