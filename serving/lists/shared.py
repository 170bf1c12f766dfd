"""What the campaigns of a run limit: seats, day, branch, manager, inventory, volumes and budget as Limits.

They share one clearing house, and each keeps its own: what a campaign names counts the contacts of the cells (offers x
channels) it has, and nothing else. A contact of a cell that several have counts for each of them: whose it is, is the
customer's matter, and so nobody has more than his file says. A budget binds the campaigns that share cells together; of
those each has to name one, or none. Holdout, exploration and sending hours are one for all of a run: `runs_of` says whom
a run changes nothing for, `sharing` what it changes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import combinations

import pyarrow.compute as pc

from rules.catalogue import Catalogue
from rules.line import Line
from rules.terms import Exploration, Holdout, Terms
from serving.campaign import Campaign, CampaignError
from serving.engine import EXPLORATION, HOLDOUT_SHARE
from serving.ledger.book import State, micros
from serving.lists.batch import Inputs, sending_hours, window
from serving.lists.clearing import HAS, own, pools_of
from serving.lists.limits import COST, Limit


def limits_of(inputs: Inputs, campaigns: Sequence[str]) -> list[Limit]:
    """Every limit of the run, in a fixed order; CampaignError where a shared budget is named by some alone.

    Of several campaigns each limit is named after its own: `a: sms seats`.
    """
    chosen = [inputs.engine.campaign(name) for name in campaigns]
    limits = [(campaign.id, limit) for campaign in chosen for limit in _limits_of(inputs, campaign)]
    if len(chosen) == 1:
        named = [limit for _, limit in limits]
    else:
        named = [limit.model_copy(update={"name": f"{name}: {limit.name}", "where": {own(name): HAS, **limit.where}})
                 for name, limit in limits]  # fmt: skip
    return [*named, *_budgets(inputs.terms, chosen)]


def _limits_of(inputs: Inputs, campaign: Campaign) -> list[Limit]:
    """What one campaign names, but its budget."""
    limits = [_of(f"{channel} seats", {"channel": channel}, n) for channel, n in _sorted(campaign.seats)]
    spent = _today(inputs, campaign) if campaign.per_day else Counter[str]()
    limits += [
        _of(
            f"{channel} seats of the day",
            {"channel": channel},
            max(n - spent[channel] - inputs.leased.get(channel, 0), 0),
        )
        for channel, n in _sorted(campaign.per_day)
    ]
    minutes = sending_minutes(inputs)
    limits += [
        _of(f"{channel} seats of the sending hours", {"channel": channel}, n * minutes)
        for channel, n in _sorted(campaign.per_minute)
    ]
    for column, word, counts in (("home_branch", "branch", campaign.per_branch),
                                 ("manager_id", "manager", campaign.per_manager)):  # fmt: skip
        for name in _values(inputs, column) if counts else ():
            limits += [
                _of(f"{channel} seats of {word} {name}", {column: name, "channel": channel}, n)
                for channel, n in _sorted(counts)
            ]
    limits += [_of(f"{offer} inventory", {"offer": offer}, n) for offer, n in _sorted(campaign.inventory)]
    limits += [
        Limit(name=f"{offer} minimum", where={"offer": offer}, at_least=n) for offer, n in _sorted(campaign.minimums)
    ]
    return limits


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
    exploration; where they share offers and channels, no limit of one counts there, and each names a budget or none
    does. One that cannot be made that day is alone, for the others of its run could not be made either.
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


def sharing(chosen: Sequence[Campaign], catalogue: Catalogue, day: date) -> tuple[Line, ...]:
    """What one campaign of a run changes for another, a line each: holdout, exploration, sending hours, limits."""
    names = [f"`{one.id}`" for one in sorted(chosen, key=lambda campaign: campaign.id)]
    all_ = "both" if len(names) == 2 else "all"
    these = f"campaigns {', '.join(names[:-1])} and {names[-1]} share this run:"
    those = f"活动 {'、'.join(names)} 同在本次名单："
    lines: list[Line] = []
    if len({_held(one) for one in chosen}) > 1:
        held = f"{max(map(_held, chosen)) * 100:.4g} %"
        lines.append(
            Line(
                en=f"{these} the larger holdout, {held}, holds for {all_}",
                zh=f"{those}均采用其中较大的对照组比例 {held}",
            )
        )
    if len({_explored(one) for one in chosen}) > 1:
        named = f"{min(one.exploration_share for one in chosen if one.exploration_share is not None) * 100:.4g} %"
        lines.append(
            Line(en=f"{these} the exploration of {named} holds for {all_}", zh=f"{those}均采用 {named} 的探索比例")
        )
    if len({(one.send.after, one.send.before) for one in chosen}) > 1:
        after, before = sending_hours(chosen)
        lines.append(Line(en=f"{these} their common sending hours, {after} to {before}, hold for {all_}",
                          zh=f"{those}均采用共同的发送时段 {after} 至 {before}"))  # fmt: skip
    return (*lines, *_common(chosen, catalogue, day))


def _common(chosen: Sequence[Campaign], catalogue: Catalogue, day: date) -> list[Line]:
    """A line for each two that share cells which a limit of one counts."""
    cells = {one.id: _cells(one, catalogue, day) or frozenset() for one in chosen}
    return [Line(en=f"campaigns `{one.id}` and `{other.id}` have offers and channels in common: a contact of those counts for the limits of both",
                 zh=f"活动 `{one.id}` 与 `{other.id}` 有共同的产品与渠道：此类接触计入双方的限额")
            for one, other in combinations(sorted(chosen, key=lambda campaign: campaign.id), 2)
            if _counts(one, other, cells[one.id] & cells[other.id])]  # fmt: skip


Cells = frozenset[tuple[str, str]]


def _may_share(one: Campaign, other: Campaign, cells: dict[str, Cells | None]) -> bool:
    mine, theirs = cells[one.id], cells[other.id]
    if mine is None or theirs is None:
        return False
    alike = (one.send, _held(one), _explored(one)) == (other.send, _held(other), _explored(other))
    common = mine & theirs
    paid = not common or (one.budget_minor is None) == (other.budget_minor is None)
    return alike and paid and not _counts(one, other, common)


def _counts(one: Campaign, other: Campaign, common: Cells) -> bool:
    """Whether a limit of one of them, but a budget, counts cells that both have."""
    channels, offers = set[str](), set[str]()
    for campaign in (one, other):
        channels.update(
            campaign.seats, campaign.per_day, campaign.per_minute, campaign.per_branch, campaign.per_manager
        )
        offers.update(campaign.inventory, campaign.minimums)
    return any(offer in offers or channel in channels for offer, channel in common)


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


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items())


def _values(inputs: Inputs, column: str) -> list[str]:
    if column not in inputs.features.column_names:
        raise CampaignError(f"a campaign has seats by `{column}`, which the snapshot lacks; import it or take them out")
    return sorted({str(v) for v in pc.unique(inputs.features.column(column)).to_pylist() if v is not None})


def _today(inputs: Inputs, campaign: Campaign) -> Counter[str]:
    """Channel -> contacts of the campaign that were decided on the bank's day and still count."""
    local = inputs.at.astimezone(inputs.engine.home.settings.tz)
    midnight = micros(datetime.combine(local.date(), time(), local.tzinfo))
    held = inputs.ledger["contacts"]
    own = pc.equal(held.column("campaign_id"), campaign.id)
    today = pc.greater_equal(held.column("decided_at"), midnight)
    counts = pc.not_equal(held.column("state"), str(State.CLOSED))
    return Counter(held.column("channel").filter(pc.and_(pc.and_(own, today), counts)).to_pylist())


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
