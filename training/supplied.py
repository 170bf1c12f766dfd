"""Scores the bank brings itself: a table per offer family, in place of the interest model's.

    HOME/scores/<family>.parquet       customer_id, score, as_of        what the bank puts there
    HOME/models/supplied/<sha>.parquet                                  the copy that passed the gate
    HOME/models/supplied/passed.json   {family: [sha, ...]}             all that passed it, the latest supplied last
    HOME/models/supplied.json          {family: sha}                    what is live

score: the probability that the customer accepts an offer of the family once reached. A customer without
a row has none, and hears nothing of the family. Scores older than 35 days are stale: serving degrades.
training/supply.py checks, measures and promotes them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from training.encode import Matrix
from training.errors import BundleError
from training.scorer import rounded

MAX_AGE = timedelta(days=35)  # a month, and some days for whoever makes them
COLUMNS = ("customer_id", "score", "as_of")


@dataclass(frozen=True)
class Supplied:
    """The live supplied scores: family -> table sorted by customer_id. Immutable, swapped as a whole."""

    tables: dict[str, pl.DataFrame]
    revisions: dict[str, str]  # scores_<family> -> sha256; goes into every decision record

    @classmethod
    def load(cls, models: Path) -> "Supplied":
        """Open what supplied.json names; BundleError where a file is not the one that was promoted."""
        live = read_supplied(models)
        tables: dict[str, pl.DataFrame] = {}
        for family, sha256 in live.items():
            path = models / "supplied" / f"{sha256}.parquet"
            if not path.is_file() or _sha256(path) != sha256:
                raise BundleError(
                    f"supplied scores of `{family}` are not what was promoted; nbo models supply {family}"
                )
            table = pl.read_parquet(path, columns=list(COLUMNS))
            score = pl.Series("score", rounded(table["score"].cast(pl.Float64).to_numpy()))
            tables[family] = table.with_columns(score, pl.col("as_of").dt.convert_time_zone("UTC")).sort("customer_id")
        return cls(tables, {f"scores_{family}": sha256 for family, sha256 in sorted(live.items())})

    def problems(self, at: datetime) -> tuple[str, ...]:
        """Which families' scores are too old at an instant, or of a later one; a line each."""
        lines: list[str] = []
        for family, (first, last) in sorted(self._dated.items()):
            if at - first > MAX_AGE:
                lines.append(
                    f"supplied scores of `{family}` are of {first:%F}, older than {MAX_AGE.days} days; supply newer ones"
                )
            elif last > at:
                lines.append(f"supplied scores of `{family}` are of {last:%F}, which is still to come; decide later")
        return tuple(lines)

    def over(self, scores: pa.RecordBatch, customers: pa.RecordBatch, families: Sequence[str]) -> pa.RecordBatch:
        """SCORES with p_interest of the supplied families' offers replaced; null where none was supplied.

        families: each offer's, in the catalogue's order. Where the model gave no score - a closed offer - none comes.
        """
        if not set(self.tables) & set(families) or not customers.num_rows:
            return scores
        place = scores.schema.get_field_index("p_interest")
        column, wide = scores.column(place), len(families)
        p = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, wide).copy()
        asked = pl.DataFrame({"customer_id": customers.column("customer_id").to_pylist()})
        for family, table in self.tables.items():
            mine = [offer for offer, of in enumerate(families) if of == family]
            found = asked.join(table, on="customer_id", how="left", maintain_order="left")["score"].to_numpy()
            p[:, mine] = np.where(np.isnan(p[:, mine]), np.nan, found[:, None])
        flat = pa.array(p.reshape(-1), pa.float64(), from_pandas=True)
        made = pa.FixedSizeListArray.from_arrays(flat, wide)
        columns = [made if number == place else other for number, other in enumerate(scores.columns)]
        return pa.RecordBatch.from_arrays(columns, schema=scores.schema)

    def over_few(self, p_interest: Matrix, customers: Sequence[str], families: Sequence[str]) -> Matrix:
        """What `over` says of a few customers: (n, n_offers), NaN where null."""
        p = p_interest.copy()
        for family, table in self.tables.items():
            mine = [offer for offer, of in enumerate(families) if of == family]
            rows = table.filter(pl.col("customer_id").is_in(list(customers)))
            known = dict(zip(rows["customer_id"], rows["score"], strict=True))
            found = np.array([known.get(customer, np.nan) for customer in customers])
            p[:, mine] = np.where(np.isnan(p[:, mine]), np.nan, found[:, None])
        return p

    @cached_property
    def _dated(self) -> dict[str, tuple[datetime, datetime]]:
        return {family: (table["as_of"].min(), table["as_of"].max()) for family, table in self.tables.items()}  # pyright: ignore[reportReturnType]


NOTHING_SUPPLIED = Supplied({}, {})


def read_supplied(models: Path) -> dict[str, str]:
    """Family -> sha256 of its live scores; BundleError where the file is not readable."""
    path = models / "supplied.json"
    if not path.exists():
        return {}
    try:
        live = {str(family): str(sha256) for family, sha256 in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError("`supplied.json` is not readable; supply the scores again") from error
    if any(len(sha) != 64 or not set(sha) <= set("0123456789abcdef") for sha in live.values()):
        raise BundleError("`supplied.json` names no sha256; supply the scores again")
    return live


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
