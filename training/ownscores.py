"""How a bank's own scores do once live: contacts with a family's offers, with the score known at the time.

Answers ripen in 30 days and scores die at 35, so the table that serves has seldom answers of its own. What is
watched is its source: each contact has the score of the family's newest table made before it. The newest
table from which on enough is ripe begins what is measured; contacts before it, scored by former tables, are
what it is held against.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features.home import Home
from training.answers import ripe_answers
from training.history import catalogue_offers
from training.served import Served
from training.supplied import read_supplied
from training.supply import read_kept, read_passed


@dataclass(frozen=True)
class OwnScores:
    """A family's live scores. sha256: of the table that serves. since: what is measured begins; before, after: see above."""

    sha256: str
    since: datetime
    before: Served
    after: Served


def own_scores(
    home: Home, family: str, least_rows: int, least_of_a_class: int, since: datetime | None = None
) -> OwnScores:
    """The ripe contacts of a family whose own scores are live.

    Args:
        least_rows, least_of_a_class: What is enough; where no table has so many of either class, the rows
            alone count, and where none has so many rows the live table begins.
        since: Count no contact before it; None: from that table on.

    Raises:
        BundleError: A table is not the one that passed.     DatasetError: It is no table of scores.
    """
    live = read_supplied(home.models)[family]
    tables = {sha: read_kept(home, sha) for sha in dict.fromkeys([*read_passed(home.models).get(family, []), live])}
    made = {sha: _made(table) for sha, table in tables.items()}
    order = sorted(tables, key=lambda sha: made[sha])
    offers = [offer for offer, of in catalogue_offers(home, "family").items() if of == family]
    rows = _scored(ripe_answers(home, offers), [tables[sha] for sha in order])
    first = _first(rows, len(order), least_rows, least_of_a_class)
    first = order.index(live) if first is None else first
    start = max(made[order[first]], since) if since else made[order[first]]
    after = rows.filter(pl.col("table") >= first)
    after = after.filter(pl.col("as_of") >= since) if since else after
    return OwnScores(live, start, _served(rows.filter(pl.col("table") < first)), _served(after))


def _made(table: pl.DataFrame) -> datetime:
    return table.select(pl.col("as_of").max()).item()


def _scored(ripe: pl.DataFrame, tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Each answer with the score of the newest table made before its contact; without one it is left out."""
    said = pl.concat([table.with_columns(pl.lit(place).alias("table")) for place, table in enumerate(tables)]).rename(
        {"as_of": "made_at"}
    )
    dated = ripe.with_columns(pl.col("as_of").dt.cast_time_unit("us")).sort("as_of")
    found = dated.join_asof(said.sort("made_at", "table"), left_on="as_of", right_on="made_at", by="customer_id",
                            check_sortedness=False)  # fmt: skip
    return found.filter(pl.col("score").is_not_null())


def _first(rows: pl.DataFrame, n: int, least_rows: int, least_of_a_class: int) -> int | None:
    """The newest table from which on enough is ripe, to rank where that can be had; None: nothing is enough."""
    enough: int | None = None
    for first in reversed(range(n)):
        label = rows.filter(pl.col("table") >= first)["accepted"].cast(pl.Int64)
        if len(label) < least_rows:
            continue
        enough = first if enough is None else enough
        if least_of_a_class <= label.sum() <= len(label) - least_of_a_class:
            return first
    return enough


def _served(rows: pl.DataFrame) -> Served:
    n = len(rows)
    return Served(
        rows["unit_id"].to_numpy().astype(np.str_), np.full(n, ""), rows["accepted"].cast(pl.Float64).to_numpy(),
        {"live": rows["score"].to_numpy()}, np.ones(n), rows["as_of"].dt.epoch("us").to_numpy())  # fmt: skip
