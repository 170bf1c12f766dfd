"""Who hears from us and who is left with nothing: a run by tier, branch, age and language, channel and hour."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from rules.reasons import ReasonCode
from serving.lists.plan import Plan

AGES = ((18, "under 18"), (30, "18-29"), (45, "30-44"), (60, "45-59"), (75, "60-74"))
OLDEST, NOT_A_PERSON = "75 and over", "firm"
GROUPS_TOLD = 20  # the largest; a bank has thousands of branches


class Group(BaseModel):
    """One group of customers. open: who had an open cell; nothing: who heard nothing though worth a contact.

    name: null where the attribute is not known; beyond_minor: what silent ones would be worth, one rule away.
    """

    name: str | None
    customers: int
    open: int
    contacts: int
    value_minor: int
    nothing: int
    beyond_minor: int

    @property
    def per_thousand(self) -> float:
        """Contacts for a thousand customers."""
        return 1000 * self.contacts / self.customers if self.customers else 0.0


class Hour(BaseModel):
    """Contacts of a channel in one hour of the bank's day, each spread evenly over its sending window.

    One of a channel with a rate has its minute already: it counts in the hour of that minute.
    """

    channel: str
    day: str
    hour: int
    contacts: float


def groups(plan: Plan, values: pa.Array, worth: np.ndarray, beyond: np.ndarray) -> list[Group]:
    """The run by an attribute, the largest group first. values, worth, beyond: (n,) in the run's order."""
    coded = pc.dictionary_encode(values.cast(pa.string()), null_encoding="encode")
    code, names = np.asarray(coded.indices), coded.dictionary.to_pylist()
    decisions = plan.decisions
    won = np.asarray(pc.is_valid(decisions.column("offer_id")))
    wanted = np.asarray(pc.fill_null(pc.equal(decisions.column("reason"), int(ReasonCode.NO_CAPACITY)), False))
    sums = {
        "customers": np.ones(len(code), np.int64), "open": np.asarray(decisions.column("n_open")) > 0, "contacts": won,
        "value_minor": np.where(won, worth, 0), "nothing": wanted, "beyond_minor": np.where(won, 0, np.maximum(beyond, 0)),
    }  # fmt: skip
    counted = {key: np.bincount(code, column, len(names)).round().astype(np.int64) for key, column in sums.items()}
    found = [
        Group(name=name, **{key: int(column[k]) for key, column in counted.items()}) for k, name in enumerate(names)
    ]
    return sorted(found, key=lambda group: (-group.customers, group.name or "~"))


def attribute(plan: Plan, name: str) -> pa.Array:
    """(n,) a column of the snapshot; nulls where it has none of that name."""
    features = plan.inputs.features
    if name not in features.column_names:
        return pa.nulls(features.num_rows, pa.string())
    return features.column(name).combine_chunks()


def age_bands(plan: Plan) -> pa.Array:
    """(n,) the age band of each customer; firms are no persons."""
    years, kind = attribute(plan, "age_years"), attribute(plan, "kind")
    if pa.types.is_string(years.type):
        return years
    bands = pa.scalar(OLDEST)
    for least, name in reversed(AGES):
        bands = pc.if_else(pc.less(years, least), pa.scalar(name), bands)
    return pc.if_else(
        pc.fill_null(pc.equal(kind.cast(pa.string()), "corporate"), False), pa.scalar(NOT_A_PERSON), bands
    )


def tiers(plan: Plan) -> pa.Array:
    """(n,) the value tier of each customer; null: none is made of him."""
    known = plan.inputs.engine.live.models.tiers
    names = plan.decisions.column("customer_id").to_pylist()
    return pa.array(known.of(names) if known else [None] * len(names), pa.string())


def hours(plan: Plan) -> list[Hour]:
    """Contacts per channel and hour, in the bank's zone."""
    chosen = plan.decisions.filter(pc.is_valid(plan.decisions.column("offer_id")))
    zone = plan.inputs.engine.home.settings.tz
    ends = pc.if_else(_has_minute(plan, chosen), chosen.column("send_after"), chosen.column("send_before"))
    windows = pa.table([chosen.column("channel"), chosen.column("send_after"), ends], ["channel", "after", "before"])
    counts = windows.group_by(["channel", "after", "before"]).aggregate([([], "count_all")]).to_pylist()
    load: dict[tuple[str, str, int], float] = {}
    for row in counts:
        for at, share in _spread(row["after"], row["before"], zone):
            key = (row["channel"], at[0], at[1])
            load[key] = load.get(key, 0.0) + share * row["count_all"]
    return [Hour(channel=c, day=d, hour=h, contacts=round(n, 3)) for (c, d, h), n in sorted(load.items())]


def _has_minute(plan: Plan, chosen: pa.Table) -> pa.ChunkedArray:
    """(n,) whether the contact's campaign has a rate for its channel, so that its send_after is a minute of its own."""
    paced = [f"{name} {channel}" for name in plan.campaigns for channel in plan.inputs.engine.campaign(name).per_minute]
    mine = pc.binary_join_element_wise(
        chosen.column("campaign_id"), chosen.column("channel"), " ", null_handling="replace"
    )
    return pc.is_in(mine, pa.array(paced, pa.string()))


def _spread(after: datetime, before: datetime, zone: ZoneInfo) -> list[tuple[tuple[str, int], float]]:
    """((day, hour), share) of a window; all of it in the hour of `after` where it ends there."""
    if before == after:
        local = after.astimezone(zone)
        return [((f"{local:%F}", local.hour), 1.0)]
    parts: list[tuple[tuple[str, int], float]] = []
    at, whole = after, (before - after) / timedelta(seconds=1)
    while at < before:
        until = min(at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1), before)
        local = at.astimezone(zone)
        parts.append(((f"{local:%F}", local.hour), (until - at) / timedelta(seconds=1) / whole))
        at = until
    return parts
