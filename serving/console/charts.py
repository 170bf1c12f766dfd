"""The drawings of the console: Altair to SVG through vl-convert, in a job's own process. One for each language."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from rules.reasons import Layer
from serving.console.strings import TONGUES, Saying, saying
from serving.lists.figures import Report
from serving.lists.words import LAYERS

if TYPE_CHECKING:
    from serving.console.measuring import Measured

ACCENT, BESIDE, INK = "#1d5f8a", "#b4762c", "#33393f"
FONT = "system-ui, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
WIDTH, HEIGHT = 420, 240
PADDING = {"left": 48, "right": 32, "top": 6, "bottom": 6}  # letters are measured here and drawn with the reader's own


def draw_funnels(folder: Path, reports: Sequence[Report]) -> None:
    """`funnel-en.svg` and `funnel-zh.svg`: customers left after each layer, a bar a variant."""
    for tongue in TONGUES:
        t, place = saying(tongue), TONGUES.index(tongue)
        names = [t("as it stands"), *(t("variant {n}", n=n) for n in range(1, len(reports)))]
        rows = [{"layer": t("all customers"), "variant": name, "customers": r.funnel.customers}
                for name, r in zip(names, reports, strict=True)]  # fmt: skip
        rows += [{"layer": LAYERS[layer][place], "variant": name, "customers": r.funnel.after[layer.value]}
                 for name, r in zip(names, reports, strict=True) for layer in Layer]  # fmt: skip
        layers = [t("all customers"), *(LAYERS[layer][place] for layer in Layer)]
        y = alt.Y("layer:N", sort=layers, title=None, axis=alt.Axis(labelLimit=260))
        base = alt.Chart(pd.DataFrame(rows)).encode(
            y=y, yOffset=alt.YOffset("variant:N", sort=names),
            x=alt.X("customers:Q", title=t("customers"), axis=alt.Axis(format=",d", tickCount=4)),
            color=_colour("variant", names, legend=len(names) > 1),
        )  # fmt: skip
        text = base.mark_text(align="left", dx=4, fontSize=10).encode(
            text=alt.Text("customers:Q", format=","), color=alt.value(INK)
        )
        _save((base.mark_bar() + text).properties(width=WIDTH, height=alt.Step(16)), folder / f"funnel-{tongue}.svg")


def draw_measured(folder: Path, found: "Sequence[Measured]") -> None:
    """`NAME-since-LANGUAGE.svg` of each model with enough ripe outcomes: calibration and lift, champion and challenger."""
    for one in found:
        for tongue in TONGUES if one.curves else ():
            t = saying(tongue)
            said = {"live": t("champion"), "challenger": t("challenger")}
            names = [said[curve.who] for curve in one.curves]
            drawn = alt.hconcat(_calibration(one, said, names, t), _lift(one, said, names, t))
            _save(drawn, folder / f"{one.state.name}-since-{tongue}.svg")


def _calibration(one: "Measured", said: dict[str, str], names: list[str], t: Saying) -> Any:
    rows = pd.DataFrame([{"who": said[c.who], "score": p, "rate": rate} for c in one.curves for p, rate in c.bins])
    top = float(max(rows["score"].max(), rows["rate"].max(), 1e-6))
    even = alt.Chart(pd.DataFrame({"score": [0.0, top], "rate": [0.0, top]})).mark_line(
        strokeDash=[4, 4], color="#8a9097"
    )
    base = alt.Chart(rows).mark_line(point=True)
    drawn = base.encode(
        x=alt.X("score:Q", title=t("mean score of a tenth")),
        y=alt.Y("rate:Q", title=t("what came of it")),
        color=_colour("who", names),
    )
    return (even.encode(x="score:Q", y="rate:Q") + drawn).properties(width=WIDTH * 0.7, height=HEIGHT, title=t("Calibration"))  # fmt: skip


def _lift(one: "Measured", said: dict[str, str], names: list[str], t: Saying) -> Any:
    rows = pd.DataFrame([{"who": said[c.who], "share": share, "lift": x} for c in one.curves for share, x in c.lifts])
    base = alt.Chart(rows).mark_line(point=True)
    drawn = base.encode(
        x=alt.X("share:Q", title=t("best-scored share"), axis=alt.Axis(format="%")),
        y=alt.Y("lift:Q", title=t("lift")),
        color=_colour("who", names),
    )
    return drawn.properties(width=WIDTH * 0.7, height=HEIGHT, title=t("Lift"))  # fmt: skip


def _colour(name: str, names: list[str], *, legend: bool = True) -> Any:
    scale = alt.Scale(domain=names, range=[ACCENT, BESIDE, "#5c7a3a", "#7a5c86"][: len(names)])
    return alt.Color(f"{name}:N", scale=scale, legend=alt.Legend(title=None, orient="top") if legend else None)


def _save(chart: Any, path: Path) -> None:
    styled = chart.configure(font=FONT, background="white", padding=PADDING).configure_view(stroke=None)
    styled = styled.configure_axis(labelColor=INK, titleColor=INK, gridColor="#e6e8ea", titleFontWeight="normal")
    styled.save(str(path), format="svg")
