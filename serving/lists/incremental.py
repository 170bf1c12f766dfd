"""What a campaign changed against those who were held out: its units, and what became of them.

Compared are units, not contacts: everybody whom the rules let through in one of the campaign's runs, against
those let through but for the universal holdout, drawn by unit. What both may do, contacted or not, is to open
an account of an offered product within WINDOW days of their first run; a unit counts with its dearest one, and
only once those days are over and the bank's data reach beyond them: nobody has declined what he may still do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from rules.line import Line
from rules.reasons import Layer, ReasonCode
from serving.engine import Engine
from serving.lists.files import Manifest
from serving.lists.sequence import effect

WINDOW = timedelta(days=30)
LET_THROUGH = [int(code) for code in ReasonCode if code.layer is Layer.VALUE]
UNITS = {"unit_id": pl.String, "customer_id": pl.String, "treated": pl.Boolean, "y": pl.Int64, "ripe": pl.Boolean}


@dataclass(frozen=True)
class Measured:
    """The units of a campaign. units: UNITS, in the order of their first run, y null where not ripe.

    most: what y cannot exceed. why: what is not known, one line each.
    """

    units: pl.DataFrame
    most: int
    why: tuple[Line, ...] = ()

    def of(self, groups: pl.DataFrame | None, by: str) -> dict[str | None, dict[str, int | None]]:
        """Group -> units, held_out, unripe and the incremental value with its bounds, in one pass over the units.

        groups: customer_id with the column `by`; null: all units are one group of that name.
        """
        named = self.units.with_columns(pl.lit(by).alias("group"))
        if groups is not None:
            named = self.units.join(groups.select("customer_id", pl.col(by).alias("group")), "customer_id", "left", maintain_order="left")  # fmt: skip
        ripe, treated = pl.col("ripe"), pl.col("treated")
        found = named.group_by("group", maintain_order=True).agg(
            pl.col("y").filter(ripe & treated).alias("treated"), pl.col("y").filter(ripe & ~treated).alias("held"),
            (~ripe).sum().alias("unripe"))  # fmt: skip
        return {
            row["group"]: _incremental(np.asarray(row["treated"], np.float64), np.asarray(row["held"], np.float64), self.most)
            | {"unripe": row["unripe"]}
            for row in found.iter_rows(named=True)
        }  # fmt: skip


def measure(engine: Engine, campaign: str, runs: Sequence[Manifest], until: datetime | None) -> Measured:
    """The units of the campaign's runs, oldest run first. until: how far the bank's data reach; null: nothing is imported."""
    nobody = pl.DataFrame(schema=UNITS)
    if until is None:
        return Measured(nobody, 0, (_NO_DATA,))
    names = engine.campaign(campaign).audience_of(engine.catalogue).offers
    offered = [offer for offer in engine.catalogue.offers if offer.id in names]
    margin = {o.product: o.margin_minor for o in offered if o.product and o.margin_minor > 0}
    if not margin:
        return Measured(nobody, 0, (_NO_PRODUCT,))
    if not runs:
        return Measured(nobody, 0, (_NO_RUN,))
    let = pl.concat([_let_through(engine, run, until) for run in runs])
    let = let.sort("at", "unit_id", "customer_id").unique("customer_id", keep="first", maintain_order=True)
    # Who joined a unit in a later run would change what its first run has settled.
    let = let.filter(pl.col("at") == pl.col("at").min().over("unit_id"))
    during = (pl.col("opened_on") >= pl.col("from")) & (pl.col("opened_on") < pl.col("to"))
    worth = let.join(_opened(engine, margin), "customer_id").filter(during).group_by("unit_id").agg(pl.col("margin").max().alias("y"))  # fmt: skip
    units = let.group_by("unit_id", maintain_order=True).agg(pl.col("customer_id", "treated", "ripe").first())
    units = units.join(worth, "unit_id", "left", maintain_order="left").with_columns(
        pl.when("ripe").then(pl.col("y").fill_null(0)).alias("y")
    )
    return Measured(units.select(list(UNITS)), max(o.margin_minor for o in offered), tuple(_why(units, until)))


def _incremental(treated: np.ndarray, held: np.ndarray, most: int) -> dict[str, int | None]:
    found = effect(treated, held, float(most))
    counts: dict[str, int | None] = {"units": len(treated), "held_out": len(held)}
    if found is None:
        return counts
    mean, low, high = (round(side * len(treated)) for side in (found.mean, found.low, found.high))
    return counts | {"incremental_minor": mean, "incremental_low_minor": low, "incremental_high_minor": high}


def _let_through(engine: Engine, run: Manifest, until: datetime) -> pl.DataFrame:
    """customer_id, unit_id, treated of a run, with its instant, the days that count (the bank's own) and whether they are over."""
    folder: Path = engine.home.lists / run.run
    names = ["customer_id", "unit_id"]
    silent = pl.read_parquet(folder / "suppressed.parquet", columns=[*names, "reason"]).filter(
        pl.col("reason").is_in(LET_THROUGH)
    )
    parts = [(pl.read_parquet(folder / "offers.parquet", columns=names), True), (silent.select(names), True),
             (pl.read_parquet(folder / "control.parquet", columns=names), False)]  # fmt: skip
    over = run.as_of + WINDOW
    said = [pl.lit(run.as_of).cast(pl.Datetime("us", "UTC")).alias("at"), pl.lit(engine.day(run.as_of)).alias("from"),
            pl.lit(engine.day(over)).alias("to"), pl.lit(over <= until).alias("ripe")]  # fmt: skip
    return pl.concat([part.with_columns(*said, pl.lit(treated).alias("treated")) for part, treated in parts])


def _opened(engine: Engine, margin: dict[str, int]) -> pl.DataFrame:
    accounts, holders = (
        pl.scan_parquet(engine.home.table(name) / "part-*.parquet") for name in ("accounts", "holders")
    )
    known = accounts.filter(pl.col("product").is_in(list(margin))).with_columns(
        pl.col("product").replace_strict(margin, default=0).alias("margin")
    )
    return known.join(holders, "account_id").select("customer_id", "opened_on", "margin").collect()


def _why(units: pl.DataFrame, until: datetime) -> list[Line]:
    why: list[Line] = []
    unripe, days = int((~units["ripe"]).sum()), WINDOW.days
    if unripe:
        why.append(Line(en=f"{unripe:,} of {units.height:,} units are not ripe yet: the bank's data end on {until:%F}, before the {days} days after their first run"
                           " were over, so what they will do is not known and they are not measured",
                        zh=f"{units.height:,} 个单位中有 {unripe:,} 个尚未成熟：本行数据止于 {until:%F}，早于其首次运行后的 {days} 天期满，结果未知，不纳入计量"))  # fmt: skip
    ripe = units.filter(pl.col("ripe"))
    if ripe.height and ripe["treated"].all():
        why.append(_NO_CONTROL)
    return why


_NO_DATA = Line(en="no transactions are imported: nothing is known of who took an offer unasked",
                zh="未导入交易数据：无从得知谁会自行接受产品")  # fmt: skip
_NO_PRODUCT = Line(en="none of its offers names a product whose opening could be seen",
                   zh="其产品均未指明可观察开户的银行产品")  # fmt: skip
_NO_RUN = Line(en="no run of this campaign is there to measure", zh="该活动尚无可计量的运行")
_NO_CONTROL = Line(en="nobody comparable was held out", zh="没有可比的对照组")
