"""The compiled policy: a few distinct residual conditions, each with the cells it closes and why.

Offer and channel facts are constants of the catalogue, so each rule is folded once per cell
(partial evaluation); equal residuals merge. 150 cells x 40 rules become some sixty conditions,
each evaluated once per customer and spread over the cells by a bit mask.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa

from rules.catalogue import Catalogue
from rules.closures import Closure, closure
from rules.errors import ConditionError, SchemaError
from rules.language import Language
from rules.reasons import PRECEDENCE, RANK, UNKNOWN, ReasonCode
from rules.rule import Rule
from rules.tree import FALSE, PLACEHOLDERS, TRUE, All, CellField, Column, Node, Not, columns_of, fold, walk

DIRECTIONS = ("outbound", "inbound")
CLOCK_COLUMNS = frozenset({"local_minute", "local_weekday", "is_holiday"})  # what time alone changes
AudienceSpec = tuple[str, Sequence[tuple[str, str]], str]  # campaign_id, (offer, channel) of its cells, when


@dataclass(frozen=True)
class Step:
    """If `when` is TRUE the cells close for rank `reason`, if UNKNOWN for rank `unknown`."""

    reason: int  # rank in PRECEDENCE
    unknown: int
    when: Node
    cells: int  # bit set
    rules: tuple[str, ...]  # ids of the rules merged here


@dataclass(frozen=True)
class Closing:
    """What a condition closes. direction: None, both; where: the cells as an index, None for all."""

    direction: str | None
    reason: int
    unknown: int
    where: slice | np.ndarray | None


@dataclass(frozen=True)
class Audience:
    """Cells a campaign covers (bit set) and who belongs to it there; a campaign that says several things has several."""

    campaign_id: str
    cells: int
    when: Node


@dataclass(frozen=True)
class Program:
    """Steps per direction, by precedence of their reasons; audiences in the order given."""

    n_cells: int
    n_channels: int
    steps: dict[str, tuple[Step, ...]]
    audiences: tuple[Audience, ...]
    columns: tuple[str, ...]  # every column read, sorted
    types: pa.Schema

    @cached_property
    def full(self) -> int:
        """The bit set of all cells."""
        return (1 << self.n_cells) - 1

    @cached_property
    def channel_cells(self) -> tuple[int, ...]:
        """The bit set of each channel's cells."""
        every = range(0, self.n_cells, self.n_channels)
        return tuple(sum(1 << first + channel for first in every) for channel in range(self.n_channels))

    @cached_property
    def closures(self) -> dict[str, tuple[tuple[Closure, int, int, int], ...]]:
        """For few customers: (condition, reason, unknown, cells) per step, by direction."""
        return {direction: tuple((closure(step.when), step.reason, step.unknown, step.cells) for step in steps)
                for direction, steps in self.steps.items()}  # fmt: skip

    @cached_property
    def checks(self) -> tuple[tuple[Node, tuple[Closing, ...]], ...]:
        """For many customers: every distinct condition once, with what it closes in which direction."""
        found: dict[Node, dict[tuple[int, int], dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for direction, steps in self.steps.items():
            for step in steps:
                found[step.when][step.reason, step.unknown][direction] = step.cells
        return tuple((when, tuple(closing for ranks, cells in by_ranks.items() for closing in self._closings(ranks, cells)))
                     for when, by_ranks in found.items())  # fmt: skip

    @cached_property
    def clock(self) -> tuple[tuple[Node, ...], ...]:
        """The conditions that read the clock and close a cell outbound, each set of them once."""
        return tuple(dict.fromkeys(found for found in self._clocks if found))

    @cached_property
    def clock_kind(self) -> tuple[int, ...]:
        """For each cell the place of its conditions in `clock`; -1: the clock never closes it."""
        return tuple(self.clock.index(found) if found else -1 for found in self._clocks)

    @cached_property
    def _clocks(self) -> list[tuple[Node, ...]]:
        steps = [step for step in self.steps["outbound"] if columns_of(step.when) & CLOCK_COLUMNS]
        return [tuple(dict.fromkeys(step.when for step in steps if step.cells >> cell & 1))
                for cell in range(self.n_cells)]  # fmt: skip

    def _closings(self, ranks: tuple[int, int], cells: dict[str, int]) -> list[Closing]:
        shared = self.full
        for direction in DIRECTIONS:
            shared &= cells.get(direction, 0)
        parts = [(None, shared), *((direction, bits & ~shared) for direction, bits in cells.items())]
        return [Closing(direction, *ranks, self.where(bits)) for direction, bits in parts if bits]

    def where(self, bits: int) -> slice | np.ndarray | None:
        """A set of cells as an index into an axis of cells; None for all of them."""
        if bits == self.full:
            return None
        places = [cell for cell in range(self.n_cells) if bits >> cell & 1]
        steps = {b - a for a, b in pairwise(places)}
        if len(steps) < 2:  # an offer's or a channel's cells: no copy is made of a slice
            return slice(places[0], places[-1] + 1, steps.pop() if steps else 1)
        return np.array(places)


def compile_program(catalogue: Catalogue, rules: Sequence[Rule], columns: pa.Schema,
                    audiences: Sequence[AudienceSpec] | None, paused: frozenset[str]) -> Program:  # fmt: skip
    """Fold every rule over every cell, merge equal residuals, order by precedence.

    Raises ConditionError where a rule does not parse or, folded, names a column that is not there.
    """
    language = Language(columns, catalogue)
    campaigns = [_audience(catalogue, language, spec) for spec in audiences or ()]
    steps = {direction: _steps(catalogue, language, [rule for rule in rules if rule.scope.direction in ("any", direction)],
                               campaigns if audiences is not None and direction == "outbound" else None, paused)
             for direction in DIRECTIONS}  # fmt: skip
    nodes = [step.when for part in steps.values() for step in part] + [a.when for a in campaigns]
    names = tuple(sorted(set[str]().union(*(columns_of(node) for node in nodes))))
    for name in names:
        if name not in columns.names:
            raise SchemaError(f"no column `{name}`: a rule needs it; add the feature or mend the rule")
    return Program(catalogue.n_cells, len(catalogue.channels), steps, tuple(campaigns), names,
                   pa.schema([columns.field(name) for name in names]))  # fmt: skip


def _steps(catalogue: Catalogue, language: Language, rules: Sequence[Rule], campaigns: Sequence[Audience] | None,
           paused: frozenset[str]) -> tuple[Step, ...]:  # fmt: skip
    found: dict[tuple[int, int, Node], tuple[int, list[str]]] = defaultdict(lambda: (0, []))

    def add(reason: ReasonCode, when: Node, cells: int, rule: str) -> None:
        if cells and when != FALSE:
            key = (RANK[reason], RANK[UNKNOWN[reason.layer]], when)
            known, ids = found[key]
            found[key] = (known | cells, [*ids, *([rule] if rule not in ids else [])])

    add(ReasonCode.PAUSED, TRUE, paused_cells(catalogue, paused), "switch")
    for rule in rules:
        node, scope = _parse(language, rule.when, rule.id), rule.scope.cells(catalogue)
        for cell, facts in enumerate(language.cells):
            if scope >> cell & 1:
                add(rule.reason, fold(node, facts), 1 << cell, rule.id)
    for offer in catalogue.offers:
        for channel in catalogue.channels:
            if channel.id not in offer.channels:
                add(ReasonCode.OFFER_NOT_ON_CHANNEL, TRUE, 1 << catalogue.cell(offer.id, channel.id), "catalogue")
    if campaigns is not None:
        for cell in range(catalogue.n_cells):
            covering = [campaign for campaign in campaigns if campaign.cells >> cell & 1]
            running = [campaign.when for campaign in covering if f"campaign:{campaign.campaign_id}" not in paused]
            if not running:
                add(ReasonCode.PAUSED if covering else ReasonCode.NOT_IN_CAMPAIGN, TRUE, 1 << cell, "campaigns")
            else:
                outside = fold(All(tuple(Not(when) for when in running)), language.cells[cell])
                add(ReasonCode.NOT_IN_AUDIENCE, outside, 1 << cell, "campaigns")
    merged = [Step(reason, unknown, when, cells, tuple(ids)) for (reason, unknown, when), (cells, ids) in found.items()]
    return tuple(sorted(merged, key=lambda step: (step.reason, step.rules)))


def paused_cells(catalogue: Catalogue, paused: frozenset[str]) -> int:
    """The cells a switch has paused by channel, family or offer, as a bit set."""
    bits = 0
    for offer in catalogue.offers:
        for channel in catalogue.channels:
            if paused & {"all", f"channel:{channel.id}", f"family:{offer.family}", f"offer:{offer.id}"}:
                bits |= 1 << catalogue.cell(offer.id, channel.id)
    return bits


def _audience(catalogue: Catalogue, language: Language, spec: AudienceSpec) -> Audience:
    campaign, covered, when = spec
    cells = 0
    for offer, channel in covered:
        if offer not in catalogue.offer_index or channel not in catalogue.channel_index:
            raise SchemaError(
                f"campaign `{campaign}`: no cell `{offer}` x `{channel}` in the catalogue; mend the campaign"
            )
        cells |= 1 << catalogue.cell(offer, channel)
    node = _parse(language, when, campaign)
    for part in walk(node):
        if isinstance(part, CellField) or (
            isinstance(part, Column) and any(word in part.name for word in PLACEHOLDERS)
        ):
            raise ConditionError(f"an audience is about customers; `{part.name}` is about the cell", rule=campaign)
    return Audience(campaign, cells, node)


def _parse(language: Language, when: str, rule: str) -> Node:
    try:
        return language.parse(when)
    except ConditionError as error:
        raise ConditionError(error.what, rule=rule) from error


assert len(PRECEDENCE) <= 64, "a reason set is one 64-bit word"
