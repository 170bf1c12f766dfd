"""How the served models do: what each promised when it was trained, and what came of it since. Runs in a job."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from features.home import Home
from serving.lists.plan import Progress
from training.bundle import Bundle, read_bundle
from training.challenger import read_challenges
from training.contest import LEAST_ROWS, Comparison, arm_of, begin, compared
from training.errors import DatasetError, RegistryError
from training.evaluate import calibration_bins, lift
from training.monitor import ModelState, watched, watched_scores
from training.registry import Registry
from training.score import read_live
from training.served import WATCHED, Served

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
PICTURES = ("calibration.svg", "lift.svg")


@dataclass(frozen=True)
class Curve:
    """One model on rows with a known outcome. bins: (mean score, rate) of a tenth; lifts: (best-scored share, lift)."""

    who: str  # champion or challenger
    bins: tuple[tuple[float, float], ...]
    lifts: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Measured:
    """One served model. state: since its training; against: null where nobody challenges, or too little is known.

    curves: empty where too few outcomes are ripe; pictures: of the training, champion's and challenger's, by file name.
    """

    state: ModelState
    against: Comparison | None
    curves: tuple[Curve, ...] = ()
    pictures: tuple[str, ...] = field(default=())


def measured(home: Home, folder: Path, progress: Progress) -> list[Measured]:
    """Every live model that has an outcome; RegistryError where none is live. Pictures are put into the folder."""
    live = {name: sha for name, sha in read_live(home.models).items() if name in WATCHED}
    scores = watched_scores(home)
    if not live and not scores:
        raise RegistryError("no live model to measure; nbo train all --promote")
    rivals, found = read_challenges(home.models), list[Measured]()
    for place, name in enumerate(sorted(live, key=WATCHED.index)):
        progress(name, place, len(live))
        bundles = {"live": read_bundle(home.models / live[name])}
        if name in rivals:
            bundles["challenger"] = read_bundle(home.models / rivals[name].sha256)
        found.append(_of(home, name, bundles, folder))
    return [*found, *(Measured(state, None) for state in scores)]


def _of(home: Home, name: str, bundles: dict[str, Bundle], folder: Path) -> Measured:
    bundle = bundles["live"]
    since = datetime.fromisoformat(bundle.manifest.trained_as_of)
    pictures = tuple(file for who, one in bundles.items() for file in _pictures(home, name, who, one, folder))
    state, after = watched(home, name, bundles, since)
    if after is None:
        return Measured(state, None, pictures=pictures)
    against = _against(home, name, bundles, after) if "challenger" in bundles else None
    curves = (
        tuple(_curve(who, after) for who in bundles) if len(after.label) >= LEAST_ROWS and after.label.any() else ()
    )
    return Measured(state, against, curves, pictures)


def _against(home: Home, name: str, bundles: dict[str, Bundle], after: Served) -> Comparison | None:
    """See training.contest.compare; None: too little is ripe, or nobody knows when the challenge began."""
    made = read_challenges(home.models)[name]
    with suppress(DatasetError):
        start = begin(name, made, bundles.values())
        rows = after.since(start)
        return compared(name, start, rows, "live", arm_of(home, name, made, rows))
    return None


def _curve(who: str, rows: Served) -> Curve:
    p = rows.scores[who]
    bins = tuple((b.p, b.rate) for b in calibration_bins(rows.label, p, rows.weight))
    lifts = tuple((share, lift(rows.label, p, share, rows.weight) or 0.0) for share in SHARES)
    return Curve(who, bins, lifts)


def _pictures(home: Home, name: str, who: str, bundle: Bundle, folder: Path) -> list[str]:
    """What its training drew, out of MLflow; [] where that is not at hand."""
    if not bundle.manifest.version:
        return []
    kept: list[str] = []
    with suppress(RegistryError, OSError):
        for path in Registry.open(home.mlflow_uri).pictures(name, bundle.manifest.version, folder):
            if path.name in PICTURES:
                path.replace(folder / f"{name}-{who}-{path.name}")
                kept.append(f"{name}-{who}-{path.name}")
    return kept
