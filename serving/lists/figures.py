"""The figures of a run's report: computed once, printed as JSON and drawn as a page."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from rules.catalogue import Words
from rules.line import Line
from rules.reasons import ReasonCode
from serving.lists.certificate import Certificate
from serving.lists.exposure import Group, Hour, age_bands, attribute, groups, hours, tiers
from serving.lists.forgone import Forgone, RuleCost, forgone
from serving.lists.funnel import Funnel, funnel
from serving.lists.plan import Plan
from serving.lists.rivals import Rival, everyone, greedy
from serving.lists.words import REASONS

BY = {"tier": tiers, "branch": lambda plan: attribute(plan, "home_branch"), "age": age_bands,
      "region": lambda plan: attribute(plan, "time_zone"), "language": lambda plan: attribute(plan, "language")}  # fmt: skip


class Silence(BaseModel):
    """Customers left with nothing for one reason. met: who met it anywhere; beyond: worth a contact but for one rule.

    beyond_minor: what the best cell one rule away would bring, of those measured (`Report.measured`).
    """

    reason: str
    layer: str
    en: str
    zh: str
    customers: int
    met: int
    beyond: int
    beyond_minor: int


class Report(BaseModel):
    """Everything the page shows. cost_minor: what the list's contacts cost; money in minor units of `currency`.

    notes: those of the assumptions that are the run's own, in both languages; offers: titles.
    measured: customers whom `rules` and `beyond` were measured on; of more than that a sample, scaled for `rules`.
    """

    run: str
    campaigns: dict[str, Words]
    as_of: datetime
    currency: str
    zone: str
    degraded: bool
    problems: tuple[str, ...] = ()
    lost: int
    funnel: Funnel
    silent: list[Silence]
    rules: list[RuleCost]
    titles: dict[str, Words]
    measured: int
    groups: dict[str, list[Group]]
    hours: list[Hour]
    certificate: Certificate
    cost_minor: int
    greedy: Rival
    everyone: Rival
    channels: dict[str, Words]
    assumptions: tuple[str, ...]
    notes: tuple[Line, ...] = ()
    offers: dict[str, Words] = {}


def make_report(plan: Plan, issued: Certificate) -> Report:
    """The figures of a run as issued; reads the snapshot and the models again, writes nothing."""
    engine, catalogue, counted = plan.inputs.engine, plan.inputs.terms.catalogue, funnel(plan.decisions)
    found = forgone(plan.inputs, plan.cleared, plan.worth)
    titles = {part.id: part.title for part in engine.policy.parts}
    cost = {channel.id: channel.cost_minor for channel in catalogue.channels}
    listed = pc.value_counts(plan.decisions.column("channel").filter(pc.is_valid(plan.decisions.column("offer_id"))))
    return Report(
        run=plan.run, campaigns={name: engine.campaign(name).title for name in plan.campaigns}, as_of=plan.inputs.at,
        currency=catalogue.base_currency, zone=str(engine.home.settings.zone), degraded=plan.inputs.degraded, problems=plan.inputs.problems, lost=len(plan.lost),
        funnel=counted, silent=_silent(plan, counted, found), rules=list(found.rules),
        titles={rule: titles[rule] for one in found.rules for rule in one.rules if rule in titles}, measured=found.measured,
        groups={name: groups(plan, read(plan), plan.worth, found.beyond) for name, read in BY.items()}, hours=hours(plan),
        certificate=issued, cost_minor=sum(cost[one["values"]] * one["counts"] for one in listed.to_pylist()),
        greedy=greedy(plan.cleared, plan.inputs.terms), everyone=everyone(plan.cleared, plan.inputs.terms),
        channels={channel.id: channel.title for channel in catalogue.channels}, assumptions=plan.assumptions,
        notes=plan.notes, offers={offer.id: offer.title for offer in catalogue.offers})  # fmt: skip


def _silent(plan: Plan, counted: Funnel, found: Forgone) -> list[Silence]:
    """The value finder: by the reason that closed a customer's last cell, what stands one rule away."""
    numbers = np.asarray(pc.fill_null(plan.decisions.column("reason"), 0).cast(pa.int64()))
    rows: list[Silence] = []
    for slug, customers in counted.decisive.items():
        code = ReasonCode.of(slug)
        worth = found.beyond[(numbers == int(code)) & (found.beyond > 0)]
        en, zh = REASONS[code]
        rows.append(Silence(reason=slug, layer=str(code.layer), en=en, zh=zh, customers=customers, met=counted.met.get(slug, 0),
                            beyond=len(worth), beyond_minor=int(worth.sum())))  # fmt: skip
    return rows
