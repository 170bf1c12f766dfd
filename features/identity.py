"""Which customers are decided together: source ids -> customer -> unit.

A unit is a household, else a person. Two customer ids are one person when an identity names one of
them as the `source_id` of the other. A certain link (confidence 1) and a doubtful one (below 1)
both put the two into one unit: caps and suppressions are shared under doubt. What only certainty
may do, offer to one what the other holds, stays apart because features are never merged.
"""

import polars as pl

from features.source import Source


def units(source: Source) -> pl.DataFrame:
    """unit_id of every customer: customer_id, unit_id, sorted by customer_id.

    The unit's id is the smallest household_id among the linked customers, else the smallest
    customer_id.
    """
    people = source.whole("customers", ("customer_id", "household_id")).sort("customer_id")
    links = _links(source, people)
    plain = pl.coalesce("household_id", "customer_id").alias("unit_id")
    direct = people.select("customer_id", plain)
    if not links:
        return direct
    homes = dict(zip(people["customer_id"].to_list(), people["household_id"].to_list(), strict=True))
    first = _Components()
    for one, other in links:
        first.join(_node(one, homes), _node(other, homes))
    merged = {unit: first.root(_node_of_unit(unit, homes)) for unit in direct["unit_id"].unique().to_list()}
    return direct.with_columns(pl.col("unit_id").replace({u: root[1] for u, root in merged.items()}))


def _links(source: Source, people: pl.DataFrame) -> list[tuple[str, str]]:
    """Pairs of customer ids that are, or may be, one person."""
    if not source.has("identities"):
        return []
    pairs = source.whole("identities", ("source_id", "customer_id")).filter(
        pl.col("source_id") != pl.col("customer_id")
    )
    known = pairs.join(people.select(source_id="customer_id"), on="source_id", how="semi")
    return sorted(known.unique().rows())


# Households sort before customers, so a unit with a household carries its id.
_Node = tuple[int, str]


def _node(customer: str, homes: dict[str, str | None]) -> _Node:
    home = homes.get(customer)
    return (0, home) if home is not None else (1, customer)


def _node_of_unit(unit: str, homes: dict[str, str | None]) -> _Node:
    alone = unit in homes and homes[unit] is None
    return (1, unit) if alone else (0, unit)


class _Components:
    """Union-find whose root is the smallest member."""

    def __init__(self) -> None:
        self._above: dict[_Node, _Node] = {}

    def root(self, node: _Node) -> _Node:
        path: list[_Node] = []
        while (above := self._above.get(node, node)) != node:
            path.append(node)
            node = above
        self._above.update(dict.fromkeys(path, node))
        return node

    def join(self, one: _Node, other: _Node) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low
