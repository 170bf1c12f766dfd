"""An independent look at a list's certificate: bound, value and use of every limit, from the run's files alone.

It imports nothing that made the list. Prices p >= 0 of limits prove the bound (weak duality): no list is worth
more than the sum over choosers of max(0, max over open cells of gross - p x use), plus the sum of p x at_most,
less the sum of p x at_least. The bound of the draws gives who drew a cell that cell alone.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel


class ListCheck(BaseModel):
    """What was found. wrong: every disagreement with the certificate, one line each; empty: it holds."""

    value_minor: int
    bound_minor: int
    used: dict[str, int]
    wrong: list[str]


def check_list(folder: Path) -> ListCheck:
    """Recompute the certificate of a run's folder; whole numbers throughout."""
    told: dict[str, Any] = json.loads((folder / "certificate.json").read_text("utf-8"))
    cells, n_listed = _cells(folder, told["cells"])
    limits, scale, wrong = told["limits"], told["scale"], list[str]()
    listed = pl.col("offered") & pl.col("expected_value_minor").is_not_null()
    hits, used, rest = cells.filter(listed), dict[str, int](), 0
    if len(hits) != n_listed or hits["chooser"].n_unique() != n_listed:
        wrong.append("the list holds a contact that was not open, or two that exclude each other")
    for unit, *names in sorted({(limit["unit"], *sorted(limit["where"])) for limit in limits}):
        keys, prices = ["contact", *names], list[dict[str, Any]]()  # contact is 1 everywhere: no name counts all
        sums = {tuple(key): n for *key, n in hits.group_by(keys).agg(pl.col(unit).sum().alias("sum")).rows()}
        for limit in limits:
            if (limit["unit"], *sorted(limit["where"])) == (unit, *names):
                much = used[limit["name"]] = sums.get((1, *(limit["where"][name] for name in names)), 0)
                sign, room = (-1, limit["at_least"]) if limit["at_most"] is None else (1, limit["at_most"])
                rest += sign * limit["price_milli"] * room
                prices.append(limit["where"] | {"contact": 1, "price": sign * limit["price_milli"]})
                wrong += _wrong(limit, much, sign, room)
        cells = cells.join(pl.DataFrame(prices).group_by(keys).agg(pl.col("price").sum()), on=keys, how="left")
        cells = cells.with_columns(pl.col("paid") + pl.col("price").fill_null(0) * pl.col(unit)).drop("price")
    cells = cells.with_columns(surplus=pl.col("gross_minor") * scale - pl.col("paid"))
    off = (pl.col("expected_value_minor") * scale - pl.col("surplus")).abs() * 2 > scale
    wrong += ["two limits have one name"] * (len(used) != len(limits))
    wrong += ["a customer has a cell twice"] * cells.select("customer_id", "cell").is_duplicated().any()
    wrong += ["an expected value is not gross less its prices"] * (not cells.filter(listed & off).is_empty())
    value, bounds = int(hits["gross_minor"].sum()), list[int]()
    for open_ in (cells, cells.filter("offered")):
        best = open_.group_by("chooser").agg(pl.col("surplus").max().clip(0))["surplus"]
        bounds.append((sum(best.to_list()) + rest) // scale)
    gap = round((bounds[0] - value) / max(abs(bounds[0]), 1), 6)
    facts = {"value_minor": value, "bound_minor": bounds[0], "drawn_bound_minor": bounds[1], "gap_share": gap}
    wrong += [f"{name} is {n:,}, {told[name]:,} is told" for name, n in facts.items() if n != told[name]]
    wrong += ["worth more than the bound"] * (value > min(bounds))
    return ListCheck(value_minor=value, bound_minor=bounds[0], used=used, wrong=wrong)


def _wrong(limit: dict[str, Any], much: int, sign: int, room: int) -> list[str]:
    told = {key: limit[key] for key in ("used", "at_most", "at_least", "asked", "possible", "price_milli")}
    used, most, least, asked, possible, price = told.values()
    # One side, used as told and within it, priced from 0; a minimum that is not possible is held to what is.
    kept = (most is None) != (least is None) and much == used and (much - room) * sign <= 0 <= price
    short = asked is possible is None or (sign < 0 and None not in (asked, possible) and room <= possible < asked)
    return [] if kept and short else [f"limit `{limit['name']}`: {much:,} used; told {told}"]


def _cells(folder: Path, kinds: list[dict[str, Any]]) -> tuple[pl.DataFrame, int]:
    """(every open cell with its attributes and, where it is listed, its expected value; how many are listed)."""
    contact = ["customer_id", "offer_id", "channel"]
    market = pl.read_parquet(folder / "cells.parquet").with_columns(pl.col(pl.Categorical).cast(pl.String))
    cells = market.explode("cell", "gross_minor").with_columns(pl.col("cell").cast(pl.UInt32), paid=pl.lit(0, pl.Int64))
    offers = pl.read_parquet(folder / "offers.parquet", columns=[*contact, "expected_value_minor"])
    cells = cells.join(pl.DataFrame(kinds).with_row_index("cell").with_columns(offer_id="offer"), on="cell", how="left")
    cells = cells.join(offers, on=contact, how="left").with_columns(contact=pl.lit(1, pl.Int64))
    return cells.with_columns(offered=pl.col("drawn").is_null() | (pl.col("drawn") == pl.col("cell"))), len(offers)
