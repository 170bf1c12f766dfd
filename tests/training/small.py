"""Small models and a small bank for the tests of this room."""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pyarrow as pa

from features.home import Home, Settings
from features.store import FeatureStore
from features.tables import TABLES
from training.bundle import Manifest, Part, PartNote, write_bundle
from training.calibration import Calibrator
from training.encode import Feature, Matrix, model_features
from training.scorer import BoosterScorer, ConstantModel, ConstantScorer
from training.value import ValueFormula, ValueModel

OFFERS, CHANNELS = ("card", "loan"), ("sms", "email", "call")
FEATURES = (
    Feature(name="age_years", kind="number"),
    Feature(name="purchase_sum_365d", kind="number"),
    Feature(name="holds_card", kind="flag"),
    Feature(name="kind", kind="enum", domain=("person", "corporate")),
)
NAMES = tuple(feature.name for feature in FEATURES)
GOOD: dict[str, float | None] = {"auc": 0.7, "auc_low": 0.65, "auc_high": 0.75, "logistic_auc": 0.69, "ece": 0.02,
                                 "gain": 0.01, "gain_low": 0.002, "gain_high": 0.03, "lightgbm_auc": 0.7,
                                 "rows": 2000.0, "positives": 200.0}  # fmt: skip
END = datetime(2026, 6, 1, tzinfo=UTC)


def draw_matrix(n: int, width: int = len(FEATURES), seed: int = 1) -> Matrix:
    """Rows with a signal in the first column and some nulls."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(50, 15, (n, width))
    matrix[:, 2:] = rng.integers(0, 2, (n, width - 2))
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    return matrix


def small_booster(seed: int = 1, extra: tuple[str, ...] = ()) -> BoosterScorer:
    """Ten trees over the features above and perhaps a code."""
    names = (*NAMES, *extra)
    matrix = draw_matrix(400, len(names), seed)
    label = (np.nan_to_num(matrix[:, 0], nan=50.0) > 50).astype(np.float64)
    settings = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "seed": seed,
        "num_leaves": 6,
    }
    booster = lgb.train(settings, lgb.Dataset(matrix, label), 10)
    return BoosterScorer(names, booster, Calibrator(kind="platt", slope=1.2, intercept=-0.3))


def small_manifest(name: str, parts: dict[str, Part], context: Feature | None = None,
                   metrics: dict[str, float | None] | None = None) -> Manifest:  # fmt: skip
    """A manifest that fits the parts and passes the gate."""
    figures = metrics or GOOD
    served = {BoosterScorer: "lightgbm", ConstantScorer: "constant", ValueFormula: "formula"}
    notes = {
        key: PartNote(served=served[type(part)], features=part.features, metrics=figures) for key, part in parts.items()
    }
    return Manifest(name=name, features=FEATURES, context=context, parts=notes, metrics=figures,
                    trained_as_of="2026-06-01T00:00:00Z")  # fmt: skip


def write_small(folder: Path, name: str, seed: int = 1) -> Path:
    """One of the five bundles."""
    parts: dict[str, Part]
    context = None
    if name == "interest":
        context = Feature(name="offer", kind="enum", domain=OFFERS)
        parts = {"card": small_booster(seed), "pooled": small_booster(seed + 1, ("offer",))}
    elif name in ("reach", "harm"):
        context = Feature(name="channel", kind="enum", domain=CHANNELS)
        parts = {"pooled": small_booster(seed + 2, ("channel",))}
    elif name == "churn":
        parts = {"churn": ConstantScorer(NAMES, ConstantModel(p=0.1, why="one class"))}
    else:
        parts = {"value": ValueFormula(NAMES, ValueModel())}
    return write_bundle(folder, small_manifest(name, parts, context), parts, draw_matrix(5))


def prepare_home(path: Path, template: Path) -> Home:
    """An empty home of a simulated present, with MLflow's database in place."""
    settings = Settings(name="Test", currency="CNY", currencies=("CNY",), zone="Asia/Shanghai",
                        clock="simulated", now=END)  # fmt: skip
    home = Home.create(path, settings)
    database = Path(home.mlflow_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, database)
    return home


def write_bank(folder: Path, also_outcomes: list[dict[str, object]] | None = None) -> None:
    """The canonical tables of that bank."""
    rng, n = np.random.default_rng(3), 240
    ids = [f"K{i:04d}" for i in range(n)]
    age = rng.integers(20, 80, n)
    people = [
        {
            "customer_id": c,
            "kind": "person",
            "birth_date": date(2026 - int(a), 1, 1),
            "joined_on": date(2024, 1, 1),
        }
        for c, a in zip(ids, age, strict=True)
    ]
    contacts, outcomes = _contacts(rng, ids, age)
    closed = {
        c: date(2026, 1, 1) + timedelta(days=int(d)) for c, d in zip(ids[:60], rng.integers(0, 140, 60), strict=True)
    }
    accounts = [
        {
            "account_id": f"A{c}",
            "product": "current",
            "currency": "CNY",
            "opened_on": date(2024, 1, 1),
            "closed_on": closed.get(c),
        }
        for c in ids
    ]
    tables: dict[str, list[dict[str, object]]] = {
        "customers": people,
        "contacts": contacts,
        "outcomes": outcomes + (also_outcomes or []),
        "products": [{"product": "current", "family": "deposit", "currency": "CNY"}],
        "accounts": accounts,
        "holders": [{"account_id": f"A{c}", "customer_id": c, "role": "owner"} for c in ids],
        "transactions": _transactions(rng, ids),
    }
    for name, rows in tables.items():
        write_table(folder, name, rows)


def write_table(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    """Rows as a Parquet file in the contract's schema, absent columns null."""
    schema = TABLES[name].schema
    schema = schema.remove(schema.get_field_index("imported_at"))
    table = pa.Table.from_pylist(rows, schema=schema)
    pl.DataFrame(table).write_parquet(folder / f"{name}.parquet")


def _contacts(
    rng: np.random.Generator, ids: list[str], age: np.ndarray
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    contacts: list[dict[str, object]] = []
    outcomes: list[dict[str, object]] = []
    for number in range(3000):
        who = int(rng.integers(0, len(ids)))
        at = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=int(rng.integers(0, 24 * 360)))
        key = f"C{number:05d}"
        contacts.append(
            {
                "contact_id": key,
                "customer_id": ids[who],
                "campaign_id": f"M{at.month % 3}",
                "offer_id": ("card", "loan")[number % 2],
                "channel": ("sms", "email")[number // 2 % 2],
                "direction": "outbound",
                "purpose": "marketing",
                "decided_at": at,
                "sent_at": at,
            }
        )
        if rng.random() < (0.7 if number // 2 % 2 else 0.4):
            wants = rng.random() < 1 / (1 + np.exp(-(age[who] - 55) / 6))
            outcomes.append(
                {
                    "contact_id": key,
                    "kind": "accepted" if wants else "opened",
                    "at": at + timedelta(days=1),
                }
            )
        if rng.random() < 0.03:
            outcomes.append({"contact_id": key, "kind": "complained", "at": at + timedelta(days=2)})
    return contacts, outcomes


def _transactions(rng: np.random.Generator, ids: list[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(4000):
        at = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=int(rng.integers(0, 60 * 24 * 450)))
        who = ids[int(rng.integers(0, len(ids)))]
        rows.append(
            {
                "transaction_id": f"T{number}",
                "account_id": f"A{who}",
                "customer_id": who,
                "amount_minor": -int(rng.integers(100, 90_000)),
                "currency": "CNY",
                "kind": "purchase",
                "balance_after_minor": int(rng.integers(0, 10**7)),
                "booked_at": at,
                "recorded_at": at,
            }
        )
    return rows


def put_live(home: Home, p: float, features: tuple[Feature, ...] | None = None) -> str:
    """A constant model of reach, trained to 1 March 2026, live; its sha256."""
    known = features if features is not None else model_features(FeatureStore(home).schema)[:2]
    names = tuple(feature.name for feature in known)
    part = ConstantScorer(names, ConstantModel(p=p, why="test"))
    manifest = Manifest(name="reach", features=known, parts={"pooled": PartNote(served="constant", features=names)},
                        trained_as_of="2026-03-01T00:00:00Z")  # fmt: skip
    bundle = write_bundle(home.models, manifest, {"pooled": part}, np.zeros((2, len(names))))
    (home.models / "live.json").write_text(f'{{"reach": "{bundle.name}"}}')
    return bundle.name
