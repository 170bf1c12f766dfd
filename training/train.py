"""Train the models of a bank, each against its baselines, and register them. Nothing goes live by that."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features.home import Home
from features.store import FeatureStore
from training import trainers
from training.bankuplift import learn_uplift
from training.bundle import Manifest, write_bundle
from training.errors import DatasetError, TrainingError
from training.evaluate import Metrics
from training.incumbent import beside_live
from training.plots import draw
from training.registry import Registry
from training.score import ALL_NAMES, OPTIONAL
from training.study import Study
from training.trainers import SEED, Draft
from training.tune import Progress, silent

__all__ = ["SEED", "TrainedModel", "train_all"]

NO_CONTACTS = (
    "no uplift learner compared: no contact about an offer with a product is old enough to show what came of it"
)
_Trainer = Callable[[Study, int, Progress], Draft | None]
_TRAINERS: dict[str, _Trainer] = {
    "reach": trainers.reach, "harm": trainers.harm, "interest": trainers.interest, "churn": trainers.churn,
    "value": trainers.value, "organic": trainers.organic,
}  # fmt: skip


@dataclass(frozen=True)
class TrainedModel:
    """One registered version and how good it is.

    metrics: on the latest slice before the cut; later: on rows decided after the cut, None-valued
    or empty where the home knows none. Keys of baselines start with their name. alarms: why the gate
    will keep it out, whatever its figures.
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
    alarms: tuple[str, ...] = ()
    foretold: pl.DataFrame | None = field(default=None, repr=False)  # of `uplift`; see training/bankuplift.py


def train_all(
    home: Home,
    as_of: datetime | None = None,
    trials: int = 0,
    progress: Progress = silent,
    names: Sequence[str] = ALL_NAMES,
    *,
    uplift: bool = False,
) -> list[TrainedModel]:
    """Train and register the models of a home; nothing goes live by that.

    Args:
        home: With imported tables.
        as_of: Nothing booked, recorded or answered after it is learned from; None: the home's now.
        trials: Settings Optuna tries per model; 0: the defaults. A search that was stopped goes on.
        progress: Called with what is being done, done and total.
        names: Which of interest, reach, harm, churn, value, organic.
        uplift: Beside `organic`, learn what contacts change (training/bankuplift.py); its figures and
            its Qini picture stand in the same run.

    Returns:
        The models trained; without `organic` where nobody was drawn never to be contacted.

    Raises:
        DatasetError: There is nothing to learn from, or as_of is still to come.   TrainingError: `names` has a stranger.
    """
    unknown = next((name for name in names if name not in _TRAINERS), None)
    if unknown is not None:
        raise TrainingError(f"no model `{unknown}`; there are {', '.join(ALL_NAMES)}")
    present = home.now().astimezone(UTC)
    cut = present if as_of is None else as_of.astimezone(UTC)
    if cut > present:  # or every young contact would be taken for a refusal
        raise DatasetError(
            f"as of {cut:%F} lies after the home's present, {present:%F}; what has not happened has no label"
        )
    study = Study(home, FeatureStore(home), cut, progress)
    registry = Registry.open(home.mlflow_uri)
    trained: list[TrainedModel] = []
    wanted = [name for name in _TRAINERS if name in names]
    for number, name in enumerate(wanted):
        progress(f"training {name}", number, len(wanted))
        began = time.perf_counter()
        draft, foretold = _TRAINERS[name](study, trials, progress), None
        if uplift and name == "organic" and draft is not None:
            draft, foretold = _with_uplift(study, draft, trials, progress)
        if draft is not None or name not in OPTIONAL:
            trained.append(replace(_registered(registry, study, name, draft, began), foretold=foretold))
    progress("models trained", len(wanted), len(wanted))
    return trained


def _registered(registry: Registry, study: Study, name: str, draft: Draft | None, began: float) -> TrainedModel:
    if draft is None:
        raise TrainingError(f"model `{name}` has nothing to learn from; import more history")
    manifest = Manifest(
        name=name,
        features=draft.features,
        context=draft.context,
        parts=draft.notes,
        metrics=draft.metrics | beside_live(study.home, name, draft, study.cut, SEED),
        trained_as_of=study.cut.strftime("%Y-%m-%dT%H:%M:%SZ"),
        views=study.store.revision,
        dataset=draft.dataset,
        assumptions=draft.assumptions,
        alarms=draft.alarms,
    )
    with tempfile.TemporaryDirectory(prefix="nbo-draft-") as folder:
        bundle = write_bundle(Path(folder), manifest, draft.parts, draft.golden)
        described = {
            "as_of": manifest.trained_as_of,
            "views": manifest.views,
            "dataset": draft.dataset,
            "rows": draft.rows,
            "seed": SEED,
            **draft.parameters,
        }
        later = {f"later_{key}": value for key, value in draft.later.items() if value is not None}
        pictures = draw(Path(folder) / "plots", draft.pictured, draft.qini)
        version = registry.log(bundle, described, later, pictures)
    notes = [*draft.said, *(f"{part}: {note.note}" for part, note in draft.notes.items() if note.note)]
    return TrainedModel(
        name=name, version=version.version, sha256=version.sha256, run_id=version.run_id,
        served={part: note.served for part, note in draft.notes.items()}, metrics=manifest.metrics,
        later=draft.later, rows=draft.rows, seconds=round(time.perf_counter() - began, 3),
        notes=tuple(notes), assumptions=draft.assumptions, alarms=draft.alarms,
    )  # fmt: skip


def _with_uplift(study: Study, draft: Draft, trials: int, progress: Progress) -> tuple[Draft, pl.DataFrame | None]:
    progress("learning what contacts change", 0, 1)
    try:
        found = learn_uplift(study, SEED, trials, progress)
    except DatasetError as error:  # p_organic stands for itself
        return replace(draft, said=(f"no uplift learner compared: {error}",)), None
    if found is None:
        return replace(draft, said=(NO_CONTACTS,)), None
    return replace(draft, metrics=draft.metrics | found.metrics, said=found.notes, qini=found.curve), found.foretold
