"""What the campaigns of a run limit, together: seats, day, branch, manager, inventory, volumes and budget as Limits.

They share one clearing house, so what they name adds up. A budget binds the campaigns that share cells: which
of them a contact belongs to is the customer's matter; of those each has to name one, or none.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta

import pyarrow.compute as pc

from rules.terms import Exploration, Holdout, Terms
from serving.campaign import Campaign, CampaignError
from serving.ledger.book import State, micros
from serving.lists.batch import Inputs, window
from serving.lists.clearing import pools_of
from serving.lists.limits import COST, Limit


def limits_of(inputs: Inputs, campaigns: Sequence[str]) -> list[Limit]:
    """Every limit of the run, in a fixed order; CampaignError where a shared budget is named by some alone."""
    chosen = [inputs.engine.campaign(name) for name in campaigns]
    seats, per_day = _sum(chosen, lambda c: c.seats), _sum(chosen, lambda c: c.per_day)
    limits = [_of(f"{channel} seats", {"channel": channel}, n) for channel, n in seats.items()]
    spent = _today(inputs, campaigns) if per_day else Counter[str]()
    limits += [
        _of(
            f"{channel} seats of the day",
            {"channel": channel},
            max(n - spent[channel] - inputs.leased.get(channel, 0), 0),
        )
        for channel, n in per_day.items()
    ]
    minutes = sending_minutes(inputs)
    limits += [
        _of(f"{channel} seats of the sending hours", {"channel": channel}, n * minutes)
        for channel, n in rates(chosen).items()
    ]
    for column, word, counts in (("home_branch", "branch", _sum(chosen, lambda c: c.per_branch)),
                                 ("manager_id", "manager", _sum(chosen, lambda c: c.per_manager))):  # fmt: skip
        for name in _values(inputs, column) if counts else ():
            limits += [
                _of(f"{channel} seats of {word} {name}", {column: name, "channel": channel}, n)
                for channel, n in counts.items()
            ]
    limits += [
        _of(f"{offer} inventory", {"offer": offer}, n) for offer, n in _sum(chosen, lambda c: c.inventory).items()
    ]
    limits += [Limit(name=f"{offer} minimum", where={"offer": offer}, at_least=n)
               for offer, n in _sum(chosen, lambda c: c.minimums).items()]  # fmt: skip
    return [*limits, *_budgets(inputs.terms, chosen)]


def rates(chosen: Sequence[Campaign]) -> dict[str, int]:
    """Channel -> contacts a minute."""
    return _sum(chosen, lambda c: c.per_minute)


def sending_minutes(inputs: Inputs) -> int:
    """How long the bank's sending hours of the run are; customers of other zones share the same minutes."""
    after, before = window(inputs.engine.home.settings.zone, inputs.at, inputs.hours, inputs.engine.home.settings.zone)
    return int((before - after) / timedelta(minutes=1))


def levers(terms: Terms, chosen: Sequence[Campaign]) -> Terms:
    """The terms with the campaigns' own holdout and exploration: the larger holdout, the smaller exploration.

    Draws are nested: a larger holdout contains the universal one.
    """
    held = max([terms.holdout.share, *(c.holdout_share for c in chosen)])
    shares = [c.exploration_share for c in chosen if c.exploration_share is not None]
    explored = min(shares) if shares else terms.exploration.share
    if (held, explored) == (terms.holdout.share, terms.exploration.share):
        return terms
    return replace(
        terms,
        holdout=Holdout(held, terms.holdout.season),
        exploration=Exploration(explored, terms.exploration.max_loss_minor),
    )


def _of(name: str, where: dict[str, str], at_most: int) -> Limit:
    return Limit(name=name, where=where, at_most=at_most)


def _sum(chosen: Iterable[Campaign], counts: Callable[[Campaign], dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for campaign in chosen:
        total.update(counts(campaign))
    return dict(sorted(total.items()))


def _values(inputs: Inputs, column: str) -> list[str]:
    if column not in inputs.features.column_names:
        raise CampaignError(f"a campaign has seats by `{column}`, which the snapshot lacks; import it or take them out")
    return sorted({str(v) for v in pc.unique(inputs.features.column(column)).to_pylist() if v is not None})


def _today(inputs: Inputs, campaigns: Sequence[str]) -> Counter[str]:
    """Channel -> contacts of these campaigns that were decided on the bank's day and still count."""
    local = inputs.at.astimezone(inputs.engine.home.settings.tz)
    midnight = micros(datetime.combine(local.date(), time(), local.tzinfo))
    held = inputs.ledger["contacts"].select(["channel", "campaign_id", "decided_at", "state"]).to_pylist()
    return Counter(row["channel"] for row in held
                   if row["campaign_id"] in campaigns and row["decided_at"] >= midnight and row["state"] != State.CLOSED)  # fmt: skip


def _budgets(terms: Terms, chosen: Sequence[Campaign]) -> list[Limit]:
    limits: list[Limit] = []
    for pool in sorted(set(pools_of(terms).values())):
        inside = [campaign for campaign in chosen if campaign.id in pool.split("+")]
        named = [campaign.budget_minor for campaign in inside if campaign.budget_minor is not None]
        if named and len(named) < len(inside):
            one = next(campaign.id for campaign in inside if campaign.budget_minor is None)
            raise CampaignError(
                f"campaign `{one}` shares offers and channels with one that has a budget; give it `budget_minor` too, or a run of its own"
            )
        if named:
            limits.append(Limit(name=f"{pool} budget", where={"campaigns": pool}, unit=COST, at_most=sum(named)))
    return limits
