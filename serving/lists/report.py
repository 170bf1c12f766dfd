"""The page of a run: the figures of `Report` drawn, self-contained, in both languages; nothing is fetched."""

import re
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, StrictUndefined

from rules.line import Line
from rules.money import money
from rules.reasons import Layer, ReasonCode
from serving.lists.allocate import SCALE
from serving.lists.exposure import GROUPS_TOLD, Group
from serving.lists.figures import Report
from serving.lists.forgone import RuleCost
from serving.lists.limits import CONTACT
from serving.lists.sentences import said
from serving.lists.words import DIMENSIONS, GROUPS, LAYER_NAMES, LAYERS, REASONS, UNKNOWN, Pair, limit_words

TONES = "abcde"
TOP, FLOOR, LEFT, RIGHT = 12.0, 192.0, 52.0, 752.0  # of the chart of hours
RULES_TOLD = LIMITS_TOLD = 25
_LIMIT_NAMED = re.compile("`([^`]+)`")


def report_page(report: Report) -> str:
    """The page as HTML; every text is escaped, every amount in the bank's currency."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((resources.files("serving.lists") / "report.html.j2").read_text("utf-8"))
    local = report.as_of.astimezone(ZoneInfo(report.zone))
    shapes = {"num": lambda n: f"{n:,}", "cash": lambda minor: money(minor, report.currency),
            "pct": lambda share, digits: f"{100 * share:.{digits}f} %"}  # fmt: skip
    shown: dict[str, Any] = {**shapes, **_proof(report), **_closings(report), **_hours(report), **_sentences(report)}
    return page.render(r=report, c=report.certificate, as_of=f"{local:%Y-%m-%d %H:%M}", layers=_layers(report),
                       dimensions=_dimensions(report), **shown)  # fmt: skip


def _titles(report: Report) -> dict[str, Line]:
    return {**report.campaigns, **report.offers, **report.channels}


def _sentences(report: Report) -> dict[str, list[Line]]:
    """What is told in whole sentences: what is taken for granted, why it is degraded, minimums that no list can keep."""
    notes, titles = {note.en: note for note in report.notes}, _titles(report)
    return {
        "granted": [notes.get(line) or said(line) for line in report.assumptions],
        "problems": [said(line) for line in report.problems],
        "short": [
            Line(en=line.en, zh=_LIMIT_NAMED.sub(lambda found: f"“{limit_words(found[1], titles)[1]}”", line.zh))
            for line in report.certificate.short()
        ],
    }


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


def _layers(report: Report) -> list[tuple[Pair, int, float, int]]:
    whole, rows = report.funnel.customers, [(("all customers", "全部客户"), report.funnel.customers, 1.0, 0)]
    before = whole
    for layer, left in zip(Layer, report.funnel.after.values(), strict=True):
        rows.append((LAYERS[layer], left, _share(left, whole), before - left))
        before = left
    return rows


def _proof(report: Report) -> dict[str, Any]:
    issued, listed, titles = report.certificate, [], _titles(report)
    ours = (report.funnel.chosen, issued.value_minor, report.cost_minor)
    made: list[tuple[Pair, tuple[int, int, int], tuple[str, ...], str]] = [(("this list", "本名单"), ours, (), "a")]
    for label, rival in (
        (("greedy by value", "按价值贪心"), report.greedy),
        (("a contact for everyone", "全部联系"), report.everyone),
    ):
        made.append((label, (rival.contacts, rival.value_minor, rival.cost_minor), rival.broken, "c"))
    top = max(issued.bound_minor, *(one[1] for _, one, _, _ in made), 1)
    rivals = [
        (label, one, _share(one[1], top), [limit_words(name, titles) for name in broken[:4]], tone)
        for label, one, broken, tone in made
    ]
    by_price = sorted(issued.limits, key=lambda limit: (-limit.price_milli, limit.name))
    for limit in by_price[:LIMITS_TOLD]:
        room = limit.at_most if limit.at_most is not None else limit.at_least or 0
        used, of = (f"{n:,}" if limit.unit == CONTACT else money(n, report.currency) for n in (limit.used, room))
        price = money(limit.price_milli / SCALE, report.currency) if limit.price_milli else ""
        listed.append(
            (
                limit_words(limit.name, titles),
                used,
                of if limit.at_most is not None else f"≥ {of}",
                _share(limit.used, room),
                price,
            )
        )
    seats = [row for row, limit in zip(listed, by_price, strict=False) if limit.price_milli and limit.unit == CONTACT]
    return {"rivals": rivals, "limits": listed, "more_limits": max(len(by_price) - LIMITS_TOLD, 0),
            "dearest": ((seats[0][0][0].replace("seats", "seat"), seats[0][0][1]), seats[0][4]) if seats else None,
            "exploring": issued.bound_minor - issued.drawn_bound_minor}  # fmt: skip


def _closings(report: Report) -> dict[str, Any]:
    priced = [rule for rule in report.rules if rule.value_minor][:RULES_TOLD]
    top = max((rule.value_minor or 0 for rule in priced), default=0)
    rules = [(_rule_words(report, rule), ", ".join(rule.rules), LAYER_NAMES[Layer(rule.layer)], rule.customers,
              _share(rule.value_minor or 0, top), money(rule.value_minor or 0, report.currency)) for rule in priced]  # fmt: skip
    law = [(_rule_words(report, rule), rule.customers) for rule in report.rules if rule.value_minor is None]
    most = max((one.customers for one in report.silent), default=0)
    silent = [(one, LAYER_NAMES[Layer(one.layer)], _share(one.customers, most)) for one in report.silent]
    return {"rules": rules, "law": law, "silent": sorted(silent, key=lambda row: -row[0].customers)}


def _rule_words(report: Report, rule: RuleCost) -> Pair:
    """The rule's own title; the reason's words where a fact is unknown or no rule of the policy says it."""
    code = ReasonCode.of(rule.reason)
    titles = [report.titles[name] for name in rule.rules if name in report.titles]
    if not titles:
        return REASONS[code]
    en, zh = " ".join(title.en for title in titles), "".join(title.zh for title in titles)
    return (f"{en} (not known)", f"{zh}（未知）") if code.slug.endswith("_unknown") else (en, zh)


def _hours(report: Report) -> dict[str, Any]:
    channels = [name for name in report.channels if any(hour.channel == name for hour in report.hours)]
    tone = {name: TONES[k % len(TONES)] for k, name in enumerate(channels)}
    total = {name: round(sum(h.contacts for h in report.hours if h.channel == name)) for name in channels}
    keys = [(name, report.channels[name], tone[name], total[name]) for name in channels]
    slots = sorted({(hour.day, hour.hour) for hour in report.hours})
    load = {(hour.day, hour.hour, hour.channel): hour.contacts for hour in report.hours}
    most = max((sum(load.get((*slot, name), 0.0) for name in channels) for slot in slots), default=0.0)
    step = (RIGHT - LEFT) / max(len(slots), 1)
    columns: list[tuple[float, float, str, list[Any]]] = []
    for place, slot in enumerate(slots):
        base, parts = FLOOR, []
        for name in channels:
            height = _share(load.get((*slot, name), 0.0), most) * (FLOOR - TOP)
            base -= height
            said = f"{slot[0]} {slot[1]:02}:00 {name} {load.get((*slot, name), 0.0):,.1f}"
            parts.append((round(base, 2), round(height, 2), tone[name], said))
        columns.append((round(LEFT + place * step + step * 0.12, 2), round(step * 0.76, 2), f"{slot[1]:02}", parts))
    ticks = [(FLOOR - (FLOOR - TOP) * k / 2, f"{most * k / 2:,.{0 if most >= 10 else 1}f}") for k in (0, 1, 2)]
    return {"keys": keys, "columns": columns, "ticks": ticks}


def _dimensions(report: Report) -> list[tuple[Pair, list[tuple[Pair, Group, float]], int]]:
    shown: list[tuple[Pair, list[tuple[Pair, Group, float]], int]] = []
    for name, found in report.groups.items():
        top, order = max((group.per_thousand for group in found), default=0.0), list(GROUPS.get(name, {}))
        told = sorted(found[:GROUPS_TOLD], key=lambda g: order.index(g.name) if g.name in order else len(order))
        rows = [(_group_words(name, group.name), group, _share(group.per_thousand, top)) for group in told]
        shown.append((DIMENSIONS[name], rows, max(len(found) - GROUPS_TOLD, 0)))
    return shown


def _group_words(dimension: str, name: str | None) -> Pair:
    return UNKNOWN if name is None else GROUPS.get(dimension, {}).get(name, (name, name))
