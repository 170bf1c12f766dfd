"""The sums of the allocation's dual on Spark: what choosers take under prices, added up as whole numbers.

Weak duality holds for every price, so a bound found so is a true one however the prices were sought. Whole numbers add
to the same sum in any order: the figures are those of `serving.lists.dual`, bit for bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.lists.clearing import Bounding
from serving.lists.dual import SCALE, bound_of, choose
from serving.lists.limits import Columns
from serving.lists.open_cells import OpenCells
from serving.spark.table import Tables, spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CELLS = pa.schema([("column", pa.list_(pa.int32())), ("gross", pa.list_(pa.int64()))])  # one row a chooser
_TAKEN = pa.schema([("surplus", pa.int64()), ("used", pa.list_(pa.int64()))])


@dataclass(frozen=True)
class Sums:
    """surplus: of all choosers' best cells, thousandths of a minor unit; used: (n_limits,) int64, by those cells."""

    surplus: int
    used: np.ndarray

    def bound(self, columns: Columns, price: np.ndarray) -> int:
        """No list that keeps the limits is worth more minor units."""
        return bound_of(self.surplus, columns, price)


def bounding_on(spark: "SparkSession", path: Path) -> Bounding:
    """`serving.lists.dual.bound`, added up by the workers of that session; by way of that file."""
    return lambda cells, columns, price: sums(cells_frame(spark, cells, path), columns, price).bound(columns, price)


def cells_frame(spark: "SparkSession", cells: OpenCells, path: Path) -> "DataFrame":
    """Choosers with their open cells, by way of a file there; a chooser is one row, so no best is torn apart."""
    lists = [pa.LargeListArray.from_arrays(cells.start, pa.array(values)).cast(field.type)
             for values, field in zip((cells.column, cells.gross), CELLS, strict=True)]  # fmt: skip
    pq.write_table(pa.table(lists, schema=CELLS), path, compression="lz4", row_group_size=1 << 17)
    return spark.read.parquet(str(path))


def sums(frame: "DataFrame", columns: Columns, price: np.ndarray) -> Sums:
    """What the choosers take under the prices. price: (n_limits,) int64, thousandths of a minor unit."""
    sent = frame.sparkSession.sparkContext.broadcast((columns, price))

    def work(batches: Iterable[pa.RecordBatch]) -> Tables:
        of, at = sent.value
        paid = of.prices(at).astype(np.float64)
        for batch in batches:
            yield _taken(_cells(batch), of, paid)

    parts = frame.mapInArrow(work, spark_type(_TAKEN)).toArrow()
    used = [np.asarray(one, np.int64) for one in parts.column("used").to_pylist()]
    return Sums(sum(parts.column("surplus").to_pylist()), sum(used, np.zeros(columns.n_limits, np.int64)))


def _taken(cells: OpenCells, columns: Columns, paid: np.ndarray) -> pa.RecordBatch:
    found = choose(cells, paid, SCALE)
    used = columns.used_exactly(cells.column[found.cell[found.cell >= 0]])
    return pa.RecordBatch.from_pylist(
        [{"surplus": int(found.best.astype(np.int64).sum()), "used": used.tolist()}], _TAKEN
    )


def _cells(batch: pa.RecordBatch) -> OpenCells:
    column, gross = batch.column("column"), batch.column("gross")
    start = np.asarray(column.offsets).astype(np.int64)
    return OpenCells(start - start[0], np.asarray(column.flatten()), np.asarray(gross.flatten()))
