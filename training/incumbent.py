"""The version now live, laid beside a draft that may come to replace it, on rows neither has learned from.

The draft has not: its latest slice took no part in fitting, stopping, calibrating or choosing; there its choice
can only have been taken back to a simpler model (training/learn.py). What is live was fitted on all that was ripe
at its cut, so of it only younger answers say anything: a month later those are the rows decided since and, most
of them, the rows decided before whose answer was still out.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.home import Home
from training.bundle import Bundle, read_bundle
from training.dataset import Dataset, Names
from training.encode import Matrix
from training.errors import BundleError, ScoreError
from training.evaluate import LEAST_TO_RANK, Metrics, gain_interval
from training.score import read_live
from training.served import score_rows

if TYPE_CHECKING:
    from training.trainers import Draft  # what fits models is not for those who only read them


def beside_live(home: Home, name: str, draft: "Draft", cut: datetime, seed: int) -> Metrics:
    """By how much the draft ranks better than the version now live, on rows neither has learned from.

    Those of the latest slice; where the live one is cut later than the draft, those decided after the draft's
    cut. Empty where none is live, where it cannot be read, or where there is no such row.
    """
    live = read_incumbent(home, name)
    if live is None:
        return {}
    live_cut = datetime.fromisoformat(live.manifest.trained_as_of)
    shown = draft.pictured if live_cut <= cut else draft.newer
    if shown is None:
        return {}
    known = [shown.data] if draft.seen is None else [draft.seen, shown.data]
    unseen = unseen_rows(shown.data, known, round(live_cut.timestamp() * 1e6))
    rows = shown.data.rows(unseen)
    try:
        former = score_rows(live, rows)
    except ScoreError:  # of features the home no longer gives: training is the remedy
        return {}
    return gain_over_live(rows.label, shown.p[unseen], former, rows.owners, seed, rows.weight)


def unseen_rows(data: Dataset, known: Iterable[Dataset], live_cut: int) -> npt.NDArray[np.bool_]:
    """Which rows of `data` a version cut at `live_cut` (microseconds) cannot have learned from, (n,).

    The label was not ripe at that cut, nor a positive of the same unit whose window reaches into this one's:
    who has left within sixty days of January has left within sixty of February too, and that was known.

    Args:
        known: All rows at hand the live version may have learned from.
    """
    told: dict[str, int] = {}
    for rows in known:
        learned = (rows.label > 0) & (rows.ends <= live_cut)
        for owner, end in zip(rows.owners[learned].tolist(), rows.ends[learned].tolist(), strict=True):
            told[owner] = max(end, told.get(owner, end))
    until = np.asarray([told.get(owner, 0) for owner in data.owners.tolist()], np.int64)
    return (data.ends > live_cut) & (until <= data.at)


def gain_over_live(
    label: Matrix, p: Matrix, former: Matrix, owners: Names, seed: int, weight: Matrix | None = None
) -> Metrics:
    """live_rows, live_positives and, with enough of either class, live_gain with its interval, as AUC.

    Args:
        p: Scores of what may go live, (n,).
        former: Scores of what is live, (n,).
    """
    n, positives = len(label), float((label > 0).sum())
    if n == 0:
        return {}
    counted: Metrics = {"live_rows": float(n), "live_positives": positives}
    if min(positives, n - positives) < LEAST_TO_RANK:
        return counted
    gain = gain_interval(label, p, former, owners, seed, weight)
    shown = {"live_gain": gain.value, "live_gain_low": gain.low, "live_gain_high": gain.high}
    return {key: None if value is None else round(value, 6) for key, value in shown.items()} | counted


def read_incumbent(home: Home, name: str) -> Bundle | None:
    """The live bundle; None where none is live, or it is damaged and training is the remedy."""
    try:
        sha = read_live(home.models).get(name)
        return None if sha is None else read_bundle(home.models / sha)
    except BundleError:
        return None
