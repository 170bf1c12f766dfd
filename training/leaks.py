"""Columns that know too much: alarms for what no model will have when it is needed.

An alarm stops nothing; it is printed, stands in the JSON, and says which column to leave out.
"""

import re
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from training.encode import Feature, Matrix

ALONE = 0.99  # a column that ranks better than this by itself is the label in disguise
_ROWS = 100_000  # looked at per column
# Words for what is on file only once the contact has taken place.
_AFTER_CONTACT = frozenset({
    "duration", "call_duration", "call_length", "talk_time", "talktime", "talk_seconds", "handling_time", "hold_time",
    "outcome", "call_outcome", "contact_outcome", "response", "responded", "response_date", "answered", "answer",
    "converted", "conversion", "conversion_date", "accepted", "accepted_at", "refused", "clicked", "opened",
    "redeemed", "redemption_date", "disposition", "result", "call_result", "closed_at", "closing_date",
})  # fmt: skip
_AFTER_WORDS = frozenset({"duration", "talktime", "disposition"})


class Alarm(BaseModel):
    """One thing that makes the figures too good. kind: leak, after_contact, too_good, overlap, order, or support: no arms to compare."""

    model_config = ConfigDict(frozen=True)

    kind: str
    column: str | None
    auc: float | None
    message: str


def column_alarms(features: Sequence[Feature], matrix: Matrix, label: Matrix) -> list[Alarm]:
    """Alarms of columns that tell the label alone, or that are known only after the contact.

    Args:
        features: Of the matrix.     matrix: (n, n_features).     label: 0 or 1, (n,).
    """
    found: list[Alarm] = []
    step = max(1, len(label) // _ROWS)
    for place, feature in enumerate(features):
        area = _area_alone(matrix[::step, place], label[::step], feature.kind == "enum")
        source = feature.name.partition("#")[0]
        if area > ALONE and all(alarm.column != source or alarm.kind != "leak" for alarm in found):
            said = f"`{source}` alone ranks the label with AUC {area:.4f}: it knows the answer; --drop {source}"
            found.append(Alarm(kind="leak", column=source, auc=round(area, 6), message=said))
        if feature.name == source and known_after_contact(source):
            said = f"`{source}` is by its name known only after the contact; --drop {source} if it is"
            found.append(Alarm(kind="after_contact", column=source, auc=round(area, 6), message=said))
    return found


def too_good(area: float | None, columns: Sequence[str]) -> list[Alarm]:
    """An alarm where the whole model ranks rows it has not seen almost without fault.

    Args:
        area: AUC on held-out rows.     columns: What the model leans on, the most first.
    """
    if area is None or area <= ALONE:
        return []
    leans = ", ".join(f"`{name}`" for name in columns)
    said = f"AUC {area:.4f} on rows never seen is too good to be true; it leans on {leans}: when were they written?"
    return [Alarm(kind="too_good", column=columns[0] if columns else None, auc=round(area, 6), message=said)]


def known_after_contact(name: str) -> bool:
    """Whether a column's name says that it is written when the contact is over."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    parts = [part for part in re.split(r"[^a-z0-9]+", words) if part]
    return "_".join(parts) in _AFTER_CONTACT or not _AFTER_WORDS.isdisjoint(parts)


def other_rows_rate(codes: Matrix, label: Matrix) -> Matrix:
    """Each row's rate of its code in the other half of the rows, so a rare code cannot know itself."""
    place = np.where(np.isnan(codes), -1, codes).astype(np.int64) + 1
    half = np.arange(len(label)) % 2
    rate = np.zeros(len(label))
    for side in (0, 1):
        other = half != side
        rows = np.bincount(place[other], minlength=place.max() + 1)
        hits = np.bincount(place[other], label[other], minlength=place.max() + 1)
        rate[half == side] = ((hits + label.mean()) / (rows + 1.0))[place[half == side]]
    return rate


def _area_alone(x: Matrix, label: Matrix, codes: bool) -> float:
    """AUC of one column, the better way round, null as a value of its own; codes by the rate of other rows."""
    from sklearn.metrics import roc_auc_score

    if codes:
        x = other_rows_rate(x, label)
    known = ~np.isnan(x)
    if not 0 < label.sum() < len(label):
        return 0.5
    low = float(x[known].min()) - 1.0 if known.any() else 0.0
    high = float(x[known].max()) + 1.0 if known.any() else 0.0
    areas = [float(roc_auc_score(label, np.where(known, x, null))) for null in {low, high}]
    return max(max(area, 1 - area) for area in areas)
