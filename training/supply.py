"""Check, measure and make live the scores a bank brings itself (training/supplied.py).

What the gate judges is their source. Answers ripen in 30 days and scores are stale after 35, so a table that may
be served has seldom answers of its own: the one of the family that passed last and has enough speaks for it, as long
as the new scores are spread as its are and rank the same customers alike.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from features.home import Home
from features.store import FeatureStore
from training.answers import ripe_answers
from training.atomic import write_atomically
from training.bundle import Manifest, PartNote
from training.dataset import labelled, observe, sample_rows
from training.errors import BundleError, DatasetError, RegistryError, ScoreError
from training.evaluate import evaluate
from training.gate import gate
from training.incumbent import gain_over_live, read_incumbent
from training.lock import exclusive
from training.scorer import rounded
from training.served import score_rows
from training.stability import PSI_MOST, chance_stability, population_stability
from training.study import REACHED_MOST
from training.supplied import COLUMNS, MAX_AGE, read_supplied

LEAST_ROWS, RANK_LEAST = 100, 0.5  # scores of the same source a month apart rank their customers alike
_SEED = 20260601


def promote_scores(home: Home, family: str, offers: Sequence[str], *, live: bool = True) -> Manifest:
    """Make the bank's table of a family live if the gate lets it; what was measured comes back.

    The gate is the models' own: on contacts with the family's offers, decided after the scores were made,
    they must rank better than chance and be calibrated, and not surely worse than the live interest model where
    neither could know the answer. Measured is this table, else the last of those that passed before that has
    enough ripe answers.

    Args:
        live: False: measure a table, of any age, on answers of its own, to speak for later ones; nothing goes live.

    Raises:
        DatasetError: The table is missing, wrong or stale, or too few outcomes are ripe.   GateError: The line that failed.
    """
    path = home.path / "scores" / f"{family}.parquet"
    text = path.read_bytes() if path.is_file() else b""  # read once: what is measured is what goes live
    table = read_scores(path, home.now(), text)
    if live:
        _refuse_stale(path.name, table, home.now())
    sha256 = hashlib.sha256(text).hexdigest()
    judge, metrics = _judged(home, family, offers, table, alone=not live)
    alarm = None if judge is table else _moved(judge, table)
    note = PartNote(served="supplied", features=(), note=f"measured on the scores of {judge['as_of'].max():%F}")
    manifest = Manifest(
        name=f"scores of {family}", features=(), parts={family: note}, metrics=metrics, dataset=sha256,
        trained_as_of=f"{table['as_of'].max():%FT%TZ}", alarms=() if alarm is None else (alarm,))  # fmt: skip
    gate(manifest)
    with exclusive(home.models / ".lock"):
        write_atomically(home.models / "supplied" / f"{sha256}.parquet", text)
        passed = read_passed(home.models)
        kept = [sha for sha in passed.get(family, []) if sha != sha256]
        _write(home.models / "supplied" / "passed.json", {**passed, family: [*kept, sha256]})
        if live:
            _write(home.models / "supplied.json", {**read_supplied(home.models), family: sha256})
    return manifest


def read_passed(models: Path) -> dict[str, list[str]]:
    """Family -> sha256 of all its tables that passed the gate, the latest supplied last."""
    path = models / "supplied" / "passed.json"
    if not path.exists():
        return {}
    try:
        return {str(family): [str(sha) for sha in found] for family, found in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"`{path}` is not readable; remove it and supply with --measure again") from error


def read_kept(home: Home, sha256: str) -> pl.DataFrame:
    """The table of that hash as it passed the gate; BundleError where its file is gone or is another."""
    path = home.models / "supplied" / f"{sha256}.parquet"
    text = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(text).hexdigest() != sha256:
        raise BundleError(
            f"`{path}` is not what passed the gate; put it back, or remove `{path.parent / 'passed.json'}`"
        )
    return read_scores(path, home.now(), text)


def withdraw_scores(home: Home, family: str) -> None:
    """Give the family back to the interest model; RegistryError where none are live."""
    with exclusive(home.models / ".lock"):
        live = read_supplied(home.models)
        if family not in live:
            raise RegistryError(f"no supplied scores of `{family}` are live; there are: {', '.join(live) or 'none'}")
        _write(home.models / "supplied.json", {key: sha for key, sha in live.items() if key != family})


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
    rows = _after(ripe_answers(home, offers), table)
    if len(rows) < LEAST_ROWS:
        raise _too_few(len(rows))
    return _figures(rows)


def _judged(
    home: Home, family: str, offers: Sequence[str], table: pl.DataFrame, *, alone: bool
) -> tuple[pl.DataFrame, dict[str, float | None]]:
    """The table if it has enough ripe answers, else the last passed before that has, and its figures."""
    ripe = ripe_answers(home, offers)
    own = _after(ripe, table)
    if len(own) >= LEAST_ROWS:
        return table, _figures(own) | _beside_interest(home, own)
    live = read_supplied(home.models).get(family)
    former = [] if alone else [*read_passed(home.models).get(family, []), *([live] if live else [])]
    for sha256 in dict.fromkeys(reversed(former)):
        judge = read_kept(home, sha256)
        rows = _after(ripe, judge)
        if len(rows) >= LEAST_ROWS:
            return judge, _figures(rows) | _beside_interest(home, rows)
    raise _too_few(len(own))


def _moved(judge: pl.DataFrame, table: pl.DataFrame) -> str | None:
    """Why an earlier table cannot speak for this one: another spread, or other customers on top. None: it can."""
    sides = [(one["customer_id"].to_numpy().astype(np.str_), np.ones(len(one))) for one in (judge, table)]
    psi = population_stability(judge["score"].to_numpy(), table["score"].to_numpy(), sides[0][1], sides[1][1])
    most = PSI_MOST + chance_stability(sides[0], sides[1])
    of = f"the scores measured, of {judge['as_of'].max():%F}"
    if psi > most:
        return f"psi {psi:.3f} > {most:.3f} against {of}; mend the scores, or --measure them once answers are ripe"
    both = judge.join(table, on="customer_id")
    if len(both) < LEAST_ROWS:
        return f"{len(both)} customers are in {of}, as well, {LEAST_ROWS} are needed; --measure these once answers are ripe"
    rank = both.select(pl.corr("score", "score_right", method="spearman")).item()
    if not rank >= RANK_LEAST:  # no number where one of them is constant
        return f"rank correlation {rank:.2f} < {RANK_LEAST} with {of}; are the customers mixed up?"
    return None


def _refuse_stale(name: str, table: pl.DataFrame, now: datetime) -> None:
    first = table.select(pl.col("as_of").min()).item()
    if now - first > MAX_AGE:
        raise DatasetError(
            f"`{name}`: scores of {first:%F} are older than {MAX_AGE.days} days, and serving would fall silent;"
            " supply newer ones, and these with --measure to be judged by"
        )


def _after(ripe: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The answers to contacts decided after the customer's score was made, with the score."""
    dated = table.rename({"as_of": "made_at"})
    return ripe.join(dated, on="customer_id").filter(pl.col("as_of") >= pl.col("made_at"))


def _figures(rows: pl.DataFrame) -> dict[str, float | None]:
    label = rows["accepted"].cast(pl.Float64).to_numpy()
    return evaluate(label, rows["score"].to_numpy(), rows["unit_id"].to_numpy().astype(np.str_), _SEED)


def _beside_interest(home: Home, rows: pl.DataFrame) -> dict[str, float | None]:
    """By how much the scores rank better than the live interest model, on answers that were out at its cut."""
    live = read_incumbent(home, "interest")
    if live is None:
        return {}
    cut = datetime.fromisoformat(live.manifest.trained_as_of)
    unseen = sample_rows(rows.filter(pl.col("answer_end") > cut), "contact_id", REACHED_MOST)
    if unseen.is_empty():
        return {"live_rows": 0.0, "live_positives": 0.0}
    seen = observe(FeatureStore(home), unseen)
    data = labelled(seen, "accepted", end="answer_end", item="offer_id", later=True)
    try:
        former = score_rows(live, data)
    except ScoreError:  # of features the home no longer gives: it serves nobody either
        return {}
    return gain_over_live(data.label, seen.rows["score"].to_numpy(), former, data.owners, _SEED)


def _too_few(n: int) -> DatasetError:
    return DatasetError(
        f"{n} ripe answers to the family's offers since the scores were made, {LEAST_ROWS} are needed, and no earlier"
        " table has them; supply scores of an earlier day with --measure first"
    )


def _write(path: Path, found: Mapping[str, object]) -> None:
    write_atomically(path, (json.dumps(dict(found), sort_keys=True, indent=1) + "\n").encode())
