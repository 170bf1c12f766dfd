"""Models on the bank of known truth: how near the scores are to what the simulation knows, and what decisions by them earn.

Each way of choosing takes the best of a customer's cells or silence, and is paid by the truth. No contact
policy stands between; only what cannot be taken at all (the product is held already, it is for persons only,
the address is dead) is left out, for all ways alike, as the bank's eligibility rules do.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.table import Table
from features.home import Home, Settings
from features.intake import import_tables
from features.store import FeatureStore
from rules.arbitrate import cell_values
from serving.engine import Engine
from serving.example import equip
from simulation.bank import simulate
from simulation.truth import Truth, read_truth
from simulation.world import CHANNEL_IDS, OFFER_IDS, OFFERS
from training.errors import GateError
from training.promotion import promote
from training.train import train_all

UNTIL = datetime(2026, 6, 1, tzinfo=UTC)


def run(quick: bool) -> list[Table]:
    """Simulate, train, compare; quick: 2,000 customers instead of 8,000."""
    with tempfile.TemporaryDirectory(prefix="truth-") as scratch:
        home, truth, foretold = made(Path(scratch), 2_000 if quick else 8_000)
        return [scores(home, truth), experiment(foretold, truth), earned(home, truth)]


def made(folder: Path, customers: int, seed: int = 7) -> tuple[Home, Truth, pl.DataFrame]:
    """A simulated bank with its features and live models, its truth, and the uplift learned from its holdout."""
    simulate(folder / "bank", customers, seed, until=UNTIL)
    settings = Settings(name="Truth", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                        clock="simulated", now=UNTIL)  # fmt: skip
    home = Home.create(folder / "home", settings)
    equip(home, "retail")
    import_tables(home, folder / "bank")
    FeatureStore(home).build(UNTIL)
    foretold: pl.DataFrame | None = None
    for model in train_all(home, UNTIL, uplift=True):
        print(f"  {model.name}: {', '.join(f'{part} {who}' for part, who in model.served.items())}")
        foretold = model.foretold if model.foretold is not None else foretold
        try:
            promote(home, model.name, model.version)
        except GateError as error:
            print(f"  {error}")
    assert foretold is not None
    return home, read_truth(folder / "bank"), foretold


def experiment(foretold: pl.DataFrame, truth: Truth) -> Table:
    """The uplift that `nbo train uplift` learns of contacts beside the holdout, with the truth of the same offers."""
    rows = truth.rows_of(foretold["customer_id"].to_arrow())
    offer = np.array([OFFER_IDS.index(name) for name in foretold["offer_id"]])
    works = truth.p_reached[rows] > 0
    effect = (truth.uplift()[rows, offer] * works).sum(axis=1) / np.maximum(works.sum(axis=1), 1)
    can = truth.active[rows] & (truth.p_accept[rows, offer] > 0) & works.any(axis=1)
    said, true = foretold["score"].to_numpy()[can], effect[can]
    organic = foretold["p_organic"].to_numpy()[can]
    table = Table(
        "truth, uplift", f"{can.sum():,} customers x offers; true effect: the mean of the channels that reach him"
    )
    table.add("uplift: rank correlation with the truth", _rank_correlation(said, true), "")
    table.add("uplift: mean score over true mean", float(said.mean() / true.mean()), "")
    top = np.argsort(-said)[: len(said) // 10]
    table.add("uplift: true mean of the best-scored tenth over that of all", float(true[top].mean() / true.mean()), "")
    table.add(
        "uplift: mean score of the best-scored tenth over its true mean", float(said[top].mean() / true[top].mean()), ""
    )
    table.add("p_organic: mean over true mean", float(organic.mean() / truth.p_organic[rows, offer][can].mean()), "")
    return table


def scores(home: Home, truth: Truth) -> Table:
    """Each model's scores beside the true probabilities: rank, level, error."""
    found, rows = _scored(home, truth)
    table = Table("truth, scores", f"{len(rows):,} active customers, all cells")
    pairs = {
        "interest, per offer": ("p_interest", truth.p_accept[rows]),
        "unasked take-up, per offer": ("p_organic", truth.p_organic[rows]),
        "reach, per channel": ("p_reach", truth.p_reached[rows]),
        "harm, per channel": ("p_harm", truth.p_harm[rows]),
    }
    for what, (column, true) in pairs.items():
        said, can = _matrix(found, column, true.shape[1]), true > 0
        ranks = [
            _rank_correlation(said[can[:, k], k], true[can[:, k], k]) for k in range(true.shape[1]) if can[:, k].any()
        ]
        share, whole = said[can], true[can]
        table.add(f"{what}: rank correlation with the truth, mean", float(np.mean(ranks)), "")
        table.add(f"{what}: mean score over true mean", float(share.mean() / whole.mean()), "")
        table.add(f"{what}: mean absolute error over true mean", float(np.abs(share - whole).mean() / whole.mean()), "")
    for what, column, true in (
        ("churn", "p_churn", truth.p_churn),
        ("lifetime value", "lifetime_value_minor", truth.lifetime_value_minor),
    ):
        said = np.nan_to_num(np.asarray(found.column(column).to_pylist(), dtype=np.float64))
        table.add(f"{what}: rank correlation with the truth", _rank_correlation(said, true[rows]), "")
        table.add(f"{what}: mean over true mean", float(said.mean() / true[rows].mean()), "")
    uplift = _uplift(_matrix(found, "p_interest", 10), _matrix(found, "p_organic", 10), _matrix(found, "p_reach", 5))
    can = _possible(truth, rows).reshape(-1)
    true = truth.uplift()[rows].ravel()[can]
    table.add("uplift, all cells: rank correlation with the truth", _rank_correlation(uplift.ravel()[can], true), "")
    top = np.argsort(-uplift.ravel()[can])[: can.sum() // 10]
    table.add("uplift: true mean of the best-scored tenth over that of all", float(true[top].mean() / true.mean()), "")
    return table


def earned(home: Home, truth: Truth) -> Table:
    """What ways of choosing earn under the truth, as a share of the best possible."""
    found, rows = _scored(home, truth)
    engine, values = Engine.open(home), truth.values_minor()[rows]
    terms = engine.terms(UNTIL)
    can = _possible(truth, rows)
    best = np.maximum(np.where(can, values, 0.0).max(axis=1), 0).sum()
    table = Table(
        "truth, earned", f"{len(rows):,} active customers; best possible {best / 100:,.0f} CNY a round of contacts"
    )
    accept = _matrix(found, "p_interest", 10)[:, :, None] * _matrix(found, "p_reach", 5)[:, None, :]
    margin = np.array([float(o.margin_minor) for o in OFFERS])
    ways = {
        "expected value: uplift, costs and harm": _gross(found, terms),
        "uplift-blind: unasked take-up counted as 0": _gross(_without(found, "p_organic"), terms),
        "harm-blind: complaints counted as 0": _gross(_without(found, "p_harm"), terms),
        "propensity times margin, blind to uplift, cost and harm": (accept * margin[None, :, None]).reshape(
            len(rows), -1
        ),
        "propensity alone: the likeliest yes": accept.reshape(len(rows), -1),
    }
    for what, worth in ways.items():
        cell = np.where(can, worth, -np.inf).argmax(axis=1)
        speaks = can.any(axis=1) & (worth[np.arange(len(rows)), cell] > 0)
        got = np.where(speaks, values[np.arange(len(rows)), cell], 0.0)
        table.add(f"{what}: share of the best", float(got.sum() / best), "", note=f"{speaks.mean():.0%} contacted,"
                  f" {(got[speaks] < 0).mean():.0%} of them at a loss")  # fmt: skip
    return table


def _scored(home: Home, truth: Truth) -> tuple[pa.RecordBatch, np.ndarray]:
    """SCORES in the simulation's order of offers and channels, and the truth's rows of the same customers."""
    snapshot = FeatureStore(home).newest(UNTIL)
    assert snapshot is not None
    table = snapshot.table.sort_by("customer_id")
    places = truth.rows_of(table.column("customer_id").combine_chunks())
    kept = np.flatnonzero(truth.active[places])
    open_ = np.ones((len(kept), len(OFFER_IDS) * len(CHANNEL_IDS)), bool)
    families = [offer.family for offer in OFFERS]
    models = Engine.open(home).live.models
    return models.score(table.take(pa.array(kept)), open_, OFFER_IDS, families, CHANNEL_IDS), places[kept]


def _possible(truth: Truth, rows: np.ndarray) -> np.ndarray:
    """Cells that can be taken at all, (n, offers x channels)."""
    return ((truth.p_accept[rows] > 0)[:, :, None] & (truth.p_reached[rows] > 0)[:, None, :]).reshape(len(rows), -1)


def _gross(found: pa.RecordBatch, terms: object) -> np.ndarray:
    assert [o.id for o in terms.catalogue.offers] == list(OFFER_IDS)  # type: ignore[attr-defined]
    assert [c.id for c in terms.catalogue.channels] == list(CHANNEL_IDS)  # type: ignore[attr-defined]
    return cell_values(found, terms).gross.astype(np.float64)  # type: ignore[arg-type]


def _without(found: pa.RecordBatch, column: str) -> pa.RecordBatch:
    place = found.schema.get_field_index(column)
    kind = found.schema.field(place).type
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(found.num_rows * kind.list_size)), type=kind)
    return found.set_column(place, found.schema.field(place), zeros)


def _matrix(found: pa.RecordBatch, column: str, width: int) -> np.ndarray:
    flat = np.asarray(found.column(column).flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.nan_to_num(flat).reshape(-1, width)


def _uplift(accept: np.ndarray, organic: np.ndarray, reach: np.ndarray) -> np.ndarray:
    return reach[:, None, :] * (accept - organic)[:, :, None]


def _rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(side, kind="stable"), kind="stable").astype(np.float64) for side in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if np.ptp(left) > 0 else 0.0
