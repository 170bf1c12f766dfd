"""Train the five models of a bank, each against its baselines, and register them.

interest   P(accepts | reached, offer)          one LightGBM an offer where it has 100 positives,
                                                else the pooled one with the offer as a category
reach      P(reached | contacted on channel)    one shared channel response model
harm       P(complaint or opt-out | contacted)  likewise
churn      P(leaves within 60 days), or lapses within 42 days where there are no accounts
value      the formula of training/value.py with the bank's own churn
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from features.home import Home
from features.store import FeatureStore
from training.bundle import POOLED, Manifest, Part, PartNote, write_bundle
from training.dataset import Dataset, Slice
from training.encode import Feature, Matrix, model_features
from training.errors import DatasetError, TrainingError
from training.evaluate import Metrics
from training.figures import figures
from training.learn import Learned, learn_part
from training.registry import Registry
from training.score import NAMES
from training.study import Study
from training.tune import Parameters, Progress, search, silent
from training.value import VALUE_FEATURES, ValueFormula, ValueModel, annual_rate

SEED = 20260601
_OWN_MODEL_POSITIVES = 100  # positives an offer needs for a model of its own
_GOLDEN_ROWS = 16
ALL_REACHED = "no channel outcomes: every contact counts as reached (p_reach = 1)"
NO_HARM = "no complaints or opt-outs on record: harm of a contact counts as 0"


@dataclass(frozen=True)
class TrainedModel:
    """One registered version and how good it is.

    metrics: on the latest slice before the cut; later: on rows decided after the cut, None-valued
    or empty where the home knows none. Keys of baselines start with their name.
    """

    name: str
    version: str
    sha256: str
    run_id: str
    served: dict[str, str]  # part -> which candidate
    metrics: Metrics
    later: Metrics
    rows: int
    seconds: float
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """What a trainer hands over to be registered."""

    features: tuple[Feature, ...]
    parts: dict[str, Part]
    notes: dict[str, PartNote]
    metrics: Metrics
    golden: Matrix
    dataset: str
    rows: int
    later: Metrics = field(default_factory=dict[str, float | None])
    context: Feature | None = None
    parameters: Parameters = field(default_factory=dict[str, float | int | str | bool])
    assumptions: tuple[str, ...] = ()


def train_all(
    home: Home,
    as_of: datetime | None = None,
    trials: int = 0,
    progress: Progress = silent,
    names: Sequence[str] = NAMES,
) -> list[TrainedModel]:
    """Train and register the models of a home; nothing goes live by that.

    Args:
        home: With imported tables.
        as_of: Nothing booked, recorded or answered after it is learned from; None: the home's now.
        trials: Settings Optuna tries per model; 0: the defaults.
        progress: Called with what is being done, done and total.
        names: Which of interest, reach, harm, churn, value.

    Raises:
        DatasetError: There is nothing to learn from.   RegistryError: `names` has a stranger.
    """
    cut = (as_of or home.now()).astimezone(UTC)
    study = Study(home, FeatureStore(home), cut, progress)
    trainers: dict[str, Callable[[Study, int, Progress], Draft]] = {
        "reach": _reach, "harm": _harm, "interest": _interest, "churn": _churn, "value": _value,
    }  # fmt: skip
    unknown = next((name for name in names if name not in trainers), None)
    if unknown is not None:
        raise TrainingError(f"no model `{unknown}`; there are {', '.join(NAMES)}")
    registry = Registry.open(home.mlflow_uri)
    trained: list[TrainedModel] = []
    wanted = [name for name in trainers if name in names]
    for number, name in enumerate(wanted):
        progress(f"training {name}", number, len(wanted))
        began = time.perf_counter()
        draft = trainers[name](study, trials, progress)
        trained.append(_registered(registry, study, name, draft, began))
    progress("models trained", len(wanted), len(wanted))
    return trained


def _interest(study: Study, trials: int, progress: Progress) -> Draft:
    seen = study.interest()
    context = Feature(name="offer", kind="enum", domain=tuple(sorted(set(seen.items.tolist()) - {""})))
    pooled_data = seen.with_item(context)
    settings = search(pooled_data, trials, SEED, progress)
    pooled = learn_part(pooled_data, settings, SEED)
    parts: dict[str, Learned] = {}
    for offer in context.domain:
        mine = seen.rows(seen.items == offer)
        if mine.slice(Slice.TRAIN).label.sum() >= _OWN_MODEL_POSITIVES and len(context.domain) > 1:
            parts[offer] = learn_part(mine, settings, SEED)
    later = _later(study.interest)
    return _draft(study, seen, pooled, parts, context, settings, later)


def _reach(study: Study, trials: int, progress: Progress) -> Draft:
    return _by_channel(study, study.reach, trials, progress, ALL_REACHED if study.reach_unknown else None)


def _harm(study: Study, trials: int, progress: Progress) -> Draft:
    return _by_channel(study, study.harm, trials, progress, NO_HARM if study.harm_unknown else None)


def _by_channel(study: Study, dataset: Callable[..., Dataset], trials: int, progress: Progress,
                assumption: str | None) -> Draft:  # fmt: skip
    seen = dataset()
    context = Feature(name="channel", kind="enum", domain=tuple(sorted(set(seen.items.tolist()) - {""})))
    data = seen.with_item(context)
    settings = search(data, 0 if assumption else trials, SEED, progress)
    pooled = learn_part(data, settings, SEED)
    later = None if assumption else _later(dataset)
    said = (assumption,) if assumption else ()
    return _draft(study, seen, pooled, {}, context, settings, later, said)


def _churn(study: Study, trials: int, progress: Progress) -> Draft:
    seen = study.churn()
    settings = search(seen, trials, SEED, progress)
    learned = learn_part(seen, settings, SEED)
    return _draft(study, seen, learned, {}, None, settings, _later(study.churn), study.churn_words, "churn")


def _value(study: Study, trials: int, progress: Progress) -> Draft:
    rate, days = study.churn_rate()
    features = tuple(f for f in model_features(study.store.schema) if f.name in VALUE_FEATURES)
    model = ValueModel(annual_churn=round(annual_rate(rate, days), 6))
    part = ValueFormula(tuple(f.name for f in features), model)
    note = PartNote(served="formula", features=part.features, note="contribution x expected years")
    golden = np.arange(_GOLDEN_ROWS * len(features), dtype=np.float64).reshape(_GOLDEN_ROWS, -1) * 1e4
    found: Metrics = {
        "annual_churn": model.annual_churn,
        "expected_years": round(model.expected_years, 6),
    }
    words = (
        f"customer value: margin {model.interest_margin:g} of balances,"
        f" {model.interchange:g} of purchases, {model.expected_years:.1f} discounted years"
    )
    return Draft(features, {"value": part}, {"value": note}, found, golden, "", 0, assumptions=(words,))


def _draft(
    study: Study,
    seen: Dataset,
    pooled: Learned,
    own: dict[str, Learned],
    context: Feature | None,
    settings: Parameters,
    later: Dataset | None,
    assumptions: tuple[str, ...] = (),
    name: str = POOLED,
) -> Draft:
    parts = {name: pooled, **own}
    return Draft(
        features=seen.features, parts={key: part.scorer for key, part in parts.items()},
        notes={key: part.note for key, part in parts.items()}, context=context, parameters=settings,
        metrics=figures(seen.slice(Slice.TEST), pooled, own, context, SEED), golden=_golden(seen),
        later={} if later is None else figures(later, pooled, own, context, SEED),
        dataset=seen.snapshot, rows=len(seen.label), assumptions=assumptions,
    )  # fmt: skip


def _later(dataset: Callable[..., Dataset]) -> Dataset | None:
    try:
        return dataset(later=True)
    except DatasetError:  # the cut is the home's present, or nothing later is ripe yet
        return None


def _golden(data: Dataset) -> Matrix:
    """Rows of nobody: each column shuffled on its own, so no customer leaves with the model."""
    rng = np.random.default_rng(SEED)
    rows = data.matrix[: max(_GOLDEN_ROWS, min(len(data.matrix), 500))]
    return np.column_stack([rng.permutation(rows[:, j])[:_GOLDEN_ROWS] for j in range(rows.shape[1])])


def _registered(registry: Registry, study: Study, name: str, draft: Draft, began: float) -> TrainedModel:
    manifest = Manifest(
        name=name,
        features=draft.features,
        context=draft.context,
        parts=draft.notes,
        metrics=draft.metrics,
        trained_as_of=study.cut.strftime("%Y-%m-%dT%H:%M:%SZ"),
        views=study.store.revision,
        dataset=draft.dataset,
        assumptions=draft.assumptions,
    )
    with tempfile.TemporaryDirectory(prefix="nbo-draft-") as folder:
        bundle = write_bundle(Path(folder), manifest, draft.parts, draft.golden)
        described = {
            "as_of": manifest.trained_as_of,
            "views": manifest.views,
            "dataset": draft.dataset,
            "seed": SEED,
            **draft.parameters,
        }
        later = {f"later_{key}": value for key, value in draft.later.items() if value is not None}
        version = registry.log(bundle, described, later)
    notes = [f"{part}: {note.note}" for part, note in draft.notes.items() if note.note]
    return TrainedModel(
        name=name, version=version.version, sha256=version.sha256, run_id=version.run_id,
        served={part: note.served for part, note in draft.notes.items()}, metrics=draft.metrics,
        later=draft.later, rows=draft.rows, seconds=round(time.perf_counter() - began, 3),
        notes=tuple(notes), assumptions=draft.assumptions,
    )  # fmt: skip
