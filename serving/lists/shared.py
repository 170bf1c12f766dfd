"""What the campaigns of a run limit, together: seats, day, branch, manager, inventory, volumes and budget as Limits.

They share one clearing house, so what they name adds up. A budget binds the campaigns that share cells: which
of them a contact belongs to is the customer's matter; of those each has to name one, or none. Holdout, exploration and
sending hours are one for all of a run: `runs_of` says whom that would change nothing for, `sharing` what it changes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta

import pyarrow.compute as pc

from rules.catalogue import Catalogue
from rules.terms import Exploration, Holdout, Terms
from serving.campaign import Campaign, CampaignError
from serving.engine import EXPLORATION, HOLDOUT_SHARE
from serving.ledger.book import State, micros
from serving.lists.batch import Inputs, sending_hours, window
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


def runs_of(due: Iterable[Campaign], catalogue: Catalogue, day: date) -> list[tuple[str, ...]]:
    """The runs in which to make these campaigns, in their order: ids, by id; each campaign in the first that it may join.

    Campaigns share a run that changes nothing of what their files say: the same sending hours, holdout and
    exploration; where they share offers and channels, each names a budget or none does. One that cannot be made
    that day is alone, for the others of its run could not be made either.
    """
    runs: list[list[Campaign]] = []
    cells = {one.id: _cells(one, catalogue, day) for one in due}
    for one in sorted(due, key=lambda campaign: campaign.id):
        joined = next((run for run in runs if all(_may_share(one, other, cells) for other in run)), None)
        if joined is None:
            runs.append([one])
        else:
            joined.append(one)
    return [tuple(one.id for one in run) for run in runs]


def sharing(chosen: Sequence[Campaign]) -> tuple[str, ...]:
    """What one campaign of a run changes for another, a line each: the holdout, the exploration, the sending hours."""
    names = [f"`{one.id}`" for one in sorted(chosen, key=lambda campaign: campaign.id)]
    all_ = "both" if len(names) == 2 else "all"
    these = f"campaigns {', '.join(names[:-1])} and {names[-1]} share this run:"
    lines: list[str] = []
    if len({_held(one) for one in chosen}) > 1:
        lines.append(f"{these} the larger holdout, {max(map(_held, chosen)) * 100:.4g} %, holds for {all_}")
    if len({_explored(one) for one in chosen}) > 1:
        named = min(one.exploration_share for one in chosen if one.exploration_share is not None)
        lines.append(f"{these} the exploration of {named * 100:.4g} % holds for {all_}")
    if len({(one.send.after, one.send.before) for one in chosen}) > 1:
        after, before = sending_hours(chosen)
        lines.append(f"{these} their common sending hours, {after} to {before}, hold for {all_}")
    return tuple(lines)


Cells = frozenset[tuple[str, str]]


def _may_share(one: Campaign, other: Campaign, cells: dict[str, Cells | None]) -> bool:
    mine, theirs = cells[one.id], cells[other.id]
    if mine is None or theirs is None:
        return False
    alike = (one.send, _held(one), _explored(one)) == (other.send, _held(other), _explored(other))
    return alike and (not mine & theirs or (one.budget_minor is None) == (other.budget_minor is None))


def _cells(campaign: Campaign, catalogue: Catalogue, day: date) -> Cells | None:
    """What it offers, (offer, channel); null where it cannot be made that day."""
    try:
        campaign.check_day(day)
        return frozenset(campaign.audience_of(catalogue, day).cells(catalogue))
    except CampaignError:
        return None


def _held(campaign: Campaign) -> float:
    return max(HOLDOUT_SHARE, campaign.holdout_share)


def _explored(campaign: Campaign) -> float:
    return EXPLORATION.share if campaign.exploration_share is None else campaign.exploration_share


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
