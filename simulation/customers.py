"""The customers and identities tables of a block."""

import numpy as np
import pyarrow as pa

from simulation.block import Block
from simulation.columns import blank, customer_ids, days, ids, table_of, words
from simulation.world import BRANCHES, DAY_US, MANAGERS_PER_BRANCH, STRAIN, ZONES, Ints

_MANAGERS = tuple(f"M{b + 1:02d}{m + 1}" for b in range(len(BRANCHES)) for m in range(MANAGERS_PER_BRANCH))


def customers_table(block: Block, n_months: int, keep: tuple[int, int], until_us: int) -> pa.Table:
    """The customers keep[0] .. keep[1] - 1 of the block as the bank sees them at `until_us`."""
    rng, people, n = block.rng, block.people, len(block.people)
    until_on = until_us // DAY_US
    behind = block.needs.now[:, STRAIN] + rng.normal(0, 0.5, n) > 2.0
    arrears = np.where(behind, rng.integers(1, 150, n), 0)
    assessed = np.maximum(until_on - people.assessed_days_ago, people.joined_on)
    columns = {
        "customer_id": customer_ids(people.number),
        "household_id": _household(people.household),
        "kind": words(("person", "corporate"), people.is_firm.astype(np.int64)),
        "birth_date": days(people.birth_on, people.birth_on == -1),
        "joined_on": days(people.joined_on),
        "home_branch": words(BRANCHES, people.branch),
        "manager_id": words(_MANAGERS, people.manager),
        "time_zone": words(ZONES, people.zone),
        "language": words(("zh", "en"), people.speaks_english.astype(np.int64)),
        "do_not_contact": pa.array(people.do_not_contact),
        "no_profiling": pa.array(people.no_profiling),
        "deceased": pa.array(people.dies_in_month <= n_months),
        "staff": pa.array(people.staff),
        "vulnerable": pa.array(people.vulnerable),
        "fraud_lock": pa.array(people.fraud_lock),
        "arrears_days": pa.array(arrears),
        "risk_tolerance": pa.array(people.tolerance, mask=people.tolerance == -1),
        "risk_assessed_on": days(assessed, people.tolerance == -1),
        "credit_grade": pa.array(people.grade, mask=people.grade == -1),
    }
    return table_of("customers", columns).slice(keep[0], keep[1] - keep[0])


def identities_table(block: Block, keep: tuple[int, int]) -> pa.Table:
    """Which source ids are one customer.

    Systems: `core` (one id each, some persons a second one left from a merger: confidence 0.97),
    `app` (who uses it), and `customers`: a customer_id of this bank that is probably the same
    person as an earlier one (confidence 0.80 .. 0.95). The earlier id is the one to keep.
    """
    rng, people, n = block.rng, block.people, len(block.people)
    number, row = people.number, np.arange(n)
    second = row[(rng.random(n) < 0.006) & ~people.is_firm]
    app = row[rng.random(n) < 0.6]
    twin = row[people.twin_of >= 0]
    confidence = np.round(rng.uniform(0.8, 0.95, len(twin)), 3)
    # A twin's row is kept when both of his records are.
    groups = (
        ("core", ids("P", (number, 7)), row, number, np.ones(n)),
        ("core", ids("Q", (number[second], 7)), second, number[second], np.full(len(second), 0.97)),
        ("app", ids("U", (number[app], 7)), app, number[app], np.ones(len(app))),
        ("customers", customer_ids(number[twin]), twin, people.twin_of[twin], confidence),
    )  # fmt: skip
    tables: list[pa.Table] = []
    for system, source, rows, owner, sure in groups:
        kept = pa.array((rows >= keep[0]) & (rows < keep[1]) & (owner >= number[0] + keep[0]))
        tables.append(table_of("identities", {
            "source_system": pa.array([system] * len(rows), pa.string()), "source_id": source,
            "customer_id": customer_ids(owner), "confidence": pa.array(sure),
        }).filter(kept))  # fmt: skip
    return pa.concat_tables(tables).combine_chunks()


def _household(first: Ints) -> pa.Array:
    return blank(ids("H", (np.maximum(first, 0) + 1, 7)), first < 0)
