"""What moves a score: how much each feature adds to the log-odds of one model.

Of trees these are SHAP values, which LightGBM computes itself (`pred_contrib`); of a logistic model weight times
shaped value. Source: Lundberg et al., From local explanations to global understanding, Nature Machine
Intelligence 2 (2020).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.bundle import POOLED, Bundle, Part
from training.encode import Matrix
from training.score import context_codes
from training.scorer import BoosterScorer, LogisticScorer


class Contribution(NamedTuple):
    """One feature's part: its column, and what it adds to the log-odds of the raw score."""

    column: str
    added: float


class Explained(NamedTuple):
    """p: the score as `predict` gives it. contributions: of every feature but the item itself, the greatest first."""

    p: float
    contributions: Sequence[Contribution]


def contributions(scorer: Part, rows: Matrix) -> Matrix | None:
    """(n, n_features) log-odds each feature adds; null for a scorer that reads none."""
    if isinstance(scorer, BoosterScorer):
        return np.asarray(scorer.booster.predict(rows, pred_contrib=True, num_threads=1))[:, :-1]
    if isinstance(scorer, LogisticScorer):
        found = np.zeros(rows.shape)
        for term in scorer.model.terms:
            place = scorer.features.index(term.feature)
            found[:, place] = term.share(rows[:, place])
        return found
    return None


def explained(bundle: Bundle, item: str, row: Matrix) -> Explained:
    """What moves the score of an offer or channel. row: (1, n_features) as the bundle's manifest lists them."""
    part = bundle.parts.get(item) or bundle.parts[POOLED]
    if len(part.features) > row.shape[1]:
        row = np.concatenate([row, context_codes(bundle, [item])[:, None]], axis=1)
    added = contributions(part, row)
    named = zip(part.features, added[0].tolist(), strict=True) if added is not None else ()
    own = {feature.name for feature in bundle.manifest.features}
    found = [Contribution(name, each) for name, each in named if name in own]
    return Explained(float(part.predict(row)[0]), sorted(found, key=lambda one: -abs(one.added)))
