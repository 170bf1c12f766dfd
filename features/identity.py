"""Which customers are decided together: source ids -> customer -> unit.

A unit is a household, else a person. Two customer ids are one person when an identity names one of
them as the `source_id` of the other. A certain link (confidence 1) and a doubtful one (below 1)
both put the two into one unit and make them one person: caps and suppressions are shared under doubt.
What one id holds closes what the other is not to be offered twice, and opens nothing under doubt;
balances and behaviour are never merged, so no id is offered anything for what stands under the other.
"""

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl
import pyarrow as pa

from features.customers import FLAGS
from features.source import Source
from features.tables import MARKETING_CHANNELS

SHARED_FLAGS = (*(name for name in FLAGS if name != "staff"), "complaint_open", "hardship_open")
REFUSED = ("withdrawn", "denied")


def units(source: Source) -> pl.DataFrame:
    """unit_id of every customer: customer_id, unit_id, sorted by customer_id.

    The unit's id is the smallest household_id among the linked customers, else the smallest
    customer_id.
    """
    people = source.whole("customers", ("customer_id", "household_id")).sort("customer_id")
    found = links(source)
    plain = pl.coalesce("household_id", "customer_id").alias("unit_id")
    direct = people.select("customer_id", plain)
    if not found:
        return direct
    homes = dict(zip(people["customer_id"].to_list(), people["household_id"].to_list(), strict=True))
    first = _Components()
    for one, other, *_ in found:
        first.join(_node(one, homes), _node(other, homes))
    merged = {unit: first.root(_node_of_unit(unit, homes)) for unit in direct["unit_id"].unique().to_list()}
    return direct.with_columns(pl.col("unit_id").replace({u: root[1] for u, root in merged.items()}))


def links(source: Source) -> list[tuple[str, str, float, str]]:
    """(one, other, confidence, source_system) of customer ids that are, or may be, one person; a pair once, surest.

    The hook for fuzzy linking: whatever writes the table `identities` (Splink, a vendor's match) is heard here.
    """
    people = source.whole("customers", ("customer_id",))
    if not source.has("identities"):
        return []
    rows = source.whole("identities", ("source_id", "customer_id", "confidence", "source_system"))
    rows = rows.filter(pl.col("source_id") != pl.col("customer_id"))
    rows = rows.join(people.select(source_id="customer_id"), on="source_id", how="semi")
    best: dict[tuple[str, str], tuple[float, str]] = {}
    for one, other, confidence, system in sorted(rows.rows()):
        pair = (min(one, other), max(one, other))
        best[pair] = max(best.get(pair, (0.0, "")), (confidence, system))
    return [(*pair, *said) for pair, said in sorted(best.items())]


def shared(features: pa.Table, persons: Iterable[Iterable[str]], certain: Iterable[Iterable[str]]) -> pa.Table:
    """The features with what closes offers shared between the ids of one person; same rows, same order.

    Under doubt already: a flag or an open case that is set, or unknown, under one id is so under all; a
    refused consent is refused under all; the latest complaint counts. What one id holds is held by all
    ids that are certain, and not known of those in doubt: he may hold it already, and whoever must hold
    it to be offered something does not by a guess. No other column is touched.

    persons, certain: the ids of each person; those without a row are passed over.
    """
    places = {name: row for row, name in enumerate(features.column("customer_id").to_pylist())}
    held = [name for name in features.column_names if name.startswith("holds_")]
    rules: list[tuple[Callable[[list[Any]], list[Any]], list[str], Iterable[Iterable[str]]]] = [
        (_any_set, [n for n in SHARED_FLAGS if n in features.column_names], persons),
        (_refused, [n for n in (f"consent_marketing_{c}" for c in MARKETING_CHANNELS) if n in features.column_names], persons),
        (_least, [n for n in ("days_since_last_complaint",) if n in features.column_names], persons),
        (_any_set, held, certain),
        (_doubted, held, persons),
    ]  # fmt: skip
    for combine, names, groups in rules:
        rows = [[places[name] for name in group if name in places] for group in groups]
        for name in names:
            features = _combined(features, name, [group for group in rows if len(group) > 1], combine)
    return features


def _combined(
    features: pa.Table, name: str, groups: list[list[int]], combine: Callable[[list[Any]], list[Any]]
) -> pa.Table:
    if not groups:
        return features
    field = features.schema.field(name)
    values: list[Any] = features.column(name).to_pylist()
    for group in groups:
        for row, value in zip(group, combine([values[row] for row in group]), strict=True):
            values[row] = value
    return features.set_column(features.schema.get_field_index(name), field, pa.array(values, field.type))


def _any_set(values: list[Any]) -> list[Any]:
    one = True if True in values else None if None in values else False
    return [one] * len(values)


def _doubted(values: list[Any]) -> list[Any]:
    other = True in values or None in values
    return [None if other and value is False else value for value in values]


def _refused(values: list[Any]) -> list[Any]:
    refusal = next((word for word in REFUSED if word in values), None)
    return values if refusal is None else [refusal] * len(values)


def _least(values: list[Any]) -> list[Any]:
    return [min((v for v in values if v is not None), default=None)] * len(values)


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
