"""The pictures of a run: calibration, gains, lift, what moves the score, and what contacts change. SVG, no ids.

Drawn with altair and vl-convert, nothing is fetched. The summary of features is that of training/explain.py.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd
import polars as pl

from training.dataset import Dataset
from training.encode import Matrix
from training.evaluate import calibration_bins
from training.explain import contributions
from training.ranked import Ranked

if TYPE_CHECKING:
    from training.trainers import Pictured

_ROWS, _FEATURES, _POINTS, _WIDTH, _HEIGHT = 400, 15, 101, 360, 260


def draw(folder: Path, pictured: "Pictured | None", qini: pd.DataFrame | None = None) -> Path | None:
    """Write calibration.svg, gains.svg, lift.svg, shap.svg and, of uplift, qini.svg into `folder` and return it.

    Args:
        pictured: Without, or with rows of one class only, there is nothing to see but the uplift; a constant
            has no shap.svg.
        qini: share, gain and random of the rows that measured the uplift.

    Returns:
        None where there is no picture.
    """
    charts: dict[str, Any] = {}
    if pictured is not None and 0 < pictured.data.label.sum() < len(pictured.data.label):
        data, p = pictured.data, pictured.p
        charts |= {"calibration": _calibration(data, p), "gains": _gains(data, p), "lift": _lift(data, p)}
        moved = _contributions(pictured)
        charts |= {} if moved is None else {"shap": _summary(data, moved)}
    charts |= {} if qini is None else {"qini": _qini(qini)}
    if not charts:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        chart.save(str(folder / f"{name}.svg"), format="svg")
    return folder


def gains(data: Dataset, p: Matrix) -> pl.DataFrame:
    """Share of rows taken, best first -> share of positives found and lift; 101 points, by weights."""
    share = np.linspace(0, 1, _POINTS)
    at = Ranked.of(p).among(share, data.weight, data.label) / float(data.weight @ data.label)
    return pl.DataFrame(
        {"taken": share, "found": at, "lift": np.divide(at, share, out=np.ones(_POINTS), where=share > 0)}
    )


def _calibration(data: Dataset, p: Matrix) -> Any:
    bins = calibration_bins(data.label, p, data.weight)
    rows = pl.DataFrame({"score": [b.p for b in bins], "rate": [b.rate for b in bins]})
    top = max(rows["score"].max(), rows["rate"].max())  # pyright: ignore[reportArgumentType, reportCallIssue]  # both are floats
    even = pl.DataFrame({"score": [0.0, top], "rate": [0.0, top]})
    base = alt.Chart(rows).encode(x=alt.X("score", title="mean score of a tenth"), y=alt.Y("rate", title="its rate"))
    return _titled(_even(even, "score", "rate") + base.mark_line(point=True), "Calibration, rows never learned from")


def _gains(data: Dataset, p: Matrix) -> Any:
    base = alt.Chart(gains(data, p)).encode(
        x=alt.X("taken", title="best-scored share"), y=alt.Y("found", title="positives found")
    )
    even = pl.DataFrame({"taken": [0.0, 1.0], "found": [0.0, 1.0]})
    return _titled(_even(even, "taken", "found") + base.mark_line(), "Gains, rows never learned from")


def _lift(data: Dataset, p: Matrix) -> Any:
    rows = gains(data, p).filter(pl.col("taken") >= 0.02)
    base = alt.Chart(rows).encode(
        x=alt.X("taken", title="best-scored share"), y=alt.Y("lift", title="rate over the mean")
    )
    even = pl.DataFrame({"taken": [0.0, 1.0], "lift": [1.0, 1.0]})
    return _titled(_even(even, "taken", "lift") + base.mark_line(), "Lift, rows never learned from")


def _qini(points: pd.DataFrame) -> Any:
    at = np.linspace(0, 1, _POINTS)
    rows = pl.DataFrame({"taken": at, "gain": np.interp(at, points["share"], points["gain"])})
    even = pl.DataFrame({"taken": [0.0, 1.0], "gain": [0.0, float(points["gain"].iloc[-1])]})
    base = alt.Chart(rows).encode(x=alt.X("taken", title="best-scored share contacted"),
                                  y=alt.Y("gain", title="outcomes added among the contacted"))  # fmt: skip
    return _titled(_even(even, "taken", "gain") + base.mark_line(), "Qini curve, later rows; dashed: contact at random")


def _even(rows: pl.DataFrame, x: str, y: str) -> Any:
    return alt.Chart(rows).mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y=y)


def _contributions(pictured: "Pictured") -> Matrix | None:
    """(rows, features) log-odds each feature adds, of at most 400 rows; None for a constant."""
    rows = pictured.data.matrix[:: max(1, len(pictured.data.label) // _ROWS)]
    return contributions(pictured.pooled.measured, rows)


def _summary(data: Dataset, moved: Matrix) -> Any:
    rows = data.matrix[:: max(1, len(data.label) // _ROWS)]
    first = np.argsort(-np.abs(moved).mean(axis=0))[:_FEATURES]
    jitter = np.random.default_rng(1).uniform(-1, 1, len(rows))
    parts = [pl.DataFrame({"feature": [data.names[j]] * len(rows), "added": moved[:, j], "jitter": jitter,
                           "value": _ranked(rows[:, j])}) for j in first if np.any(moved[:, j])]  # fmt: skip
    if not parts:
        return _titled(
            alt.Chart(pl.DataFrame({"added": [0.0]})).mark_point().encode(x="added"), "No feature moves the score"
        )
    chart = alt.Chart(pl.concat(parts)).mark_circle(size=10, opacity=0.6).encode(
        x=alt.X("added", title="log-odds added (SHAP value)"),
        y=alt.Y("feature", sort=[data.names[j] for j in first], title=None),
        yOffset="jitter", color=alt.Color("value", title="low to high", scale=alt.Scale(scheme="redyellowblue", reverse=True)),
    )  # fmt: skip
    return chart.properties(title="What moves the score, strongest first", width=_WIDTH, height=_HEIGHT * 1.6)


def _ranked(column: Matrix) -> list[float | None]:
    """Each value's place among the column's, 0 to 1; null for null."""
    known = ~np.isnan(column)
    ranks = np.searchsorted(np.sort(column[known]), column[known], side="left") / max(1, known.sum() - 1)
    placed = np.full(len(column), np.nan)
    placed[known] = ranks
    return [None if np.isnan(v) else float(v) for v in placed]


def _titled(chart: Any, title: str) -> Any:
    return chart.properties(title=title, width=_WIDTH, height=_HEIGHT)
