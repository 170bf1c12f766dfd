"""The tables that do not depend on customers: products and the calendar."""

from datetime import date, timedelta

import pyarrow as pa

from simulation.columns import schema_of
from simulation.world import BRANCHES, HOLIDAYS, PRODUCTS


def products_table() -> pa.Table:
    """What the bank sells."""
    rows = [
        {
            "product": product.id, "family": product.family, "currency": product.currency,
            "risk_grade": product.risk_grade, "entry_minor": product.entry_minor,
        }
        for product in PRODUCTS
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema_of("products"))


def calendar_table() -> pa.Table:
    """Public holidays of every region, and one day a year on which a single branch is shut."""
    shut = [(date(year, 11, 12), BRANCHES[0], "branch_day") for year in (2025, 2026)]
    for first, n_days, name in HOLIDAYS:
        start = date.fromisoformat(first)
        shut += [(start + timedelta(d), "all", name) for d in range(n_days)]
    rows = [{"day": day, "region": region, "holiday": name} for day, region, name in shut]
    return pa.Table.from_pylist(rows, schema=schema_of("calendar"))
