"""An independent look at a list's certificate: bound, value and use of every limit, from the run's files alone.

It imports nothing that made the list. Prices p >= 0 of limits prove the bound (weak duality): no list is worth
more than the sum over choosers of max(0, max over open cells of gross - p x use), plus the sum of p x at_most,
less the sum of p x at_least. The bound of the draws gives who drew a cell that cell alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel


class ListCheck(BaseModel):
    """What was found. wrong: every disagreement with the certificate, one line each; empty: it holds."""

    value_minor: int
    bound_minor: int
    used: dict[str, int]
    wrong: list[str]


def check_list(folder: Path) -> ListCheck:
    """Recompute the certificate of a run's folder; whole numbers throughout."""
    told = json.loads((folder / "certificate.json").read_text("utf-8"))
    market = pq.read_table(folder / "cells.parquet").combine_chunks()
    cell, gross = (np.asarray(market[name].combine_chunks().flatten()).astype(np.int64) for name in ("cell", "gross_minor"))  # fmt: skip
    owner = np.asarray(market["cell"].combine_chunks().value_parent_indices()).astype(np.int64)
    chooser, drawn = (np.asarray(market[name].fill_null(-1)).astype(np.int64) for name in ("chooser", "drawn"))
    offered = (drawn[owner] < 0) | (drawn[owner] == cell)
    hit, n_listed = _listed(folder, told, market, owner, cell)
    hit, wrong, used = hit & offered, list[str](), dict[str, int]()
    if hit.sum() != n_listed or len(np.unique(chooser[owner[hit]])) != n_listed:
        wrong.append("the list holds a contact that was not open, or two that exclude each other")
    paid, rest = np.zeros(len(cell), np.int64), 0
    for by in sorted({(limit["unit"], *sorted(limit["where"])) for limit in told["limits"]}):
        units = np.array([1 if by[0] == "contact" else kind["cost_minor"] for kind in told["cells"]], np.int64)[cell]
        code, place = _codes(by[1:], told["cells"], market, owner, cell)
        price, total = np.zeros(len(place) + 1, np.int64), np.zeros(len(place) + 1, np.int64)
        np.add.at(total, code[hit], units[hit])
        for limit in told["limits"]:
            if (limit["unit"], *sorted(limit["where"])) == by:
                at = place.get(tuple(limit["where"][name] for name in by[1:]), len(place))  # the last: nobody's
                sign, room = (-1, limit["at_least"]) if limit["at_most"] is None else (1, limit["at_most"])
                price[at] += sign * limit["price_milli"]
                rest += sign * limit["price_milli"] * room
                used[limit["name"]] = much = int(total[at])
                if much != limit["used"] or (much - room) * sign > 0 or limit["price_milli"] < 0:
                    wrong.append(f"limit `{limit['name']}`: {much:,} used, {limit['used']:,} told, held to {room:,} at {limit['price_milli']:,}")  # fmt: skip
        paid += price[code] * units
    value, surplus, bounds = int(gross[hit].sum()), gross * told["scale"] - paid, list[int]()
    for open_ in (np.ones(len(cell), bool), offered):
        best = np.zeros(chooser.max(initial=0) + 1, np.int64)
        np.maximum.at(best, chooser[owner[open_]], surplus[open_])
        bounds.append((sum(best.tolist()) + rest) // told["scale"])
    facts = zip(("value_minor", "bound_minor", "drawn_bound_minor", "gap_share"), (value, *bounds, round((bounds[0] - value) / max(abs(bounds[0]), 1), 6)), strict=True)  # fmt: skip
    wrong += [f"{name} is {found:,}, {told[name]:,} is told" for name, found in facts if found != told[name]]
    return ListCheck(value_minor=value, bound_minor=bounds[0], used=used, wrong=wrong + ["worth more than the bound"] * (value > min(bounds)))  # fmt: skip


def _listed(folder: Path, told: dict[str, Any], market: pa.Table, owner: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, int]:  # fmt: skip
    offers = pq.read_table(folder / "offers.parquet", columns=["customer_id", "offer_id", "channel"]).to_pylist()
    who, which = ({key: n for n, key in enumerate(keys)} for keys in (market["customer_id"].to_pylist(), [(k["offer"], k["channel"]) for k in told["cells"]]))  # fmt: skip
    pairs = [(who.get(row["customer_id"], -1), which.get((row["offer_id"], row["channel"]), -1)) for row in offers]
    return np.isin(owner * len(which) + cell, [a * len(which) + b for a, b in pairs if a >= 0 and b >= 0]), len(offers)


def _codes(by: tuple[str, ...], kinds: list[dict[str, Any]], market: pa.Table, owner: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, dict[Any, int]]:  # fmt: skip
    """(the number of each cell's combination of attributes, combination -> number)."""
    code, places = np.zeros(len(cell), np.int64), dict[Any, int]({(): 0})
    for name in by:
        values = [kind[name] for kind in kinds] if name in kinds[0] else market[name].to_pylist()
        known = {value: n for n, value in enumerate(dict.fromkeys(values))}
        code = (code * len(known) + np.array([known[value] for value in values], np.int64)[cell if name in kinds[0] else owner])  # fmt: skip
        places = {(*left, value): n * len(known) + k for left, n in places.items() for value, k in known.items()}
    return code, places
