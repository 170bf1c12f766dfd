"""P15: a run on Spark is, byte for byte, the run of the local driver; the sums of its dual are the same whole numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from serving.lists.batch import decide_all as decide_here
from serving.lists.batch import read_inputs
from serving.lists.clearing import _offered, cell_columns
from serving.lists.dual import bound, choose
from serving.lists.plan import make_plan
from serving.lists.shared import limits_of
from serving.office import Office
from serving.spark.plan import decide_all, deciding_on
from serving.spark.sums import cells_frame, sums
from tests.home import DOLLAR_OFFERS, HERO, HERO_DOLLARS, Clock, move
from tests.spark import spark

CAMPAIGNS = ("all_year", "dollars")


def same(one: pa.Table, other: pa.Table) -> bool:
    return one.schema.equals(other.schema, check_metadata=True) and one.equals(other)


def test_p15_p29_a_plan_on_spark_is_the_local_plan(office: Office, clock: Clock) -> None:
    move(office, "cash_withdrawal", -1_150_000, HERO_DOLLARS - 1_150_000, clock.now)
    here = make_plan(office.engine, office.ledger, CAMPAIGNS, clock.now)
    there = make_plan(office.engine, office.ledger, CAMPAIGNS, clock.now, deciding=deciding_on(spark()))
    assert same(here.decisions, there.decisions)
    assert here.decisions.column("offer_id").null_count < len(here.decisions)
    assert here.decisions.column("explored").to_pylist().count(True) > 0
    assert np.array_equal(here.worth, there.worth)
    for name in ("cell", "bid_milli", "drawn"):
        assert np.array_equal(getattr(here.cleared, name), getattr(there.cleared, name)), name
    assert here.cleared.allocation.bound_minor == there.cleared.allocation.bound_minor
    assert here.cleared.all_bound_minor == there.cleared.all_bound_minor
    [hero] = [row for row in there.decisions.to_pylist() if row["customer_id"] == HERO]
    assert hero["offer_id"] not in DOLLAR_OFFERS
    assert not list(office.engine.home.path.glob(".spill-*")), "what passed between the steps is gone"


def test_p07_a_degraded_plan_is_silent_on_spark_too(office: Office, clock: Clock) -> None:
    inputs = replace(
        read_inputs(office.engine, office.ledger, clock.now, CAMPAIGNS), problems=("no live model `reach`",)
    )
    found = decide_all(spark(), inputs, limits_of(inputs, CAMPAIGNS))
    assert found.decisions.column("offer_id").null_count == len(found.decisions)


def test_p16_the_sums_of_the_dual_are_the_same_whole_numbers(office: Office, clock: Clock, tmp_path: Path) -> None:
    inputs = read_inputs(office.engine, office.ledger, clock.now, CAMPAIGNS)
    limits = limits_of(inputs, CAMPAIGNS)
    market = decide_here(inputs, limits).cleared.market
    cells, _ = _offered(market, limits, inputs.terms, None)
    columns, frame = cell_columns(market, limits, inputs.terms), cells_frame(spark(), cells, tmp_path / "cells.parquet")
    dice = np.random.default_rng(5)
    for price in (np.zeros(columns.n_limits, np.int64), dice.integers(0, 40_000, columns.n_limits)):
        found = sums(frame, columns, price)
        taken = choose(cells, columns.prices(price).astype(np.float64), 1_000)
        assert found.surplus == int(taken.best.astype(np.int64).sum())
        assert np.array_equal(found.used, columns.used_exactly(cells.column[taken.cell[taken.cell >= 0]]))
        assert found.bound(columns, price) == bound(cells, columns, price)


def test_p15_the_mutant_that_counts_a_chooser_twice_is_seen(office: Office, clock: Clock, tmp_path: Path) -> None:
    """The bug: each of a chooser's cells competes for itself."""
    inputs = read_inputs(office.engine, office.ledger, clock.now, CAMPAIGNS)
    limits = limits_of(inputs, CAMPAIGNS)
    market = decide_here(inputs, limits).cleared.market
    cells, _ = _offered(market, limits, inputs.terms, None)
    columns = cell_columns(market, limits, inputs.terms)
    torn = replace(cells, start=np.arange(len(cells.column) + 1))
    price = np.zeros(columns.n_limits, np.int64)
    assert sums(cells_frame(spark(), torn, tmp_path / "torn.parquet"), columns, price).bound(columns, price) > bound(
        cells, columns, price
    )
