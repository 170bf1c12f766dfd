"""Start, end and measure a contest of champion and challenger (training/challenger.py)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from features.home import Home
from training.atomic import write_atomically
from training.bundle import Bundle, read_bundle, stamp_version, verify_bundle
from training.challenger import Challenge, in_challenge, read_challenges
from training.dataset import Names
from training.encode import Matrix
from training.errors import DatasetError, RegistryError
from training.gate import gate
from training.lock import exclusive
from training.means import mean_interval
from training.promotion import live_beside
from training.registry import Registry, temporary_folder
from training.score import read_live
from training.served import MONITORED, Served, mature_rows

LEAST_ROWS = 100
_FLOOR = 1e-6


@dataclass(frozen=True)
class Comparison:
    """Challenger beside champion on rows with a ripe outcome.

    gain: log loss of the champion less the challenger's, per row, both scoring every row; rate_gain: share of
    positives among units the challenger decided for, less the champion's. Each with its 95 % interval by
    unit; above 0 is the challenger's. rows, units: by arm, champion first. since: the first instant counted.
    """

    name: str
    since: datetime
    rows: tuple[int, int]
    units: tuple[int, int]
    gain: float
    gain_low: float
    gain_high: float
    rates: tuple[float | None, float | None]
    rate_gain_low: float | None
    rate_gain_high: float | None


def challenge(home: Home, name: str, version: str, share: float, season: str) -> Challenge:
    """Put a version beside the live one, through the same gate; what stood there before is replaced.

    It starts at the home's present; asked once more for the same, it goes on since it started.

    Raises:
        RegistryError: No such model or version, none is live, or it is the live one.   GateError: The line that failed.
    """
    if name not in MONITORED:
        raise RegistryError(f"no model `{name}` that can be challenged; there are {', '.join(MONITORED)}")
    try:
        Challenge(sha256="0" * 64, share=share, season=season)
    except ValidationError as error:
        raise DatasetError(
            f"--{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg'].lower()}; give 0.1, say"
        ) from error
    if name not in read_live(home.models):
        raise RegistryError(f"model `{name}` is not live; nbo models promote {name} {version}")
    registry = Registry.open(home.mlflow_uri)
    with temporary_folder() as folder:
        fetched = registry.fetch(name, version, Path(folder))
        manifest = verify_bundle(fetched)
        gate(manifest, live_beside(home.models, manifest))
        bundle = stamp_version(fetched, home.models, version)
    read_bundle(bundle)
    if bundle.name == read_live(home.models)[name]:
        raise RegistryError(
            f"version {version} of `{name}` is the live one; challenge it with another, nbo models list"
        )
    made = Challenge(sha256=bundle.name, share=share, season=season, started_at=home.now())
    old = read_challenges(home.models).get(name)
    if old is not None and old.started_at and made == old.model_copy(update={"started_at": made.started_at}):
        made = old
    _write(home.models, name, made)
    registry.set_challenger(name, version)
    return made


def end_challenge(home: Home, name: str) -> None:
    """Give every unit back to the live model; RegistryError where nobody challenges it."""
    if name not in read_challenges(home.models):
        raise RegistryError(f"nobody challenges model `{name}`")
    _write(home.models, name, None)
    Registry.open(home.mlflow_uri).set_challenger(name, None)


def compare(home: Home, name: str, since: datetime | None = None) -> Comparison:
    """Challenger against champion on rows decided since the challenge began, and ripe.

    since: an instant to begin later. See `begin`.

    Raises:
        RegistryError: Nobody challenges, or none is live.   DatasetError: Too few ripe outcomes, or no known start.
    """
    live, challenges = read_live(home.models), read_challenges(home.models)
    if name not in live:
        raise RegistryError(f"model `{name}` is not live; nbo models list says what is")
    if name not in challenges:
        raise RegistryError(f"nobody challenges model `{name}`; nbo models challenge {name} VERSION")
    made = challenges[name]
    bundles = {"champion": read_bundle(home.models / live[name]), "challenger": read_bundle(home.models / made.sha256)}
    start = begin(name, made, bundles.values(), since)
    _, rows = mature_rows(home, name, bundles, start)
    return compared(name, start, rows, "champion", arm_of(home, name, made, rows))


def begin(name: str, made: Challenge, bundles: Iterable[Bundle], since: datetime | None = None) -> datetime:
    """The first instant whose decisions may be compared: nobody learned from them, and each arm had its own model.

    The latest of the challenge's start, what either bundle was trained to, and `since`. Where the start is
    not known, `since` must say it: rows of before would count as the challenger's, whoever decided.
    """
    if made.started_at is None and since is None:
        raise DatasetError(
            f"since when model `{name}` is challenged was not recorded; give that day as --since,"
            f" or nbo models unchallenge {name} and challenge it anew"
        )
    known = [at for at in (made.started_at, since) if at is not None]
    return max(*known, *(datetime.fromisoformat(bundle.manifest.trained_as_of) for bundle in bundles))


def compared(name: str, since: datetime, rows: Served, champion: str, arm: npt.NDArray[np.bool_]) -> Comparison:
    """The same of rows at hand, scored by `champion` and "challenger". arm: (n,), whether the challenger decided."""
    owners, label, weight = rows.owners, rows.label, rows.weight
    if len(label) < LEAST_ROWS or len(np.unique(owners)) < 2:
        raise DatasetError(
            f"{len(label)} ripe outcomes of decisions since {since:%F}, where the comparison begins,"
            f" {LEAST_ROWS} are needed to compare; wait until answers are in"
        )
    gain = _log_loss(label, rows.scores[champion]) - _log_loss(label, rows.scores["challenger"])
    low, high = mean_interval(gain, owners, weight)
    sides = [(label[side], owners[side], weight[side]) for side in (~arm, arm)]
    rates = [float(np.average(side, weights=w)) if len(side) else None for side, _, w in sides]
    errors = [_half_width(*side) if len(side[0]) > 1 else None for side in sides]
    between: tuple[float | None, float | None] = (None, None)
    if rates[0] is not None and rates[1] is not None and errors[0] is not None and errors[1] is not None:
        wide = float(np.hypot(errors[0], errors[1]))
        between = (rates[1] - rates[0] - wide, rates[1] - rates[0] + wide)
    return Comparison(name, since, (len(sides[0][0]), len(sides[1][0])),
                      (len(np.unique(sides[0][1])), len(np.unique(sides[1][1]))), float(np.average(gain, weights=weight)),
                      low, high, (rates[0], rates[1]), *between)  # fmt: skip


def arm_of(home: Home, name: str, made: Challenge, rows: Served) -> npt.NDArray[np.bool_]:
    """Whether the challenger decides for each row's unit, (n,)."""
    return in_challenge(home.secret(), name, made.season, [str(unit) for unit in rows.owners], made.share)


def _half_width(label: Matrix, owners: Names, weight: Matrix) -> float:
    low, high = mean_interval(label, owners, weight)
    return (high - low) / 2


def _log_loss(label: Matrix, p: Matrix) -> Matrix:
    inside = np.clip(p, _FLOOR, 1 - _FLOOR)
    return -(label * np.log(inside) + (1 - label) * np.log1p(-inside))


def _write(models: Path, name: str, made: Challenge | None) -> None:
    with exclusive(models / ".lock"):
        kept = {key: value.model_dump(mode="json") for key, value in read_challenges(models).items() if key != name}
        if made is not None:
            kept[name] = made.model_dump(mode="json")
        write_atomically(models / "challengers.json", (json.dumps(kept, sort_keys=True, indent=1) + "\n").encode())
