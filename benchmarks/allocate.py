"""The clearing house: a million customers under 524 limits, beside HiGHS, greedy by value, and row-chunks of 1,000."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from benchmarks.table import Table, peak_gb
from serving.lists.allocate import Allocation, allocate
from serving.lists.limits import COST, Columns, Limit, make_columns
from serving.lists.open_cells import OpenCells

OFFERS, CHANNELS, COSTS = 10, ("sms", "email", "app", "call", "branch"), (8, 1, 0, 900, 2_500)
N_OPEN, N_MANAGERS = 12, 500
SECONDS_MAX, GAP_MAX, MEMORY_MAX, RATIO_MIN, HIGHS_SECONDS = 60.0, 1e-4, 4.0, 50.0, 120.0
KINDS: list[dict[str, str | int]] = [{"offer": f"offer_{o}", "channel": c, "family": f"family_{o % 4}", COST: cost}
                                     for o in range(OFFERS) for c, cost in zip(CHANNELS, COSTS, strict=True)]  # fmt: skip
PEOPLE: list[dict[str, str | None]] = [{"manager_id": f"m{m}"} for m in range(N_MANAGERS)]


def limits_for(n: int) -> list[Limit]:
    """24 shared limits - channels, stock, budget, families by text - and the managers' calls."""
    part = lambda share: max(int(n * share), 1)
    return [
        *(Limit(name=f"{c} seats", where={"channel": c}, at_most=part(s)) for c, s in zip(CHANNELS, (0.15, 0.12, 0.2, 0.03, 0.004), strict=True)),
        *(Limit(name=f"stock {o}", where={"offer": f"offer_{o}"}, at_most=part(0.06)) for o in range(OFFERS)),
        Limit(name="budget", unit="cost_minor", at_most=25 * n),
        *(Limit(name=f"{c} for family {f}", where={"channel": c, "family": f"family_{f}"}, at_most=part(0.03)) for c in ("sms", "email") for f in range(4)),
        *(Limit(name=f"calls of {m}", where={"manager_id": f"m{m}", "channel": "call"}, at_most=part(0.02 / N_MANAGERS)) for m in range(N_MANAGERS)),
    ]  # fmt: skip


def market(n: int, seed: int = 1) -> OpenCells:
    """n customers with 12 open cells each, values log-normal by customer, offer, channel and cell."""
    rng = np.random.default_rng(seed)
    cell = np.concatenate([np.sort(np.argsort(rng.random((min(100_000, n - k), len(KINDS)), np.float32), axis=1)[:, :N_OPEN], axis=1)
                           for k in range(0, n, 100_000)])  # fmt: skip
    who, offer, channel = rng.lognormal(0, 0.7, n), rng.lognormal(7, 0.4, OFFERS), np.array([0.6, 0.4, 0.5, 2.0, 3.0])
    gross = (
        who[:, None] * offer[cell // 5] * channel[cell % 5] * rng.lognormal(0, 0.5, cell.shape)
        - np.array(COSTS)[cell % 5]
    )
    column = rng.integers(0, N_MANAGERS, n)[:, None] * len(KINDS) + cell
    return OpenCells(
        np.arange(0, N_OPEN * n + 1, N_OPEN), column.astype(np.int32).ravel(), gross.astype(np.int64).ravel()
    )


def highs(cells: OpenCells, columns: Columns, gap: float = GAP_MAX) -> tuple[float | None, int]:
    """(seconds, value) of the exact solver, which stops within that gap; None where it was not done in two minutes."""
    m, width = len(cells.gross), columns.limit.shape[1]
    owner, limit = np.repeat(np.arange(cells.n_choosers), np.diff(cells.start)), columns.limit[cells.column].ravel()
    once = csr_matrix((np.ones(m), (owner, np.arange(m))))
    uses = csr_matrix(
        (columns.units[cells.column].ravel().astype(float), (limit, np.repeat(np.arange(m), width))),
        (columns.n_limits + 1, m),
    )[:-1]
    begun = time.perf_counter()
    found = milp(-cells.gross.astype(float), constraints=[LinearConstraint(once, -np.inf, 1), LinearConstraint(uses, -np.inf, columns.room)],  # pyright: ignore[reportArgumentType]  # the stubs want a number
                 bounds=Bounds(0, 1), integrality=np.ones(m), options={"time_limit": HIGHS_SECONDS, "mip_rel_gap": gap})  # fmt: skip
    spent = time.perf_counter() - begun
    return (spent if found.status == 0 else None), 0 if found.x is None else int(
        cells.gross @ np.rint(found.x).astype(np.int64)
    )


def greedy(cells: OpenCells, columns: Columns) -> int:
    """The value of taking cells by value, dearest first, while they fit."""
    left, value = [*columns.room.tolist(), 0], 0
    owner, free = np.repeat(np.arange(cells.n_choosers), np.diff(cells.start)), np.ones(cells.n_choosers, dtype=bool)
    uses = [
        [(a, b) for a, b in zip(x, y, strict=True) if b]
        for x, y in zip(columns.limit.tolist(), columns.units.tolist(), strict=True)
    ]
    order = np.argsort(-cells.gross, kind="stable")
    order = order[cells.gross[order] > 0]
    for who, column, gross in zip(
        owner[order].tolist(), cells.column[order].tolist(), cells.gross[order].tolist(), strict=True
    ):
        if free[who] and all(left[limit] >= units for limit, units in uses[column]):
            free[who], value = False, value + gross
            for limit, units in uses[column]:
                left[limit] -= units
    return value


def by_chunks(cells: OpenCells, columns: Columns, size: int = 1_000) -> int:
    """The value of optimising random chunks of customers, each with its share of what is left of every limit."""
    order, value, n = np.random.default_rng(5).permutation(cells.n_choosers), 0, cells.n_choosers
    used = np.zeros(columns.n_limits, np.int64)
    for k in range(0, n, size):
        part = cells.taken(np.sort(order[k : k + size]))
        share = columns.room * min(k + size, n) // n - used  # what earlier chunks left is handed on
        made = allocate(part, replace(columns, room=share), [])
        chosen = made.cell[made.cell >= 0]
        value, used = value + made.value_minor, used + columns.used_exactly(part.column[chosen])
    assert (used <= columns.room).all()
    return value


def run(quick: bool, part: str = "") -> list[Table]:
    """Two tables: how it grows, and beside the others."""
    return [PARTS[name](quick) for name in ([part] if part else PARTS)]


def _timed(work: Callable[[], Allocation]) -> tuple[Allocation, float, float]:
    wall, own = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - own


def _grow(quick: bool) -> Table:
    table = Table("allocate", f"{N_OPEN} open cells each, 24 shared limits and {N_MANAGERS} managers' seats")
    print(f"allocate: {table.setting}")
    for n in (5_000, 20_000) if quick else (100_000, 1_000_000, 5_000_000):
        cells, limits = market(n), limits_for(n)
        columns = make_columns(limits, KINDS, PEOPLE)
        found, wall, own = _timed(lambda c=cells, k=columns, ls=limits: allocate(c, k, ls))
        held = (columns.used_exactly(cells.column[found.cell[found.cell >= 0]]) <= columns.room).all()
        gap = (found.bound_minor - found.value_minor) / found.bound_minor
        if not held or found.value_minor > found.bound_minor:
            raise SystemExit(
                "the list does not keep its limits, or is worth more than its bound; a figure would mean nothing"
            )
        big = n >= 1_000_000
        table.add(
            f"{n:,} customers, prices and list",
            wall,
            "s",
            SECONDS_MAX * n / 1e6 if big else None,
            f"{own:.1f} s of processor",
        )
        table.add(f"{n:,} customers, gap to the bound over all cells", gap * 100, "%", GAP_MAX * 100 if big else None)
        table.add(
            f"{n:,} customers, most memory so far",
            peak_gb(),
            "GB",
            MEMORY_MAX if n == 1_000_000 else None,
            "the made-up bank included",
        )
    return table


def _beside(quick: bool) -> Table:
    table = Table("allocate beside", "the largest instance HiGHS solves in two minutes, to the same gap of 0.01 %")
    print(f"beside: {table.setting}")
    largest: tuple[int, float, int] | None = None
    for n in (500,) if quick else (1_000, 1_400, 2_000, 2_800, 4_000, 5_600, 8_000, 16_000):
        cells = market(n)
        spent, value = highs(cells, make_columns(limits_for(n), KINDS, PEOPLE))
        table.add(f"HiGHS, {n:,} customers", spent, "s", note="not done in 120 s" if spent is None else "")
        if spent is None:
            break
        largest = n, spent, value
    if largest is None:
        return table
    n, spent, value = largest
    cells, limits = market(n), limits_for(n)
    columns = make_columns(limits, KINDS, PEOPLE)
    found, wall, own = _timed(lambda: allocate(cells, columns, limits))
    if found.bound_minor < value:
        raise SystemExit("HiGHS found a list that is worth more than the bound; a figure would mean nothing")
    missed = max(1 - found.value_minor / value, GAP_MAX)
    sooner, sooner_value = highs(cells, columns, missed)  # stopped as soon as it is sure of no more than this engine's
    if sooner is None:
        raise SystemExit("HiGHS did not do again what it has just done; a figure would mean nothing")
    table.add(f"HiGHS, {n:,} customers, to a gap of {missed:.2%}", sooner, "s", note=f"{sooner_value / 100:,.0f}")
    table.add(
        f"this engine, {n:,} customers",
        wall,
        "s",
        sooner / RATIO_MIN,
        f"{own:.2f} s of processor, {sooner / wall:.0f} times as fast, {spent / wall:.0f} times to HiGHS's own gap",
    )
    for name, mine in (
        ("this engine", found.value_minor),
        ("greedy by value", greedy(cells, columns)),
        ("chunks of 1,000", by_chunks(cells, columns)),
    ):
        table.add(f"{name}: value below HiGHS's", (1 - mine / value) * 100, "%", note=f"{mine / 100:,.0f}")
    return table


PARTS: dict[str, Callable[[bool], Table]] = {"growth": _grow, "beside": _beside}
