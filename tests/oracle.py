"""The truth the engine is compared with: one unit, plain Python, no folding, no masks, no batches.

It shares the parser with the engine (DuckDB is the independent second reader of the texts) and
nothing else: conditions are interpreted cell by cell, values are computed with Python floats, draws
with hmac directly.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rules.language import Language
from rules.reasons import RANK, UNKNOWN, ReasonCode
from rules.terms import Audience, Terms, Wording
from rules.tree import (
    All,
    Arithmetic,
    CellField,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
    columns_of,
    resolve,
)  # fmt: skip
from rules.tree import Any as AnyOf

Row = dict[str, Any]


@dataclass
class Decision:
    """What decide_unit answers for one member."""

    cell: int | None
    value_minor: int | None
    p_chosen: float
    explored: bool
    reason: ReasonCode | None
    reasons: tuple[ReasonCode, ...]
    open_cells: frozenset[int]
    campaign_id: str | None


def decide_unit(members: list[Row], terms: Terms, scores: list[Row]) -> list[Decision]:
    """Resolve the members of one unit one after another, highest value first, ties by customer_id."""
    rows = [dict(member) for member in members]
    settled: list[Decision | None] = [None] * len(rows)
    seen: list[set[ReasonCode]] = [set() for _ in rows]
    while True:
        waiting = [place for place, decision in enumerate(settled) if decision is None]
        if not waiting:
            return [decision for decision in settled if decision]
        drafts = {place: _decide(rows[place], terms, scores[place], seen[place]) for place in waiting}
        for place, draft in drafts.items():
            seen[place] |= set(draft.reasons)
        outbound = [p for p in waiting if drafts[p].cell is not None and rows[p]["direction"] == "outbound"]
        for place in waiting:
            if place not in outbound:
                settled[place] = drafts[place]
        if outbound:
            first = min(outbound, key=lambda p: (-(drafts[p].value_minor or 0), rows[p]["customer_id"]))
            settled[first] = drafts[first]
            _raise_counters(rows, outbound, first, drafts[first], terms)


def _raise_counters(rows: list[Row], outbound: list[int], first: int, chosen: Decision, terms: Terms) -> None:
    offer, channel = divmod(chosen.cell or 0, len(terms.catalogue.channels))
    for count in terms.policy.counts(terms.catalogue):
        if count.unit and count.channel in (None, terms.catalogue.channels[channel].id) \
                and count.family in (None, terms.catalogue.offers[offer].family):  # fmt: skip
            for place in outbound:
                if place != first and rows[place].get(count.name) is not None:
                    rows[place][count.name] += 1


def _decide(row: Row, terms: Terms, scores: Row, seen: set[ReasonCode]) -> Decision:
    closed: dict[int, set[ReasonCode]] = {cell: closing(row, cell, terms) for cell in range(terms.catalogue.n_cells)}
    open_cells = {cell for cell, reasons in closed.items() if not reasons}
    reasons = set(seen).union(*closed.values())
    decisive: ReasonCode | None = None
    if not open_cells:
        decisive = max(
            (min(found, key=lambda code: RANK[code]) for found in closed.values()), key=lambda code: RANK[code]
        )
    values = {cell: value(cell, terms, scores) for cell in open_cells}
    if any(v is None for v in values.values()):
        reasons.add(ReasonCode.NOT_SCORED)
    known = {cell: v for cell, v in values.items() if v is not None}
    good = sorted(cell for cell, (minor, _) in known.items() if minor > 0)
    if not good:
        if decisive is None:
            decisive = (ReasonCode.NOT_SCORED if not known else
                        ReasonCode.NO_CAPACITY if any(gross > 0 for _, gross in known.values()) else ReasonCode.NO_VALUE)  # fmt: skip
            reasons.add(decisive)
        ordered = tuple(sorted(reasons, key=lambda code: RANK[code]))
        return Decision(None, None, 1.0, False, decisive, ordered, frozenset(open_cells), None)
    best = max(good, key=lambda cell: (known[cell][0], -cell))
    cell, p_chosen, explored = _explore(row, terms, best, good, known)
    return Decision(
        cell, known[cell][0], p_chosen, explored, None, (), frozenset(open_cells), _campaign(row, cell, terms)
    )


def closing(row: Row, cell: int, terms: Terms) -> set[ReasonCode]:
    """Every reason that closes this cell for this customer."""
    catalogue = terms.catalogue
    offer, channel = (
        catalogue.offers[cell // len(catalogue.channels)],
        catalogue.channels[cell % len(catalogue.channels)],
    )
    facts, rules, audiences = _read(id(terms), terms)
    facts = facts[cell]
    reasons: set[ReasonCode] = set()
    for rule, node, cells in rules:
        if rule.scope.direction in ("any", row["direction"]) and cells >> cell & 1:
            truth = evaluate(node, row, facts)
            if truth is not False:
                reasons.add(rule.reason if truth else UNKNOWN[rule.layer])
    if terms.paused & {"all", f"channel:{channel.id}", f"family:{offer.family}", f"offer:{offer.id}"}:
        reasons.add(ReasonCode.PAUSED)
    if channel.id not in offer.channels:
        reasons.add(ReasonCode.OFFER_NOT_ON_CHANNEL)
    if row.get("channels") is not None and not row["channels"] >> catalogue.channel_index[channel.id] & 1:
        reasons.add(ReasonCode.CHANNEL_NOT_ASKED)
    if (
        terms.holdout.share > 0
        and draw(terms.secret, "holdout", terms.holdout.season, row["unit_id"]) < terms.holdout.share
    ):
        reasons.add(ReasonCode.HOLDOUT)
    if terms.audiences is not None and row["direction"] == "outbound":
        covering = [a for a in terms.audiences if _covers(a, offer.id, channel.id, terms)]
        running = [a for a in covering if f"campaign:{a.campaign_id}" not in terms.paused]
        if not running:
            reasons.add(ReasonCode.PAUSED if covering else ReasonCode.NOT_IN_CAMPAIGN)
        else:
            belongs = [_belongs(a, audiences[a.campaign_id], row, facts, terms) for a in running]
            if True not in belongs:
                reasons.add(ReasonCode.CAMPAIGN_UNKNOWN if None in belongs else ReasonCode.NOT_IN_AUDIENCE)
    return reasons


def _covers(audience: Audience, offer: str, channel: str, terms: Terms) -> bool:
    """Whether the cell is one of the campaign's: offer and channel, and its wording where it names wordings."""
    if offer not in audience.offers or channel not in audience.channels:
        return False
    return audience.wordings is None or _wording(audience, offer, channel, terms) is not None


def _wording(audience: Audience, offer: str, channel: str, terms: Terms) -> Wording | None:
    said = [t.id for t in terms.catalogue.treatments if (t.offer, t.channel) == (offer, channel)]
    return next((one for one in audience.wordings or () if said and one.treatment == said[0]), None)


def _belongs(audience: Audience, when: Node, row: Row, facts: Row, terms: Terms) -> Any:
    """Whether the customer belongs to it at this cell: by its condition, and by his language where the wording has one."""
    truth = evaluate(when, row, facts)
    wording = _wording(audience, facts["offer.id"], facts["channel.id"], terms)
    if truth is False or wording is None or not wording.languages:
        return truth
    speaks = None if row["language"] is None else row["language"] in wording.languages
    return False if speaks is False else None if None in (truth, speaks) else True


_READINGS: dict[int, Any] = {}


def _read(key: int, terms: Terms) -> Any:
    """(facts per cell, [(rule, tree, cells)], {campaign: tree}), read once per terms."""
    if key not in _READINGS or _READINGS[key][0] is not terms:
        language = Language(terms.vocabulary, terms.catalogue)
        rules = [(rule, language.parse(rule.when), rule.scope.cells(terms.catalogue))
                 for rule in terms.policy.lowered(terms.catalogue, terms.day)]  # fmt: skip
        audiences = {
            a.campaign_id: language.parse(terms.policy.narrowed(a.campaign_id, a.when, terms.day))
            for a in terms.audiences or ()
        }
        _READINGS[key] = (terms, (language.cells, rules, audiences))
    return _READINGS[key][1]


def value(cell: int, terms: Terms, scores: Row) -> tuple[int, int] | None:
    """(minor units after the bid price, before it); None where a score is missing."""
    catalogue = terms.catalogue
    o, c = divmod(cell, len(catalogue.channels))
    offer, channel = catalogue.offers[o], catalogue.channels[c]
    lifetime, churn = scores["lifetime_value_minor"], scores["p_churn"]
    parts = [scores["p_interest"][o], scores["p_reach"][c], scores["p_organic"][o], scores["p_harm"][c], lifetime]
    if any(p is None for p in parts) or (offer.save_rate is not None and churn is None):
        return None
    accept = parts[0] * parts[1]
    ev = (accept - parts[2] * parts[1]) * float(offer.margin_minor) - float(channel.cost_minor)
    ev = ev - parts[3] * lifetime
    if offer.save_rate is not None:
        ev = ev + accept * (churn * lifetime * offer.save_rate)
    ev = ev * 1.0 * offer.lever
    worth = round(ev) if abs(ev) < 2.0**53 else 0
    return worth - (terms.prices[cell] if terms.prices else 0), worth


def send_before(row: Row, terms: Terms, cell: int) -> datetime:
    """The end of the send window: minute after minute, until the clock closes the cell by one rule more.

    What else the customer's row says counts as unknown here, for a rule that reads it beside the clock.
    """
    facts, rules, _ = _read(id(terms), terms)
    shut = [(node, names) for rule, node, cells in rules if cells >> cell & 1 and rule.scope.direction in ("any", "outbound")
            and (names := columns_of(node)) & {"local_minute", "local_weekday", "is_holiday"}]  # fmt: skip

    def closes(at: datetime) -> list[bool]:
        local = at.astimezone(ZoneInfo(row["time_zone"]))
        clock = {"local_minute": local.hour * 60.0 + local.minute, "local_weekday": float(local.isoweekday()),
                 "is_holiday": local.date() in terms.holidays}  # fmt: skip
        return [evaluate(node, dict.fromkeys(names) | clock, facts[cell]) is not False for node, names in shut]

    at = row["send_after"].replace(second=0, microsecond=0)
    was = closes(at)
    while (at := at + timedelta(minutes=1)) < row["send_before"]:
        now = closes(at)
        if any(closed and not before for closed, before in zip(now, was, strict=True)):
            return at
        was = now
    return row["send_before"]


def _explore(
    row: Row, terms: Terms, best: int, good: list[int], known: dict[int, tuple[int, int]]
) -> tuple[int, float, bool]:
    share = terms.exploration.share
    pool = [cell for cell in good if known[cell][0] >= known[best][0] - terms.exploration.max_loss_minor]
    if share <= 0 or len(pool) < 2 or row["local_day"] is None:
        return best, 1.0, False
    name = f"{row['unit_id']}\x1f{row['customer_id']}\x1f{row['local_day']}"
    drawn = draw(terms.secret, "explore", terms.revision, name)
    chance = share / len(pool)
    if drawn >= share:
        return best, 1.0 - share + chance, False
    cell = pool[min(int(drawn / share * len(pool)), len(pool) - 1)]
    return cell, (1.0 - share + chance) if cell == best else chance, True


def _campaign(row: Row, cell: int, terms: Terms) -> str | None:
    catalogue = terms.catalogue
    offer, channel = (
        catalogue.offers[cell // len(catalogue.channels)],
        catalogue.channels[cell % len(catalogue.channels)],
    )
    facts, _, audiences = _read(id(terms), terms)
    for audience in terms.audiences or ():
        if _covers(audience, offer.id, channel.id, terms) and f"campaign:{audience.campaign_id}" not in terms.paused \
                and _belongs(audience, audiences[audience.campaign_id], row, facts[cell], terms) is True:  # fmt: skip
            return audience.campaign_id
    return None


def draw(secret: bytes, purpose: str, period: str, name: str) -> float:
    """HMAC-SHA256 as a float in [0, 1)."""
    digest = hmac.new(secret or b"unset", f"{purpose}\x1f{period}\x1f{name}".encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def evaluate(node: Node, row: Row, facts: Row) -> Any:
    """The value of a condition or term for one customer and one cell, by Kleene's tables; None is unknown."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, CellField):
        return facts[node.name]
    if isinstance(node, Column):
        name = resolve(node.name, facts)
        found = None if name is None else row[name]
        return None if isinstance(found, float) and found != found else found
    if isinstance(node, Not):
        item = evaluate(node.item, row, facts)
        return None if item is None else not item
    if isinstance(node, All):
        items = [evaluate(item, row, facts) for item in node.items]
        return False if False in items else None if None in items else True
    if isinstance(node, AnyOf):
        items = [evaluate(item, row, facts) for item in node.items]
        return True if True in items else None if None in items else False
    if isinstance(node, IsNull):
        return evaluate(node.item, row, facts) is None
    if isinstance(node, OneOf):
        item = evaluate(node.item, row, facts)
        return None if item is None else item in node.values
    return _binary(node, row, facts)


def _binary(node: Arithmetic | Compare, row: Row, facts: Row) -> Any:
    left, right = evaluate(node.left, row, facts), evaluate(node.right, row, facts)
    if left is None or right is None:
        return None
    if not isinstance(left, str):
        left, right = float(left), float(right)
    if isinstance(node, Arithmetic):
        result = {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}[node.op]()
        return None if result != result else result
    return {"=": lambda: left == right, "<>": lambda: left != right, "<": lambda: left < right, "<=": lambda: left <= right,
            ">": lambda: left > right, ">=": lambda: left >= right}[node.op]()  # fmt: skip
