"""After go-live: do the served models still say what happens? Calibration, ranking and drift, with alarms.

    calibration  what happened less what was foretold, per row, with its interval by unit
    ranking      AUC since, beside that on rows it had not learned from, each with its interval
    drift        PSI of the scores, since against before (training/stability.py); beyond 0.25 and what chance alone brings

Only rows whose outcome is ripe count: a young contact is not a refusal. Every figure is of all rows, those
left out of a sample as well (`Served.weight`). Source of the PSI's 0.25: Siddiqi, Credit Risk Scorecards (2006).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from features.home import Home
from training.bundle import Bundle, Manifest, read_bundle
from training.dataset import Names
from training.encode import Matrix
from training.errors import BundleError, DatasetError, RegistryError, ScoreError
from training.evaluate import Interval, auc_interval
from training.means import at_once, mean_interval, rare_interval
from training.ownscores import own_scores
from training.score import read_live
from training.served import WATCHED, Served, mature_rows
from training.stability import PSI_MOST, chance_stability, population_stability
from training.supplied import read_supplied

OFF_MOST = 0.20  # of what was foretold; less than that is no alarm, however sure
AUC_DROP_MOST = 0.05
LEAST_ROWS, LEAST_POSITIVES = 100, 20
_SEED = 20260601
_REMEDY = "supply better scores, or --withdraw them"


@dataclass(frozen=True)
class ModelState:
    """One served model since an instant.

    rate, foretold: share of positives, and mean score. off: rate less foretold, with its 95 % interval by
    unit. psi, auc, auc_before (on rows it had not learned from): null where not measurable. alarms: a line each; unmeasured: why there are none.
    """

    name: str
    sha256: str
    since: datetime
    rows: int
    positives: int
    rate: float | None = None
    foretold: float | None = None
    off_low: float | None = None
    off_high: float | None = None
    psi: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    auc_before: float | None = None
    alarms: tuple[str, ...] = ()
    unmeasured: str | None = None


def monitor(home: Home, since: datetime | None = None) -> list[ModelState]:
    """The state of every live model and of every family's own scores since an instant, at the earliest since what each was trained to.

    Rows of before it has learned from: they would promise too much. A model that reads what the home does not give is an alarm of its own.

    Raises:
        RegistryError: Nothing is live.
    """
    live = {name: sha for name, sha in read_live(home.models).items() if name in WATCHED}
    if not live and not read_supplied(home.models):
        raise RegistryError("no live model to watch; nbo train all --promote")
    states: list[ModelState] = []
    for name in sorted(live, key=WATCHED.index):
        bundle = read_bundle(home.models / live[name])
        trained = datetime.fromisoformat(bundle.manifest.trained_as_of)
        states.append(watched(home, name, {"live": bundle}, max(since, trained) if since else trained)[0])
    return [*states, *watched_scores(home, since)]


def watched_scores(home: Home, since: datetime | None = None) -> list[ModelState]:
    """The state of each family whose own scores are live, `scores of FAMILY`, see training/ownscores.py.

    `interest` is watched on the family's contacts as well: it serves them again after a withdrawal.
    """
    states: list[ModelState] = []
    for family, sha256 in sorted(read_supplied(home.models).items()):
        name = f"scores of {family}"
        try:
            own = own_scores(home, family, LEAST_ROWS, LEAST_POSITIVES, since)
        except (BundleError, DatasetError) as error:
            line = str(error)
            states.append(ModelState(name, sha256, since or home.now(), 0, 0, alarms=(line,), unmeasured=line))
            continue
        states.append(state_of(name, sha256, own.since, own.before, own.after, None, _REMEDY))
    return states


def watched(home: Home, name: str, bundles: Mapping[str, Bundle], since: datetime) -> tuple[ModelState, Served | None]:
    """The state of bundles["live"] since an instant, and its rows since, scored by every bundle.

    No rows where it reads what the home does not give: a served model that nobody can watch is an alarm.
    """
    live = bundles["live"]
    try:
        before, after = mature_rows(home, name, bundles, since)
    except ScoreError as error:
        line = str(error)
        return ModelState(name, live.sha256, since, 0, 0, alarms=(line,), unmeasured=line), None
    return state_of(name, live.sha256, since, before, after, promised(live.manifest)), after


def promised(manifest: Manifest) -> Interval | None:
    """The AUC that a model was let in with, on rows it had not learned from; None: there is none."""
    value, low, high = (manifest.metrics.get(key) for key in ("auc", "auc_low", "auc_high"))
    return None if value is None else Interval(value, low, high)


def state_of(
    name: str,
    sha256: str,
    since: datetime,
    before: Served,
    after: Served,
    promise: Interval | None,
    remedy: str = "retrain",
) -> ModelState:
    """Measure one model on rows before and after; see ModelState.

    promise: its AUC on rows it had not learned from, see `promised`; None: on the rows before. A served
    model is fitted once more on all of these, and what it ranks there promises too much.
    """
    n, positives = len(after.label), int(after.label.sum())
    if n < LEAST_ROWS:
        why = f"{n} ripe outcomes since {since:%F}, {LEAST_ROWS} are needed"
        return ModelState(name, sha256, since, n, positives, unmeasured=why)
    score, former = after.scores["live"], before.scores["live"]
    rate, foretold = (float(np.average(values, weights=after.weight)) for values in (after.label, score))
    low, high = off_interval(after.label, score, after.owners, after.weight)
    area, psi, psi_most = _area(after), None, PSI_MOST
    earlier = _area(before) if promise is None else promise
    if len(former) >= LEAST_ROWS:
        psi = population_stability(former, score, before.weight, after.weight)
        psi_most += chance_stability((before.owners, before.weight), (after.owners, after.weight))
    alarms: list[str] = []
    if (low > 0 or high < 0) and abs(rate - foretold) > OFF_MOST * foretold:
        alarms.append(
            f"calibration: foretold {foretold:.4f}, came {rate:.4f} (off by {low:+.4f} to {high:+.4f}); {remedy}"
        )
    if psi is not None and psi > psi_most:
        alarms.append(f"drift: PSI {psi:.3f} of the scores > {psi_most:.3f}; look at nbo features drift, then {remedy}")
    if _fallen(area, earlier):
        alarms.append(
            f"ranking: auc {area.value:.4f} (to {area.high:.4f}),"
            f" {earlier.value:.4f} (from {earlier.low:.4f}) before; {remedy}"
        )
    unmeasured = f"{positives} positives: ranking not measured" if area.value is None else None
    return ModelState(
        name, sha256, since, n, positives, rate, foretold, low, high, psi, area.value, area.low, area.high,
        earlier.value, tuple(alarms), unmeasured)  # fmt: skip


def off_interval(label: Matrix, score: Matrix, owners: Names, weight: Matrix) -> tuple[float, float]:
    """95 % interval of what happened less what was foretold, per row, by unit.

    Where owners with a positive are few, seen or foretold, it is that of a rare rate (training.means.rare_interval);
    where the others are few, the same of them.
    """
    foretold = float(np.average(score, weights=weight))
    for rare, share, sign in ((label, foretold, 1), (1 - label, 1 - foretold, -1)):
        if (
            min(np.average(rare, weights=weight), share) * weight.sum() / at_once(rare, owners, weight)
            < LEAST_POSITIVES
        ):
            ends = sorted(sign * (rate - share) for rate in rare_interval(rare, owners, weight))
            return ends[0], ends[1]
    return mean_interval(label - score, owners, weight)


def _area(rows: Served) -> Interval:
    """The AUC of the live scores; all None where either class is too rare for an interval."""
    positives = int(rows.label.sum())
    if not LEAST_POSITIVES <= positives <= len(rows.label) - LEAST_POSITIVES:
        return Interval(None, None, None)
    return auc_interval(rows.label, rows.scores["live"], rows.owners, _SEED, rows.weight)


def _fallen(now: Interval, earlier: Interval) -> bool:
    """Whether the AUC surely fell by more than is borne, or to less than half of what it had beyond chance.

    What was measured before has an error too, and stays the same in every later look: taken at its word, a model
    that was let in by luck would ring for ever. So the interval of the difference must lie below; of independent
    rows the errors add up by squares. But where few positives promised, that would be deaf to a model that ranks
    at random: one that has surely lost half rings without it.
    """
    if now.value is None or now.high is None or earlier.value is None or earlier.low is None:
        return False
    either = float(np.hypot(now.high - now.value, earlier.value - earlier.low))
    half = max(AUC_DROP_MOST, (earlier.value - 0.5) / 2)
    return now.value - earlier.value + either < -AUC_DROP_MOST or now.high < earlier.value - half
