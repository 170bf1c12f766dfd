"""Which steps of a compiled policy govern a cell, and which parts of the policy speak there.

Equal conditions are merged into one step whatever rules they come from; a step then names rules that do not
govern every cell of it. Who is to be told the rule asks here.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from rules.program import DIRECTIONS, Program, Step
from rules.terms import Terms


def governing(program: Program, direction: str, cell: int) -> tuple[Step, ...]:
    """The steps that may close a cell, by precedence."""
    return tuple(step for step in program.steps[direction] if step.cells >> cell & 1)


@lru_cache(maxsize=16)
def scopes(terms: Terms) -> Mapping[tuple[str, str], int]:
    """(direction, id of a part) -> the cells any of its rules governs, as a bit set."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for rule in terms.policy.lowered(terms.catalogue, terms.day):
        for direction in DIRECTIONS:
            if rule.scope.direction in ("any", direction):
                found[direction, rule.id] |= rule.scope.cells(terms.catalogue)
    return dict(found)


def speakers(terms: Terms, step: Step, direction: str, cell: int) -> tuple[str, ...]:
    """The ids of the step's rules that govern this cell; what is no part (switch, catalogue, campaigns) always does."""
    cells = scopes(terms)
    parts = {part.id for part in terms.policy.parts}
    return tuple(rule for rule in step.rules if rule not in parts or cells.get((direction, rule), 0) >> cell & 1)
