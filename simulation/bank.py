"""Simulate a bank of known truth into a folder of Parquet.

`<directory>/<table>/part-00000.parquet` ... one part per block of 2,000 customers (fixed tables:
one part), in the schemas of features.tables without `imported_at`, which the import stamps.
`<directory>/truth/<table>/part-*.parquet` holds what no bank knows: `customers` (response
probabilities at `until`), `contacts` (the probabilities each past contact was drawn from),
`life_events`, and `months` (expected and realised leaving and unasked take-up).

The same seed, since and until give the same bytes; the first blocks do not depend on `customers`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulation.block import Block, begin_block
from simulation.cases import cases_table, draw_own_cases, notes_table
from simulation.cast import CAST, cast_tables
from simulation.contactlog import ContactLog
from simulation.crm import ROUNDS, contact_round
from simulation.customers import customers_table, identities_table
from simulation.errors import SimulationError
from simulation.fixed import calendar_table, products_table
from simulation.foreign import live_abroad
from simulation.months import Month, months_between
from simulation.rates import Rates
from simulation.spending import budget_minor, credit_interest, live_in_yuan
from simulation.takeup import join, leave, mature, open_hardship, settle, take_up_organically
from simulation.truthtables import truth_tables
from simulation.world import BLOCK_CUSTOMERS, CUSTOMERS_MAX

__all__ = ["SimulatedBank", "simulate"]

# Columns of few values; all others are written plainly, which is quicker and no larger.
_FEW_VALUES = (
    "kind", "channel", "currency", "state", "purpose", "source", "wording", "offer_id",
    "campaign_id", "direction", "product", "role", "home_branch", "manager_id", "time_zone",
    "language", "source_system", "flag", "family", "region", "holiday",
)  # fmt: skip


@dataclass(frozen=True)
class SimulatedBank:
    """What was written: where, of which seed and time, and how many rows of each table."""

    directory: Path
    customers: int
    seed: int
    since: datetime
    until: datetime
    rows: dict[str, int]

    @property
    def truth(self) -> Path:
        """The folder of the truth, for simulation.truth.read_truth."""
        return self.directory / "truth"


def simulate(
    directory: Path,
    customers: int,
    seed: int,
    until: datetime = datetime(2026, 6, 1, tzinfo=UTC),
    since: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    progress: Callable[[int], None] | None = None,
) -> SimulatedBank:
    """Write every canonical table and the truth of a simulated bank.

    Args:
        directory: Is made; must be empty if it exists.
        customers: 1 .. 9,999,999.
        seed: Not negative; the same seed gives the same bytes.
        until: End of the data, midnight UTC on the first of a month.
        since: Their begin, likewise.
        progress: Called after each block with the number of customers finished since the last
            call; the calls sum up to `customers`.

    Raises:
        SimulationError: An argument is out of range, or the directory holds something already.
    """
    if not 1 <= customers <= CUSTOMERS_MAX:
        raise SimulationError(f"customers is `{customers}`; give 1 .. {CUSTOMERS_MAX}")
    if seed < 0:
        raise SimulationError(f"seed is `{seed}`; give 0 or more")
    months = months_between(since, until)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SimulationError(f"`{directory}` is not an empty folder; remove it or name another")
    rates = Rates.draw(seed, months)
    rows: dict[str, int] = {}
    fixed = {"products": products_table(), "calendar": calendar_table(), "fx_rates": rates.table()}
    _write(directory, fixed, 0, rows)
    for number, first in enumerate(range(0, customers, BLOCK_CUSTOMERS)):
        n = min(BLOCK_CUSTOMERS, customers - first)
        tables = _simulate_block(seed, number, n, months, rates)
        if number == 0:
            tables = _with_cast(tables, cast_tables(since, until, customers))
        _write(directory, tables, number, rows)
        if progress is not None:
            progress(n)
    return SimulatedBank(directory, customers, seed, since, until, dict(sorted(rows.items())))


def _simulate_block(seed: int, number: int, n: int, months: tuple[Month, ...], rates: Rates) -> dict[str, pa.Table]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number)))
    n_scripted = len(CAST) if number == 0 else 0
    first = number * BLOCK_CUSTOMERS
    block, log = begin_block(rng, first, BLOCK_CUSTOMERS, months, n_scripted), ContactLog()
    for month in months:
        _simulate_month(block, log, month, rates)
    keep = (min(n_scripted, n), n)
    until_us = months[-1].end_us
    contacts, outcomes, contact_truth = log.tables(block.people, months, keep, until_us)
    consents, reachability = block.consents.tables(keep, until_us)
    accounts, holders = block.accounts.tables(block.people, keep, rng)
    return {
        "customers": customers_table(block, len(months), keep, until_us),
        "consents": consents, "reachability": reachability,
        "identities": identities_table(block, keep),
        "accounts": accounts, "holders": holders,
        "transactions": block.journal.table(rng, first, keep, until_us),
        "contacts": contacts, "outcomes": outcomes,
        "cases": cases_table(block.cases, block.people, keep, until_us),
        "notes": notes_table(rng, block.people, keep, months[0].start_us),
        **truth_tables(block, months, n, contact_truth),
    }  # fmt: skip


def _simulate_month(block: Block, log: ContactLog, month: Month, rates: Rates) -> None:
    lost_job = block.needs.step(block.rng, month)
    block.listened[:] = False
    leave(block, month)
    join(block, month)
    live = block.active(month.number)
    credit_interest(block, month, live)
    open_hardship(block, month, lost_job)
    block.cases += draw_own_cases(block.rng, np.flatnonzero(live), month.start_us)
    for number in range(ROUNDS):
        contact_round(block, log, month, number)
    take_up_organically(block, month, live)
    budget = budget_minor(block)
    mature(block, month, live)
    settle(block, month, live, budget)
    live_abroad(block, month, live, budget, rates.fen_per_minor(month))
    live_in_yuan(block, month, live, budget)


def _with_cast(tables: dict[str, pa.Table], cast: dict[str, pa.Table]) -> dict[str, pa.Table]:
    joined = {name: pa.concat_tables([cast[name], table]) if name in cast else table
              for name, table in tables.items()}  # fmt: skip
    # INVARIANT: transactions are sorted by booked_at within a part.
    joined["transactions"] = joined["transactions"].sort_by(
        [("booked_at", "ascending"), ("transaction_id", "ascending")]
    )
    return joined


def _write(directory: Path, tables: dict[str, pa.Table], part: int, rows: dict[str, int]) -> None:
    for name, table in tables.items():
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        few = [column for column in table.column_names if column in _FEW_VALUES]
        pq.write_table(
            table,
            folder / f"part-{part:05d}.parquet",
            compression="zstd",
            use_dictionary=few,  # pyright: ignore[reportArgumentType]  # the stubs lack lists
        )
        rows[name] = rows.get(name, 0) + table.num_rows
