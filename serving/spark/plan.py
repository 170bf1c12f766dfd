"""A run decided on Spark: the three passes of `serving.lists.batch.decide_all`, each in mapInArrow, with its bytes.

What stays on the driver: reading snapshot and ledger, the state columns, and the search of the clearing house, which sees
of every customer the open cells and what they are worth, no more; the bound its prices prove is added up by the workers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.spill import spilled
from rules.arbitrate import Choice, arbitrate, cell_values
from rules.decide import issue
from rules.suppress import suppress
from rules.terms import Terms
from rules.types import DECISIONS, scores_schema
from serving.engine import EngineError
from serving.lists.batch import Decided, Inputs, Progress, chunks
from serving.lists.choosers import choosers_of
from serving.lists.clearing import Market, Stalls, cell_prices, clear, priced_terms, seat_prices, seats_given
from serving.lists.limits import Limit
from serving.spark.decide import Kit, needed
from serving.spark.scoring import packed_models
from serving.spark.sums import bounding_on
from serving.spark.table import (
    ROW,
    Tables,
    as_was,
    by_unit,
    read_in_order,
    spark_type,
    to_plain,
    whole_units,
    written,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_STALL = [pa.field(ROW, pa.int64()), pa.field("chooser", pa.int64()), pa.field("cells", pa.list_(pa.int32())),
          pa.field("gross", pa.list_(pa.int64()))]  # fmt: skip
_WISH = pa.schema([(ROW, pa.int64()), ("drawn", pa.int32())])
_ISSUED = pa.schema([*DECISIONS, (ROW, pa.int64()), ("worth", pa.int64())])


@dataclass(frozen=True)
class _Given:
    """What the clearing house gave, by row of the run. share: of exploration."""

    cell: np.ndarray
    bid_milli: np.ndarray
    share: float


def deciding_on(spark: "SparkSession") -> Callable[[Inputs, Sequence[Limit], Progress | None], Decided]:
    """`decide_all` on that session."""
    return lambda inputs, limits, progress=None: decide_all(spark, inputs, limits, progress)


def decide_all(
    spark: "SparkSession", inputs: Inputs, limits: Sequence[Limit], progress: Progress | None = None
) -> Decided:
    """DECISIONS for every customer, every limit kept: byte for byte those of the local driver.

    What passes between the steps lies in the home for as long as the run: on a cluster, where all workers read it.
    """
    terms = inputs.terms
    with spilled(inputs.engine.home.path) as spill:
        customers, columns = _written(spark, inputs, spill, progress)
        kit = Kit(terms, packed_models(inputs.engine, inputs.degraded), columns)
        shown = pa.schema([columns.field(name) for name in needed(terms)])
        stood = _priced(customers, kit, shown, spill)
        priced, market = spark.read.parquet(str(stood)), _market(stood, inputs, limits)
        price = seat_prices(market, limits, terms)
        under = priced_terms(terms, cell_prices(price, limits, terms))
        drawn = _drawn(priced, under, shown, spill)
        cleared = clear(market, limits, terms, drawn, bounding_on(spark, spill / "cells.parquet"))
        given = _Given(cleared.cell, cleared.bid_milli, terms.exploration.share)
        found = _issued(priced, under, given, shown, spill)
    return Decided(found.select(DECISIONS.names), np.asarray(found.column("worth")), cleared)


def _written(
    spark: "SparkSession", inputs: Inputs, spill: Path, progress: Progress | None
) -> "tuple[DataFrame, pa.Schema]":
    """The customers as Parquet with their place in the run, and their columns' types."""
    folder, start, schema = spill / "customers", 0, None
    folder.mkdir()
    for number, batch in enumerate(chunks(inputs, progress)):
        schema = schema or batch.schema
        rows = to_plain(pa.Table.from_batches([batch])).append_column(
            ROW, pa.array(range(start, start + batch.num_rows))
        )
        pq.write_table(rows, folder / f"part-{number:05d}.parquet", compression="lz4")
        start += batch.num_rows
    if schema is None:
        raise EngineError("the newest snapshot holds no customers; import them, then nbo features build")
    return spark.read.parquet(str(folder)), schema


def _scores_of(terms: Terms) -> pa.Schema:
    made = scores_schema(len(terms.catalogue.offers), len(terms.catalogue.channels))
    return pa.schema([pa.field(f"score_{field.name}", field.type) for field in made])


def _priced(customers: "DataFrame", kit: Kit, shown: pa.Schema, spill: Path) -> Path:
    """The first pass: what is open, what it is worth, and the scores; where they are written down."""
    out = pa.schema([*_STALL, *shown, *_scores_of(kit.terms)])
    sent = customers.sparkSession.sparkContext.broadcast(kit)

    def work(batches: Iterable[pa.RecordBatch]) -> Tables:
        of = sent.value
        score = of.scoring()

        def one(rows: pa.Table) -> pa.Table:
            batch = as_was(rows, of.columns)
            found = suppress(batch, of.terms)
            scores = score(batch, found.open)
            values = cell_values(scores, of.terms)
            at, cell = np.nonzero(found.open & values.known)
            ends = np.concatenate(([0], np.cumsum(np.bincount(at, minlength=len(rows))))).astype(np.int32)
            place = np.asarray(rows.column(ROW))
            columns = [pa.array(place), pa.array(place[choosers_of(batch, found, of.terms)]),
                       pa.ListArray.from_arrays(pa.array(ends), pa.array(cell.astype(np.int32))),
                       pa.ListArray.from_arrays(pa.array(ends), pa.array(values.gross[at, cell]))]  # fmt: skip
            return pa.table([*columns, *(batch.column(name) for name in shown.names), *scores.columns], schema=out)

        return whole_units(batches, one)

    return written(by_unit(customers).mapInArrow(work, spark_type(out)), spill / "priced")


def _market(priced: Path, inputs: Inputs, limits: Sequence[Limit]) -> Market:
    table = read_in_order(priced, pa.schema(_STALL))
    cells, gross = (table.column(name).combine_chunks() for name in ("cells", "gross"))
    stalls = Stalls(n=table.num_rows)
    stalls.counts.append(np.diff(np.asarray(cells.offsets)).astype(np.int64))
    stalls.cell.append(np.asarray(cells.flatten()).astype(np.uint16))
    stalls.gross.append(np.asarray(gross.flatten()))
    stalls.chooser.append(np.asarray(table.column("chooser")))
    return stalls.market(inputs.features, limits)


def _rebuilt(rows: pa.Table, terms: Terms, shown: pa.Schema) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    schema = _scores_of(terms)
    scores = as_was(rows, schema)
    return as_was(rows, shown), scores.rename_columns([name.removeprefix("score_") for name in schema.names])


def _drawn(priced: "DataFrame", terms: Terms, shown: pa.Schema, spill: Path) -> np.ndarray:
    """The second pass: (n,) the cell an explorer competes with, -1 for the others."""
    sent = priced.sparkSession.sparkContext.broadcast(terms)

    def work(batches: Iterable[pa.RecordBatch]) -> Tables:
        def one(rows: pa.Table) -> pa.Table:
            wish = _wish(*_rebuilt(rows, sent.value, shown), sent.value)
            return pa.table([rows.column(ROW), np.where(wish.explored, wish.cell, -1).astype(np.int32)], schema=_WISH)

        return whole_units(batches, one)

    found = written(by_unit(priced).mapInArrow(work, spark_type(_WISH)), spill / "drawn")
    return np.asarray(read_in_order(found, _WISH).column("drawn")).astype(np.int64)


def _issued(priced: "DataFrame", terms: Terms, given: _Given, shown: pa.Schema, spill: Path) -> pa.Table:
    """The third pass: the decisions as they were allotted, in the order of the run, with their worth."""
    sent = priced.sparkSession.sparkContext.broadcast((terms, given))

    def work(batches: Iterable[pa.RecordBatch]) -> Tables:
        under, got = sent.value

        def one(rows: pa.Table) -> pa.Table:
            customers, scores = _rebuilt(rows, under, shown)
            place = np.asarray(rows.column(ROW))
            gross, cell = cell_values(scores, under).gross, got.cell[place]
            seats = seats_given(cell, got.bid_milli[place], _wish(customers, scores, under), gross, got.share)
            decided = issue(customers, under, scores, seats)
            won = np.asarray(decided.column("offer_id").is_valid())
            worth = np.where(won, gross[np.arange(len(won)), np.maximum(cell, 0)], 0)
            return pa.table([*decided.columns, rows.column(ROW), pa.array(worth)], schema=_ISSUED)

        return whole_units(batches, one)

    return read_in_order(written(by_unit(priced).mapInArrow(work, spark_type(_ISSUED)), spill / "issued"), _ISSUED)


def _wish(customers: pa.RecordBatch, scores: pa.RecordBatch, terms: Terms) -> Choice:
    return arbitrate(customers, scores, suppress(customers, terms), terms)
