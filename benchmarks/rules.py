"""The rules: suppress and decide for a million customers, one customer, and the same conditions in other engines."""

from importlib.util import find_spec
from statistics import median

import numpy as np
import pyarrow as pa

from benchmarks import bank, peers
from benchmarks.table import Table, best_of
from rules import suppress as room
from rules.closures import rows
from rules.decide import decide
from rules.masks import Masks
from rules.suppress import checked_reader, suppress
from rules.terms import Exploration, Holdout, Terms
from rules.tree import IsNull, Node, walk

N, N_QUICK, N_SAMPLE, MILLION = 1_000_000, 20_000, 500, 1_000_000


def run(quick: bool) -> list[Table]:
    """Two tables: ours, and ours beside the peers."""
    terms = bank.terms()
    n, policy = N_QUICK if quick else N, terms.policy.lowered(terms.catalogue)
    setting = (f"{n:,} customers x {len(terms.catalogue.offers)} offers x {len(terms.catalogue.channels)} channels,"
               f" {len(policy)} rules, {len(terms.program.checks)} distinct conditions, {len(terms.program.columns)} columns")  # fmt: skip
    print(f"rules: {setting}")
    return [_many(terms, n, setting), _one(terms), _beside(terms, n)]


def _many(terms: Terms, n: int, setting: str) -> Table:
    table, scale = Table("rules", setting), n / MILLION
    customers, scores = bank.customers(terms, n), bank.scores(terms, n)
    found = suppress(customers, terms)
    silent = f"{np.mean(found.decisive >= 0):.0%} of customers and {1 - found.open.mean():.0%} of cells closed"
    table.add(
        "suppress, reasons and packed cells", best_of(lambda: suppress(customers, terms)), "s", 1.0 * scale, silent
    )
    table.add("suppress, cells unpacked", best_of(lambda: suppress(customers, terms).open), "s", 1.0 * scale)
    table.add("suppress, 30 % inbound", _mixed(terms, n), "s", 1.0 * scale)
    table.add("decide, scores given", best_of(lambda: decide(customers, terms, lambda *_: scores)), "s", 2.0 * scale)
    drawn = bank.changed(terms, holdout=Holdout(0.02, "2026H1"), exploration=Exploration(0.02, 2_000))
    table.add("decide, 2 % holdout and 2 % exploration", best_of(lambda: decide(customers, drawn, lambda *_: scores), 2), "s",
              note="HMAC draws: one per unit and one per explorable winner")  # fmt: skip
    return table


def _mixed(terms: Terms, n: int) -> float:
    customers = bank.customers(terms, n, inbound=0.3)
    return best_of(lambda: suppress(customers, terms))


def _one(terms: Terms) -> Table:
    """Customers one at a time; the pure part begins where the columns have been read."""
    table = Table("one", "median over 20 customers, best of 5")
    customers, scores = bank.customers(terms, 256), bank.scores(terms, 256)
    alone = [(customers.slice(k, 1), scores.slice(k, 1)) for k in range(20)]
    reader = checked_reader(customers.schema, terms)
    conditions, read = [when for when, *_ in terms.program.closures["outbound"]], rows(customers, terms.program.types)
    arrays = [dict(zip(c.schema.names, c.columns, strict=True)) for c, _ in alone]
    measured = {
        "one customer, with reasons, rows at hand": (
            [lambda c=c, r=r: suppress(c, terms, [r]) for (c, _), r in zip(alone, read, strict=False)],
            50.0,
        ),
        "  and making the row of its columns": ([lambda a=a: terms.plain.rows(a, 1) for a in arrays], None),
        "one customer, with reasons, out of a batch": ([lambda c=c: suppress(c, terms) for c, _ in alone], 50.0),
        "  of which reading the columns": ([lambda c=c: reader.rows(c) for c, _ in alone], None),
        "  of which the conditions": ([lambda r=r: [when(r) for when in conditions] for r in read[:20]], None),
        "decide one customer, rows at hand": (
            [lambda c=c, s=s, r=r: decide(c, terms, lambda *_: s, [r]) for (c, s), r in zip(alone, read, strict=False)],
            None,
        ),
    }
    for what, (works, target) in measured.items():
        table.add(what, median(best_of(work, 5, 100) for work in works) * 1e6, "us", target)
    for n in (8, room.FEW, room.FEW + 1, 256):
        part = customers.slice(0, n)
        table.add(
            f"suppress {n} customers, each", best_of(lambda part=part: suppress(part, terms), 5, 20) / n * 1e6, "us"
        )
    return table


def _beside(terms: Terms, n: int) -> Table:
    """The distinct conditions of the policy, null-free rows, in every engine that is installed."""
    conditions = [when for when, _ in terms.program.checks if not any(isinstance(part, IsNull) for part in walk(when))]
    setting = f"{len(conditions)} conditions; us per condition and row, then seconds for 1,000,000 rows"
    table = Table("peers", setting)
    print(f"peers: {setting}")
    batch = bank.customers(terms, n, seed=7, nulls=0.0)
    sample = batch.slice(0, min(N_SAMPLE, n))
    truth = _truth(conditions, sample, terms)
    cost = best_of(lambda: _truth(conditions, batch, terms)) / (n * len(conditions)) * 1e6
    _line(table, "this engine, masks, one thread", cost, len(conditions), f"{n:,} rows")
    read = rows(sample, terms.program.types)
    closures = [when for when, *_ in terms.program.closures["outbound"]]
    cost = best_of(lambda: [[when(row) for row in read] for when in closures]) / (len(read) * len(closures)) * 1e6
    _line(table, "this engine, closures", cost, len(conditions), f"{len(read):,} rows, extrapolated")
    for name, (module, make) in peers.BY_COLUMN.items():
        if _installed(table, name, module):
            _check(name, make(conditions, sample)(), truth)
            cost = best_of(make(conditions, batch)) / (n * len(conditions)) * 1e6
            _line(table, name, cost, len(conditions), f"{n:,} rows, all threads; answers equal on {len(read):,}")
    for name, (module, make) in peers.BY_ROW.items():
        if _installed(table, name, module):
            work = make(conditions, read)
            _check(name, work(), truth)
            cost = best_of(work) / (len(read) * len(conditions)) * 1e6
            _line(table, name, cost, len(conditions), f"{len(read):,} rows, extrapolated; answers equal")
    return table


def _truth(conditions: list[Node], batch: pa.RecordBatch, terms: Terms) -> list[np.ndarray]:
    masks = Masks(batch, terms.program.types)
    return [np.unpackbits(masks.bits(when).true, count=batch.num_rows, bitorder="little") for when in conditions]


def _check(name: str, answers: peers.Answers, truth: list[np.ndarray]) -> None:
    for place, (found, want) in enumerate(zip(answers, truth, strict=True)):
        if not np.array_equal(np.asarray(found, dtype=bool), want.astype(bool)):
            raise SystemExit(
                f"{name} answers condition {place} otherwise than this engine; a figure would mean nothing"
            )


def _installed(table: Table, name: str, module: str) -> bool:
    if find_spec(module) is not None:
        return True
    table.add(name, None, "us", note=f"not installed: pip install --no-deps --target DIR {name}; PYTHONPATH=DIR")
    return False


def _line(table: Table, name: str, cost: float, n_conditions: int, note: str) -> None:
    seconds = cost * n_conditions * MILLION / 1e6
    table.add(name, cost, "us", note=f"{seconds:,.3g} s per 1,000,000; {note}")
