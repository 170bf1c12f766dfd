"""What each rule costs: the value of the cells that it, and nothing else, closes.

    cost of a rule = sum over customers of max(0, best of (gross - seat prices) over cells it alone closes
                                                  - what the customer's own cell leaves after seat prices)

By the dual of the list (`certificate`) that is the most the bound could rise without the rule, at these
prices and one look per customer (members of a household are not looked at anew). What the law asks for has
no price here: cells that the regulatory layer closes are never scored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from rules.arbitrate import cell_values
from rules.draws import share_of
from rules.masks import Masks, unpacked
from rules.reasons import PRECEDENCE, Layer, ReasonCode
from rules.suppress import row_facts
from rules.terms import Terms
from serving.lists.allocate import SCALE
from serving.lists.batch import Inputs, chunks
from serving.lists.clearing import Cleared, cell_columns

MEASURED = 50_000  # customers; of more a sample of whole units is measured, the same for the same run
Key = tuple[int, tuple[str, ...]]  # rank of the reason, ids of the rules that say it alike
_STRUCTURE = (ReasonCode.OFFER_NOT_ON_CHANNEL, ReasonCode.CHANNEL_NOT_ASKED)  # not there rather than forbidden


class RuleCost(BaseModel):
    """What one rule costs. cells: open but for it; customers: for whom that would change something.

    value_minor: null where the rule is not priced (the regulatory layer).
    """

    rules: tuple[str, ...]
    reason: str
    layer: str
    cells: int
    customers: int
    value_minor: int | None


@dataclass(frozen=True)
class Forgone:
    """rules: dearest first. beyond: (n,) int64, what the best cell one rule away is worth; -1: none, or not measured.

    measured: customers looked at; the figures of `rules` are of them times n / measured.
    """

    rules: tuple[RuleCost, ...]
    beyond: np.ndarray
    measured: int


@dataclass
class Alone:
    """Which closing stands between a customer and a cell, (n, n_cells) each. n: how many do; who: the last, into keys."""

    n: np.ndarray
    who: np.ndarray
    keys: list[Key] = field(default_factory=list[Key])

    def close(self, key: Key, rows: np.ndarray, cells: Iterable[int]) -> None:
        """Count one closing of some rows (bool) in some cells."""
        if not rows.any():
            return
        if key not in self.keys:
            self.keys.append(key)
        at, places = np.ix_(np.flatnonzero(rows), np.fromiter(cells, np.int64)), self.keys.index(key)
        self.n[at] += 1
        self.who[at] = places


def alone(customers: pa.RecordBatch, terms: Terms) -> Alone:
    """Count what closes each cell of outbound customers. A rule that is met and unknown at once counts once."""
    program, n = terms.program, customers.num_rows
    found = Alone(np.zeros((n, program.n_cells), np.uint16), np.full((n, program.n_cells), -1, np.int16))
    masks = Masks(customers, program.types)
    for step in program.steps["outbound"]:
        true, unknown = masks.bits(step.when)
        places = [cell for cell in range(program.n_cells) if step.cells >> cell & 1]
        found.close((step.reason, step.rules), unpacked(true, n), places)
        if unknown is not None:
            found.close((step.unknown, step.rules), unpacked(unknown, n), places)
    for rank, cells, rows in row_facts(customers, terms):
        name = (PRECEDENCE[rank].slug,)
        found.close((rank, name), rows, [cell for cell in range(program.n_cells) if cells >> cell & 1])
    return found


def forgone(inputs: Inputs, cleared: Cleared, worth: np.ndarray) -> Forgone:
    """What the rules of a run cost it. worth: (n,) int64, each customer's contact before seat prices, 0 for silence."""
    rows = _measured(inputs)
    part = replace(inputs, features=inputs.features.filter(pa.array(rows)))
    at, beyond = np.flatnonzero(rows), np.full(len(rows), -1, np.int64)
    own = np.where(cleared.cell >= 0, worth - np.rint(cleared.bid_milli / SCALE).astype(np.int64), 0)
    paid = cell_columns(cleared.market, cleared.limits, inputs.terms).prices(cleared.allocation.price)
    paid = np.rint(paid / SCALE).astype(np.int64).reshape(-1, inputs.terms.program.n_cells)
    sums: dict[Key, np.ndarray] = {}
    start = 0
    for customers in chunks(part):
        here = at[start : start + customers.num_rows]
        start += len(here)
        single = alone(customers, inputs.terms)
        shut = single.n == 1
        priced = shut & np.isin(single.who, [k for k, key in enumerate(single.keys) if _priced(key)])
        values = cell_values(inputs.engine.score(customers, priced, inputs.degraded), inputs.terms)
        net = np.where(priced & values.known, values.gross - paid[cleared.market.people[here]], -1)
        best = net.max(axis=1, initial=-1)
        beyond[here] = np.where(best > 0, best, -1)
        _add(sums, single, shut, net, np.maximum(own[here], 0))
    times = len(rows) / max(len(at), 1)
    costs = [_cost(key, found, times) for key, found in sums.items() if PRECEDENCE[key[0]] not in _STRUCTURE]
    return Forgone(
        tuple(sorted(costs, key=lambda c: (-(c.value_minor or 0), -c.cells, c.rules, c.reason))), beyond, len(at)
    )


def _add(sums: dict[Key, np.ndarray], single: Alone, shut: np.ndarray, net: np.ndarray, own: np.ndarray) -> None:
    for place, key in enumerate(single.keys):
        mine = shut & (single.who == place)
        gain = np.maximum(np.where(mine, net, -1).max(axis=1, initial=-1) - own, 0)
        found = np.array([mine.sum(), (gain > 0).sum() if _priced(key) else mine.any(axis=1).sum(), gain.sum()])
        sums[key] = sums.get(key, 0) + found


def _cost(key: Key, found: np.ndarray, times: float) -> RuleCost:
    reason, (cells, customers, value) = PRECEDENCE[key[0]], (round(amount * times) for amount in found.tolist())
    return RuleCost(rules=key[1], reason=reason.slug, layer=str(reason.layer), cells=cells, customers=customers,
                    value_minor=value if _priced(key) else None)  # fmt: skip


def _priced(key: Key) -> bool:
    reason = PRECEDENCE[key[0]]
    return reason.layer is not Layer.REGULATORY and reason not in _STRUCTURE


def _measured(inputs: Inputs) -> np.ndarray:
    """(n,) bool: everybody, or a sample of whole units."""
    names = inputs.features.column("unit_id").to_pylist()
    if len(names) <= MEASURED:
        return np.ones(len(names), dtype=bool)
    return share_of(inputs.terms.secret, "report", f"{inputs.at:%FT%TZ}", names) < MEASURED / len(names)
