"""How each feature's distribution moved between two snapshots: a table and a picture.

The population stability index over bins of the first snapshot, sum((q - p) ln(q / p)) with p and q
the shares of the bins, of those that have a value; the shares that have none stand beside it. By
custom 0.1 is worth a look and 0.25 a question.

Source: B. Yurdakul, Statistical Properties of Population Stability Index, 2018, chapter 2.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from features.settings import write_whole
from features.snapshot import Snapshot

BINS = 10
LEAST_SHARE = 1e-4  # of a bin nobody is in: keeps the logarithm finite
LOOK, ASK = 0.1, 0.25
SHOWN = 40
SHOWN_PSI = 0.5  # one feature that has moved altogether must not hide the others


class FeatureDrift(BaseModel):
    """One feature: its stability index (null: no values in one of the two) and the shares without a value."""

    name: str
    psi: float | None
    missing_before: float
    missing_after: float


class DriftAnswer(BaseModel):
    """`nbo features drift --json`: two snapshots and the drift of each feature, the largest first.

    `lost` and `new` name features only one of the two has.
    """

    before: str
    after: str
    customers_before: int
    customers_after: int
    features: list[FeatureDrift]
    lost: list[str]
    new: list[str]
    picture: str | None = None

    @property
    def lines(self) -> list[str]:
        """The table for people."""
        width = max((len(f.name) for f in self.features), default=7)
        rows = [f"{f.name:<{width}}  {'-' if f.psi is None else f'{f.psi:.3f}':>7}  {f.missing_before:>8.1%}  {f.missing_after:>8.1%}  {word(f.psi)}"
                for f in self.features]  # fmt: skip
        head = f"{'feature':<{width}}  {'psi':>7}  {'missing':>8}  {'then':>8}"
        only = [
            f"only in {where}: {', '.join(names)}"
            for where, names in ((self.before, self.lost), (self.after, self.new))
            if names
        ]
        return [
            f"{self.before} ({self.customers_before:,}) -> {self.after} ({self.customers_after:,})",
            head,
            *rows,
            *only,
        ]


def word(psi: float | None) -> str:
    """What a stability index is worth: look, ask or nothing."""
    return "" if psi is None or psi < LOOK else "look" if psi < ASK else "ASK"


def drift(before: Snapshot, after: Snapshot) -> DriftAnswer:
    """Compare two snapshots feature by feature."""
    one, other = (_features(s.table) for s in (before, after))
    shared = [name for name in one.column_names if name in other.column_names and one[name].type == other[name].type]
    found = [_compared(name, pl.Series(one[name]), pl.Series(other[name])) for name in shared]
    found.sort(key=lambda f: (0.0 if f.psi is None else -f.psi - 1, f.name))
    return DriftAnswer(
        before=before.path.stem, after=after.path.stem, customers_before=one.num_rows, customers_after=other.num_rows,
        features=found, lost=[n for n in one.column_names if n not in shared], new=[n for n in other.column_names if n not in shared],
    )  # fmt: skip


def draw(answer: DriftAnswer, path: Path) -> None:
    """Write the picture: the features that drifted most, with the two marks at which one looks and asks."""
    import altair as alt  # with the next it takes longer to import than the front door has
    import vl_convert as vlc

    rows = [
        {"feature": f.name, "psi": min(f.psi, SHOWN_PSI), "told": f"{f.psi:.2f}", "word": word(f.psi) or "steady"}
        for f in answer.features
        if f.psi is not None
    ]
    colours = alt.Scale(domain=["steady", "look", "ASK"], range=["#9aa5b1", "#e0a526", "#c0392b"])
    base = alt.Chart(alt.Data(values=rows[:SHOWN]), title=f"{answer.before} to {answer.after}: what drifted most")
    bars = base.mark_bar().encode(
        x=alt.X("psi:Q", title=f"population stability index, bars cut at {SHOWN_PSI:g}", scale=alt.Scale(domain=[0, SHOWN_PSI])), y=alt.Y("feature:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
        color=alt.Color("word:N", scale=colours, title=None, legend=alt.Legend(orient="bottom")),
    )  # fmt: skip
    told = base.mark_text(align="left", dx=4).encode(x="psi:Q", y=alt.Y("feature:N", sort=None), text="told:N")
    marks = alt.Chart(alt.Data(values=[{"at": LOOK}, {"at": ASK}])).mark_rule(strokeDash=[4, 4]).encode(x="at:Q")
    svg = vlc.vegalite_to_svg(alt.layer(bars, told, marks).properties(width=480).to_json())
    write_whole(path, svg.encode())


def _features(table: pa.Table) -> pa.Table:
    keys = ("customer_id", "unit_id", "as_of")
    return table.select([n for n in table.column_names if n not in keys and not n.startswith("_")])


def _compared(name: str, one: pl.Series, other: pl.Series) -> FeatureDrift:
    missing = [s.null_count() / len(s) if len(s) else 0.0 for s in (one, other)]
    known, then = one.drop_nulls(), other.drop_nulls()
    psi = None if known.is_empty() or then.is_empty() else _index(known, then)
    return FeatureDrift(name=name, psi=psi, missing_before=missing[0], missing_after=missing[1])


def _index(one: pl.Series, other: pl.Series) -> float:
    if one.dtype.is_numeric():
        values, later = one.to_numpy(), other.to_numpy()
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
        # A value that many have, such as 0, is a bin of its own: what lies beside it is another.
        heavy = edges[np.array([(values == edge).mean() for edge in edges]) >= 0.5 / BINS]
        size = len(edges) + 1 + len(heavy)
        counts = [np.bincount(_place(v, edges, heavy), minlength=size) for v in (values, later)]
    else:
        both = one.cast(pl.String).value_counts(name="n").join(
            other.cast(pl.String).value_counts(name="n"), on=one.name, how="full", coalesce=True
        )  # fmt: skip
        counts = [both[c].fill_null(0).to_numpy() for c in ("n", "n_right")]
    p, q = (np.maximum(c / c.sum(), LEAST_SHARE) for c in counts)
    used = (counts[0] > 0) | (counts[1] > 0)
    return round(float(((q - p) * np.log(q / p))[used].sum()), 6)


def _place(
    values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], heavy: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Bin of each value: between two edges, or behind those the bin of a heavy value."""
    between = np.searchsorted(edges, values, "left")
    return np.where(np.isin(values, heavy), len(edges) + 1 + np.searchsorted(heavy, values, "left"), between)
