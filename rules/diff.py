"""The semantic diff of two policies: not which words changed, but who may now be offered what.

Every cell that both catalogues know is asked twice: is there a customer to whom it is open after and was
closed before, and one the other way round. For each part that closed (or now closes) him a customer is
shown, held against the engine of both sides - or it is proved that there is none. `only_tightens` is such
a proof: nothing at all is newly allowed, today and in every later set of rules that is written already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from rules.closures import closure
from rules.column import declare, meaning
from rules.errors import PolicyError
from rules.example import Example, is_open, plainer
from rules.governing import governing, speakers
from rules.line import Line
from rules.program import DIRECTIONS, Step
from rules.proofs import example, left_open, rule_days
from rules.prove import Facts, Prover, UndecidedError, columns_read
from rules.terms import Terms

Spoken = tuple[Step, tuple[str, ...]]  # a step, and the parts that say so of the cell
CATALOGUE = "catalogue"  # what opens or closes a cell that only one side has


@dataclass(frozen=True)
class Change:
    """A customer for whom cells open or close. part: the rule that closed, or now closes, them."""

    part: str
    cells: tuple[str, ...]  # `offer x channel, direction`
    example: Example
    day: date | None = None


@dataclass
class Difference:
    """What a change does. text: what was written differently; undecided: cells the prover gave up on."""

    text: list[Line] = field(default_factory=list)
    allowed: list[Change] = field(default_factory=list)
    suppressed: list[Change] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    @property
    def only_tightens(self) -> bool:
        """Proved: no customer gets an offer that he could not get before."""
        return not self.allowed and not self.undecided

    @property
    def only_loosens(self) -> bool:
        """Proved: no customer loses an offer that he could get before."""
        return not self.suppressed and not self.undecided


def compare(before: Terms, after: Terms) -> Difference:
    """The difference of two terms on their day and the later days; SchemaError, PolicyError where they do not compile."""
    found = Difference(text=changed_text(before, after))
    types = merged_columns(before.vocabulary, after.vocabulary)
    days = sorted(
        {*rule_days(before.policy, before.day), *rule_days(after.policy, after.day)}, key=lambda day: day or date.min
    )
    for day in days:
        prover = Prover(types)
        old, new = replace(before, day=day), replace(after, day=day)
        for changes, closed, opened in ((found.allowed, old, new), (found.suppressed, new, old)):
            known = {change.part for change in changes}
            told, undecided = _opened(closed, opened, prover)
            changes += [replace(change, day=day) for change in told if change.part not in known]
            found.undecided += [name for name in undecided if name not in found.undecided]
    return found


def _opened(closed: Terms, opened: Terms, prover: Prover) -> tuple[list[Change], list[str]]:
    """Who has a cell open in one that was closed in the other: one change for each part that closed it."""
    cells: dict[str, list[str]] = {}
    examples: dict[str, Example] = {}
    undecided: list[str] = []
    for direction, here, there in shared_cells(opened, closed):
        after = governing(opened.program, direction, here)
        before: list[Spoken] = []
        if there is not None:
            before = [
                (step, speakers(closed, step, direction, there)) for step in governing(closed.program, direction, there)
            ]
        name = example(opened, here, direction, {})
        shown = f"{name.offer} x {name.channel}, {direction}"
        for part, steps, rest in _parts(before, after) if there is not None else [(CATALOGUE, (), ())]:
            try:
                facts = _witness(prover, after, steps, rest)
                if facts is None:
                    continue
                cells.setdefault(part, []).append(shown)
                if part not in examples:
                    facts = _checked(facts, (opened, here), (closed, there), direction, steps, prover.types)
                    examples[part] = example(opened, here, direction, facts, columns_read(step.when for step in steps))
            except UndecidedError:
                undecided.append(shown)
    return [Change(part, tuple(cells[part]), found) for part, found in examples.items()], undecided


def _parts(before: Sequence[Spoken], after: Sequence[Step]) -> Iterator[tuple[str, tuple[Step, ...], tuple[Step, ...]]]:
    """Each part that closed the cell by a condition that is no longer there, those conditions, and the other gone ones."""
    kept = {step.when for step in after}
    gone = [(step, parts) for step, parts in before if step.when not in kept]
    for name in dict.fromkeys(name for _, parts in gone for name in parts):
        yield name, tuple(s for s, parts in gone if name in parts), tuple(s for s, parts in gone if name not in parts)


def _witness(prover: Prover, after: Sequence[Step], steps: Sequence[Step], rest: Sequence[Step]) -> Facts | None:
    """Somebody the part alone had closed, else somebody it had closed together with others that are gone."""
    wanted = [left_open(prover, after)]
    if steps:  # none: a cell that only one side has
        wanted.append(prover.z3.Not(left_open(prover, steps)))
    names = columns_read(step.when for step in (*after, *steps, *rest))
    found = prover.find(wanted, names)
    if found is None or not rest:
        return found
    return prover.find([*wanted, left_open(prover, rest)], names) or found


def _checked(facts: Facts, opened: tuple[Terms, int], closed: tuple[Terms, int | None], direction: str,
             steps: Sequence[Step], types: pa.Schema) -> Facts:  # fmt: skip
    """The customer in plain values, as both engines see him; UndecidedError where they do not."""

    def holds(row: Facts) -> bool:
        still = not steps or any(closure(step.when)(row) is not False for step in steps)
        return still and is_open(opened[0], row, direction, opened[1]) and (
            closed[1] is None or not is_open(closed[0], row, direction, closed[1])
        )  # fmt: skip

    if not holds(facts):
        raise UndecidedError("the prover's customer does not stand before the engine")
    return plainer(facts, types, holds)


def shared_cells(ours: Terms, theirs: Terms) -> Iterator[tuple[str, int, int | None]]:
    """(direction, our cell, their cell of the same offer and channel or None) of every cell of ours."""
    mine, other = ours.catalogue, theirs.catalogue
    for direction in DIRECTIONS:
        for offer in mine.offers:
            for channel in mine.channels:
                known = offer.id in other.offer_index and channel.id in other.channel_index
                yield direction, mine.cell(offer.id, channel.id), other.cell(offer.id, channel.id) if known else None


def changed_text(before: Terms, after: Terms) -> list[Line]:
    """Which parts, offers, channels and families were added, removed or changed, and in which fields."""
    lines: list[Line] = []
    for kind, old, new in (
        (("part", "条款"), before.policy.parts, after.policy.parts),
        (("offer", "产品"), before.catalogue.offers, after.catalogue.offers),
        (("channel", "渠道"), before.catalogue.channels, after.catalogue.channels),
        (("family", "产品类别"), before.catalogue.families, after.catalogue.families),
    ):
        lines += changed_items(kind, {item.id: item for item in old}, {item.id: item for item in new})
    return lines


def changed_items(kind: tuple[str, str], was: Mapping[str, BaseModel], now: Mapping[str, BaseModel]) -> list[Line]:
    """What was removed, added or changed among things of one kind. kind: its name in English and Chinese."""
    en, zh = kind
    lines = [Line(en=f"{en} `{name}` removed", zh=f"{zh} `{name}` 已删除") for name in was if name not in now]
    lines += [Line(en=f"{en} `{name}` added", zh=f"{zh} `{name}` 新增") for name in now if name not in was]
    for name, item in was.items():
        if name in now and item != now[name]:
            left, right = (one.model_dump(mode="json", by_alias=True) for one in (item, now[name]))
            lines += [
                Line(en=f"{en} `{name}` {line}", zh=f"{zh} `{name}` 的 {line.zh}")
                for line in changed_fields(left, right)
            ]
    return lines


def changed_fields(left: Mapping[str, Any], right: Mapping[str, Any], inside: str = "") -> list[Line]:
    """`field: this -> that` of each field that differs; of a mapping only what differs in it."""
    lines: list[Line] = []
    for key in {**left, **right}:
        was, now = left.get(key), right.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            lines += changed_fields(was, now, f"{inside}{key}.")  # pyright: ignore[reportUnknownArgumentType]  # of JSON
        elif was != now:
            lines.append(
                Line(
                    en=f"{inside}{key}: {_told(was, 'nothing')} -> {_told(now, 'nothing')}",
                    zh=f"{inside}{key}：{_told(was, '无')} → {_told(now, '无')}",
                )
            )
    return lines


def _told(value: object, nothing: str) -> str:
    return nothing if value is None or value in ([], {}) else str(value)


def merged_columns(left: pa.Schema, right: pa.Schema) -> pa.Schema:
    """The columns of both; a domain they do not share is widened. PolicyError where their types differ."""
    fields = {field.name: field for field in left}
    for other in right:
        mine = fields.get(other.name, other)
        if mine.type != other.type:
            raise PolicyError(
                f"column `{other.name}` is {mine.type} in the one and {other.type} in the other; compare like with like"
            )
        domains = [meaning(mine, "domain"), meaning(other, "domain")]
        if domains[0] != domains[1]:
            texts = list(dict.fromkeys(text for domain in domains for text in domain.split("|")))
            wide = "|".join(texts) if all("|" in domain for domain in domains) else ""
            said = {key: meaning(other, key) for key in ("unit", "null", "source", "en", "zh")}
            mine = declare(other.name, other.type, **said, domain=wide)
        fields[other.name] = mine
    return pa.schema(list(fields.values()))
