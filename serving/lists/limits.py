"""Limits: what is scarce in a run, and which open cell uses how much of it.

A limit names whom and what it counts (`where`) and how much there may be, at most or at least. Cells
that use the same limits alike share a column, so a million cells have few columns, and a column few limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from rules.catalogue import Frozen

CONTACT, COST = "contact", "cost_minor"


class LimitError(ValueError):
    """A limit does not hold together; one line."""


class Limit(Frozen):
    """One scarce thing. where: attribute -> the value it counts; empty: every contact.

    Attributes are those of the cell (offer, channel, family, the campaigns that have it) and of the customer (manager, branch, day).
    unit: each contact counts 1, or what its channel costs in minor units. One of at_most, at_least is set.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    where: dict[str, str] = Field(default_factory=dict)
    unit: Literal["contact", "cost_minor"] = CONTACT
    at_most: Annotated[int, Field(ge=0)] | None = None
    at_least: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"limit `{self.name}` needs one of at_most and at_least; write two limits for both")
        return self

    @property
    def minimum(self) -> bool:
        """Whether it asks for at least so much."""
        return self.at_least is not None


@dataclass(frozen=True)
class Columns:
    """What each kind of cell uses. limit, units: (n_columns, width) int64, padded with limit n_limits and 0 units.

    room: (n_limits,) int64. A minimum is kept as the room of what it must not lack: units and room are
    negative, so that every limit reads "used is at most room".
    """

    limit: np.ndarray
    units: np.ndarray
    room: np.ndarray

    @property
    def n_limits(self) -> int:
        """How many limits there are."""
        return len(self.room)

    def prices(self, price: np.ndarray) -> np.ndarray:
        """(n_columns,) what a contact of each column pays. price: (n_limits,)."""
        return (np.append(price, 0)[self.limit] * self.units).sum(axis=1)

    def used(self, per_column: np.ndarray) -> np.ndarray:
        """(n_limits,) float64: units used by so many contacts of each column."""
        weights = (self.units * per_column[:, None]).ravel()
        return np.bincount(self.limit.ravel(), weights, self.n_limits + 1)[: self.n_limits]

    def used_exactly(self, chosen: np.ndarray) -> np.ndarray:
        """(n_limits,) int64: units used by contacts of these columns."""
        used = np.zeros(self.n_limits + 1, np.int64)
        np.add.at(used, self.limit, self.units * np.bincount(chosen, minlength=len(self.limit))[:, None])
        return used[:-1]


def make_columns(limits: Sequence[Limit], kinds: Sequence[Mapping[str, str | int]],
                 customers: Sequence[Mapping[str, str | None]]) -> Columns:  # fmt: skip
    """A column for each kind of customer and cell: column = customer kind x n_kinds + cell kind.

    kinds: attributes of each cell, cost_minor among them; customers: the distinct attributes of customers
    (one empty mapping where no limit names any). LimitError where a limit names what nobody has.
    """
    known = {name for found in (*kinds, *customers) for name in found} - {COST}
    for limit in limits:
        if unknown := sorted(set(limit.where) - known):
            raise LimitError(f"limit `{limit.name}` counts by `{unknown[0]}`; there are: {', '.join(sorted(known))}")
    rows: list[list[tuple[int, int]]] = [[] for _ in range(len(kinds) * len(customers))]
    people: dict[tuple[tuple[str, str], ...], list[int]] = {}
    own = {name for found in customers for name in found}
    for place, limit in enumerate(limits):
        mine = tuple(sorted((k, v) for k, v in limit.where.items() if k in own))
        if mine not in people:
            people[mine] = [n for n, who in enumerate(customers) if all(who.get(k) == v for k, v in mine)]
        rest = [(k, v) for k, v in limit.where.items() if k not in own]
        sign = -1 if limit.minimum else 1
        cells = [(n, sign * (1 if limit.unit == CONTACT else int(kind[COST]))) for n, kind in enumerate(kinds)
                 if all(kind.get(k) == v for k, v in rest)]  # fmt: skip
        for who in people[mine]:
            for cell, units in cells:
                if units:
                    rows[who * len(kinds) + cell].append((place, units))
    room = np.array([-(limit.at_least or 0) if limit.minimum else limit.at_most for limit in limits], np.int64)
    return padded(rows, room)


def padded(rows: Sequence[Sequence[tuple[int, int]]], room: np.ndarray) -> Columns:
    """Columns of (limit, units) pairs, padded to one width."""
    width = max((len(row) for row in rows), default=0) or 1
    limit = np.full((len(rows), width), len(room), np.int64)
    units = np.zeros((len(rows), width), np.int64)
    for place, row in enumerate(rows):
        for slot, (of, much) in enumerate(row):
            limit[place, slot], units[place, slot] = of, much
    return Columns(limit, units, room)


__all__ = ["CONTACT", "COST", "Columns", "Limit", "LimitError", "make_columns", "padded"]
