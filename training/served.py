"""What live models say of the contacts and months whose outcome is known: the ground of the monitor.

Scores are computed again rather than stored: a bundle is immutable and gives the same six decimals for
ever, and features as of an instant do not change with what came later (P28). So every row has the score
of every bundle, the champion's and the challenger's, whoever decided at the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from features.home import Home
from features.store import FeatureStore
from training.bundle import Bundle
from training.dataset import Dataset, Names, Slice
from training.encode import Matrix
from training.errors import DatasetError, ScoreError
from training.score import context_codes, predict_pooled
from training.study import Study

MONITORED = ("interest", "reach", "harm", "churn")  # value is a formula: it has no outcome
WATCHED = (*MONITORED, "organic")  # what is taken unasked is watched too, though nobody decides by it alone


@dataclass(frozen=True)
class Served:
    """Rows of one model whose outcome is known, (n,) each. scores: bundle's key -> its probability.

    weight: how many rows each stands for, where they were drawn (training.dataset.weighted_sample): without it
    every rate is one of the sample. at: when each was decided, microseconds.
    """

    owners: Names
    items: Names
    label: Matrix
    scores: dict[str, Matrix]
    weight: Matrix
    at: npt.NDArray[np.int64]

    def since(self, instant: datetime) -> "Served":
        """The rows decided from an instant on, in order."""
        keep = self.at >= round(instant.timestamp() * 1e6)
        return Served(
            self.owners[keep], self.items[keep], self.label[keep],
            {key: score[keep] for key, score in self.scores.items()}, self.weight[keep], self.at[keep])  # fmt: skip


def mature_rows(home: Home, name: str, bundles: Mapping[str, Bundle], since: datetime) -> tuple[Served, Served]:
    """(before, after) `since`: rows of a model with a ripe outcome at the home's present, scored by each bundle.

    before: the latest fifth of the rows that were ripe at `since`, to compare with; after: all later ones,
    no row where nothing is ripe yet.

    Raises:
        ScoreError: A bundle reads a feature that the home does not give, or gives otherwise.
    """
    study = Study(home, FeatureStore(home), since, lambda *_: None)
    made: Callable[[bool], Dataset | None] = {
        "interest": study.interest, "reach": study.reach, "harm": study.harm, "churn": study.churn,
        "organic": study.organic}[name]  # fmt: skip
    parts: list[Served] = []
    for later in (False, True):
        try:
            data = made(later)
        except DatasetError:  # no such history, or nothing later is ripe yet
            data = None
        if data is None:
            parts.append(_nothing(bundles))
            continue
        data = data if later else data.slice(Slice.TEST)
        scores = {key: score_rows(bundle, data) for key, bundle in bundles.items()}
        parts.append(Served(data.owners, data.items, data.label, scores, data.weight, data.at))
    return parts[0], parts[1]


def score_rows(bundle: Bundle, data: Dataset) -> Matrix:
    """What serving would say of each row, (n,): its offer's or channel's own part, else the pooled one."""
    known = {feature.name: (place, feature) for place, feature in enumerate(data.features)}
    for feature in bundle.manifest.features:
        if feature.name not in known or known[feature.name][1] != feature:
            raise ScoreError(
                f"model `{bundle.name}` reads `{feature.name}`, which the home gives otherwise; retrain it"
            )
    matrix = data.matrix[:, [known[feature.name][0] for feature in bundle.manifest.features]]
    if bundle.name in bundle.parts:  # one part for everybody: churn
        return bundle.parts[bundle.name].predict(matrix)
    p = np.empty(len(matrix))
    items = [str(item) for item in np.unique(data.items)]
    codes = dict(zip(items, context_codes(bundle, items), strict=True))
    for item in items:
        mine = data.items == item
        own = bundle.parts.get(item)
        rows = matrix[mine]
        p[mine] = predict_pooled(bundle, rows, np.full(len(rows), codes[item])) if own is None else own.predict(rows)
    return p


def _nothing(bundles: Mapping[str, Bundle]) -> Served:
    names = np.empty(0, np.str_)
    scores = {key: np.empty(0) for key in bundles}
    return Served(names, names, np.empty(0), scores, np.empty(0), np.empty(0, np.int64))
