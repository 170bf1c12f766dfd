"""Check, measure and make live the scores a bank brings itself (training/supplied.py)."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from features.home import Home
from training.atomic import write_atomically
from training.bundle import Manifest, PartNote
from training.errors import DatasetError, RegistryError
from training.evaluate import evaluate
from training.gate import gate
from training.history import read_history
from training.labels import contact_labels, who_may_be_learned_from
from training.lock import exclusive
from training.scorer import rounded
from training.supplied import COLUMNS, read_supplied

LEAST_ROWS = 100
_SEED = 20260601


def promote_scores(home: Home, family: str, offers: Sequence[str]) -> Manifest:
    """Make the bank's table of a family live if the gate lets it; what was measured comes back.

    The gate is the models' own: on contacts with the family's offers, decided after the scores were made,
    they must rank better than chance and be calibrated.

    Raises:
        DatasetError: The table is missing or wrong, or too few outcomes are ripe.   GateError: The line that failed.
    """
    path = home.path / "scores" / f"{family}.parquet"
    text = path.read_bytes() if path.is_file() else b""  # read once: what is measured is what goes live
    table = read_scores(path, home.now(), text)
    sha256 = hashlib.sha256(text).hexdigest()
    manifest = Manifest(
        name=f"scores of {family}", features=(), parts={family: PartNote(served="supplied", features=())},
        metrics=measure(home, table, offers), trained_as_of=f"{table['as_of'].max():%FT%TZ}", dataset=sha256)  # fmt: skip
    gate(manifest)
    with exclusive(home.models / ".lock"):
        write_atomically(home.models / "supplied" / f"{sha256}.parquet", text)
        _write(home.models, {**read_supplied(home.models), family: sha256})
    return manifest


def withdraw_scores(home: Home, family: str) -> None:
    """Give the family back to the interest model; RegistryError where none are live."""
    with exclusive(home.models / ".lock"):
        live = read_supplied(home.models)
        if family not in live:
            raise RegistryError(f"no supplied scores of `{family}` are live; there are: {', '.join(live) or 'none'}")
        _write(home.models, {key: sha for key, sha in live.items() if key != family})


def read_scores(path: Path, now: datetime, text: bytes | None = None) -> pl.DataFrame:
    """The checked table, scores to 6 decimals; DatasetError, one line, naming the column. text: its bytes, if read."""
    if not path.is_file():
        raise DatasetError(f"`{path}` is missing; write customer_id, score, as_of there")
    try:
        table = pl.read_parquet(path if text is None else io.BytesIO(text))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"`{path}` is no Parquet file; write it again") from error
    what = f"`{path.name}`"
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DatasetError(f"{what} lacks `{missing[0]}`; it needs {', '.join(COLUMNS)}")
    table = table.select(COLUMNS)
    if table.is_empty():
        raise DatasetError(f"{what} holds no row; write the scores again")
    for name in COLUMNS:
        if table[name].null_count():
            raise DatasetError(f"{what}: {table[name].null_count()} rows have no `{name}`; leave those customers out")
    kinds = table.schema
    if kinds["customer_id"] != pl.String or not kinds["score"].is_float():
        raise DatasetError(
            f"{what}: `customer_id` must be text and `score` a number; it has {', '.join(map(str, kinds.values()))}"
        )
    dated = kinds["as_of"]
    if not isinstance(dated, pl.Datetime) or dated.time_zone is None:
        raise DatasetError(f"{what}: `as_of` must be an instant with zone; write instants in UTC")
    table = table.with_columns(pl.col("as_of").dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
    twice = len(table) - table["customer_id"].n_unique()
    if twice:
        raise DatasetError(f"{what}: {twice} rows repeat a customer_id; one row per customer")
    odd = int((~table["score"].is_between(0, 1) | table["score"].is_nan()).sum())
    if odd:
        raise DatasetError(f"{what}: {odd} scores are no probability; give numbers in [0, 1]")
    late = int((table["as_of"] > now).sum())
    if late:
        raise DatasetError(f"{what}: {late} rows are of an instant still to come; `as_of` is when the score was known")
    return table.with_columns(pl.Series("score", rounded(table["score"].cast(pl.Float64).to_numpy())))


def measure(home: Home, table: pl.DataFrame, offers: Sequence[str]) -> dict[str, float | None]:
    """Figures of the scores on the family's contacts decided after each was made and ripe by now."""
    contacts, outcomes, cases, consents, customers = (
        read_history(home, name) for name in ("contacts", "outcomes", "cases", "consents", "customers"))  # fmt: skip
    rows = contact_labels(contacts, outcomes, cases, consents, home.now())
    rows = rows.filter(pl.col("offer_id").is_in(list(offers)), pl.col("reached").fill_null(False))
    dated = table.rename({"as_of": "made_at"})
    rows = (
        who_may_be_learned_from(rows, customers)
        .join(dated, on="customer_id")
        .filter(pl.col("as_of") >= pl.col("made_at"))
    )
    if len(rows) < LEAST_ROWS:
        raise DatasetError(
            f"{len(rows)} ripe answers to the family's offers since the scores were made, {LEAST_ROWS} are needed;"
            " import their outcomes, or supply scores of an earlier day to be measured first"
        )
    units = rows.select("customer_id").join(
        customers.select("customer_id", pl.coalesce("household_id", "customer_id").alias("unit_id")),
        on="customer_id", how="left", maintain_order="left")["unit_id"]  # fmt: skip
    label = rows["accepted"].cast(pl.Float64).to_numpy()
    return evaluate(label, rows["score"].to_numpy(), units.to_numpy().astype(np.str_), _SEED)


def _write(models: Path, live: Mapping[str, str]) -> None:
    write_atomically(models / "supplied.json", (json.dumps(dict(live), sort_keys=True, indent=1) + "\n").encode())
